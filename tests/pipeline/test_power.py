import numpy as np
import pytest
from scipy import stats

from ptl_sweep.pipeline.power import POWER, detectable_effect, t_power
from ptl_sweep.study.claims.claim import claim_over_seeds


@pytest.mark.parametrize("num_seeds", [6, 7, 8, 10])
def test_the_detectable_effect_is_found_about_as_often_as_it_says(num_seeds: int) -> None:
    size = detectable_effect(2.0, num_seeds)
    assert size is not None
    rng = np.random.default_rng(num_seeds)
    draws = rng.normal(size, 2.0, size=(1000, num_seeds))
    found = [claim_over_seeds(dict(enumerate(one.tolist()))).direction > 0 for one in draws]
    assert np.mean(found) == pytest.approx(POWER, abs=0.06)


@pytest.mark.parametrize("num_seeds", [1, 3, 5])
def test_too_few_seeds_detect_nothing(num_seeds: int) -> None:
    assert detectable_effect(1.0, num_seeds) is None


def test_six_seeds_need_six_equal_signs() -> None:
    size = detectable_effect(1.0, 6)
    assert size == pytest.approx(1.793, abs=1e-3)
    assert stats.norm.cdf(size) ** 6 == pytest.approx(POWER)


def test_more_seeds_detect_less_and_at_last_what_the_normal_law_says() -> None:
    sizes = [detectable_effect(1.0, num) or np.nan for num in (6, 7, 8, 16, 400)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == pytest.approx((1.96 + 0.8416) / 20, rel=0.01)


def test_power_without_an_effect_is_half_of_the_level() -> None:
    assert t_power(0.0, 6) == pytest.approx(0.025)
