"""Sentences that rest on a condition carry a mark, with the reason, where it fails."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import polars as pl

from ptl_sweep.report.breaks.conditions import (
    MARKED_FROM,
    BreakCondition,
    Check,
    break_conditions,
)
from ptl_sweep.report.evidence import plural
from ptl_sweep.report.verdicts.distances import distances, prediction
from ptl_sweep.report.verdicts.medium_confidence import medium_confidence
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.study.study import Study

MARK = " Break condition: "
REASONS = {
    Check.GAUSSIAN: "the distance is that of a Gaussian, which does not describe the features of",
    Check.SCORES: (
        "fixed scores are compared, and validation finds the scores not calibrated (equal numbers "
        "of detections are not concerned) for"
    ),
}


class Resting(NamedTuple):
    """What a statement rests on, and what words it."""

    check: Check
    sentences: Callable[[pl.DataFrame], list[str]]


RESTING = {
    Statement.NEARER: Resting(Check.GAUSSIAN, distances),
    Statement.PREDICTION: Resting(Check.GAUSSIAN, prediction),
    Statement.MEDIUM: Resting(Check.SCORES, medium_confidence),
}


def marked_sentences(study: Study, statement: Statement) -> list[str]:
    """The sentences of a statement of RESTING, marked where what they rest on fails.

    The detectors of both arms of a sentence are counted together, all of the source's where it
    names no arm. A mark takes a tenth of those that could be judged.
    """
    check, sentences_of = RESTING[statement]
    conditions = [one for one in break_conditions(study) if one.check is check]
    own = study.claims.filter(statement=statement)
    found: list[str] = []
    for (dataset, treated), rows in own.group_by("dataset", "treated", maintain_order=True):
        arms = None if not treated else {treated, *rows["reference"]}
        mark = mark_of(
            one
            for one in conditions
            if one.dataset == dataset and (arms is None or one.synthetic in arms)
        )
        found += [sentence + mark for sentence in sentences_of(rows)]
    return found or sentences_of(own)


def mark_of(conditions: Iterable[BreakCondition]) -> str:
    """What to append to a sentence that rests on one check of these arms; empty when it holds."""
    every = list(conditions)
    failed, judged = sum(one.num_failed for one in every), sum(one.num_judged for one in every)
    if not failed or failed < MARKED_FROM * judged:
        return ""
    share = 100 * failed / judged
    detectors = f"{failed} of {plural(judged, 'detector')} that could be judged ({share:.0f} %)"
    return f"{MARK}{REASONS[every[0].check]} {detectors}."
