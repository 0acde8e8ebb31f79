"""What the numbers say in one sentence, with the interval, and "no evidence" when there is none."""

from collections.abc import Sequence
from typing import NamedTuple

from ptl_sweep.analysis.statistics import Interval
from ptl_sweep.analysis.tables import (
    ALL_TARGETS,
    OFF,
    Row,
    effect_of,
    mean_of,
    number,
    text,
)


class Answer(NamedTuple):
    """What the numbers say about one value of `synthetic`."""

    sentence: str
    test: str  # the exact test behind it and what limits it


def answers(summary: Sequence[Row]) -> list[Answer]:
    """One sentence per (source, value of synthetic), from the rows over all targets and counts."""
    pooled = [
        row
        for row in summary
        if row["metric"] == "AP50" and row["real_count"] is None and row["synthetic"] != OFF
    ]
    return [_answer(row, summary) for row in pooled]


def _answer(row: Row, summary: Sequence[Row]) -> Answer:
    effect, name = effect_of(row), f"synthetic images ({row['synthetic']})"
    seeds = f"{effect.num} seed{'s' if effect.num != 1 else ''}"
    if effect.num == 0:
        return Answer(f"No answer for {name}: no seed has all cells of off and of this value.", "")
    change = f"{100 * effect.mean:+.1f} points"
    where = f"{_levels(row)}{seeds}, {_scope(row, summary)}"
    if not effect.known:
        sentence = (
            f"No evidence either way: with {seeds} no interval can be formed around the change of "
            f"AP50 by {name}, {change} ({where})."
        )
    elif effect.includes_zero:
        sentence = f"No evidence that {name} change AP50: {change}, {_bounds(effect)} ({where})."
    else:
        verb = "raise" if effect.mean > 0 else "lower"
        size = f"{100 * abs(effect.mean):.1f} points"
        sentence = f"{name.capitalize()} {verb} AP50 by {size}, {_bounds(effect)} ({where})."
    note = f"; {row['note']}" if row["note"] else ""
    return Answer(sentence, f"Exact sign-flip test over seeds: p = {number(row, 'p'):.3g}{note}.")


def _bounds(interval: Interval) -> str:
    return f"95 % interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f}"


def _levels(row: Row) -> str:
    """AP50 with and without, over the seeds of the effect; empty when `off` lacks one of them."""
    on, effect = mean_of(row), effect_of(row)
    if on.num != effect.num:
        return ""
    return f"{100 * on.mean:.1f} % with, {100 * (on.mean - effect.mean):.1f} % without; "


def _scope(row: Row, summary: Sequence[Row]) -> str:
    """What the mean was taken over."""
    own = [other for other in summary if other["dataset"] == row["dataset"]]
    targets = {text(other, "target") for other in own} - {ALL_TARGETS}
    counts = {int(number(other, "real_count")) for other in own if other["real_count"] is not None}
    listed = ", ".join(map(str, sorted(counts)))
    return (
        f"mean over the target{'s' if len(targets) > 1 else ''} {', '.join(sorted(targets))} "
        f"and {listed} real images of {row['dataset']}"
    )
