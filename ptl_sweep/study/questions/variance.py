"""Where the spread over seeds is from: which real images were drawn, or the training (ours).

A sweep over `train.subset_seed` and `seed` trains on every subset with every seed: two crossed
random effects without repetition (Searle, Casella, McCulloch 1992, section 4.3). `seed` alone
decides initial weights, order of batches and selection; what the two do together is the rest.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from ptl_sweep.compose.cells.ids import name_before_axes
from ptl_sweep.study.groups import split_domains
from ptl_sweep.study.statistics import holm
from ptl_sweep.vocabulary import ALL_TARGETS, OFF

METRIC = "AP50"
AXIS = "train.subset_seed"
MIN_LEVELS = 3  # subsets, and seeds


class VariancePlace(NamedTuple):
    """Detectors that differ in their real images and their training alone."""

    dataset: str
    real_count: int
    what: str  # a value of `synthetic`, or the change by one


class Variance(NamedTuple):
    """Components of the variance of a mean over targets, each of one draw; fractions squared."""

    mean: float
    subset: float
    training: float
    rest: float  # of a subset and a training together
    pictures: float  # of test pictures; NaN: not resampled
    p_subset: float  # of "subsets do not differ" and of "trainings do not", adjusted for both
    p_training: float
    num_subsets: int
    num_seeds: int

    def error_over_trainings(self, num_seeds: int) -> float:
        """Standard error of the mean of a sweep that draws new images with every seed."""
        return float(np.sqrt((self.subset + self.training + self.rest) / num_seeds))


def variances(results: pl.DataFrame, summary: pl.DataFrame) -> dict[VariancePlace, Variance]:
    """Components of AP50 of each value of `synthetic`, and of its change against off.

    `results` and `summary` are the files of a sweep over AXIS. A place with fewer than MIN_LEVELS
    subsets or seeds that have every number is left out.
    """
    if AXIS not in results.columns:
        return {}
    levels = _levels(split_domains(results)[0])
    changes = {
        place._replace(what=f"{place.what} - {OFF}"): _change(values, levels[off])
        for place, values in levels.items()
        if place.what != OFF and (off := place._replace(what=OFF)) in levels
    }
    pictures = _pictures(summary)
    return {
        place: components(values.to_numpy(), pictures.get(place, np.nan))
        for place, values in sorted((levels | changes).items())
        if min(values.shape) >= MIN_LEVELS
    }


def components(values: Float[ndarray, "a b"], pictures: float = np.nan) -> Variance:
    """Split the variance of a table of subsets by seeds, by its mean squares; none is negative."""
    num_subsets, num_seeds = values.shape
    mean = float(values.mean())
    rows, columns = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    left = values - mean - rows[:, None] - columns
    free = (num_subsets - 1, num_seeds - 1, (num_subsets - 1) * (num_seeds - 1))
    between = num_seeds * float(rows @ rows) / free[0]
    within = num_subsets * float(columns @ columns) / free[1]
    rest = float((left**2).sum()) / free[2]
    p = holm(np.array([_f_p(between, rest, free[0], free[2]), _f_p(within, rest, *free[1:])]))
    return Variance(
        mean=mean,
        subset=max(0.0, (between - rest) / num_seeds),
        training=max(0.0, (within - rest) / num_subsets),
        rest=rest,
        pictures=pictures,
        p_subset=float(p[0]),
        p_training=float(p[1]),
        num_subsets=num_subsets,
        num_seeds=num_seeds,
    )


def _f_p(square: float, rest: float, free: int, free_rest: int) -> float:
    return float(stats.f.sf(square / rest, free, free_rest)) if rest > 0 else float(square == 0)


def _levels(results: pl.DataFrame) -> dict[VariancePlace, pl.DataFrame]:
    """Means over targets; a row per subset and a column per seed, those with every number."""
    found: dict[VariancePlace, pl.DataFrame] = {}
    value = pl.col(METRIC).cast(pl.Float64).fill_null(np.nan)
    named = results.with_columns(
        pl.col("dataset").map_elements(name_before_axes, pl.String),
        pl.col("synthetic").map_elements(name_before_axes, pl.String),
    )
    place = ("dataset", "real_count", "synthetic")
    means = named.group_by(*place, AXIS, "seed").agg(value.mean())
    for key, own in means.group_by(*place):
        wide = own.sort("seed").pivot("seed", index=AXIS, values=METRIC).sort(AXIS).drop(AXIS)
        whole = wide.select(one for one in wide if one.is_finite().fill_null(value=False).all())
        found[VariancePlace(*key)] = whole
    return found


def _change(values: pl.DataFrame, off: pl.DataFrame) -> pl.DataFrame:
    """Cell by cell, at the seeds that both have."""
    shared = [name for name in values.columns if name in off.columns]
    if len(values) != len(off):
        return pl.DataFrame()
    return values.select(shared) - off.select(shared)


def _pictures(summary: pl.DataFrame) -> Mapping[VariancePlace, float]:
    """Variance of a change over test pictures, mean over the subsets."""
    own = summary.filter(
        pl.col("real_count").is_not_null(),
        pl.col("image_sd").is_finite(),
        metric=METRIC,
        target=ALL_TARGETS,
    )
    found: defaultdict[VariancePlace, list[float]] = defaultdict(list)
    for row in own.iter_rows(named=True):
        what = f"{name_before_axes(row['synthetic'])} - {OFF}"
        place = VariancePlace(name_before_axes(row["dataset"]), row["real_count"], what)
        found[place].append(row["image_sd"] ** 2)
    return {place: float(np.mean(values)) for place, values in found.items()}
