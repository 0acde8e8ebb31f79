"""Real-image equivalent: how many real images alone give the AP50 of N with synthetic (ours).

The curve of a seed without synthetic is made non-decreasing (isotonic regression of AP50 over the
real counts), linear in the logarithm of the count between them, and read backwards.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.metrics.bootstrap import Replicates, percentile_interval
from ptl_sweep.study.groups import Series, by_group, mean_over, members, seeds_of
from ptl_sweep.vocabulary import OFF, CellKey, Group, cell_key

MIN_COUNTS = 3


class Equivalent(NamedTuple):
    """Real images without synthetic that give the AP50 of a group; 0 and inf: outside the counts.

    0 means fewer than the smallest, inf more than the largest; NaN: not known, `note` says why.
    """

    group: Group
    real_equivalent: float  # images; middle over the seeds
    low: float  # 95 % interval over seeds and test images
    high: float
    num_seeds: int
    note: str

    @property
    def bounded(self) -> tuple[float, float, float]:
        """The equivalent, its lower and upper bound."""
        return self.real_equivalent, self.low, self.high

    @property
    def ratio(self) -> tuple[float, float, float]:
        """Replacement ratio, equivalent over the real images that were used, and its bounds."""
        count = self.group.real_count
        assert count is not None
        return self.real_equivalent / count, self.low / count, self.high / count


class _CellGroups(NamedTuple):
    """Groups that an equivalent is read from: one per target, which are averaged."""

    on: list[Group]
    off: dict[int, list[Group]]  # by rising real count

    @property
    def counts(self) -> Float[ndarray, " k"]:
        """Real counts of the curve without synthetic."""
        return np.array(list(self.off), np.float64)


def non_decreasing(values: Float[ndarray, "*n k"]) -> Float[ndarray, "*n k"]:
    """Isotonic regression along the last axis: the closest non-decreasing sequence.

    y_i = max over j <= i of min over l >= i of mean(values[j..l]) (Barlow et al. 1972), for all
    sequences at once; k is a handful of real counts. NaN makes its whole sequence NaN.
    """
    num = values.shape[-1]
    result = np.full(values.shape, -np.inf)
    for first in range(num):
        running = np.cumsum(values[..., first:], axis=-1) / np.arange(1, num - first + 1)
        least = np.minimum.accumulate(running[..., ::-1], axis=-1)[..., ::-1]
        result[..., first:] = np.maximum(result[..., first:], least)
    return np.where(np.isnan(values).any(axis=-1, keepdims=True), np.nan, result)


def equivalent_count(
    counts: Float[ndarray, " k"], curve: Float[ndarray, "*n k"], level: Float[ndarray, " *n"]
) -> Float[ndarray, " *n"]:
    """The smallest number of real images whose (non-decreasing) curve reaches `level`.

    `counts` rise. Linear in log(count) between them; inf above the curve, 0 below it, NaN for NaN.
    """
    log_counts = np.log(counts)
    upper = np.sum(curve < level[..., None], axis=-1)  # first count that reaches the level
    right = np.clip(upper, 1, len(counts) - 1)
    low, high = (np.take_along_axis(curve, i[..., None], -1)[..., 0] for i in (right - 1, right))
    rise = np.where(high > low, high - low, 1.0)
    share = np.clip((level - low) / rise, 0.0, 1.0)
    inside = np.exp(log_counts[right - 1] + share * (log_counts[right] - log_counts[right - 1]))
    result = np.where(upper == len(counts), np.inf, np.where(level < curve[..., 0], 0.0, inside))
    return np.where(np.isnan(curve[..., 0]) | np.isnan(level), np.nan, result)


def median_with_bounds(equivalents: Float[ndarray, "*n s"]) -> Float[ndarray, " *n"]:
    """Median over seeds; of two middle values their geometric mean, the lower if it has none.

    A median bears 0 and inf. Between 0 or inf and a number there is no middle: the lower one does
    not claim more than half of the seeds show.
    """
    ordered = np.sort(equivalents, axis=-1)
    num = ordered.shape[-1]
    low, high = ordered[..., (num - 1) // 2], ordered[..., num // 2]
    between = (low > 0) & np.isfinite(high) & (low < high)
    scale = np.where(between, low, 1.0)
    middles = np.where(between, scale * np.sqrt(np.where(between, high, 1.0) / scale), low)
    return np.where(np.isnan(equivalents).any(axis=-1), np.nan, middles)


def real_equivalents(
    results: pl.DataFrame,
    replicates: Mapping[CellKey, Replicates] | None = None,
    rng: np.random.Generator | None = None,
) -> list[Equivalent]:
    """One per (dataset, real count, synthetic) and target, and one over all targets (mean AP50).

    The number is the middle of the equivalents of the seeds that have every cell. Its interval
    (NaN without `replicates`) draws seeds with replacement and takes one resample of the test
    images, the same for all cells of a target; `rng` (seed 0 when not given) draws the seeds.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    series, seeds = by_group(results, "AP50"), np.array(seeds_of(results))
    found = []
    for group, parts in members(series).items():
        if group.synthetic == OFF or group.real_count is None:
            continue
        groups = _cell_groups(series, sorted(parts))
        if len(groups.off) < MIN_COUNTS:
            note = f"needs {MIN_COUNTS} real counts, there are {len(groups.off)}"
            found.append(Equivalent(group, np.nan, np.nan, np.nan, 0, note))
            continue
        curves = np.stack([mean_over(series, own) for own in groups.off.values()], axis=1)
        levels = mean_over(series, groups.on)
        complete = np.isfinite(curves).all(axis=1) & np.isfinite(levels)
        each = equivalent_count(groups.counts, non_decreasing(curves), levels)[complete]
        resampled = _resampled(groups, seeds[complete].tolist(), replicates or {}, rng)
        found.append(_over_seeds(group, each, resampled))
    return found


def _cell_groups(series: Mapping[Group, Series], on: list[Group]) -> _CellGroups:
    """With the groups without synthetic, at the real counts that have any number on each target."""
    known = {group for group, values in series.items() if np.isfinite(values).any()}
    counts = sorted({group.real_count for group in known if group.real_count is not None})
    off = {count: [one._replace(real_count=count, synthetic=OFF) for one in on] for count in counts}
    return _CellGroups(on, {count: own for count, own in off.items() if known.issuperset(own)})


def _over_seeds(
    group: Group, each: Float[ndarray, " s"], resampled: Float[ndarray, " b"]
) -> Equivalent:
    if not len(each):
        return Equivalent(group, np.nan, np.nan, np.nan, 0, "has no seed with every cell")
    low, high = percentile_interval(resampled)
    one_seed = len(each) == 1 and not np.isnan(low)
    note = "interval carries test images only (1 seed)" if one_seed else ""
    return Equivalent(group, float(median_with_bounds(each)), low, high, len(each), note)


def _resampled(
    groups: _CellGroups,
    seeds: Sequence[int],
    replicates: Mapping[CellKey, Replicates],
    rng: np.random.Generator,
) -> Float[ndarray, " b"]:
    """The middle over seeds, one per resample of seeds and test images; empty without them."""
    columns = [*groups.off.values(), groups.on]
    keys = [[[cell_key(one, seed) for one in own] for own in columns] for seed in seeds]
    if not keys or any(key not in replicates for row in keys for own in row for key in own):
        return np.empty(0)
    values = np.array([[[replicates[key].AP50 for key in own] for own in row] for row in keys])
    levels = values.mean(axis=2)  # seed, column, resample
    curve = non_decreasing(np.moveaxis(levels[:, :-1], 1, -1))
    each = equivalent_count(groups.counts, curve, levels[:, -1])
    drawn = rng.integers(0, len(seeds), size=(each.shape[1], len(seeds)))
    return median_with_bounds(each[drawn, np.arange(each.shape[1])[:, None]])
