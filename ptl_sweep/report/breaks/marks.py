"""Sentences that rest on a condition carry a mark, with the reason, where it fails."""

from collections.abc import Callable, Collection, Iterable

from ptl_sweep.report.breaks.conditions import (
    MARKED_FROM,
    BreakCondition,
    Check,
    break_conditions,
)
from ptl_sweep.report.evidence import plural
from ptl_sweep.report.verdicts.claim_row import ClaimRow
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


RESTS = {  # what a statement rests on
    Statement.NEARER: Check.GAUSSIAN,
    Statement.PREDICTION: Check.GAUSSIAN,
    Statement.FALSE_POSITIVES: Check.GAUSSIAN,
    Statement.MEDIUM: Check.SCORES,
    Statement.RISES_ONLY: Check.SCORES,
}
SENTENCES = {
    Statement.NEARER: distances,
    Statement.PREDICTION: prediction,
    Statement.MEDIUM: medium_confidence,
}


def marked_sentences(study: Study, statement: Statement) -> list[str]:
    """The sentences of a statement of SENTENCES, marked where what they rest on fails."""
    conditions, sentences_of = break_conditions(study), SENTENCES[statement]
    own = study.claims.filter(statement=statement)
    found: list[str] = []
    for (dataset, treated), rows in own.group_by("dataset", "treated", maintain_order=True):
        arms = {treated, *rows["reference"]} if treated else set()
        mark = _mark_of_arms(conditions, statement, str(dataset), arms)
        found += [sentence + mark for sentence in sentences_of(rows)]
    return found or sentences_of(own)


def marker(study: Study) -> Callable[[ClaimRow], str]:
    """Make what says of a row of claims.csv how its condition fails; empty where it holds."""
    conditions = break_conditions(study)

    def mark(row: ClaimRow) -> str:
        arms = {row.treated, row.reference}
        return _mark_of_arms(conditions, row.statement, row.dataset, arms).strip()

    return mark


def _mark_of_arms(
    conditions: Iterable[BreakCondition],
    statement: Statement,
    dataset: str,
    arms: Collection[object],
) -> str:
    """The detectors of all arms are counted together; every one of the source where none is named.

    A mark takes a tenth of those that could be judged.
    """
    return mark_of(
        one
        for one in conditions
        if one.check is RESTS.get(statement)
        and one.dataset == dataset
        and (not arms or one.synthetic in arms)
    )


def mark_of(conditions: Iterable[BreakCondition]) -> str:
    """What to append to a sentence that rests on one check of these arms; empty when it holds."""
    every = list(conditions)
    failed, judged = sum(one.num_failed for one in every), sum(one.num_judged for one in every)
    if not failed or failed < MARKED_FROM * judged:
        return ""
    share = 100 * failed / judged
    detectors = f"{failed} of {plural(judged, 'detector')} that could be judged ({share:.0f} %)"
    return f"{MARK}{REASONS[every[0].check]} {detectors}."
