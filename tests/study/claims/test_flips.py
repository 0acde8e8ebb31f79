import itertools
from functools import partial

import numpy as np
import pytest

from ptl_sweep.study.claims import flips
from ptl_sweep.study.claims.flips import profile_p
from ptl_sweep.study.statistics import sign_flip_p, sign_vectors

step_down_p = partial(flips.step_down_p, rng=np.random.default_rng(0))  # no draw under 17 seeds


def test_every_sign_vector_occurs_once() -> None:
    found = {tuple(row) for row in sign_vectors(4, np.random.default_rng(0)).tolist()}
    assert found == set(itertools.product((-1.0, 1.0), repeat=4))


def test_the_last_sign_vector_changes_nothing() -> None:
    for num in (3, 20):
        assert sign_vectors(num, np.random.default_rng(0))[-1].tolist() == [1.0] * num


def test_a_family_of_one_has_the_p_of_its_test() -> None:
    values = np.random.default_rng(3).normal(0.5, 1, size=(7, 1))
    assert step_down_p(values)[0] == sign_flip_p(values[:, 0])


def test_a_column_that_is_given_twice_costs_nothing() -> None:
    """Holm would double its p; joint flips know that the two tests are one."""
    values = np.random.default_rng(3).normal(0.5, 1, size=(7, 1))
    assert step_down_p(np.repeat(values, 2, axis=1)).tolist() == [sign_flip_p(values[:, 0])] * 2


def test_adjusted_p_agrees_with_brute_force() -> None:
    values = np.random.default_rng(5).normal([0.9, 0.4, 0.0], 1, size=(6, 3))
    scale = np.sqrt((values**2).sum(axis=0))
    flips = list(itertools.product((-1, 1), repeat=6))
    statistic = np.array([np.abs(np.array(f) @ values) / scale for f in flips])
    observed = np.abs(values.sum(axis=0)) / scale
    first, second, third = np.argsort(-observed)
    steps = [
        np.mean(statistic[:, rest].max(axis=1) >= observed[rest[0]] - 1e-12)
        for rest in ([first, second, third], [second, third], [third])
    ]
    found = step_down_p(values)[[first, second, third]]
    assert found == pytest.approx(np.maximum.accumulate(steps))


def test_true_members_are_rejected_in_at_most_five_percent_beside_a_large_effect() -> None:
    rng = np.random.default_rng(0)
    shared = 0.7
    wrong = 0
    for _ in range(1000):
        noise = shared * rng.normal(size=(6, 1)) + rng.normal(size=(6, 4))
        wrong += bool((step_down_p(noise + np.array([5.0, 0, 0, 0]))[1:] <= 0.05).any())
    assert wrong / 1000 <= 0.05


def test_a_column_without_numbers_has_no_p_and_costs_nothing() -> None:
    values = np.random.default_rng(3).normal(0.5, 1, size=(7, 2))
    values[:, 1] = np.nan
    adjusted = step_down_p(values)
    assert np.isnan(adjusted[1])
    assert adjusted[0] == sign_flip_p(values[:, 0])


def test_the_profile_of_two_targets_is_a_paired_test() -> None:
    half = np.random.default_rng(1).normal(0.4, 1, size=8)
    assert profile_p(np.stack([half, -half], axis=1)) == sign_flip_p(half)


def test_a_profile_with_a_gap_is_refused() -> None:
    with pytest.raises(ValueError, match="leave its seed out"):
        profile_p(np.array([[1.0, np.nan]]))
