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

from ptl_sweep.compose.cells.ids import BETWEEN
from ptl_sweep.study.groups import split_domains
from ptl_sweep.study.statistics import holm
from ptl_sweep.vocabulary import ALL_TARGETS, OFF

METRIC = "AP50"
AXIS = "train.subset_seed"
MIN_LEVELS = 3  # subsets, and seeds
ROUNDING = 1e-12


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
    whole: float  # of a subset with a training of its own; not the sum where a part is cut at 0
    pictures: float  # of test pictures; NaN: not resampled
    p_subset: float  # of "subsets do not differ" and of "trainings do not", adjusted for both
    p_training: float
    num_subsets: int
    num_seeds: int

    def error_over_trainings(self, num_seeds: int) -> float:
        """Standard error of the mean of a sweep that draws new images with every seed."""
        return float(np.sqrt(max(self.whole, 0.0) / num_seeds))


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
        place: components(values.drop(AXIS).to_numpy(), pictures.get(place, np.nan))
        for place, values in sorted((levels | changes).items(), key=lambda item: item[0])
        if min(len(values), values.width - 1) >= MIN_LEVELS
    }


def components(values: Float[ndarray, "a b"], pictures: float = np.nan) -> Variance:
    """Split the variance of a table of subsets by seeds, by its mean squares; none is negative."""
    num_subsets, num_seeds = values.shape
    mean = float(values.mean())
    rows, columns = values.mean(axis=1) - mean, values.mean(axis=0) - mean
    left = values - mean - rows[:, None] - columns
    free = (num_subsets - 1, num_seeds - 1, (num_subsets - 1) * (num_seeds - 1))
    squares = np.array([
        num_seeds * float(rows @ rows) / free[0],
        num_subsets * float(columns @ columns) / free[1],
        float((left**2).sum()) / free[2],
    ])  # fmt: skip
    squares[squares <= (ROUNDING * np.abs(values).max()) ** 2] = 0.0
    between, within, rest = squares.tolist()
    p = holm(np.array([_f_p(between, rest, free[0], free[2]), _f_p(within, rest, *free[1:])]))
    return Variance(
        mean=mean,
        subset=max(0.0, (between - rest) / num_seeds),
        training=max(0.0, (within - rest) / num_subsets),
        rest=rest,
        whole=(between - rest) / num_seeds + (within - rest) / num_subsets + rest,
        pictures=pictures,
        p_subset=float(p[0]),
        p_training=float(p[1]),
        num_subsets=num_subsets,
        num_seeds=num_seeds,
    )


def _f_p(square: float, rest: float, free: int, free_rest: int) -> float:
    return float(stats.f.sf(square / rest, free, free_rest)) if rest > 0 else float(square == 0)


def _levels(results: pl.DataFrame) -> dict[VariancePlace, pl.DataFrame]:
    """Means over targets; a row per subset and a column per seed, those with every number.

    Images that are drawn by `seed` itself (null) are no subset that every training meets.
    """
    found: dict[VariancePlace, pl.DataFrame] = {}
    value = pl.col(METRIC).cast(pl.Float64).fill_null(np.nan)
    label = pl.col("dataset", "synthetic").map_elements(_without_subset, pl.String)
    named = results.filter(pl.col(AXIS).is_not_null()).with_columns(label)
    place = ("dataset", "real_count", "synthetic")
    means = named.group_by(*place, AXIS, "seed").agg(value.mean())
    for key, own in means.group_by(*place):
        wide = own.sort("seed").pivot("seed", index=AXIS, values=METRIC).sort(AXIS)
        found[VariancePlace(*key)] = _whole(wide)
    return found


def _without_subset(label: str) -> str:
    """`miniature, train.subset_seed=0, train.num_steps=9` without the subset; other axes stay."""
    own = (f"{AXIS}=", f"{AXIS.rpartition('.')[2]}=")  # a label may have the last word alone
    return BETWEEN.join(part for part in label.split(BETWEEN) if not part.startswith(own))


def _whole(wide: pl.DataFrame) -> pl.DataFrame:
    """Leave out the subset or seed that lacks the larger share, until no number is missing."""
    while len(wide) and wide.width > 1:
        gaps = ~np.isfinite(wide.drop(AXIS).cast(pl.Float64).fill_null(np.nan).to_numpy())
        if not gaps.any():
            break
        by_subset, by_seed = gaps.mean(axis=1), gaps.mean(axis=0)
        if by_subset.max() >= by_seed.max():
            wide = wide.filter(pl.int_range(pl.len()) != int(by_subset.argmax()))
        else:
            wide = wide.drop(wide.columns[1 + int(by_seed.argmax())])
    return wide


def _change(values: pl.DataFrame, off: pl.DataFrame) -> pl.DataFrame:
    """Cell by cell, at the subsets and seeds that both have."""
    both = values.join(off, on=AXIS, suffix=" of off", maintain_order="left")
    shared = [name for name in values.columns if name != AXIS and name in off.columns]
    return both.select(AXIS, *(pl.col(name) - pl.col(f"{name} of off") for name in shared))


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
        what = f"{_without_subset(row['synthetic'])} - {OFF}"
        place = VariancePlace(_without_subset(row["dataset"]), row["real_count"], what)
        found[place].append(row["image_sd"] ** 2)
    return {place: float(np.mean(values)) for place, values in found.items()}
