import numpy as np
import pytest
from scipy import stats

from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.claims.effects import PairedCells
from ptl_sweep.study.claims.worth import RealCurve, median_interval, worth

NOISE = np.array([-0.05, -0.03, -0.01, 0.01, 0.03, 0.05])


def cells(*gains: float, counts: tuple[int, ...] = (10, 20, 40), num_seeds: int = 6) -> PairedCells:
    """AP50 of 1 per doubling without; `gains` in doublings."""
    levels = np.log2(np.array(counts) / 10)[None, :, None] + np.zeros((6, 1, 1))
    treated = levels + np.array(gains)[None, :, None] + NOISE[:, None, None]
    return PairedCells(
        seeds=tuple(range(num_seeds)),
        counts=counts,
        targets=("field",),
        treated=treated[:num_seeds],
        reference=levels[:num_seeds],
    )


def test_every_count_is_quoted_with_its_equivalent() -> None:
    found = worth(cells(1.0, 0.5, 0.5))
    assert [one.real_count for one in found.counts] == [10, 20, 40]
    assert found.counts[0].equivalent == pytest.approx(20)
    assert found.counts[1].equivalent == pytest.approx(20 * 2**0.5)
    assert found.counts[1].low == pytest.approx(20 * 2**0.45)
    assert found.counts[1].high == pytest.approx(20 * 2**0.55)
    assert np.isposinf(found.counts[2].equivalent)
    assert {one.verdict for one in found.counts} == {Verdict.FOUND}


def test_without_an_effect_over_all_counts_none_is_worth_more() -> None:
    """The first count alone would be: it gains one doubling in every seed."""
    found = worth(cells(1.0, 0.0, -1.0))
    assert found.claim.verdict is Verdict.NONE
    assert found.counts[0].low > 10
    assert {one.verdict for one in found.counts} == {Verdict.NONE}


def test_a_loss_is_worth_less() -> None:
    found = worth(cells(-0.5, -0.5, -0.5))
    assert found.claim.direction == -1
    assert [one.verdict for one in found.counts] == [Verdict.FOUND] * 3
    assert found.counts[0].high == 0.0


def test_a_count_whose_interval_holds_itself_is_not_found() -> None:
    found = worth(cells(1.0, 0.5, 0.0))
    assert [one.verdict for one in found.counts] == [Verdict.FOUND, Verdict.FOUND, Verdict.NONE]


def test_the_curve_of_real_images_may_have_more_counts() -> None:
    own = cells(1.0, 1.0, 1.0)
    curve = RealCurve(counts=(10, 20, 40, 80, 160), levels=np.tile(np.arange(5.0), (6, 1)))
    found = worth(own, curve)
    assert found.counts[2].equivalent == pytest.approx(80)


def test_two_counts_make_no_curve() -> None:
    assert worth(cells(1.0, 1.0, counts=(10, 20))).counts == ()


def test_five_seeds_leave_it_open() -> None:
    found = worth(cells(1.0, 1.0, 1.0, num_seeds=5))
    assert {one.verdict for one in found.counts} == {Verdict.OPEN}
    assert np.isnan(found.counts[0].low)


@pytest.mark.parametrize(("num", "outside"), [(6, 0), (8, 0), (9, 1), (12, 2), (20, 5)])
def test_the_interval_of_a_median_holds_it_with_at_least_95_percent(num: int, outside: int) -> None:
    values = np.arange(num, dtype=float)
    assert median_interval(values) == (outside, num - 1 - outside)
    assert (
        2 * stats.binom.cdf(outside, num, 0.5) <= 0.05 < 2 * stats.binom.cdf(outside + 1, num, 0.5)
    )


def test_an_interval_may_be_unbounded() -> None:
    assert median_interval(np.array([0.0, 5, 6, 7, 8, np.inf])) == (0.0, np.inf)
