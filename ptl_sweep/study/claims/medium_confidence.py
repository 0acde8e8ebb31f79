"""Medium confidence (seed, section on AP_t2t): AP_t2t gains most above a medium score.

E(s) = AP_t2t_s(treated) - AP_t2t_s(reference); advantage = E(medium) - max(E(low), E(high)).
The seed's text could not be read, so every reading of it must agree, and more real images must
not have the same advantage.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.study.claims.claim import (
    MIN_SEEDS,
    Agreement,
    Claim,
    SeedValues,
    Verdict,
    claim_over_seeds,
    difference,
    p_behind,
    p_of_all,
)
from ptl_sweep.study.claims.effects import PairedCells
from ptl_sweep.vocabulary import ApT2t, ApT2tAtCount, ApT2tVariant


class Reading(NamedTuple):
    """One way to read "AP_t2t at low, medium and high confidence"."""

    operating_point: str
    recall: str
    scale: str

    @property
    def name(self) -> str:
        """`fixed scores, recall over all, lift`."""
        return f"{self.operating_point}, recall over {self.recall}, {self.scale}"


OPERATING_POINTS = ("fixed scores", "equal counts")  # the same scores | as many detections
RECALLS = ("all", "matched")  # ground truths that recall is over
SCALES = ("lift", "raw")  # over the same detections in random order | as it is
READINGS = tuple(Reading(*one) for one in product(OPERATING_POINTS, RECALLS, SCALES))
HEADLINE = READINGS[0]
VARIANTS = {  # of AP_t2t, by recall and scale of a reading
    ("all", "raw"): ApT2tVariant.SHRUNK,
    ("all", "lift"): ApT2tVariant.LIFT,
    ("matched", "raw"): ApT2tVariant.MATCHED,
    ("matched", "lift"): ApT2tVariant.MATCHED_LIFT,
}


def columns_of(
    reading: Reading, scores: Sequence[float], equal_counts: Sequence[float]
) -> list[str]:
    """Name its columns of results.csv at the low, medium and high operating point."""
    variant = VARIANTS[reading.recall, reading.scale]
    if reading.operating_point == "fixed scores":
        return [ApT2t(score, variant).name for score in scores]
    return [ApT2tAtCount(count, variant).name for count in equal_counts]


class Bands(NamedTuple):
    """AP_t2t of one reading above the low, the medium and the high operating point."""

    low: PairedCells
    medium: PairedCells
    high: PairedCells


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingClaims:
    """The medium-confidence statement in one reading."""

    advantage: Claim  # of the treated; more real images as its control
    excess: Claim  # advantage minus that of more real images, paired by seed
    against: Claim  # mean of E(low) and E(high) minus E(medium)

    @property
    def open(self) -> bool:
        """Whether this reading says nothing: few seeds, or no real images to compare with."""
        few = min(self.advantage.num_seeds, self.excess.num_seeds) < MIN_SEEDS
        return few or self.advantage.verdict is Verdict.OPEN

    @property
    def holds(self) -> bool:
        """Whether medium gains most, and by more than real images give."""
        return not self.open and self.advantage.direction > 0 and self.excess.low > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediumConfidence:
    """The statement over all readings."""

    agreement: Agreement
    claim: Claim  # the headline reading's numbers; readings that do not hold are `disagreeing`
    readings: Mapping[Reading, ReadingClaims]
    normal_p: float  # of what the agreement rests on, by Student's t; NaN with an undecided reading


def medium_confidence(readings: Mapping[Reading, Bands]) -> MediumConfidence:
    """Find "medium gains most" only where all eight readings hold; name those that do not.

    Contradicted where in every reading the mean gain of low and high exceeds that of medium. A
    negative advantage is no evidence for that: the maximum of two noisy gains lies above both of
    them, so it is negative without any difference. Readings that are not given are undecided.
    Raises: ValueError without the headline reading.
    """
    if HEADLINE not in readings:
        raise ValueError(f"the reading {HEADLINE.name!r} is missing; it carries the numbers")
    found = {reading: _reading_claims(bands) for reading, bands in readings.items()}
    undecided = [one for one in READINGS if one not in found or found[one].open]
    failing = [one for one in READINGS if one not in undecided and not found[one].holds]
    verdict = Verdict.NONE if failing else Verdict.OPEN if undecided else Verdict.FOUND
    if found[HEADLINE].open:
        verdict = Verdict.OPEN
    claim = replace(
        found[HEADLINE].advantage,
        verdict=verdict,
        disagreeing=tuple(one.name for one in failing),
        undecided=tuple(one.name for one in undecided),
    )
    against = not undecided and all(one.against.direction > 0 for one in found.values())
    agreement = Agreement.CONTRADICTED if against else Agreement.NO_EVIDENCE
    if verdict is Verdict.FOUND:
        agreement = Agreement.AGREES
    p = np.nan if undecided else _normal_p(agreement, found.values())
    return MediumConfidence(agreement=agreement, claim=claim, readings=found, normal_p=p)


def _normal_p(agreement: Agreement, readings: Iterable[ReadingClaims]) -> float:
    """Of every advantage and excess above zero, or of every reading against it."""
    own = list(readings)
    most = p_of_all([part for one in own for part in (one.advantage, one.excess)], 1)
    return p_behind(agreement, most, p_of_all([one.against for one in own], 1))


def _reading_claims(bands: Bands) -> ReadingClaims:
    gains = _gains([one.pooled_effect() for one in bands])
    advantage = _advantage(gains)
    real = _advantage(_gains([one.real_images_effect() for one in bands]))
    others = {seed: float((one[0] + one[2]) / 2 - one[1]) for seed, one in gains.items()}
    return ReadingClaims(
        advantage=replace(claim_over_seeds(advantage), control=claim_over_seeds(real)),
        excess=claim_over_seeds(difference(advantage, real)),
        against=claim_over_seeds(others),
    )


def _gains(bands: list[dict[int, float]]) -> dict[int, Float[ndarray, " 3"]]:
    """E(low), E(medium) and E(high) of each seed."""
    low, medium, high = bands
    return {seed: np.array([low[seed], medium[seed], high[seed]]) for seed in medium}


def _advantage(gains: Mapping[int, Float[ndarray, " 3"]]) -> SeedValues:
    return {seed: float(one[1] - max(one[0], one[2])) for seed, one in gains.items()}
