"""Whether AP_t2t gains most at medium confidence, in every reading of the paper."""

import numpy as np
import polars as pl

from ptl_sweep.report.verdicts.claim_row import POINTS, ClaimRow, read_claims
from ptl_sweep.study.claims.claim import MIN_SEEDS, Agreement, Verdict
from ptl_sweep.study.claims.table import Statement


def medium_confidence(claims: pl.DataFrame) -> list[str]:
    """The seed's claim that medium confidence gains most; every reading must agree."""
    return [_medium(row) for row in read_claims(claims, Statement.MEDIUM)] or [
        "No evidence on medium confidence: no AP_t2t with and without exists."
    ]


def _medium(row: ClaimRow) -> str:
    size = (
        f"at fixed scores, as lift over a random order, medium gains {POINTS * row.value:+.1f} "
        f"points over the larger of low and high, {row.bounds()}; more real images give "
        f"{_control(row, POINTS, '.1f')}"
    )
    question = f"AP_t2t gains most at medium confidence from {row.name}"
    if row.agreement is Agreement.AGREES:
        return f"{question}, in every reading and more than from real images: {size}."
    if row.agreement is Agreement.CONTRADICTED:
        return f"It is not so that {question}, in any reading: {size}."
    if row.verdict is Verdict.OPEN:
        return f"No verdict on whether {question} ({_why_open(row)}): {size}."
    return f"No evidence that {question}: {size}; readings without it: {row.disagreeing}."


def _why_open(row: ClaimRow) -> str:
    if row.num_seeds < MIN_SEEDS:
        return f"{row.seeds}, {MIN_SEEDS} are needed"
    if np.isnan(row.control):
        return "without a second real count nothing stands beside it"
    return f"not measured: {row.undecided}"


def _control(row: ClaimRow, scale: float, layout: str) -> str:
    if np.isnan(row.control):
        return "no number"
    shown = f"{scale * row.control:+{layout}}"
    if np.isnan(row.control_low + row.control_high):
        return shown
    low, high = (f"{scale * end:+{layout}}" for end in (row.control_low, row.control_high))
    return f"{shown} [{low}, {high}]"
