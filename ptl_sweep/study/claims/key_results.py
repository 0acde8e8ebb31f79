"""The seed's key results, each set against our trainings: agrees, contradicted or no evidence.

Each is judged on its own. Those of one source and value of `synthetic` are a family as well, for
how many of them agree or are contradicted; see `adjusted_p`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
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
    p_behind,
    p_of_all,
)
from ptl_sweep.study.claims.effects import PairedCells, slopes_per_doubling
from ptl_sweep.study.claims.flips import profile_p
from ptl_sweep.study.claims.worth import RealCurve, equivalents
from ptl_sweep.study.statistics import departure_p, holm


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyResult:
    """One statement of the seed beside our numbers."""

    agreement: Agreement
    claim: Claim  # the number that the statement is about
    parts: Mapping[str, Claim]  # what it is judged by
    normal_p: float  # of what the agreement rests on, by Student's t or F; NaN: not judged


def adjusted_p(normal_p: Sequence[float]) -> list[float]:
    """Holm's correction over the key results of one source and value of `synthetic`.

    A key result brings one p, of the side that it claims. Where several parts must hold, it is
    the largest of theirs, because a false claim has a part that is not so (intersection-union);
    where either of two parts contradicts, it is twice the smaller. A side then errs in at most
    half of a level and both in at most all of it, whatever the numbers share, which is what Holm
    asks for. A part has the p of Student's t, a spread over targets that of `departure_p`. Only
    what was found on its own may be counted, and that takes the exact test.

    Why not the exact p: 6 seeds give none below 0.031, so Holm over five would find nothing. Joint
    sign flips would have to run over all 33 parts, because one that is left out is not corrected
    for. They find an effect of 2 sd in 21 to 41 % of grids, Holm in 68 to 94 %.
    """
    return [float(p) for p in holm(np.array(normal_p, np.float64))]


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
    either = _twice(float(np.fmin(p_of_all([off], 1), p_of_all([more], -1))))
    return KeyResult(
        agreement=agreement,
        claim=replace(more, control=off),
        parts={"treated": on, "reference": off, "difference": more},
        normal_p=p_behind(agreement, p_of_all([on, more], 1), either),
    )


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
    agreement = agreement_with(claim, expected=1)
    grows, falls = (p_of_all([parts["effect"], *readings.values()], side) for side in (1, -1))
    p = p_behind(agreement, grows, falls)
    return KeyResult(agreement=agreement, claim=claim, parts=parts, normal_p=p)


def targets_differ(cells: PairedCells) -> KeyResult:
    """Judge "the effect differs between test sets": the interaction of target and synthetic.

    See `spread_over_targets` for the number and its test. Equal effects cannot be shown, so this
    is never contradicted.
    """
    claim = spread_over_targets(cells)
    agreement = agreement_with(claim, expected=1)
    p = _spread_p(cells, claim)
    return KeyResult(agreement=agreement, claim=claim, parts={}, normal_p=p)


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
    agrees = float(np.maximum(_spread_p(false, of_false), p_of_all([excess], 1)))
    return KeyResult(
        agreement=agreement,
        claim=replace(of_false, control=of_true),
        parts={"false positives": of_false, "true positives": of_true, "difference": excess},
        normal_p=p_behind(agreement, agrees, _twice(_spread_p(true, of_true))),
    )


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
    p = profile_p(_departures(cells))
    return replace(found, p=p, verdict=judge(found.low, np.inf, p, found.num_seeds))


def _twice(p: float) -> float:
    """P of one of two tests, or of one whose whole level is on this side; at most 1."""
    return float(np.minimum(1.0, 2 * p))


def _spread_p(cells: PairedCells, spread: Claim) -> float:
    return np.nan if spread.verdict is Verdict.OPEN else departure_p(_departures(cells))


def _ratio_slopes(cells: PairedCells, curve: RealCurve) -> dict[int, float]:
    """Slope of log2(replacement ratio) at the counts whose equivalents are inside the curve."""
    each = equivalents(cells, curve)
    complete = ~np.isnan(each).any(axis=1)
    inside = (np.isfinite(each[complete]) & (each[complete] > 0)).all(axis=0)
    counts = tuple(np.array(cells.counts)[inside].tolist())
    ratios = np.log2(each[complete][:, inside] / np.array(counts, np.float64))
    seeds = np.array(cells.seeds)[complete].tolist()
    return dict(zip(seeds, slopes_per_doubling(counts, ratios).tolist(), strict=True))


def _complete(cells: PairedCells) -> Bool[ndarray, " s"]:
    return np.asarray(np.isfinite(cells.effects).all(axis=(1, 2)))


def _departures(cells: PairedCells) -> Float[ndarray, "s t"]:
    """Each target's mean effect over counts minus the mean over targets, of complete seeds."""
    each = cells.effects.mean(axis=1)[_complete(cells)]
    return np.asarray(each - each.mean(axis=1, keepdims=True))


def _spreads(cells: PairedCells) -> dict[int, float]:
    """Each seed's departures along the mean profile of the other seeds, per root of a target."""
    own = _departures(cells)
    num_seeds, num_targets = own.shape
    if num_seeds < 2 or num_targets < 2:
        return {}
    others = (own.sum(axis=0) - own) / (num_seeds - 1)
    length = np.linalg.norm(others, axis=1)
    along = (own * others).sum(axis=1) / np.where(length > 0, length, 1.0)
    spreads = (along / np.sqrt(num_targets)).tolist()
    return dict(zip(np.array(cells.seeds)[_complete(cells)].tolist(), spreads, strict=True))
