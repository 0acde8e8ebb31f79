"""The answer to the title's question, one for each value of synthetic."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ptl_sweep.report.evidence import GroupSummary, count_text, group_summaries
from ptl_sweep.report.verdicts.claim_row import (
    POINTS,
    ClaimRow,
    arm_name,
    read_claims,
)
from ptl_sweep.study.claims.claim import MIN_SEEDS, Verdict
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.vocabulary import OFF


class Answer(NamedTuple):
    """What the trainings say about one value of `synthetic`."""

    verdict: Verdict
    sentence: str
    test: str  # the exact test behind it and what limits it


def answers(claims: pl.DataFrame, summary: pl.DataFrame) -> list[Answer]:
    """The title's question per (source, value of synthetic)."""
    wide = pl.col("real_count").is_null() & (pl.col("synthetic") != OFF)
    pooled = {(one.group.dataset, one.group.synthetic): one
              for one in group_summaries(summary.filter(wide, metric="AP50"))}  # fmt: skip
    worth = read_claims(claims, Statement.WORTH)
    judged = {(row.dataset, row.treated): row for row in read_claims(claims, Statement.EFFECT)}
    return [
        _answer(judged[key], one, [row for row in worth if (row.dataset, row.treated) == key])
        if key in judged
        else _no_answer(one)
        for key, one in pooled.items()
    ]


def _no_answer(pooled: GroupSummary) -> Answer:
    name = arm_name(pooled.group.synthetic)
    sentence = f"No answer for {name}: no seed has all cells of off and of this value."
    return Answer(Verdict.OPEN, sentence, "")


def _answer(row: ClaimRow, pooled: GroupSummary, worth: Sequence[ClaimRow]) -> Answer:
    change = f"{POINTS * row.value:+.1f} points"
    where = f"({_levels(pooled)}{row.scope})"
    if row.verdict is Verdict.OPEN:
        sentence = (
            f"No verdict over trainings ({row.seeds}, {MIN_SEEDS} are needed): in these, AP50 "
            f"changes by {change} with {row.name}, {_open_bounds(row, pooled)} {where}."
        )
    elif row.verdict is Verdict.NONE:
        sentence = f"No evidence that {row.name} change AP50: {change}, {row.bounds()} {where}."
    else:
        verb = "raise" if row.value > 0 else "lower"
        size = f"{POINTS * abs(row.value):.1f} points"
        sentence = (
            f"{row.name[0].upper()}{row.name[1:]} {verb} AP50 by {size}, {row.bounds()} {where}."
        )
        sentence += _worth(worth)
    test = (
        "" if row.verdict is Verdict.OPEN else f"Exact sign-flip test over seeds: p = {row.p:.3g}."
    )
    return Answer(row.verdict, sentence, test)


def _open_bounds(row: ClaimRow, pooled: GroupSummary) -> str:
    """The interval of these seeds; with one seed that over test images alone."""
    low, high = (POINTS * end for end in pooled.over_images)
    if row.num_seeds > 1 or np.isnan(low + high):
        return row.bounds()
    return f"95 % interval {low:+.1f} to {high:+.1f} over test images alone"


def _levels(row: GroupSummary) -> str:
    """AP50 with and without, over the seeds of the effect; empty when `off` lacks one of them."""
    if row.mean.num != row.effect.num or not row.mean.num:
        return ""
    on, off = POINTS * row.mean.mean, POINTS * (row.mean.mean - row.effect.mean)
    return f"{on:.1f} % with, {off:.1f} % without; "


def _worth(rows: Sequence[ClaimRow]) -> str:
    """Real images alone that detect as well, at every count."""
    if not rows:
        return ""
    counts = [int(count) for count in rows[0].real_counts.split(", ")]
    each = [
        f"{row.real_count} with them as {_equivalent(row, counts)} alone"
        + ("" if row.verdict is Verdict.FOUND else " (no evidence at this count)")
        for row in rows
    ]
    return f" Real images that detect as well, median over seeds: {'; '.join(each)}."


def _equivalent(row: ClaimRow, counts: Sequence[int]) -> str:
    value, low, high = (count_text(end, counts) if not np.isnan(end) else ""
                        for end in (row.value, row.low, row.high))  # fmt: skip
    return f"{value} [{low}, {high}]" if low and high else value
