"""Cells of a grid by group: rows that differ in the seed only, their means and paired effects.

A series has a value per seed of the whole grid, by rising seed; NaN where the cell has no number.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.vocabulary import ALL_TARGETS, OFF, Domain, Group

Series: TypeAlias = Float[ndarray, " s"]


def seeds_of(results: pl.DataFrame) -> list[int]:
    """The seeds of a grid, rising: the places of a series."""
    return results["seed"].unique().sort().to_list()


def split_domains(
    results: pl.DataFrame, *, with_unlabelled: bool = False
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The cells that means over targets are about, and the others: parts of the source itself.

    A source without any foreign target keeps its own, because its grid asks about nothing else. A
    target that shows nobody, so that it has no AP, is in neither, unless it is asked for or its
    source has no other: one target without labels would leave no mean over targets.
    """
    is_own = pl.col("domain").fill_null(Domain.CROSS) != Domain.CROSS
    is_kept = ~is_own | is_own.all().over("dataset")
    wanted = pl.lit(value=True)
    if not with_unlabelled:
        # a cell that failed says nothing of its target; no cell at all, nothing yet
        shows = pl.col("num_ground_truth").max().over("dataset", "target").fill_null(1) > 0
        wanted = shows | ~shows.any().over("dataset")
    return results.filter(is_kept & wanted), results.filter(~is_kept & wanted)


def on_the_same_pictures(results: pl.DataFrame) -> pl.DataFrame:
    """Targets whose pictures are the same for every seed: only these compare detectors.

    Where each seed has a world of its own, a target shows another number of persons in each.
    """
    count = pl.col("num_ground_truth").drop_nulls().n_unique().over("dataset", "target")
    return results.filter(count < 2)


def over_foreign_targets(
    table_of: Callable[[pl.DataFrame], pl.DataFrame], results: pl.DataFrame
) -> pl.DataFrame:
    """A table by group; targets of the source's own domain have rows, but enter no mean."""
    foreign, own = split_domains(results)
    if own.is_empty():
        return table_of(foreign)
    rows = table_of(own).filter(pl.col("target") != ALL_TARGETS)
    return pl.concat([table_of(foreign), rows])


def by_group(results: pl.DataFrame, metric: str) -> dict[Group, Series]:
    """The series of a column of results.csv, by group."""
    wide = results.pivot("seed", index=Group._fields, values=metric)
    values = wide.select(map(str, seeds_of(results))).to_numpy().astype(np.float64)
    known = np.where(np.isfinite(values), values, np.nan)
    groups = map(Group._make, wide.select(Group._fields).iter_rows())
    return dict(zip(groups, known, strict=True))


def members(groups: Iterable[Group]) -> dict[Group, list[Group]]:
    """What each group is the mean of: itself, then targets, then targets and real counts."""
    own = list(groups)
    result = {group: [group] for group in own}
    for wider in ({"target": ALL_TARGETS}, {"target": ALL_TARGETS, "real_count": None}):
        for group in own:
            result.setdefault(Group(**(group._asdict() | wider)), []).append(group)
    return result


def mean_over(series: Mapping[Group, Series], groups: Sequence[Group]) -> Series:
    """Mean of the groups within each seed; NaN for a seed that one of them lacks."""
    return np.asarray(np.stack([series[group] for group in groups], axis=-1).mean(axis=-1))


def with_averages(series: Mapping[Group, Series]) -> dict[Group, Series]:
    """The groups, then their means over targets, then over targets and real counts."""
    return {group: mean_over(series, parts) for group, parts in members(series).items()}


def paired_effects(series: Mapping[Group, Series]) -> dict[Group, Series]:
    """Value minus that of `off` with the same dataset, real count, target and seed; averages too.

    Paired before anything is averaged: a real count that only `off` has moves no effect.
    """
    effects = {}
    for group, values in series.items():
        if group.synthetic != OFF:
            off = series.get(group._replace(synthetic=OFF), np.full_like(values, np.nan))
            effects[group] = values - off
    return with_averages(effects)
