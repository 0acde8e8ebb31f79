"""The seed's key results, each set against our trainings: agrees, contradicted or no evidence."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.study.claims.claim import (
    Agreement,
    Claim,
    Verdict,
    agreement_with,
    claim_over_seeds,
    difference,
    in_every_reading,
    judge,
)
from ptl_sweep.study.claims.effects import PairedCells, slopes_per_doubling
from ptl_sweep.study.claims.flips import profile_p
from ptl_sweep.study.claims.worth import RealCurve, equivalents


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyResult:
    """One statement of the seed beside our numbers."""

    agreement: Agreement
    claim: Claim  # the number that the statement is about
    parts: Mapping[str, Claim]  # what it is judged by


def rises_only_with_synthetic(cells: PairedCells) -> KeyResult:
    """Judge "AP_t2t above a medium score rises with real images only when synthetic is used".

    Slopes per doubling of the real images. Agrees where that of the treated and the difference
    are found above zero and that of the reference is not; contradicted where the reference rises
    too, or rises faster.
    """
    on, off = (claim_over_seeds(cells.arm_slopes(arm)) for arm in ("treated", "reference"))
    more = claim_over_seeds(cells.effect_slopes())
    agreement = Agreement.NO_EVIDENCE
    if off.direction > 0 or more.direction < 0:
        agreement = Agreement.CONTRADICTED
    elif on.direction > 0 and more.direction > 0:
        agreement = Agreement.AGREES
    parts = {"treated": on, "reference": off, "difference": more}
    return KeyResult(agreement=agreement, claim=replace(more, control=off), parts=parts)


def replacement_grows(cells: PairedCells, curve: RealCurve | None = None) -> KeyResult:
    """Judge "the ability to replace real images grows with their number"; metric AP50.

    Two readings: the slope of the effect, and that of log2(replacement ratio), per doubling of
    the real images. The ratio's slope is over the counts where every seed's equivalent lies
    within the curve; it is open with fewer than two of them, and then the effect alone decides.
    Readings that are found on opposite sides, or one of them alone, are no evidence.
    """
    curve = curve or RealCurve(counts=cells.counts, levels=cells.reference.mean(axis=2))
    parts = {
        "effect": claim_over_seeds(cells.effect_slopes()),
        "replacement ratio": claim_over_seeds(_ratio_slopes(cells, curve)),
    }
    ratio = parts["replacement ratio"]
    readings = {} if ratio.verdict is Verdict.OPEN else {"replacement ratio": ratio}
    claim = in_every_reading(parts["effect"], readings)
    if not readings:
        claim = replace(claim, undecided=("replacement ratio",))
    return KeyResult(agreement=agreement_with(claim, expected=1), claim=claim, parts=parts)


def targets_differ(cells: PairedCells) -> KeyResult:
    """Judge "the effect differs between test sets": the interaction of target and synthetic.

    See `spread_over_targets` for the number and its test. Equal effects cannot be shown, so this
    is never contradicted.
    """
    claim = spread_over_targets(cells)
    return KeyResult(agreement=agreement_with(claim, expected=1), claim=claim, parts={})


def through_false_positives(false: PairedCells, true: PairedCells) -> KeyResult:
    """Judge "test sets differ through their false positives, true positives change alike".

    The cells hold distances of false and of true positives. Agrees where the changes of false
    positives spread over targets, those of true positives are not found to, and the first spread
    exceeds the second, paired by seed; contradicted where true positives are found to spread.
    """
    of_false, of_true = (spread_over_targets(one) for one in (false, true))
    excess = claim_over_seeds(difference(_spreads(false), _spreads(true)))
    agreement = Agreement.NO_EVIDENCE
    if of_true.direction > 0:
        agreement = Agreement.CONTRADICTED
    elif of_false.direction > 0 and excess.low > 0:
        agreement = Agreement.AGREES
    parts = {"false positives": of_false, "true positives": of_true, "difference": excess}
    return KeyResult(agreement=agreement, claim=replace(of_false, control=of_true), parts=parts)


def spread_over_targets(cells: PairedCells) -> Claim:
    """Judge whether the effect is the same on every target, the mean over targets aside.

    The number is the root mean square of the targets' departures from their mean effect, in the
    unit of the metric: each seed's departures projected on the mean profile of the other seeds,
    so that noise alone gives zero on average (the plain root mean square is never zero).
    `p` flips the whole profile of a seed at once and compares the length of the summed profiles,
    whose square is the F statistic's numerator: targets may differ in noise and depend on each
    other, which permuting targets would not allow. Found where the interval lies above zero;
    open with fewer than two targets.
    """
    found = claim_over_seeds(_spreads(cells))
    if not found.num_seeds:
        return found
    departures = _departures(cells)
    p = profile_p(departures[np.isfinite(departures).all(axis=1)])
    return replace(found, p=p, verdict=judge(found.low, np.inf, p, found.num_seeds))


def _ratio_slopes(cells: PairedCells, curve: RealCurve) -> dict[int, float]:
    """Slope of log2(replacement ratio) at the counts whose equivalents are inside the curve."""
    each = equivalents(cells, curve)
    complete = ~np.isnan(each).any(axis=1)
    inside = (np.isfinite(each[complete]) & (each[complete] > 0)).all(axis=0)
    counts = tuple(np.array(cells.counts)[inside].tolist())
    ratios = np.log2(each[complete][:, inside] / np.array(counts, np.float64))
    seeds = np.array(cells.seeds)[complete].tolist()
    return dict(zip(seeds, slopes_per_doubling(counts, ratios).tolist(), strict=True))


def _departures(cells: PairedCells) -> Float[ndarray, "s t"]:
    """Each target's mean effect over counts minus the mean over targets; NaN where one is."""
    each = cells.effects.mean(axis=1)
    return np.asarray(each - each.mean(axis=1, keepdims=True))


def _spreads(cells: PairedCells) -> dict[int, float]:
    """Each seed's departures along the mean profile of the other seeds, per root of a target."""
    departures = _departures(cells)
    kept = np.isfinite(departures).all(axis=1)
    own = departures[kept]
    num_seeds, num_targets = own.shape
    if num_seeds < 2 or num_targets < 2:
        return {}
    others = (own.sum(axis=0) - own) / (num_seeds - 1)
    length = np.linalg.norm(others, axis=1)
    along = (own * others).sum(axis=1) / np.where(length > 0, length, 1.0)
    spreads = (along / np.sqrt(num_targets)).tolist()
    return dict(zip(np.array(cells.seeds)[kept].tolist(), spreads, strict=True))
