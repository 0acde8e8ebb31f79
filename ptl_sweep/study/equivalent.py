"""Real-image equivalent: how many real images alone give the AP50 of N with synthetic (ours).

The curve of a seed without synthetic is made non-decreasing (isotonic regression of AP50 over the
real counts), linear in the logarithm of the count between them, and read backwards.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.metrics.bootstrap import Replicates, percentile_interval
from ptl_sweep.study.groups import Series, by_group
from ptl_sweep.vocabulary import ALL_TARGETS, OFF, CellKey, Group, Row, cell_key

MIN_COUNTS = 3


class Equivalent(NamedTuple):
    """Real images without synthetic that give the AP50 of a group; 0 and inf: outside the counts.

    0 means fewer than `smallest`, inf more than `largest`; NaN: not known, `note` says why.
    """

    group: Group
    real_equivalent: float  # images; middle over the seeds
    low: float  # 95 % interval over seeds and test images
    high: float
    smallest: int  # real counts of the curve without synthetic
    largest: int
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

    @property
    def text(self) -> str:
        """`27 [15, > 40]`; `-` when not known, without bounds when those are not."""
        if np.isnan(self.real_equivalent):
            return "-"
        middle = self._shown(self.real_equivalent)
        if np.isnan(self.low):
            return middle
        return f"{middle} [{self._shown(self.low)}, {self._shown(self.high)}]"

    def _shown(self, images: float) -> str:
        if np.isinf(images):
            return f"> {self.largest}"
        return f"{images:.0f}" if images else f"< {self.smallest}"


class _Curves(NamedTuple):
    """One target (or the mean over all) without synthetic, at the seeds that have every count."""

    counts: Float[ndarray, " k"]
    by_seed: dict[int, Float[ndarray, " k"]]
    targets: tuple[str, ...]  # what the curve is the mean over


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
    rows: Sequence[Row],
    replicates: Mapping[CellKey, Replicates] | None = None,
    rng: np.random.Generator | None = None,
) -> list[Equivalent]:
    """One per (dataset, real count, synthetic) and target, and one over all targets (mean AP50).

    The number is the middle of the equivalents of the seeds that have every cell. Its interval
    (NaN without `replicates`) draws seeds with replacement and takes one resample of the test
    images, the same for all cells of a target; `rng` (seed 0 when not given) draws the seeds.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    series = by_group(rows, "AP50")
    found = []
    for group in _groups(series):
        curves = _curves(series, group)
        if len(curves.counts) < MIN_COUNTS:
            note = f"needs {MIN_COUNTS} real counts, there are {len(curves.counts)}"
            found.append(Equivalent(group, np.nan, np.nan, np.nan, 0, 0, 0, note))
        else:
            found.append(_equivalent(group, curves, series, replicates or {}, rng))
    return found


def _groups(series: Iterable[Group]) -> list[Group]:
    """Groups with synthetic, then their means over targets."""
    own = [group for group in series if group.synthetic != OFF]
    return own + list(dict.fromkeys(group._replace(target=ALL_TARGETS) for group in own))


def _curves(series: Mapping[Group, Series], group: Group) -> _Curves:
    """Without synthetic, on the targets of `group`, at the real counts that have any number."""
    targets = {group.target}
    if group.target == ALL_TARGETS:
        targets = {one.target for one in series if one._replace(target=ALL_TARGETS) == group}
    off = {
        (one.real_count, one.target): values
        for one, values in series.items()
        if (one.dataset, one.synthetic) == (group.dataset, OFF) and one.target in targets and values
    }
    counts = sorted(
        count for count in {count for count, _ in off if count is not None}
        if all((count, target) in off for target in targets)
    )  # fmt: skip
    cells = [[off[count, target] for target in sorted(targets)] for count in counts]
    seeds = set.intersection(*(set(one) for row in cells for one in row)) if cells else set()
    by_seed = {
        seed: np.array([np.mean([one[seed] for one in row]) for row in cells])
        for seed in sorted(seeds)
    }
    return _Curves(np.array(counts, np.float64), by_seed, tuple(sorted(targets)))


def _equivalent(
    group: Group,
    curves: _Curves,
    series: Mapping[Group, Series],
    replicates: Mapping[CellKey, Replicates],
    rng: np.random.Generator,
) -> Equivalent:
    parts = [series.get(group._replace(target=target), {}) for target in curves.targets]
    seeds = [seed for seed in curves.by_seed if all(seed in part for part in parts)]
    smallest, largest = int(curves.counts[0]), int(curves.counts[-1])
    if not seeds:
        note = "has no seed with every cell"
        return Equivalent(group, np.nan, np.nan, np.nan, smallest, largest, 0, note)
    levels = np.array([np.mean([part[seed] for part in parts]) for seed in seeds])
    curve = non_decreasing(np.stack([curves.by_seed[seed] for seed in seeds]))
    point = float(median_with_bounds(equivalent_count(curves.counts, curve, levels)))
    low, high = percentile_interval(_resampled(group, curves, seeds, replicates, rng))
    one_seed = len(seeds) == 1 and not np.isnan(low)
    note = "interval carries test images only (1 seed)" if one_seed else ""
    return Equivalent(group, point, low, high, smallest, largest, len(seeds), note)


def _resampled(
    group: Group,
    curves: _Curves,
    seeds: Sequence[int],
    replicates: Mapping[CellKey, Replicates],
    rng: np.random.Generator,
) -> Float[ndarray, " b"]:
    """The middle over seeds, one per resample of seeds and test images; empty without them."""

    def resamples(count: int, synthetic: str, seed: int) -> list[Replicates | None]:
        groups = (Group(group.dataset, count, synthetic, target) for target in curves.targets)
        return [replicates.get(cell_key(one, seed)) for one in groups]

    assert group.real_count is not None
    columns = [*((int(count), OFF) for count in curves.counts), (group.real_count, group.synthetic)]
    found = [[resamples(*column, seed) for column in columns] for seed in seeds]
    if any(one is None for row in found for cell in row for one in cell):
        return np.empty(0)
    values = np.array([[[one.AP50 for one in cell if one] for cell in row] for row in found])
    levels = values.mean(axis=2)  # seed, column, resample
    curve = non_decreasing(np.moveaxis(levels[:, :-1], 1, -1))
    each = equivalent_count(curves.counts, curve, levels[:, -1])
    drawn = rng.integers(0, len(seeds), size=(each.shape[1], len(seeds)))
    return median_with_bounds(each[drawn, np.arange(each.shape[1])[:, None]])
