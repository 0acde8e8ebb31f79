"""Claim on the selection of virtual images: those that are taken lie nearer than those left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from ptl_sweep.study.claims.claim import Claim, claim_over_seeds
from ptl_sweep.study.study import PoolSelection

CHANCE = 0.5  # probability of the smaller domain gap, were selection blind to it


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionClaim:
    """Whether one value of `synthetic` prefers near images, and how uneven its weights were."""

    dataset: str
    synthetic: str
    claim: Claim  # the value is the probability minus CHANCE
    effective_sizes: tuple[float, float]  # effective sample size, least and largest of any draw
    pool_sizes: tuple[int, int]  # images that were drawn from, likewise


def nearer_probability(selection: PoolSelection) -> float:
    """Probability that a selected image has a smaller gap than one left, ties half; Mann-Whitney.

    NaN when all or none were selected, or no image has a finite gap.
    """
    chosen = selection.selected
    num, rest = int(chosen.sum()), int((~chosen).sum())
    if not num or not rest or not np.isfinite(selection.gap).any():
        return np.nan
    ranks = rankdata(selection.gap)
    farther = float(ranks[chosen].sum()) - num * (num + 1) / 2
    return 1 - farther / (num * rest)


def selection_claims(selections: Sequence[PoolSelection]) -> list[SelectionClaim]:
    """Judge per (source, synthetic) whether images were taken by their gap.

    Each seed brings the mean of `nearer_probability` over its iterations and real counts, against
    CHANCE. A draw that knew no gap is left out.
    """
    series: dict[tuple[str, str], list[tuple[PoolSelection, float]]] = {}
    for one in selections:
        probability = nearer_probability(one)
        if np.isfinite(probability):
            series.setdefault((one.dataset, one.synthetic), []).append((one, probability))
    return [_series_claim(dataset, name, own) for (dataset, name), own in series.items()]


def _series_claim(
    dataset: str, synthetic: str, draws: Sequence[tuple[PoolSelection, float]]
) -> SelectionClaim:
    by_seed: dict[int, list[float]] = {}
    for one, probability in draws:
        by_seed.setdefault(one.seed, []).append(probability - CHANCE)
    means: Mapping[int, float] = {seed: float(np.mean(own)) for seed, own in by_seed.items()}
    effective = [one.effective_sample_size for one, _ in draws]
    pools = [len(one.gap) for one, _ in draws]
    return SelectionClaim(
        dataset=dataset,
        synthetic=synthetic,
        claim=claim_over_seeds(means),
        effective_sizes=(min(effective), max(effective)),
        pool_sizes=(min(pools), max(pools)),
    )
