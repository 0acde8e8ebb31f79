from collections.abc import Mapping

import numpy as np
import pytest

from ptl_sweep.study.claims.claim import Agreement, Verdict
from ptl_sweep.study.claims.effects import PairedCells
from ptl_sweep.study.claims.medium_confidence import (
    HEADLINE,
    READINGS,
    Bands,
    MediumConfidence,
    Reading,
    medium_confidence,
)
from ptl_sweep.study.statistics import student_p

Gains = tuple[float, float, float]  # low, medium, high
MATCHED = Reading("equal counts", "matched", "raw")


def bands(
    gains: Gains,
    real: Gains = (1.0, 1.0, 1.0),
    num_seeds: int = 6,
    counts: tuple[int, ...] = (10, 20),
) -> Bands:
    """`gains` from synthetic and `real` from more real images, with some noise of the seeds."""
    rng = np.random.default_rng(0)

    def cells(gain: float, growth: float) -> PairedCells:
        shape = (num_seeds, len(counts), 1)
        reference = rng.normal(0, 0.1, shape) + growth * np.arange(len(counts))[:, None]
        return PairedCells(
            seeds=tuple(range(num_seeds)),
            counts=counts,
            targets=("field",),
            treated=reference + gain + rng.normal(0, 0.1, shape),
            reference=reference,
        )

    return Bands(*(cells(*one) for one in zip(gains, real, strict=True)))


MOST, LEAST, EQUAL = bands((1, 3, 1)), bands((3, 1, 3)), bands((1, 1, 1))


def judged(default: Bands, others: Mapping[Reading, Bands] | None = None) -> MediumConfidence:
    return medium_confidence(dict.fromkeys(READINGS, default) | dict(others or {}))


def test_there_are_eight_readings_and_the_headline_is_of_lifts() -> None:
    assert len(set(READINGS)) == 8
    assert HEADLINE.name == "fixed scores, recall over all, lift"


def test_found_where_all_readings_and_the_control_agree() -> None:
    found = judged(MOST)
    assert (found.claim.verdict, found.agreement) == (Verdict.FOUND, Agreement.AGREES)
    assert found.claim.value == pytest.approx(2.0, abs=0.2)
    assert found.claim.control is not None
    assert found.claim.control.value == pytest.approx(0.0, abs=0.3)


def test_one_reading_that_disagrees_takes_the_verdict_and_is_named() -> None:
    found = judged(MOST, {MATCHED: LEAST})
    assert (found.claim.verdict, found.agreement) == (Verdict.NONE, Agreement.NO_EVIDENCE)
    assert found.claim.disagreeing == (MATCHED.name,)
    assert found.claim.value == pytest.approx(2.0, abs=0.2)


def test_what_more_real_images_give_too_is_not_found() -> None:
    found = judged(bands((1, 3, 1), real=(1, 3, 1)))
    assert found.readings[HEADLINE].advantage.direction == 1
    assert found.claim.verdict is Verdict.NONE
    assert len(found.claim.disagreeing) == 8


def test_readings_that_were_not_measured_leave_it_open() -> None:
    found = medium_confidence({one: MOST for one in READINGS if one != MATCHED})
    assert (found.claim.verdict, found.claim.undecided) == (Verdict.OPEN, (MATCHED.name,))


def test_a_reading_that_disagrees_decides_although_others_are_missing() -> None:
    assert medium_confidence({HEADLINE: EQUAL}).claim.verdict is Verdict.NONE


def test_without_more_real_images_it_is_open() -> None:
    found = judged(bands((1, 3, 1), counts=(10,)))
    assert found.claim.verdict is Verdict.OPEN
    assert len(found.claim.undecided) == 8


def test_five_seeds_leave_it_open() -> None:
    found = judged(bands((1, 30, 1), num_seeds=5))
    assert (found.claim.verdict, found.agreement) == (Verdict.OPEN, Agreement.NO_EVIDENCE)


def test_contradicted_where_medium_gains_less_than_the_others_in_every_reading() -> None:
    assert judged(LEAST).agreement is Agreement.CONTRADICTED
    assert judged(LEAST, {MATCHED: EQUAL}).agreement is Agreement.NO_EVIDENCE


def test_a_negative_advantage_alone_contradicts_nothing() -> None:
    """One other band gains more, by as much as the third gains less."""
    found = judged(bands((3, 2, 1)))
    assert found.readings[HEADLINE].advantage.direction == -1
    assert found.agreement is Agreement.NO_EVIDENCE


def test_its_p_is_the_largest_of_all_that_must_hold() -> None:
    found = judged(MOST, {MATCHED: bands((1, 1.4, 1))})
    assert found.agreement is Agreement.AGREES
    own = found.readings[MATCHED]
    each = [student_p(one.value, one.sd, one.num_seeds) for one in (own.advantage, own.excess)]
    assert found.normal_p == max(each)
    against = judged(LEAST).readings[HEADLINE].against
    wanted = student_p(against.value, against.sd, against.num_seeds)
    assert judged(LEAST).normal_p == pytest.approx(wanted)


def test_with_a_reading_that_was_not_measured_it_is_no_test_of_the_family() -> None:
    assert np.isnan(medium_confidence({HEADLINE: MOST}).normal_p)


def test_the_headline_reading_is_needed() -> None:
    with pytest.raises(ValueError, match="recall over all, lift"):
        medium_confidence({MATCHED: MOST})
