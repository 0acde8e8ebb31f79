"""Cells of a grid by group: rows that differ in the seed only, their means and paired effects."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ptl_sweep.vocabulary import ALL_TARGETS, OFF, ApT2t, Group, Row, thresholds_in

Series: TypeAlias = dict[int, float]  # seed -> value


def number(row: Row, column: str) -> float:
    """The value as float; NaN where it is missing."""
    value = row.get(column)
    return float(value) if isinstance(value, int | float) else np.nan


def text(row: Row, column: str) -> str:
    """The value as text; empty where it is missing."""
    value = row.get(column)
    return "" if value is None else str(value)


def ap_t2t_of(rows: Iterable[Row]) -> list[ApT2t]:
    """The headline columns of AP_t2t that rows of results.csv have, by rising threshold."""
    return [ApT2t(score) for score in thresholds_in(name for row in rows for name in row)]


def group_of(row: Row) -> Group:
    """The group of a row of results.csv."""
    return Group(
        text(row, "dataset"),
        int(number(row, "real_count")),
        text(row, "synthetic"),
        text(row, "target"),
    )


def by_group(rows: Iterable[Row], metric: str) -> dict[Group, Series]:
    """Values by group and rising seed; a cell without a number leaves its seed out."""
    series: dict[Group, Series] = {}
    for row in rows:
        values = series.setdefault(group_of(row), {})
        if np.isfinite(number(row, metric)):
            values[int(number(row, "seed"))] = number(row, metric)
    return {group: dict(sorted(values.items())) for group, values in series.items()}


def members(groups: Iterable[Group]) -> dict[Group, list[Group]]:
    """What each group is the mean of: itself, then targets, then targets and real counts."""
    own = list(groups)
    result = {group: [group] for group in own}
    for wider in ({"target": ALL_TARGETS}, {"target": ALL_TARGETS, "real_count": None}):
        for group in own:
            result.setdefault(Group(**(group._asdict() | wider)), []).append(group)
    return result


def with_averages(series: Mapping[Group, Series]) -> dict[Group, Series]:
    """The groups, then their means over targets, then over targets and real counts.

    A mean is taken within each seed, over the seeds that all its groups have.
    """
    return {
        group: _mean_of_complete([series[part] for part in parts])
        for group, parts in members(series).items()
    }


def _mean_of_complete(parts: Sequence[Series]) -> Series:
    seeds = set.intersection(*(set(part) for part in parts))
    return {seed: float(np.mean([part[seed] for part in parts])) for seed in sorted(seeds)}


def paired_effects(series: Mapping[Group, Series]) -> dict[Group, Series]:
    """Value minus that of `off` with the same dataset, real count, target and seed; averages too.

    Paired before anything is averaged: a real count that only `off` has moves no effect.
    """
    effects: dict[Group, Series] = {}
    for group, values in series.items():
        if group.synthetic == OFF:
            continue
        off = series.get(group._replace(synthetic=OFF), {})
        effects[group] = {s: value - off[s] for s, value in values.items() if s in off}
    return with_averages(effects)
