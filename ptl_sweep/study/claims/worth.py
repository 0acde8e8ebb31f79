"""What synthetic images are worth: real images alone that give the same AP50, at every count.

Equivalents of each seed come from `study.equivalent`; they can be 0 (fewer than the smallest
count) and infinite (more than the largest), so their middle and its interval go by rank.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from ptl_sweep.study.claims.claim import MIN_SEEDS, Claim, Verdict
from ptl_sweep.study.claims.effects import PairedCells, effect
from ptl_sweep.study.equivalent import (
    MIN_COUNTS,
    equivalent_count,
    median_with_bounds,
    non_decreasing,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RealCurve:
    """AP50 of real images alone, mean over targets; its seeds are those of the cells beside it."""

    counts: tuple[int, ...]  # rising
    levels: Float[ndarray, "s k"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountWorth:
    """What `real_count` images with synthetic ones are worth."""

    verdict: Verdict  # found: the whole interval lies on the effect's side of real_count
    real_count: int
    equivalent: float  # real images alone, median over seeds; 0 and inf: outside the curve
    low: float  # interval of the median over seeds, at least 95 %; NaN under 6 seeds
    high: float
    num_seeds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """The effect that allows a sentence on worth, and what that sentence quotes."""

    claim: Claim  # effect on AP50; without one found, nothing may be said about worth
    counts: tuple[CountWorth, ...]  # every count; empty where the curve has fewer than three


def worth(cells: PairedCells, curve: RealCurve | None = None, guard: Claim | None = None) -> Worth:
    """Judge the effect over all counts first, then quote every count's equivalent.

    One test over all counts guards the statements about each of them: without an effect found,
    no count is found to be worth more or less. `curve`: where real images alone have more counts
    than the cells (their reference when not given). `guard`: the effect, where it was judged.
    """
    curve = curve or RealCurve(counts=cells.counts, levels=cells.reference.mean(axis=2))
    guard = guard or effect(cells)
    each = equivalents(cells, curve) if len(curve.counts) >= MIN_COUNTS else None
    return Worth(
        claim=guard,
        counts=()
        if each is None
        else tuple(_count_worth(count, each[:, i], guard) for i, count in enumerate(cells.counts)),
    )


def equivalents(cells: PairedCells, curve: RealCurve) -> Float[ndarray, "s c"]:
    """Real images alone that give each seed's mean AP50 over targets at each count."""
    counts = np.array(curve.counts, np.float64)
    rising = non_decreasing(curve.levels)
    levels = cells.treated.mean(axis=2)
    return np.stack([equivalent_count(counts, rising, one) for one in levels.T], axis=1)


def median_interval(values: Float[ndarray, " n"]) -> tuple[float, float]:
    """Order statistics that hold the median with at least 95 %; any law, 0 and inf allowed.

    P(median outside [x_(k), x_(n+1-k)]) = 2 P(Binomial(n, 1/2) < k); NaN where k would be 0,
    which is so under 6 values.
    """
    k = int(stats.binom.ppf(0.025, len(values), 0.5)) if len(values) else 0
    if k == 0:
        return np.nan, np.nan
    ordered = np.sort(values)
    return float(ordered[k - 1]), float(ordered[-k])


def _count_worth(count: int, each: Float[ndarray, " s"], guard: Claim) -> CountWorth:
    known = each[~np.isnan(each)]
    low, high = median_interval(known)
    if guard.verdict is Verdict.OPEN or len(known) < MIN_SEEDS:
        verdict = Verdict.OPEN
    else:
        more, less = guard.direction > 0 and low > count, guard.direction < 0 and high < count
        verdict = Verdict.FOUND if more or less else Verdict.NONE
    return CountWorth(
        verdict=verdict,
        real_count=count,
        equivalent=float(median_with_bounds(known)) if len(known) else np.nan,
        low=low,
        high=high,
        num_seeds=len(known),
    )
