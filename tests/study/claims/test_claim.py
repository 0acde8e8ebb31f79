import numpy as np
import pytest

from ptl_sweep.study.claims.claim import (
    MIN_SEEDS,
    Agreement,
    Claim,
    Verdict,
    agreement_with,
    claim_over_seeds,
    difference,
    family_claims,
    in_every_reading,
)
from ptl_sweep.study.statistics import (
    SIGNIFICANCE,
    mean_interval,
    sign_flip_p,
    smallest_p,
)


def over(*effects: float) -> Claim:
    return claim_over_seeds(dict(enumerate(effects)))


CLEAR = (1.0, 1.2, 0.9, 1.1, 1.3, 0.8)
MIXED = (1.0, -1.2, 0.9, -1.1, 1.3, -0.8)
UP, DOWN, FLAT, FEW = over(*CLEAR), over(*(-one for one in CLEAR)), over(*MIXED), over(*CLEAR[:5])


def test_six_seeds_are_the_fewest_whose_sign_flips_reach_five_percent() -> None:
    assert smallest_p(MIN_SEEDS) <= SIGNIFICANCE < smallest_p(MIN_SEEDS - 1)


def test_a_claim_carries_the_interval_and_the_exact_test_of_its_seeds() -> None:
    expected = mean_interval(np.array(CLEAR))
    assert (UP.value, UP.sd, UP.low, UP.high, UP.num_seeds) == pytest.approx(expected)
    assert UP.p == sign_flip_p(np.array(CLEAR)) == 0.03125
    assert (UP.verdict, UP.direction) == (Verdict.FOUND, 1)


@pytest.mark.parametrize(
    ("claim", "verdict", "direction"),
    [
        (UP, Verdict.FOUND, 1),
        (DOWN, Verdict.FOUND, -1),
        (FLAT, Verdict.NONE, 0),
        (FEW, Verdict.OPEN, 0),
    ],
)
def test_verdicts(claim: Claim, verdict: Verdict, direction: int) -> None:
    assert (claim.verdict, claim.direction) == (verdict, direction)


def test_an_interval_without_zero_is_not_enough() -> None:
    """One seed of six against the others: t finds it, the sign flips do not."""
    found = over(1.0, 1.2, 0.9, 1.1, 1.3, -0.1)
    assert found.low > 0
    assert found.p > SIGNIFICANCE
    assert found.verdict is Verdict.NONE


def test_a_small_p_is_not_enough() -> None:
    """Equal signs, but one seed so far off that the t interval includes zero."""
    found = over(0.1, 0.1, 0.1, 0.1, 0.1, 5.0)
    assert found.p <= SIGNIFICANCE
    assert found.low < 0
    assert found.verdict is Verdict.NONE


def test_a_seed_without_a_number_is_left_out() -> None:
    assert over(*CLEAR, np.nan) == UP
    assert over(*CLEAR[:5], np.nan).verdict is Verdict.OPEN


def test_no_seed_is_open() -> None:
    assert over().verdict is Verdict.OPEN
    assert over().num_seeds == 0


def test_a_family_of_three_clear_effects_is_found_with_six_seeds() -> None:
    found = family_claims({name: dict(enumerate(CLEAR)) for name in "abc"}, "targets")
    assert {one.verdict for one in found.values()} == {Verdict.FOUND}
    assert {one.family for one in found.values()} == {"targets"}


def test_a_family_takes_back_what_one_of_its_members_owes_to_chance() -> None:
    """Equal signs of varied size: alone p = 1/32, but other members come as far by chance."""
    varied = {0: 0.1, 1: 2.0, 2: 0.2, 3: 1.5, 4: 0.1, 5: 3.0}
    others = {f"other {i}": dict(enumerate(np.roll(MIXED, i).tolist())) for i in range(5)}
    even = {"even": {0: 1.0, 1: 1.0, 2: 1.0, 3: 1.0, 4: 1.0, 5: -0.9}}
    alone = claim_over_seeds(varied)
    together = family_claims({"varied": varied} | others | even, "all")["varied"]
    assert alone.p == together.p == 0.03125
    assert together.p_family > SIGNIFICANCE
    assert together.verdict is not Verdict.FOUND


def test_readings_on_the_same_side_leave_the_headline_found() -> None:
    found = in_every_reading(DOWN, {"other": DOWN})
    assert (found.verdict, found.disagreeing, found.undecided) == (Verdict.FOUND, (), ())


@pytest.mark.parametrize("other", [DOWN, FLAT])
def test_a_reading_that_disagrees_takes_the_verdict_and_is_named(other: Claim) -> None:
    found = in_every_reading(UP, {"same": UP, "other": other})
    assert (found.verdict, found.disagreeing) == (Verdict.NONE, ("other",))
    assert found.value == UP.value


def test_an_open_reading_leaves_the_headline_open() -> None:
    found = in_every_reading(UP, {"few": FEW})
    assert (found.verdict, found.undecided, found.disagreeing) == (Verdict.OPEN, ("few",), ())


def test_agreement_with_a_published_direction() -> None:
    answers = [agreement_with(one, expected=1) for one in (UP, DOWN, FLAT, FEW)]
    nothing = Agreement.NO_EVIDENCE
    assert answers == [Agreement.AGREES, Agreement.CONTRADICTED, nothing, nothing]


def test_a_difference_is_paired_by_seed() -> None:
    assert difference({1: 5.0, 2: 7.0}, {2: 1.0, 3: 0.0}) == {2: 6.0}
