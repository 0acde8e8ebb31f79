"""Claims on train2test distances: they predict AP50; synthetic images bring targets nearer."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.stats import rankdata

from ptl_sweep.study.claims.claim import (
    Claim,
    SeedValues,
    claim_over_seeds,
    in_every_reading,
    in_family,
    judge,
)
from ptl_sweep.study.statistics import holm

MAX_EXACT_SEEDS = 7  # 7! = 5,040 orders are enumerated
NUM_DRAWN_ORDERS = 10_000  # beyond
PREDICTORS = "predictors"  # family of claims


def nearer_targets(relative_distance: SeedValues, minus_log_p: SeedValues) -> Claim:
    """Judge the change of the relative distance, found only where -log p changes the same way.

    Each seed brings its mean of paired per-person differences, treated - reference, over every
    ground truth. A Mahalanobis distance alone also falls when the training set only spreads:
    -log p = d / 2 + log|Sigma| / 2 pays for the spread.
    """
    return in_every_reading(
        claim_over_seeds(relative_distance), {"-log p": claim_over_seeds(minus_log_p)}
    )


def prediction(
    seeds: tuple[int, ...],
    distance: Float[ndarray, "s g"],
    ap50: Float[ndarray, "s g"],
    rng: np.random.Generator | None = None,
) -> Claim:
    """Judge whether detectors that lie nearer than others of their stratum have another AP50.

    Columns are strata, one per (count, target, synthetic); rows are seeds. Values are ranked over
    the seeds of a stratum, around the middle rank, so that what targets, counts and synthetic
    images do to both is gone. One rho per seed: the cosine of its two rows of ranks. Negative:
    nearer is better.

    The interval is Student's t over the seeds' rho. Their signs are not independent, because the
    ranks of a stratum sum to zero (sign flips reject a true null too often), so `p` permutes whole
    seeds of one side against the other, which is exact whatever the cells of a seed share.
    `rng` (seed 0 when not given) draws orders beyond 7 seeds. One seed has no rho: nothing is
    ranked.
    """
    kept, complete = _complete(np.isfinite(distance) & np.isfinite(ap50))
    if not kept.any() or not complete.any():
        return claim_over_seeds({})
    left, right = (_unit_ranks(one[kept][:, complete]) for one in (distance, ap50))
    cosines = left @ right.T  # [i, j]: the distances of seed i with the AP50 of seed j
    own = np.array(seeds)[kept].tolist()
    found = claim_over_seeds(dict(zip(own, np.diag(cosines).tolist(), strict=True)))
    if len(own) == 1:
        found = replace(found, value=np.nan)
    p = _permutation_p(cosines, np.random.default_rng(0) if rng is None else rng)
    return replace(found, p=p, verdict=judge(found.low, found.high, p, found.num_seeds))


def predictions(
    seeds: tuple[int, ...],
    distances: Mapping[str, Float[ndarray, "s g"]],
    ap50: Float[ndarray, "s g"],
) -> dict[str, Claim]:
    """Judge several distances as `prediction` does, by p adjusted over all of them (Holm).

    Six seeds have 720 orders, so that five adjusted tests can still reach 0.05.
    """
    each = {name: prediction(seeds, one, ap50) for name, one in distances.items()}
    adjusted = holm(np.array([claim.p for claim in each.values()]))
    return {
        name: in_family(claim, PREDICTORS, float(p))
        for (name, claim), p in zip(each.items(), adjusted, strict=True)
    }


def _complete(measured: Bool[ndarray, "s g"]) -> tuple[Bool[ndarray, " s"], Bool[ndarray, " g"]]:
    """Seeds with any cell, and the strata that all of them have."""
    kept = measured.any(axis=1)
    return np.asarray(kept), np.asarray(measured[kept].all(axis=0))


def _unit_ranks(values: Float[ndarray, "s g"]) -> Float[ndarray, "s g"]:
    """Ranks over seeds around their middle, each row of length one; a row in the middle stays 0."""
    ranks = rankdata(values, axis=0) - (len(values) + 1) / 2
    length = np.linalg.norm(ranks, axis=1, keepdims=True)
    return np.asarray(ranks / np.where(length > 0, length, 1.0))


def _permutation_p(cosines: Float[ndarray, "s s"], rng: np.random.Generator) -> float:
    """Two-sided p of the mean diagonal when the seeds of one side are put in every order."""
    num = len(cosines)
    sums = np.abs(cosines[_orders(num, rng), np.arange(num)].sum(axis=1))
    return float(np.mean(sums >= abs(np.trace(cosines)) - 1e-12 * num))


def _orders(num: int, rng: np.random.Generator) -> Int[ndarray, "m s"]:
    """Every order of the seeds, or many, the given one among them."""
    if num <= MAX_EXACT_SEEDS:
        return np.array(list(permutations(range(num))))
    orders = rng.permuted(np.tile(np.arange(num), (NUM_DRAWN_ORDERS, 1)), axis=1)
    orders[0] = np.arange(num)
    return orders
