import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ptl_sweep.study.statistics import (
    departure_p,
    holm,
    mean_interval,
    sign_flip_p,
    smallest_p,
    student_p,
)

VALUES = st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=9)


@given(VALUES)
def test_interval_agrees_with_scipy(values: list[float]) -> None:
    found = mean_interval(np.array(values))
    spread = stats.sem(values)
    assert found.num == len(values)
    assert found.sd == pytest.approx(np.std(values, ddof=1))
    if spread > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), spread)
        assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))


def test_one_value_has_a_mean_and_no_bounds() -> None:
    found = mean_interval(np.array([0.3, np.nan]))
    assert (found.mean, found.num) == (0.3, 1)
    assert not found.known
    assert found.includes_zero


def test_no_value_is_nan() -> None:
    found = mean_interval(np.array([]))
    assert np.isnan(found.mean)
    assert found.num == 0


def test_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [mean_interval(rng.normal(2.0, 1.0, 5)) for _ in range(2000)]
    assert np.mean([one.low <= 2.0 <= one.high for one in found]) == pytest.approx(0.95, abs=0.015)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=8))
def test_sign_flip_p_agrees_with_brute_force(differences: list[int]) -> None:
    signs = itertools.product((-1, 1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(flip, differences, strict=True))) for flip in signs]
    expected = np.mean([total >= abs(sum(differences)) for total in sums])
    assert sign_flip_p(np.array(differences) / 7.0) == expected


def test_sign_flip_p_agrees_with_scipys_permutation_test() -> None:
    differences = np.random.default_rng(1).normal(0.4, 1.0, 10)
    expected = stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip_p(differences) == pytest.approx(expected)


@pytest.mark.parametrize(("num", "least"), [(1, 1.0), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_the_smallest_p_is_reached_when_all_differences_agree(num: int, least: float) -> None:
    assert smallest_p(num) == least
    assert sign_flip_p(np.full(num, 0.1)) == least


def test_more_differences_than_can_be_enumerated_are_sampled() -> None:
    differences = np.random.default_rng(2).normal(0.3, 1.0, 24)
    with pytest.raises(ValueError, match="pass rng"):
        sign_flip_p(differences)
    sampled = sign_flip_p(differences, np.random.default_rng(3))
    normal = 2 * stats.norm.sf(abs(differences.sum()) / np.linalg.norm(differences))
    assert sampled == pytest.approx(normal, abs=0.02)


def test_no_difference_has_no_p() -> None:
    assert np.isnan(sign_flip_p(np.array([])))


def test_student_p_agrees_with_scipy() -> None:
    values = np.random.default_rng(0).normal(0.5, 1, size=6)
    wanted = stats.ttest_1samp(values, 0).pvalue
    assert student_p(values.mean(), values.std(ddof=1), 6) == pytest.approx(wanted)


def test_student_p_is_five_percent_at_the_edge_of_the_interval() -> None:
    values = np.random.default_rng(0).normal(size=6)
    over = mean_interval(values)
    assert student_p(over.mean - over.low, over.sd, over.num) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("mean", "sd", "wanted"), [(1.0, np.nan, np.nan), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)]
)
def test_student_p_without_spread(mean: float, sd: float, wanted: float) -> None:
    assert student_p(mean, sd, 6) == pytest.approx(wanted, nan_ok=True)


def departures(values: np.ndarray) -> np.ndarray:
    return np.asarray(values - values.mean(axis=1, keepdims=True))


def test_departures_of_two_columns_are_a_paired_t_test() -> None:
    values = np.random.default_rng(0).normal([0.7, 0.0], 1, size=(7, 2))
    wanted = stats.ttest_rel(*values.T).pvalue
    assert departure_p(departures(values)) == pytest.approx(wanted)


def test_departures_are_tested_as_greenhouse_and_geisser_write_it() -> None:
    """Mean squares within seeds, and epsilon from the covariance of the undeparted columns."""
    values = np.random.default_rng(1).normal([0.9, 0.2, 0.0, 0.1], [1, 2, 1, 3], size=(8, 4))
    num, wide = values.shape
    grand, rows, columns = values.mean(), values.mean(axis=1), values.mean(axis=0)
    between = num * ((columns - grand) ** 2).sum() / (wide - 1)
    rest = values - rows[:, None] - columns + grand
    ratio = between / ((rest**2).sum() / ((num - 1) * (wide - 1)))
    covariance = np.cov(values, rowvar=False)
    above = wide**2 * (np.diag(covariance).mean() - covariance.mean()) ** 2
    below = (covariance**2).sum() - 2 * wide * (covariance.mean(axis=1) ** 2).sum()
    epsilon = above / ((wide - 1) * (below + wide**2 * covariance.mean() ** 2))
    freedoms = epsilon * (wide - 1), epsilon * (wide - 1) * (num - 1)
    assert departure_p(departures(values)) == pytest.approx(stats.f.sf(ratio, *freedoms))


def test_departures_of_unequally_noisy_columns_reject_in_five_percent() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, [1, 3, 9], size=(1000, 6, 3))
    assert np.mean([departure_p(departures(one)) <= 0.05 for one in noise]) <= 0.06


@pytest.mark.parametrize(("profile", "wanted"), [([1.0, -1.0], 0.0), ([0.0, 0.0], 1.0)])
def test_departures_without_noise(profile: list[float], wanted: float) -> None:
    assert departure_p(np.tile(profile, (6, 1))) == wanted


def test_holm_by_hand() -> None:
    adjusted = holm(np.array([0.01, 0.04, 0.03, 0.005, np.nan]))
    assert adjusted[:4] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert np.isnan(adjusted[4])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float]) -> None:
    p, level = np.array(p_values), 0.05
    rejected = np.zeros(len(p), bool)
    for step, index in enumerate(np.argsort(p, kind="stable")):
        if p[index] * (len(p) - step) > level:
            break
        rejected[index] = True
    np.testing.assert_array_equal(holm(p) <= level, rejected)
