"""Whether train2test predicts AP50, and whether synthetic images bring targets nearer."""

import numpy as np
import polars as pl

from ptl_sweep.report.verdicts.claim_row import ClaimRow, read_claims
from ptl_sweep.study.claims.claim import MIN_SEEDS, Verdict
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.vocabulary import RELATIVE_DISTANCE


def prediction(claims: pl.DataFrame) -> list[str]:
    """Whether the nearer of two detectors on a target has the higher AP50."""
    rows = [r for r in read_claims(claims, Statement.PREDICTION) if r.metric == RELATIVE_DISTANCE]
    return [_prediction(row) for row in rows] or [
        "No evidence that train2test predicts AP50: no relative distance exists."
    ]


def _prediction(row: ClaimRow) -> str:
    where = f"among detectors of {row.dataset} that differ in the seed only"
    needed = f"({row.seeds}, {MIN_SEEDS} are needed)"
    if row.num_seeds == 1:
        return f"No verdict on whether train2test predicts AP50 {where} {needed}."
    if np.isnan(row.value):
        return f"No evidence that train2test predicts AP50 {where}: no rank correlation exists."
    rho = f"rho = {row.value:+.2f}, {row.bounds(1, 2)}"
    if row.verdict is Verdict.OPEN:
        return f"No verdict on whether train2test predicts AP50 {where} {needed}: {rho}."
    if row.verdict is Verdict.NONE:
        return f"No evidence that train2test predicts AP50 {where}: {rho}."
    side = "nearer" if row.value < 0 else "farther"
    return f"The {side} detector has the higher AP50 {where}: {rho}."


def distances(claims: pl.DataFrame) -> list[str]:
    """Whether synthetic images bring the persons of the targets nearer than those of the source."""
    return [_distance(row) for row in read_claims(claims, Statement.NEARER)] or [
        "No evidence that targets come nearer: no paired relative distance exists."
    ]


def _distance(row: ClaimRow) -> str:
    change = f"relative distance {row.value:+.2f}, {row.bounds(1, 2)} ({row.scope})"
    if row.num_seeds < MIN_SEEDS:
        return (
            f"No verdict on whether {row.name} move the targets ({row.seeds}, {MIN_SEEDS} are "
            f"needed): {change}."
        )
    if row.verdict is Verdict.FOUND:
        side = "nearer to" if row.value < 0 else "farther from"
        return (
            f"With {row.name} the persons of the targets lie {side} the training set, measured in "
            f"the distance of unseen persons of the source, and -log p agrees: {change}."
        )
    split = "; -log p does not change the same way" if row.disagreeing or row.undecided else ""
    return f"No evidence that {row.name} move the targets: {change}{split}."
