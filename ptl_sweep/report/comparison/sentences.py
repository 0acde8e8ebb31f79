"""What the page of two sweeps says: a verdict for every two values, and which cells have none."""

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from ptl_sweep.report.comparison.settings import ComparedValues
from ptl_sweep.report.evidence import plural
from ptl_sweep.report.verdicts.claim_row import read_claims
from ptl_sweep.report.verdicts.effects import effects
from ptl_sweep.study.claims.between import ARMS
from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.claims.table import METRIC, Statement

Names = tuple[str, str]  # of the treated sweep and of the reference


class Finding(NamedTuple):
    """What the trainings say about two values of `synthetic`, by AP50."""

    verdict: Verdict
    sentence: str


def findings(
    contrasts: pl.DataFrame, values: Sequence[ComparedValues], names: Names
) -> list[Finding]:
    """One per source and two values whose cells are not all shared; reads the means over cells."""
    whole = contrasts.filter(
        pl.col("target").is_null(), pl.col("real_count").is_null(), metric=METRIC
    )
    judged = _judged(whole, names) if len(whole) else []
    known = set(whole.select(ARMS).iter_rows())
    return judged + [
        Finding(Verdict.OPEN, f"No contrast of {_arms(one, names)}: no seed has all cells of both.")
        for one in values
        if one.num_shared < one.num_pairs and (one.treated, one.reference) not in known
    ]


def _judged(whole: pl.DataFrame, names: Names) -> list[Finding]:
    named = whole.with_columns(
        pl.format("{} in {}", arm, pl.lit(name)).alias(arm)
        for arm, name in zip(ARMS, names, strict=True)
    )
    rows = read_claims(named, Statement.CONTRAST)
    return [
        Finding(row.verdict, sentence) for row, sentence in zip(rows, effects(named), strict=True)
    ]


def notes(values: Sequence[ComparedValues], names: Names) -> list[str]:
    """Which cells are one stage or one detector in both sweeps, and what that leaves to say."""
    return [
        note for one in values for note in (_shared(one, names), _evaluated(one, names)) if note
    ]


def _shared(found: ComparedValues, names: Names) -> str:
    if not found.num_shared:
        return ""
    note = (
        f"{found.num_shared} of {plural(found.num_pairs, 'cell')} of {_arms(found, names)} are one "
        "stage of the store in both sweeps. That they do not differ is no evidence of equality: "
        "they are the same trainings, and no contrast counts them."
    )
    if found.largest_change:
        note += (
            f" Yet their AP50 differs by up to {100 * found.largest_change:.2f} points: the sweeps "
            "have stores of their own, and another machine or other code computed one of them."
        )
    return note


def _evaluated(found: ComparedValues, names: Names) -> str:
    if not found.num_evaluated:
        return ""
    return (
        f"{found.num_evaluated} of {plural(found.num_pairs, 'cell')} of {_arms(found, names)} have "
        "the same detector in both sweeps, evaluated in two ways: their difference is one of "
        "evaluation, not of training."
    )


def _arms(found: ComparedValues, names: Names) -> str:
    return f"synthetic={found.treated} in {names[0]} and synthetic={found.reference} in {names[1]}"
