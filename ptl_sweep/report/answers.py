"""What the numbers say of AP50, one sentence each, with the interval; "no evidence" when it
includes zero or cannot be formed. All of it reads the summary.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ptl_sweep.report.evidence import (
    UNKNOWN,
    Axis,
    Bounds,
    GroupSummary,
    PooledEffect,
    axes_of,
    bounded_text,
    by_group,
    count_text,
    plural,
    pooled_effects,
)
from ptl_sweep.study.statistics import Interval
from ptl_sweep.vocabulary import ALL_TARGETS, Group


class Answer(NamedTuple):
    """What the numbers say about one value of `synthetic`."""

    sentence: str
    test: str  # the exact test behind it and what limits it


def answers(summary: pl.DataFrame) -> list[Answer]:
    """The title's question per (source, value of synthetic); reads the summary over all targets."""
    return [_answer(found) for found in pooled_effects(summary, "AP50")]


def named(group: Group) -> str:
    """What a sentence calls this value of `synthetic`."""
    return f"synthetic images ({group.synthetic})"


def _answer(pooled: PooledEffect) -> Answer:
    row = pooled.whole
    effect, found, name = row.effect, row.evidence, named(row.group)
    if effect.num == 0:
        return Answer(f"No answer for {name}: no seed has all cells of off and of this value.", "")
    change, worth = f"{100 * effect.mean:+.1f} points", _worth(pooled)
    where = f"({_levels(row)}{_scope(pooled.axis, row.group.dataset)})"
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
    note = f"; {row.note}" if row.note else ""
    return Answer(sentence, f"Exact sign-flip test over seeds: p = {row.p:.3g}{note}.")


def _worth(pooled: PooledEffect) -> str:
    """The real-image equivalent at the smallest count that has one, over all targets."""
    known = [one for one in pooled.by_count if not np.isnan(one.worth.value)]
    if not known:
        return ""
    smallest = min(known, key=lambda one: one.group.real_count or 0)
    count, (value, low, high) = smallest.group.real_count or 0, smallest.worth
    worth = f"{count:.0f} real images with them detect as well as"
    bounds = equivalent_text(smallest.worth, pooled.axis.real_counts)
    if not low <= high:
        return f"; {worth} {bounds} without, an estimate without interval"
    if low <= count <= high:
        return f"; no evidence that they replace real images: {worth} {bounds} without"
    more = "" if value > count else "only "
    return f"; {worth} {more}{bounds} without"


def equivalent_text(worth: Bounds, counts: Sequence[int]) -> str:
    """A real-image equivalent, `34 [28, > 200]`; empty when there is none."""
    if np.isnan(worth.value):
        return ""
    shown = count_text(worth.value, counts)
    if np.isnan([worth.low, worth.high]).any():
        return shown
    return f"{shown} [{count_text(worth.low, counts)}, {count_text(worth.high, counts)}]"


def _levels(row: GroupSummary) -> str:
    """AP50 with and without, over the seeds of the effect; empty when `off` lacks one of them."""
    on, effect = row.mean, row.effect
    if on.num != effect.num:
        return ""
    return f"{100 * on.mean:.1f} % with, {100 * (on.mean - effect.mean):.1f} % without; "


def _scope(axis: Axis, dataset: str) -> str:
    """What the mean was taken over."""
    return (
        f"mean over the target{'s' if len(axis.targets) > 1 else ''} {', '.join(axis.targets)} "
        f"and {', '.join(map(str, axis.real_counts))} real images of {dataset}"
    )


def levels(summary: pl.DataFrame) -> list[str]:
    """How AP50 grows with real images, per source, mean over targets."""
    means = {group: one.mean for group, one in by_group(summary, "AP50").items()}
    sentences = []
    for dataset in sorted(summary["dataset"].unique()):
        axis = axes_of(summary.filter(dataset=dataset))
        ends = sorted({axis.real_counts[0], axis.real_counts[-1]})
        parts = [_level(means, dataset, ends, synthetic) for synthetic in axis.synthetics]
        if any(parts):
            listed = "; ".join(part for part in parts if part)
            listed += "" if "[" in listed else " (1 seed, no interval)"
            at = " and ".join(map(str, ends))
            sentences.append(
                f"Mean AP50 over the targets, trained on {dataset} with {at} real images: {listed}."
            )
    return sentences or ["No AP50 over all targets exists: see the missing cells below."]


def _level(
    means: Mapping[Group, Interval], dataset: str, counts: Sequence[int], synthetic: str
) -> str:
    """`off 14.3 % [12.1, 16.4] and 23.9 % [22.6, 25.2]`; empty when one does not exist."""
    groups = [Group(dataset, count, synthetic, ALL_TARGETS) for count in counts]
    own = [means.get(group, UNKNOWN) for group in groups]
    if not all(one.num for one in own):
        return ""
    shown = [bounded_text(one.bounded, unit=" %", scale=100) for one in own]
    return f"{synthetic} {' and '.join(shown)}"


def effects(summary: pl.DataFrame) -> list[str]:
    """In how many groups of (real count, target) AP50 changes, and where most; reads summary."""
    sentences = [
        _effects([one for one in pooled.by_target if one.effect.num])
        for pooled in pooled_effects(summary, "AP50")
    ]
    found = [sentence for sentence in sentences if sentence]
    return found or ["No effect: this sweep has no value of synthetic beside off."]


def _effects(groups: Sequence[GroupSummary]) -> str:
    if not groups:
        return ""
    verdicts = [one.evidence.verdict for one in groups]
    largest = max(groups, key=lambda one: abs(one.effect.mean))
    found = largest.evidence
    bounds = "no interval" if found.verdict == "unknown" else found.bounds()
    num_up, num_down = verdicts.count("up"), verdicts.count("down")
    return (
        f"Of {plural(len(groups), 'group')} of real count and target, {named(largest.group)} raise "
        f"AP50 in {num_up} and lower it in {num_down} by an interval "
        f"that excludes zero, with no evidence in the other "
        f"{len(groups) - num_up - num_down}; the largest change is "
        f"{100 * found.value:+.1f} points at {largest.group.real_count:.0f} real images "
        f"on {largest.group.target} ({bounds}; none is adjusted for the number of groups)."
    )
