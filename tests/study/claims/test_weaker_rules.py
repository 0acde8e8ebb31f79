"""What weaker rules would claim without any effect: the reasons that docs/method.md gives.

400 grids each, of cells with the noise of `helpers.null_grids`; a rule that holds what it promises
would claim in 5 % of them.
"""

import numpy as np
import pytest
from helpers.null_grids import COUNTS, TARGETS, levels, paired
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from ptl_sweep.metrics.bootstrap import block_weights, percentile_interval
from ptl_sweep.study.claims.flips import step_down_p
from ptl_sweep.study.correlation import spearman
from ptl_sweep.study.equivalent import equivalent_count, non_decreasing
from ptl_sweep.study.statistics import SIGNIFICANCE, holm, sign_flip_p

REPETITIONS = 400
TRAININGS = 1.47  # sd of an effect over seeds, in sd over test images
NUM_RESAMPLES = 400


def excludes(low: Float[ndarray, " n"], high: Float[ndarray, " n"]) -> float:
    """Share of the intervals without zero."""
    return float(np.mean((low > 0) | (high < 0)))


@pytest.mark.parametrize(("trainings", "share"), [(0.0, 0.05), (TRAININGS, 0.27), (2.65, 0.49)])
def test_one_seed_with_an_interval_over_test_images(trainings: float, share: float) -> None:
    """2 Phi(-1.96 / root(1 + r^2)), where r is the sd of trainings over that of images."""
    rng, num = np.random.default_rng(0), 200
    luck = rng.normal(0, trainings / np.sqrt(num), size=(REPETITIONS, 1))
    images = rng.normal(size=(REPETITIONS, num)) + luck
    weights = rng.multinomial(num, np.full(num, 1 / num), size=NUM_RESAMPLES) / num
    low, high = np.percentile(images @ weights.T, (2.5, 97.5), axis=1)
    assert 2 * stats.norm.cdf(-1.96 / np.hypot(1, trainings)) == pytest.approx(share, abs=0.005)
    assert excludes(low, high) == pytest.approx(share, abs=0.06)


def test_one_seed_says_what_the_smallest_count_is_worth() -> None:
    """The same interval of the real-image equivalent, on a curve of five counts."""
    rng, counts = np.random.default_rng(1), np.array(COUNTS, np.float64)
    truth = 3.0 * np.log2([*counts, counts[0]])  # the last: with synthetic images, which do nothing
    wrong = 0
    for _ in range(REPETITIONS):
        trained = truth + np.hypot(TRAININGS, 1) * rng.normal(0, np.sqrt(0.5), truth.shape)
        resampled = trained + rng.normal(0, np.sqrt(0.5), (NUM_RESAMPLES, len(truth)))
        worth = equivalent_count(counts, non_decreasing(resampled[:, :-1]), resampled[:, -1])
        low, high = np.quantile(worth, (0.025, 0.975), method="inverted_cdf")
        wrong += not low <= counts[0] <= high
    assert wrong / REPETITIONS == pytest.approx(0.25, abs=0.04)


def pooled_rho(num_seeds: int, rng: np.random.Generator, targets: float, synthetic: float) -> bool:
    """Whether Spearman's rho within counts, over all other cells, has an interval without zero.

    Distance and AP50 have nothing in common but the sd of their `targets` and a `synthetic` shift.
    """
    own = []
    for sign in (-1, 1):
        cells = levels(num_seeds, 3, rng, shift=sign * synthetic, targets=targets)
        own.append(cells.ravel())
    seeds, counts = (place.ravel() for place in np.indices(cells.shape)[:2])
    weights = block_weights(seeds, NUM_RESAMPLES, rng).astype(np.float64)
    low, high = percentile_interval(spearman(*own, counts.astype(np.float64), weights))
    return bool(low > 0 or high < 0)


@pytest.mark.parametrize(
    ("num_seeds", "targets", "synthetic", "share"),
    [
        (6, 3.0, 0.0, 0.87),
        (6, 0.0, 1.0, 0.47),
        (2, 0.0, 0.0, 0.37),
        (3, 0.0, 0.0, 0.12),
        (6, 0.0, 0.0, 0.07),
    ],
)
def test_one_rho_over_cells_of_different_targets_or_arms(
    num_seeds: int, targets: float, synthetic: float, share: float
) -> None:
    rng = np.random.default_rng(2)
    found = [pooled_rho(num_seeds, rng, targets, synthetic) for _ in range(REPETITIONS)]
    assert np.mean(found) == pytest.approx(share, abs=0.05)


def test_sign_flips_of_counts_and_seeds_on_their_own() -> None:
    """15 differences, of 5 counts and 3 seeds, as if counts of a seed had nothing in common."""
    rng = np.random.default_rng(4)
    p_values = []
    for _ in range(REPETITIONS):
        effects = paired(levels(3, 5, rng)).effects.mean(axis=2)
        p_values.append(sign_flip_p((effects + rng.normal(0, 0.6, (3, 1))).ravel()))
    assert 0.15 <= np.mean(np.array(p_values) <= SIGNIFICANCE) <= 0.25


def test_holm_over_three_targets_finds_nothing_where_joint_flips_find_two_sd() -> None:
    rng = np.random.default_rng(5)
    effects = rng.normal(2.0, 1.0, size=(REPETITIONS, 6, len(TARGETS)))
    joint = np.array([step_down_p(one, rng) for one in effects])
    alone = np.array([holm(np.array([sign_flip_p(column) for column in one.T])) for one in effects])
    assert np.mean(joint <= SIGNIFICANCE) > 0.8
    assert not (alone <= SIGNIFICANCE).any()
