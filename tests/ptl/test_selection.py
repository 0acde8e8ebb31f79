import logging
from collections import Counter
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptl_sweep.ptl.selection import find_temperature, select, select_uniformly


def test_pairs_come_as_often_as_in_successive_weighted_draws() -> None:
    gap, tau, draws = np.array([1.0, 3.0, 4.0, 8.0, 20.0]), 5.0, 20_000
    weight = np.exp(-gap / tau)
    expected: Counter[frozenset[int]] = Counter()
    for first, second in permutations(range(5), 2):
        chance = weight[first] / weight.sum() * weight[second] / (weight.sum() - weight[first])
        expected[frozenset((first, second))] += chance
    rng = np.random.default_rng(0)
    seen = Counter(frozenset(select(gap, 2, tau, rng).indices.tolist()) for _ in range(draws))
    for pair in combinations(range(5), 2):
        chance = expected[frozenset(pair)]
        sigma = np.sqrt(chance * (1 - chance) / draws)
        assert abs(seen[frozenset(pair)] / draws - chance) < 4 * sigma, pair


def test_gaps_whose_weights_underflow_are_still_ranked() -> None:
    gap = np.array([9000.0, 9100.0, 50_000.0, 9050.0])
    selection = select(gap, 3, 1.0, np.random.default_rng(1))
    assert selection.indices.tolist() == [0, 3, 1]
    assert selection.effective_sample_size == pytest.approx(1.0)


def test_effective_sample_size_is_that_of_the_weights() -> None:
    gap = np.array([0.0, 1.0, 2.0, np.inf])
    weight = np.exp(-gap / 2.0)
    expected = weight.sum() ** 2 / (weight**2).sum()
    selection = select(gap, 1, 2.0, np.random.default_rng(2))
    assert selection.effective_sample_size == pytest.approx(expected)
    equal = select(np.full(7, 3.0), 1, 2.0, np.random.default_rng(2))
    assert equal.effective_sample_size == pytest.approx(7)


@given(
    st.lists(st.one_of(st.floats(0, 1e6), st.just(np.inf), st.just(np.nan)), max_size=12),
    st.integers(1, 15),
    st.integers(0, 100),
)
def test_all_finite_gaps_come_first_and_nothing_twice(
    gaps: list[float], num_images: int, seed: int
) -> None:
    gap = np.array(gaps, dtype=np.float64)
    selection = select(gap, num_images, 5.0, np.random.default_rng(seed))
    num_finite = int(np.isfinite(gap).sum())
    assert len(set(selection.indices.tolist())) == len(selection.indices)
    assert len(selection.indices) == min(num_images, len(gap))
    assert selection.num_missing == num_images - len(selection.indices)
    assert selection.num_finite == num_finite
    assert np.isfinite(gap[selection.indices]).sum() == min(num_images, num_finite)
    assert selection.num_selected_uniformly == len(selection.indices) - min(num_images, num_finite)


def test_the_missing_ones_are_drawn_uniformly_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    gap = np.array([np.inf, 2.0, np.inf, np.nan, np.inf])
    rng = np.random.default_rng(3)
    with caplog.at_level(logging.WARNING):
        assert select(gap, 3, 5.0, rng).num_selected_uniformly == 2
    assert [record.message for record in caplog.records] == [
        "only 1 virtual images have a finite domain gap; 2 of 3 are drawn uniformly"
    ]
    rest = Counter(i for _ in range(4000) for i in select(gap, 3, 5.0, rng).indices[1:].tolist())
    assert set(rest) == {0, 2, 3, 4}
    assert max(abs(count - 2000) for count in rest.values()) < 4 * np.sqrt(4000 / 4)


def test_a_used_up_pool_gives_what_it_has_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        selection = select_uniformly(3, 5, np.random.default_rng(4))
    assert sorted(selection.indices.tolist()) == [0, 1, 2]
    assert selection.num_missing == 2
    assert "3 images are left of the 5" in caplog.text


def test_the_uniform_control_prefers_nobody() -> None:
    rng = np.random.default_rng(5)
    counts = Counter(i for _ in range(4000) for i in select_uniformly(6, 2, rng).indices.tolist())
    assert max(abs(count - 8000 / 6) for count in counts.values()) < 4 * np.sqrt(4000 * 2 / 9)


def test_the_same_generator_state_gives_the_same_selection() -> None:
    gap = np.random.default_rng(6).uniform(0, 30, size=50)
    first, second = (select(gap, 9, 5.0, np.random.default_rng(7)) for _ in range(2))
    assert first.indices.tolist() == second.indices.tolist()


@given(
    st.lists(st.one_of(st.integers(0, 10**9), st.just(np.inf), st.just(np.nan)), max_size=40),
    st.floats(1e-3, 0.99),
)
def test_the_temperature_of_a_share_gives_that_effective_sample_size(
    gaps: list[float], share: float
) -> None:
    gap = np.array(gaps, dtype=np.float64) / 1000
    finite = gap[np.isfinite(gap)]
    temperature = find_temperature(gap, share)
    selection = select(gap, 1, temperature, np.random.default_rng(0))
    assert selection.temperature == temperature > 0
    nearest = int((finite == finite.min(initial=np.inf)).sum())
    if nearest == len(finite):  # every temperature draws alike
        assert selection.effective_sample_size == pytest.approx(len(finite))
    else:  # no temperature parts equal gaps
        wanted = max(share * len(finite), nearest)
        assert selection.effective_sample_size == pytest.approx(wanted, rel=1e-6)


def test_the_temperature_of_a_share_scales_with_the_gaps() -> None:
    """Why a share means the same at any dimension of the features, and a number does not."""
    gap = np.random.default_rng(8).chisquare(48, size=300)
    one, other = find_temperature(gap, 0.3), find_temperature(40 * gap + 1000, 0.3)
    assert other == pytest.approx(40 * one)
    weight = np.exp(-(gap - gap.min()) / one)
    assert weight.sum() ** 2 / (weight**2).sum() == pytest.approx(90)


def test_a_uniform_draw_has_no_temperature() -> None:
    assert select_uniformly(6, 2, np.random.default_rng(9)).temperature is None
