"""What the numbers say, one sentence each, with the interval; "no evidence" when it includes zero
or cannot be formed. Which tables a sentence reads is in its docstring.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ptl_sweep.study.groups import number, text
from ptl_sweep.study.statistics import Interval
from ptl_sweep.study.summary import effect_of, find_summary, mean_of
from ptl_sweep.vocabulary import ALL_TARGETS, OFF, Group, Row


class Answer(NamedTuple):
    """What the numbers say about one value of `synthetic`."""

    sentence: str
    test: str  # the exact test behind it and what limits it


class Evidence(NamedTuple):
    """A change, its 95 % interval, and what was resampled or repeated for it."""

    value: float
    low: float
    high: float
    over: str

    @property
    def verdict(self) -> str:
        """One of up, down, none (zero is inside) and unknown (no interval)."""
        if not np.isfinite(self.low + self.high):
            return "unknown"
        if self.low <= 0 <= self.high:
            return "none"
        return "up" if self.low > 0 else "down"

    def bounds(self, decimals: int = 1, scale: float = 100) -> str:
        """`95 % interval +8.5 to +13.5 over 3 seeds`."""
        low, high = scale * self.low, scale * self.high
        return f"95 % interval {low:+.{decimals}f} to {high:+.{decimals}f} {self.over}"


def plural(count: float, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count:.0f} {noun}{'' if count == 1 else 's'}"


def evidence(
    row: Row, column: str, seeds: tuple[str, str], images: tuple[str, str], count: str
) -> Evidence:
    """The interval over seeds; with one seed that over test images, and it says so."""
    num, value = number(row, count), number(row, column)
    low, high = (number(row, name) for name in seeds)
    if np.isfinite(low + high):
        return Evidence(value, low, high, f"over {plural(num, 'seed')}")
    low, high = (number(row, name) for name in images)
    return Evidence(value, low, high, "over test images alone (1 seed: variation of seeds unknown)")


def effect_evidence(row: Row) -> Evidence:
    """The paired effect of a summary row."""
    seeds, images = ("effect_low", "effect_high"), ("image_low", "image_high")
    return evidence(row, "effect", seeds, images, "num_pairs")


def answers(summary: Sequence[Row]) -> list[Answer]:
    """The title's question per (source, value of synthetic); reads the summary over all targets."""
    return [_answer(row, summary) for row in pooled_effects(summary, "AP50")]


def pooled_effects(summary: Iterable[Row], metric: str) -> list[Row]:
    """Rows of an effect over all targets and real counts."""
    return [
        row
        for row in summary
        if row["metric"] == metric and row["real_count"] is None and row["synthetic"] != OFF
    ]


def named(row: Row) -> str:
    """What a sentence calls this value of `synthetic`."""
    return f"synthetic images ({text(row, 'synthetic')})"


def _answer(row: Row, summary: Sequence[Row]) -> Answer:
    effect, found, name = effect_of(row), effect_evidence(row), named(row)
    if effect.num == 0:
        return Answer(f"No answer for {name}: no seed has all cells of off and of this value.", "")
    change, worth = f"{100 * effect.mean:+.1f} points", _worth(row, summary)
    where = f"({_levels(row)}{_scope(row, summary)})"
    if found.verdict == "unknown":
        sentence = (
            f"No evidence either way: with {plural(effect.num, 'seed')} no interval can be formed "
            f"around the change of AP50 by {name}, {change} {where}."
        )
    elif found.verdict == "none":
        sentence = (
            f"No evidence that {name} change AP50: {change}, {found.bounds()}{worth} {where}."
        )
    else:
        verb = "raise" if found.verdict == "up" else "lower"
        size = f"{100 * abs(effect.mean):.1f} points"
        sentence = f"{name.capitalize()} {verb} AP50 by {size}, {found.bounds()}{worth} {where}."
    note = f"; {row['note']}" if row["note"] else ""
    return Answer(sentence, f"Exact sign-flip test over seeds: p = {number(row, 'p'):.3g}{note}.")


def _worth(row: Row, summary: Sequence[Row]) -> str:
    """The real-image equivalent at the smallest count that has one, over all targets."""
    for other in _equivalents(summary, row):
        count, value = number(other, "real_count"), number(other, "real_equivalent")
        low, high = (number(other, f"real_equivalent_{end}") for end in ("low", "high"))
        worth = f"{count:.0f} real images with them detect as well as"
        bounds = equivalent_text(other, summary)
        if not low <= high:
            return f"; {worth} {bounds} without, an estimate without interval"
        if low <= count <= high:
            return f"; no evidence that they replace real images: {worth} {bounds} without"
        more = "" if value > count else "only "
        return f"; {worth} {more}{bounds} without"
    return ""


def _equivalents(summary: Iterable[Row], row: Row) -> list[Row]:
    """AP50 rows over all targets of the same source and synthetic that have an equivalent."""
    own = [
        other
        for other in summary
        if other["metric"] == "AP50"
        and other["target"] == ALL_TARGETS
        and other["real_count"] is not None
        and all(other[key] == row[key] for key in ("dataset", "synthetic"))
        and not np.isnan(number(other, "real_equivalent"))
    ]
    return sorted(own, key=lambda other: number(other, "real_count"))


def count_text(value: float, counts: Sequence[int]) -> str:
    """A number of real images; `> 200` and `< 20` outside the counts that were measured."""
    if np.isposinf(value):
        return f"> {max(counts)}"
    return f"< {min(counts)}" if value <= 0 else f"{value:.0f}"


def real_counts(summary: Iterable[Row], dataset: str) -> list[int]:
    """Real counts that a source was trained with, rising."""
    return sorted(
        {
            int(number(row, "real_count"))
            for row in summary
            if row["dataset"] == dataset and row["real_count"] is not None
        }
    )


def equivalent_text(row: Row, summary: Iterable[Row]) -> str:
    """Real-image equivalent of a summary row, `34 [28, > 200]`; empty when there is none."""
    columns = ("real_equivalent", "real_equivalent_low", "real_equivalent_high")
    value, low, high = (number(row, column) for column in columns)
    if np.isnan(value):
        return ""
    counts = real_counts(summary, text(row, "dataset"))
    shown = count_text(value, counts)
    if np.isnan(low) or np.isnan(high):
        return shown
    return f"{shown} [{count_text(low, counts)}, {count_text(high, counts)}]"


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
    listed = ", ".join(map(str, real_counts(summary, text(row, "dataset"))))
    return (
        f"mean over the target{'s' if len(targets) > 1 else ''} {', '.join(sorted(targets))} "
        f"and {listed} real images of {row['dataset']}"
    )


def levels(summary: Sequence[Row]) -> list[str]:
    """How AP50 grows with real images, per source, mean over targets."""
    sentences = []
    for dataset in sorted({text(row, "dataset") for row in summary}):
        own = {text(row, "synthetic") for row in summary if row["dataset"] == dataset}
        counts = real_counts(summary, dataset)
        ends = sorted({min(counts), max(counts)})
        parts = [
            _level(summary, [Group(dataset, count, synthetic, ALL_TARGETS) for count in ends])
            for synthetic in sorted(own, key=lambda name: (name != OFF, name))
        ]
        if any(parts):
            listed = "; ".join(part for part in parts if part)
            listed += "" if "[" in listed else " (1 seed, no interval)"
            at = " and ".join(str(count) for count in ends)
            sentences.append(
                f"Mean AP50 over the targets, trained on {dataset} with {at} real images: {listed}."
            )
    return sentences or ["No AP50 over all targets exists: see the missing cells below."]


def _level(summary: Sequence[Row], groups: Sequence[Group]) -> str:
    """`off 14.3 % [12.1, 16.4] and 23.9 % [22.6, 25.2]`; empty when one does not exist."""
    means = [mean_of(find_summary(summary, "AP50", group) or {}) for group in groups]
    if not all(mean.num for mean in means):
        return ""
    return f"{groups[0].synthetic} {' and '.join(map(_percent, means))}"


def _percent(mean: Interval) -> str:
    shown = f"{100 * mean.mean:.1f} %"
    if not mean.known:
        return shown
    return f"{shown} [{100 * mean.low:.1f}, {100 * mean.high:.1f}]"


def effects(summary: Sequence[Row]) -> list[str]:
    """In how many groups of (real count, target) AP50 changes, and where most; reads summary."""
    sentences = []
    for pooled in pooled_effects(summary, "AP50"):
        own = [
            row
            for row in summary
            if row["metric"] == "AP50"
            and row["target"] != ALL_TARGETS
            and all(row[key] == pooled[key] for key in ("dataset", "synthetic"))
            and effect_of(row).num
        ]
        if not own:
            continue
        verdicts = [effect_evidence(row).verdict for row in own]
        largest = max(own, key=lambda row: abs(effect_of(row).mean))
        found = effect_evidence(largest)
        bounds = "no interval" if found.verdict == "unknown" else found.bounds()
        sentences.append(
            f"Of {plural(len(own), 'group')} of real count and target, {named(pooled)} raise AP50 "
            f"in {verdicts.count('up')} and lower it in {verdicts.count('down')} by an interval "
            f"that excludes zero, with no evidence in the other "
            f"{len(own) - verdicts.count('up') - verdicts.count('down')}; the largest change is "
            f"{100 * found.value:+.1f} points at {number(largest, 'real_count'):.0f} real images "
            f"on {largest['target']} ({bounds}; none is adjusted for the number of groups)."
        )
    return sentences or ["No effect: this sweep has no value of synthetic beside off."]
