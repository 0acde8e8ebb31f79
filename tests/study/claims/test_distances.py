import itertools

import numpy as np
import pytest
from scipy import stats

from ptl_sweep.study.claims.claim import MIN_SEEDS, Verdict
from ptl_sweep.study.claims.distances import nearer_targets, prediction

SEEDS = tuple(range(6))
RNG = np.random.default_rng(0)
DISTANCE = RNG.normal(size=(6, 4))
AP50 = RNG.normal(size=(6, 4)) - 0.5 * DISTANCE


def test_each_seed_has_one_rho_of_ranks_within_its_strata() -> None:
    ranks = [stats.rankdata(one, axis=0) - 3.5 for one in (DISTANCE, AP50)]
    expected = [(a @ b) / np.sqrt((a @ a) * (b @ b)) for a, b in zip(*ranks, strict=True)]
    found = prediction(SEEDS, DISTANCE, AP50)
    assert (found.value, found.sd) == pytest.approx((np.mean(expected), np.std(expected, ddof=1)))


def test_p_is_that_of_all_orders_of_the_seeds() -> None:
    seeds, distance, ap50 = SEEDS[:5], DISTANCE[:5], AP50[:5]
    every = [
        abs(prediction(seeds, distance[list(order)], ap50).value)
        for order in itertools.permutations(range(5))
    ]
    assert prediction(seeds, distance, ap50).p == np.mean(np.array(every) >= every[0] - 1e-9)


def test_what_a_stratum_adds_to_both_changes_nothing() -> None:
    added = np.array([0.0, 10.0, -20.0, 30.0])
    moved = prediction(SEEDS, DISTANCE + added, AP50 - 2 * added)
    assert moved == prediction(SEEDS, DISTANCE, AP50)


def test_a_rising_map_of_either_number_changes_nothing() -> None:
    assert prediction(SEEDS, np.exp(DISTANCE), AP50**3) == prediction(SEEDS, DISTANCE, AP50)


def test_nearer_detectors_with_the_higher_ap50_are_found() -> None:
    found = prediction(SEEDS, DISTANCE, -DISTANCE)
    assert (found.direction, found.value) == (-1, pytest.approx(-1.0))


def test_a_stratum_with_a_gap_and_a_seed_without_cells_are_left_out() -> None:
    distance = np.vstack([DISTANCE, np.full((1, 4), np.nan)])
    distance[2, 1] = np.nan
    found = prediction((*SEEDS, 6), distance, np.vstack([AP50, np.ones((1, 4))]))
    assert found == prediction(SEEDS, DISTANCE[:, [0, 2, 3]], AP50[:, [0, 2, 3]])


def test_nothing_measured_is_open() -> None:
    nothing = np.full((6, 4), np.nan)
    assert prediction(SEEDS, nothing, nothing).verdict is Verdict.OPEN
    assert prediction(SEEDS[:0], nothing[:0], nothing[:0]).verdict is Verdict.OPEN


def test_seeds_beyond_those_that_are_enumerated_are_drawn() -> None:
    rng = np.random.default_rng(4)
    distance = rng.normal(size=(9, 6))
    found = prediction(tuple(range(9)), distance, rng.normal(size=(9, 6)) - 2 * distance)
    assert found.direction == -1
    assert 0 < found.p <= 0.001


def seeds(values: np.ndarray) -> dict[int, float]:
    return dict(enumerate(values.tolist()))


CHANGE = np.linspace(-1.2, -0.8, MIN_SEEDS)


def test_targets_come_nearer_where_both_readings_say_so() -> None:
    found = nearer_targets(seeds(CHANGE), seeds(30 * CHANGE))
    assert (found.direction, found.disagreeing) == (-1, ())
    assert found.value == pytest.approx(-1.0)


def test_a_training_set_that_only_spreads_does_not_come_nearer() -> None:
    found = nearer_targets(seeds(CHANGE), seeds(-CHANGE))
    assert (found.verdict, found.disagreeing) == (Verdict.NONE, ("-log p",))


def test_one_seed_has_no_rho():
    """Ranks over a single seed say nothing, and zero would look like a number."""
    found = prediction((0,), np.array([[1.0, 2.0]]), np.array([[0.3, 0.2]]))
    assert found.verdict is Verdict.OPEN
    assert np.isnan(found.value)
