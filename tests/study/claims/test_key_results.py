import numpy as np
import pytest

from ptl_sweep.study.claims.claim import Agreement, Verdict
from ptl_sweep.study.claims.effects import PairedCells
from ptl_sweep.study.claims.flips import profile_p
from ptl_sweep.study.claims.key_results import (
    KeyResult,
    adjusted_p,
    replacement_grows,
    rises_only_with_synthetic,
    spread_over_targets,
    targets_differ,
    through_false_positives,
)
from ptl_sweep.study.claims.worth import RealCurve
from ptl_sweep.study.statistics import SIGNIFICANCE, departure_p, student_p

COUNTS = (10, 20, 40, 80)
DOUBLINGS = np.arange(4.0)[:, None]


def cells(
    on: np.ndarray | float, off: np.ndarray | float, num_seeds: int = 6, targets: int = 3
) -> PairedCells:
    """Levels (count, target) of both arms with a noise of 0.05."""
    rng = np.random.default_rng(0)
    shape = (num_seeds, len(COUNTS), targets)
    return PairedCells(
        seeds=tuple(range(num_seeds)),
        counts=COUNTS,
        targets=tuple("abcdef"[:targets]),
        treated=on + rng.normal(0, 0.05, shape),
        reference=off + rng.normal(0, 0.05, shape),
    )


@pytest.mark.parametrize(
    ("on", "off", "expected"),
    [
        (1.0, 0.0, Agreement.AGREES),
        (1.0, 0.5, Agreement.CONTRADICTED),  # it rises without synthetic too
        (0.0, 1.0, Agreement.CONTRADICTED),
        (1.0, 1.0, Agreement.CONTRADICTED),
        (-1.0, 0.0, Agreement.CONTRADICTED),
        (0.0, -1.0, Agreement.NO_EVIDENCE),  # off falls, on does not rise
        (0.0, 0.0, Agreement.NO_EVIDENCE),
    ],
)
def test_rises_only_with_synthetic(on: float, off: float, expected: Agreement) -> None:
    found = rises_only_with_synthetic(cells(on * DOUBLINGS, off * DOUBLINGS))
    assert found.agreement is expected
    slopes = {name: one.value for name, one in found.parts.items()}
    expected_slopes = {"treated": on, "reference": off, "difference": on - off}
    assert slopes == pytest.approx(expected_slopes, abs=0.05)


def grows(gains: np.ndarray) -> KeyResult:
    """AP50 of 1 per doubling without; real images alone were also measured far beyond."""
    own = cells(DOUBLINGS + gains[:, None], DOUBLINGS)
    beyond = np.tile(np.arange(-1.0, 9.0), (len(own.seeds), 1))
    counts = tuple(5 * 2**i for i in range(10))
    return replacement_grows(own, RealCurve(counts=counts, levels=beyond))


def test_the_replacement_ratio_is_that_of_the_curve() -> None:
    found = grows(np.array([1.0, 1.5, 2.0, 2.5]))
    assert found.agreement is Agreement.AGREES
    assert found.parts["replacement ratio"].value == pytest.approx(0.5, abs=0.03)
    assert found.parts["effect"].value == pytest.approx(0.5, abs=0.03)


def test_an_ability_that_falls_contradicts() -> None:
    assert grows(np.array([2.5, 2.0, 1.5, 1.0])).agreement is Agreement.CONTRADICTED


def test_an_effect_that_falls_while_the_ratio_grows_is_no_evidence() -> None:
    """The curve of real images flattens: fewer points of AP50 are worth more images."""
    flat = np.array([0.0, 4.0, 6.0, 7.0, 7.5, 7.75, 7.875])
    own = np.array([0.0, 4.0, 6.0, 7.0])[:, None]
    gained = np.array([2.0, 1.9, 1.2, 0.8])[:, None]
    curve = RealCurve(counts=(10, 20, 40, 80, 160, 320, 640), levels=np.tile(flat, (6, 1)))
    found = replacement_grows(cells(own + gained, own), curve)
    assert found.parts["effect"].direction == -1
    assert found.parts["replacement ratio"].direction == 1
    assert found.agreement is Agreement.NO_EVIDENCE
    assert found.claim.disagreeing == ("replacement ratio",)


def test_beyond_the_curve_the_effect_alone_decides_and_the_ratio_is_named() -> None:
    own = cells(DOUBLINGS + 10 + DOUBLINGS, DOUBLINGS)
    found = replacement_grows(own)
    assert found.agreement is Agreement.AGREES
    assert found.claim.undecided == ("replacement ratio",)
    assert found.parts["replacement ratio"].verdict is Verdict.OPEN


def test_the_spread_is_the_root_mean_square_of_the_departures() -> None:
    profile = np.array([3.0, 0.0, -3.0])
    found = targets_differ(cells(5.0 + profile, 0.0))
    assert found.agreement is Agreement.AGREES
    assert found.claim.value == pytest.approx(np.sqrt(6.0), abs=0.05)


def test_an_effect_that_is_equal_everywhere_does_not_differ() -> None:
    found = targets_differ(cells(50.0, 0.0))
    assert (found.agreement, found.claim.verdict) == (Agreement.NO_EVIDENCE, Verdict.NONE)


def test_noise_alone_has_no_spread_on_average() -> None:
    rng = np.random.default_rng(0)
    own = [
        spread_over_targets(
            PairedCells(
                seeds=tuple(range(6)),
                counts=(10,),
                targets=("a", "b", "c"),
                treated=rng.normal(size=(6, 1, 3)),
                reference=np.zeros((6, 1, 3)),
            )
        ).value
        for _ in range(400)
    ]
    assert np.mean(own) == pytest.approx(0.0, abs=3 * np.std(own) / 20)


def test_the_test_of_the_spread_flips_whole_profiles() -> None:
    own = cells(np.array([0.03, 0.0, -0.03]), 0.0)
    each = own.effects.mean(axis=1)
    assert spread_over_targets(own).p == profile_p(each - each.mean(axis=1, keepdims=True))


def test_one_target_cannot_differ() -> None:
    assert targets_differ(cells(1.0, 0.0, targets=1)).claim.verdict is Verdict.OPEN


SPREAD, ALIKE = cells(np.array([3.0, 0.0, -3.0]), 0.0), cells(5.0, 0.0)


@pytest.mark.parametrize(
    ("false", "true", "expected"),
    [
        (SPREAD, ALIKE, Agreement.AGREES),
        (SPREAD, SPREAD, Agreement.CONTRADICTED),
        (ALIKE, SPREAD, Agreement.CONTRADICTED),
        (ALIKE, ALIKE, Agreement.NO_EVIDENCE),
    ],
)
def test_through_false_positives(
    false: PairedCells, true: PairedCells, expected: Agreement
) -> None:
    assert through_false_positives(false, true).agreement is expected


def p_of(found: KeyResult, part: str) -> float:
    own = found.parts[part]
    return student_p(own.value, own.sd, own.num_seeds)


def test_what_needs_two_parts_has_the_larger_p_of_them() -> None:
    rises = rises_only_with_synthetic(cells(0.04 * DOUBLINGS, 0.0))
    assert rises.agreement is Agreement.AGREES
    assert rises.normal_p == max(p_of(rises, "treated"), p_of(rises, "difference"))
    falls = grows(np.array([2.5, 2.0, 1.5, 1.0]))
    assert falls.normal_p == max(p_of(falls, "effect"), p_of(falls, "replacement ratio"))


def test_what_either_of_two_parts_contradicts_has_twice_the_smaller_p() -> None:
    found = rises_only_with_synthetic(cells(DOUBLINGS, 0.5 * DOUBLINGS))
    assert found.parts["difference"].value > 0  # which contradicts nothing
    assert found.normal_p == 2 * p_of(found, "reference")


def p_of_spread(own: PairedCells) -> float:
    each = own.effects.mean(axis=1)
    return departure_p(each - each.mean(axis=1, keepdims=True))


def test_the_p_is_that_of_the_side_that_is_claimed() -> None:
    assert targets_differ(SPREAD).normal_p == p_of_spread(SPREAD)
    contradicted = through_false_positives(SPREAD, SPREAD)
    assert contradicted.normal_p == 2 * p_of_spread(SPREAD)
    agrees = through_false_positives(SPREAD, ALIKE)
    assert agrees.normal_p == max(p_of(agrees, "difference"), p_of_spread(SPREAD))


def test_an_effect_without_evidence_has_the_p_of_its_better_side() -> None:
    found = rises_only_with_synthetic(cells(0.0, 0.0))
    assert found.agreement is Agreement.NO_EVIDENCE
    assert SIGNIFICANCE < found.normal_p <= 1


def test_a_key_result_with_too_few_seeds_is_no_test_of_the_family() -> None:
    few = cells(DOUBLINGS, 0.0, num_seeds=5)
    assert np.isnan(rises_only_with_synthetic(few).normal_p)
    adjusted = adjusted_p([0.02, np.nan, 0.01])
    assert adjusted == pytest.approx([0.02, np.nan, 0.02], nan_ok=True)


def test_five_seeds_are_no_evidence() -> None:
    few = cells(DOUBLINGS + np.array([3.0, 0.0, -3.0]), 0.0, num_seeds=5)
    results = (
        rises_only_with_synthetic(few),
        replacement_grows(few),
        targets_differ(few),
        through_false_positives(few, few),
    )
    assert {one.agreement for one in results} == {Agreement.NO_EVIDENCE}
    assert {one.claim.verdict for one in results} == {Verdict.OPEN}
