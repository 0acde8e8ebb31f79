"""The verdict over trainings: Student's t interval and exact sign flips over seeds, both."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

import numpy as np

from ptl_sweep.study.claims.flips import step_down_p
from ptl_sweep.study.statistics import SIGNIFICANCE, mean_interval, sign_flip_p, student_p

SeedValues: TypeAlias = Mapping[int, float]  # seed -> effect of one training; NaN: not measured
MIN_SEEDS = 6  # 2^(1 - 6) = 0.03125 is the first two-sided sign-flip p that is not above 0.05


class Verdict(StrEnum):
    """What the trainings of a sweep say about a statement."""

    FOUND = "found"  # the interval excludes zero and p <= 0.05
    NONE = "none"  # enough seeds, no evidence
    OPEN = "open"  # too few seeds for any verdict, or no interval


class Agreement(StrEnum):
    """How our trainings stand to the direction that a paper reports."""

    AGREES = "agrees"
    CONTRADICTED = "contradicted"
    NO_EVIDENCE = "no evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One statement: its verdict and the numbers that its sentence quotes."""

    verdict: Verdict
    value: float  # mean over seeds, in the unit of the effects
    sd: float  # over seeds, ddof = 1
    low: float  # 95 % interval over seeds
    high: float
    p: float  # exact, two-sided, of this statement alone
    num_seeds: int
    family: str = ""  # of tests that p_family is adjusted over; empty: this statement stands alone
    p_family: float = np.nan  # NaN without a family
    control: "Claim | None" = None  # the same number for what should not have the effect
    disagreeing: tuple[str, ...] = ()  # readings of the same question with another answer
    undecided: tuple[str, ...] = ()  # readings that are open or were not measured

    @property
    def direction(self) -> int:
        """1 or -1 where an effect was found, else 0."""
        return int(np.sign(self.value)) if self.verdict is Verdict.FOUND else 0


def judge(low: float, high: float, p: float, num_seeds: int) -> Verdict:
    """Found where the interval excludes zero and `p`, adjusted in a family, is at most 0.05.

    Open where so few seeds cannot give that p, or where there is no interval.
    """
    if num_seeds < MIN_SEEDS or np.isnan(low) or np.isnan(high) or np.isnan(p):
        return Verdict.OPEN
    return Verdict.NONE if low <= 0.0 <= high or p > SIGNIFICANCE else Verdict.FOUND


def claim_over_seeds(effects: SeedValues, rng: np.random.Generator | None = None) -> Claim:
    """Judge the mean of one number per seed against zero; seeds that are NaN are left out.

    `rng` (seed 0 when not given) draws sign flips beyond 16 seeds.
    """
    values = np.array(list(effects.values()), np.float64)
    values = values[np.isfinite(values)]
    over = mean_interval(values)
    p = sign_flip_p(values, np.random.default_rng(0) if rng is None else rng)
    return Claim(
        verdict=judge(over.low, over.high, p, over.num),
        value=over.mean,
        sd=over.sd,
        low=over.low,
        high=over.high,
        p=p,
        num_seeds=over.num,
    )


def family_claims(
    effects: Mapping[str, SeedValues], family: str, rng: np.random.Generator | None = None
) -> dict[str, Claim]:
    """Judge several effects of the same trainings by p values adjusted over all of them.

    Step-down over joint sign flips (`flips.step_down_p`), because Holm's correction of three
    tests cannot reach 0.05 with 6 seeds, however large the effects. A seed that one effect lacks
    is left out of that effect only. `rng` (seed 0 when not given) draws beyond 16 seeds.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    seeds = sorted({seed for one in effects.values() for seed in one})
    values = np.array([[one.get(seed, np.nan) for one in effects.values()] for seed in seeds])
    adjusted = step_down_p(values.reshape(len(seeds), len(effects)), rng)
    return {
        name: in_family(claim_over_seeds(one, rng), family, float(p))
        for (name, one), p in zip(effects.items(), adjusted, strict=True)
    }


def in_family(claim: Claim, family: str, p: float) -> Claim:
    """The claim judged by `p`, which is adjusted over the tests of a family."""
    verdict = judge(claim.low, claim.high, p, claim.num_seeds)
    return replace(claim, family=family, p_family=p, verdict=verdict)


def in_every_reading(headline: Claim, readings: Mapping[str, Claim]) -> Claim:
    """The headline, found only where each other reading is found on the same side.

    An intersection of tests is at most as often wrong as one of them, so nothing is corrected.
    A reading that is open leaves a found headline open.
    """
    undecided = tuple(name for name, one in readings.items() if one.verdict is Verdict.OPEN)
    disagreeing = tuple(
        name
        for name, one in readings.items()
        if name not in undecided and one.direction != headline.direction
    )
    verdict = headline.verdict
    if verdict is Verdict.FOUND and disagreeing:
        verdict = Verdict.NONE
    elif verdict is Verdict.FOUND and undecided:
        verdict = Verdict.OPEN
    return replace(headline, verdict=verdict, disagreeing=disagreeing, undecided=undecided)


def p_of_all(parts: Iterable[Claim], side: int) -> float:
    """Student's p of "every part lies on this side of zero" (1 or -1), the largest of theirs.

    A part on the other side has p = 1. NaN with an open part: then nothing can be said.
    """
    each = [
        np.nan
        if one.verdict is Verdict.OPEN
        else student_p(one.value, one.sd, one.num_seeds)
        if np.sign(one.value) == side
        else 1.0
        for one in parts
    ]
    return float(np.max(each))


def difference(first: SeedValues, second: SeedValues) -> dict[int, float]:
    """`first` - `second` at the seeds that both have."""
    return {seed: value - second[seed] for seed, value in first.items() if seed in second}


def p_behind(agreement: Agreement, agrees: float, contradicted: float) -> float:
    """The p of the side that is claimed; without a claim the smaller one, NaN being none."""
    if agreement is Agreement.NO_EVIDENCE:
        return float(np.fmin(agrees, contradicted))
    return agrees if agreement is Agreement.AGREES else contradicted


def agreement_with(claim: Claim, expected: int) -> Agreement:
    """How a claim stands to a published direction, `expected` = 1 (rises) or -1 (falls)."""
    if claim.direction == 0:
        return Agreement.NO_EVIDENCE
    return Agreement.AGREES if claim.direction == expected else Agreement.CONTRADICTED
