"""The claim that selection prefers near images: its number, its units and what it leaves out."""

import numpy as np
import pytest

from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.claims.selection import CHANCE, nearer_probability, selection_claims
from ptl_sweep.study.study import PoolSelection

GAPS = (1.0, 2.0, 3.0, 4.0)


def drawn(
    selected: tuple[int, ...], seed: int = 0, iteration: int = 1, gaps: tuple[float, ...] = GAPS,
    synthetic: str = "on", effective: float = 3.0,
) -> PoolSelection:  # fmt: skip
    mask = np.isin(np.arange(len(gaps)), selected)
    return PoolSelection(
        "town", 20, synthetic, seed, iteration, np.array(gaps), mask, {}, {}, effective
    )


def test_probability_of_the_smaller_gap_counts_every_pair() -> None:
    rng = np.random.default_rng(0)
    gap = rng.integers(0, 6, 30).astype(float)
    gap[gap == 5] = np.inf
    selected = rng.random(30) < 0.4
    wins = [
        1.0 if one < other else 0.5 if one == other else 0.0
        for one in gap[selected]
        for other in gap[~selected]
    ]
    found = nearer_probability(PoolSelection("d", 20, "on", 0, 1, gap, selected, {}, {}, 30.0))
    assert found == pytest.approx(np.mean(wins))
    assert np.isnan(nearer_probability(drawn((0, 1, 2, 3))))


def test_iterations_of_a_seed_are_one_number() -> None:
    """Probabilities 1 and 0.5 of seed 0, 0 of seed 1: means 0.75 and 0."""
    draws = [drawn((0, 1)), drawn((0, 3), iteration=2), drawn((2, 3), seed=1)]
    (found,) = selection_claims(draws)
    assert (found.claim.num_seeds, found.claim.verdict) == (2, Verdict.OPEN)
    assert CHANCE + found.claim.value == pytest.approx(0.375)


@pytest.mark.parametrize(("selected", "direction"), [((0, 1), 1), ((2, 3), -1), ((0, 3), 0)])
def test_six_seeds_are_judged_against_chance(selected: tuple[int, ...], direction: int) -> None:
    (found,) = selection_claims([drawn(selected, seed) for seed in range(6)])
    assert found.claim.direction == direction
    assert found.claim.verdict is (Verdict.FOUND if direction else Verdict.NONE)


def test_draws_without_gaps_are_left_out_and_each_arm_has_its_own_sizes() -> None:
    blind = drawn((0, 1), gaps=(np.inf,) * 4, synthetic="random")
    draws = [drawn((0, 1), effective=1.5), drawn((0, 1), gaps=(*GAPS, 5.0), effective=4.5), blind]
    (found,) = selection_claims(draws)
    assert found.synthetic == "on"
    assert (found.effective_sizes, found.pool_sizes) == ((1.5, 4.5), (4, 5))
