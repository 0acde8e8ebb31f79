"""Dose and response: the fewest that are enough, and how often its sentence would be false."""

import numpy as np
import polars as pl
import pytest

from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.questions.dose import (
    DosePlace,
    DoseResponse,
    dose_claims,
    dose_responses,
    fewest_enough,
)
from tests.helpers.dose_grid import AXES, SEEDS, dose_grid

TOTALS = (0, 25, 50, 100, 200)
NUM_STUDIES = 400


def test_the_first_within_one_standard_error_of_the_best_is_enough() -> None:
    steady = np.array([[0.1, 0.1], [0.3, 0.3], [0.4, 0.4], [0.4, 0.4]])
    assert fewest_enough(steady) == 2  # no error: the first of the best
    noisy = np.array([[0.10, 0.10], [0.26, 0.32], [0.30, 0.40], [0.30, 0.38]])
    assert fewest_enough(noisy) == 2  # the best is 0.35 with an error of 0.05, and 0.29 is below
    noisy[1] = 0.28, 0.34
    assert fewest_enough(noisy) == 1
    assert fewest_enough(np.array([[0.2], [0.1], [0.3]])) == 2  # one seed has no error
    assert fewest_enough(np.array([[0.3, 0.5], [0.3, 0.5]])) == 0  # none are enough


def test_each_seed_is_judged_at_the_number_that_the_others_choose() -> None:
    held_out = np.array([[0.1] * 4, [0.5] * 4, [0.2] * 4])
    held_out[2, 0] = 9.0  # so good in seed 0 that it is chosen wherever seed 0 chooses
    foreign = np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.4, 0.6, 0.8], [9.0, 0.0, 0.0, 0.0]])
    response = DoseResponse((0, 20, 60), (3, 5, 7, 9), held_out, foreign)
    without_first = held_out[:, 1:]
    assert fewest_enough(without_first) == 1
    assert response.effects()[3] == pytest.approx(0.1)  # not 8.9
    others = [fewest_enough(np.delete(held_out, place, axis=1)) for place in (1, 2, 3)]
    expected = [foreign[t, s] - foreign[0, s] for s, t in zip((1, 2, 3), others, strict=True)]
    assert [response.effects()[seed] for seed in (5, 7, 9)] == pytest.approx(expected)


def test_two_seeds_choose_for_nobody_and_five_give_no_verdict() -> None:
    for num, measured in ((2, 0), (3, 3), (5, 5)):
        values = np.tile(np.linspace(0.1, 0.5, 3)[:, None], num)
        values += np.arange(num) / 1000
        response = DoseResponse((0, 20, 60), tuple(range(num)), values, values)
        (claim,) = dose_claims({DosePlace("here", 20, "on"): response}).values()
        assert claim.num_seeds == measured
        assert claim.verdict is Verdict.OPEN


def studies(effect: np.ndarray, rng: np.random.Generator) -> list[DoseResponse]:
    """Trainings that are good by chance are good on both; `effect` of each number, in sd."""
    made = []
    for _ in range(NUM_STUDIES):
        seed = rng.normal(size=len(SEEDS))
        training = rng.normal(size=(len(TOTALS), len(SEEDS)))
        common = 20 + seed + training + effect[:, None]
        made.append(
            DoseResponse(
                TOTALS, SEEDS,
                common + rng.normal(0, 0.3, training.shape),
                common + rng.normal(0, 0.3, training.shape),
            )
        )  # fmt: skip
    return made


def naive(response: DoseResponse) -> float:
    """The mean change where the number is chosen and judged on the same trainings."""
    return float((response.foreign[response.enough] - response.foreign[0]).mean())


def share_found(made: list[DoseResponse]) -> float:
    """Share of studies whose sentence claims a change."""
    place = DosePlace("here", 20, "on")
    return float(np.mean([dose_claims({place: one})[place].direction != 0 for one in made]))


def test_what_is_not_there_is_rarely_claimed_and_the_mean_is_not_too_good() -> None:
    made = studies(np.zeros(len(TOTALS)), np.random.default_rng(0))
    assert share_found(made) <= 0.05
    ours = np.mean([np.mean(list(one.effects().values())) for one in made])
    assert abs(ours) < 0.07
    assert np.mean([naive(one) for one in made]) > 0.2  # the control: seeds that judge themselves


def test_a_change_of_three_standard_deviations_is_mostly_found() -> None:
    effect = np.array([0.0, 1.0, 2.0, 3.0, 3.0])
    assert share_found(studies(effect, np.random.default_rng(1))) >= 0.8


def test_arms_are_told_apart_by_all_axes_but_the_number() -> None:
    found = dose_responses(dose_grid(), AXES)
    assert [tuple(place) for place in found] == [
        ("here", count, name) for count in (20, 50) for name in ("on", "on, real_fraction=0.5")
    ]
    for place, response in found.items():
        share = 0.5 if "=" in place.synthetic else 0.0
        assert list(response.totals) == [0, 20, 60]
        assert list(response.seeds) == list(SEEDS)
        for index, total in enumerate(response.totals):
            own = place.real_count / 1000 + total / 1000 + np.arange(6) / 100
            own += share * (total > 0)
            np.testing.assert_allclose(response.held_out[index], own)
            np.testing.assert_allclose(response.foreign[index], own + 0.05)


def test_a_seed_without_one_of_the_numbers_is_left_out() -> None:
    gap = (pl.col("seed") == 2) & (pl.col("num_synthetic") == 60) & (pl.col("target") == "sea")
    results = dose_grid(AP50=pl.when(gap).then(None).otherwise(pl.col("AP50")))
    for response in dose_responses(results, AXES).values():
        assert list(response.seeds) == [0, 1, 3, 4, 5]
        assert np.isfinite(response.foreign).all()


def test_without_the_sources_own_pictures_or_a_second_number_there_is_no_dose() -> None:
    assert dose_responses(dose_grid().filter(pl.col("target") != "own"), AXES) == {}
    assert dose_responses(dose_grid().filter(pl.col("num_synthetic") != 60), AXES) == {}
    assert dose_responses(dose_grid().filter(pl.col("synthetic") != "off"), AXES) == {}
