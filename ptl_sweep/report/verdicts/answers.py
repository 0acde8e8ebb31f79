"""The answer to the title's question, one for each value of synthetic."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ptl_sweep.compose.cells.ids import values_after_name
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


class Arm(NamedTuple):
    """What is known of one value of `synthetic` on one source."""

    pooled: GroupSummary  # over all targets and real counts
    effect: ClaimRow | None  # None: no seed has all cells of off and of this value
    worth: Sequence[ClaimRow]


def arms(claims: pl.DataFrame, summary: pl.DataFrame) -> list[Arm]:
    """Values of `synthetic` beside off, per source, with what is claimed of them."""
    wide = pl.col("real_count").is_null() & (pl.col("synthetic") != OFF)
    pooled = {(one.group.dataset, one.group.synthetic): one
              for one in group_summaries(summary.filter(wide, metric="AP50"))}  # fmt: skip
    worth = read_claims(claims, Statement.WORTH)
    judged = {(row.dataset, row.treated): row for row in read_claims(claims, Statement.EFFECT)}
    return [
        Arm(one, judged.get(key), [row for row in worth if (row.dataset, row.treated) == key])
        for key, one in pooled.items()
    ]


def answers(claims: pl.DataFrame, summary: pl.DataFrame) -> list[Answer]:
    """The title's question per (source, value of synthetic)."""
    return [answer_of(arm) for arm in arms(claims, summary)]


def answer_of(arm: Arm) -> Answer:
    """The title's question for one value of `synthetic`."""
    if arm.effect is None:
        return _no_answer(arm.pooled)
    return _answer(arm.effect, arm.pooled, arm.worth)


def _no_answer(pooled: GroupSummary) -> Answer:
    name = arm_name(pooled.group.synthetic + values_after_name(pooled.group.dataset))
    sentence = f"No answer for {name}: no seed has all cells of off and of this value."
    return Answer(Verdict.OPEN, sentence, "")


def _answer(row: ClaimRow, pooled: GroupSummary, worth: Sequence[ClaimRow]) -> Answer:
    change = f"{POINTS * row.value:+.1f} points"
    where = f"({_levels(pooled)}{row.scope})"
    if row.verdict is Verdict.OPEN:
        sentence = (
            f"No verdict over trainings ({row.seeds}, {MIN_SEEDS} are needed): in these, AP50 "
            f"changes by {change} with {row.name}, {open_bounds(row, pooled)} {where}."
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
    return Answer(row.verdict, sentence, _test(row))


def _test(row: ClaimRow) -> str:
    if row.verdict is Verdict.OPEN:
        return ""
    return f"Exact sign-flip test over seeds: {p_text(row)}."


def p_text(row: ClaimRow) -> str:
    """The p that the verdict stands on: of a family the adjusted one, with its name."""
    if row.family:
        return f"p = {row.p_family:.3g}, adjusted for {row.family}"
    return f"p = {row.p:.3g}"


def open_bounds(row: ClaimRow, pooled: GroupSummary) -> str:
    """The interval of these seeds; with one seed that over test images alone."""
    low, high = (POINTS * end for end in pooled.over_images)
    if row.num_seeds > 1 or np.isnan(low + high):
        return row.bounds()
    return f"95 % interval {low:+.1f} to {high:+.1f} over test images alone"


def levels(row: GroupSummary) -> tuple[float, float] | None:
    """AP50 without and with, over the seeds of the effect; None when `off` lacks one of them."""
    if row.mean.num != row.effect.num or not row.mean.num:
        return None
    return POINTS * (row.mean.mean - row.effect.mean), POINTS * row.mean.mean


def _levels(row: GroupSummary) -> str:
    found = levels(row)
    return f"{found[1]:.1f} % with, {found[0]:.1f} % without; " if found else ""


def _worth(rows: Sequence[ClaimRow]) -> str:
    """Real images alone that detect as well, at every count."""
    if not rows:
        return ""
    counts = tried_counts(rows[0])
    each = [
        f"{row.real_count} with them as {equivalent(row, counts)} alone"
        + ("" if row.verdict is Verdict.FOUND else " (no evidence at this count)")
        for row in rows
    ]
    return f" Real images that detect as well, median over seeds: {'; '.join(each)}."


def tried_counts(row: ClaimRow) -> list[int]:
    """The real counts that a claim is about."""
    return [int(count) for count in row.real_counts.split(", ")]


def equivalent(row: ClaimRow, counts: Sequence[int]) -> str:
    """`52 [40, > 160]`; the value alone where it has no interval."""
    value, low, high = (count_text(end, counts) if not np.isnan(end) else ""
                        for end in (row.value, row.low, row.high))  # fmt: skip
    return f"{value} [{low}, {high}]" if low and high else value
