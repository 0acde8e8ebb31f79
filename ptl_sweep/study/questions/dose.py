"""Dose and response: AP50 by the number of virtual images, and the fewest that are enough (ours).

The number is chosen on pictures that the source holds out and judged on targets of other domains. A
training that is good by chance is good on both, so each seed is judged at the number that the other
seeds chose (docs/method.md, section 4).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.compose.cells.ids import name_before_axes, value_text
from ptl_sweep.study.claims.claim import Claim, SeedValues, family_claims
from ptl_sweep.study.groups import split_domains
from ptl_sweep.vocabulary import OFF

METRIC = "AP50"
DOSE_AXES = ("synthetic.images_per_iteration", "synthetic.num_iterations")
FAMILY = "dose responses"  # of claims: one for each place
_KEY = ("dataset", "real_count", "synthetic", "seed")


class DosePlace(NamedTuple):
    """What arms share that differ in the number of virtual images alone."""

    dataset: str
    real_count: int
    synthetic: str  # and the values of the other axes: `on, real_fraction=0.5`


class DoseResponse(NamedTuple):
    """AP50 by the number of virtual images; without a seed that lacks one of the numbers."""

    totals: Sequence[int]  # virtual images, rising from 0 (off)
    seeds: Sequence[int]
    held_out: Float[ndarray, "t s"]  # fraction, on what the source holds out
    foreign: Float[ndarray, "t s"]  # mean over targets of other domains

    @property
    def enough(self) -> int:
        """Place in `totals` that all seeds together choose."""
        return fewest_enough(self.held_out)

    def effects(self) -> SeedValues:
        """Change of `foreign` from off, of each seed at the number that the other seeds choose.

        NaN with fewer than three seeds: the others must be two for a standard error.
        """
        if len(self.seeds) < 3:
            return dict.fromkeys(self.seeds, np.nan)
        change = self.foreign - self.foreign[0]
        return {
            seed: float(change[fewest_enough(np.delete(self.held_out, place, axis=1)), place])
            for place, seed in enumerate(self.seeds)
        }


def fewest_enough(held_out: Float[ndarray, "t s"]) -> int:
    """First row whose mean is within one standard error of the best one's (Breiman et al. 1984).

    The standard error is the best row's over its columns; with one column it is 0.
    """
    mean = held_out.mean(axis=1)
    best = int(mean.argmax())
    num = held_out.shape[1]
    error = held_out[best].std(ddof=1) / np.sqrt(num) if num > 1 else 0.0
    return int((mean >= mean[best] - error).argmax())


def dose_responses(results: pl.DataFrame, axes: Sequence[str]) -> dict[DosePlace, DoseResponse]:
    """Every place of results.csv with off and two numbers of virtual images or more.

    `axes` are the sweep's, which are columns of `results`. Empty without cells on what the source
    holds out, or without a target of another domain.
    """
    foreign, own = split_domains(results)
    means = _means(foreign, "foreign").join(_means(own, "held_out"), on=_KEY, how="inner")
    arms: defaultdict[DosePlace, list[pl.DataFrame]] = defaultdict(list)
    off: dict[tuple[str, int], pl.DataFrame] = {}
    for (dataset, count, synthetic), arm in means.group_by(*_KEY[:3], maintain_order=True):
        if synthetic == OFF:
            off[dataset, count] = arm
            continue
        cell = results.filter(dataset=dataset, synthetic=synthetic).row(0, named=True)
        arms[DosePlace(dataset, count, _label(synthetic, cell, axes))].append(arm)
    return {
        place: _response([off[place[:2]], *found])
        for place, found in sorted(arms.items())
        if place[:2] in off and len(found) > 1
    }


def dose_claims(responses: Mapping[DosePlace, DoseResponse]) -> dict[DosePlace, Claim]:
    """The effect of choosing so at each place, adjusted over the places of a data set."""
    claims: dict[DosePlace, Claim] = {}
    for dataset in sorted({place.dataset for place in responses}):
        effects = {
            str(place): response.effects()
            for place, response in responses.items()
            if place.dataset == dataset
        }
        judged = family_claims(effects, FAMILY)
        claims |= {place: judged[str(place)] for place in responses if str(place) in judged}
    return claims


def _means(results: pl.DataFrame, name: str) -> pl.DataFrame:
    """Mean AP50 over the targets of an arm in a seed, NaN where one of them has none."""
    value = pl.col(METRIC).cast(pl.Float64).fill_null(np.nan)
    whole = pl.when(value.is_finite().all()).then(value.mean()).otherwise(np.nan)
    total = pl.col("num_synthetic").cast(pl.Int64).max().fill_null(0)
    return results.group_by(*_KEY, maintain_order=True).agg(
        whole.alias(name), total.alias(f"{name}_total")
    )


def _label(synthetic: str, cell: Mapping[str, object], axes: Sequence[str]) -> str:
    return ", ".join([name_before_axes(synthetic), *_shared_values(cell, axes)])


def _shared_values(cell: Mapping[str, object], axes: Sequence[str]) -> Iterator[str]:
    for axis in axes:
        value = cell.get(axis)
        if axis not in DOSE_AXES and value is not None and value == value:  # NaN: not varied
            yield f"{axis.rpartition('.')[2]}={value_text(value)}"


def _response(arms: Sequence[pl.DataFrame]) -> DoseResponse:
    arms = sorted(arms, key=_total)
    whole = [
        set(arm.filter(pl.col("foreign").is_finite() & pl.col("held_out").is_finite())["seed"])
        for arm in arms
    ]
    seeds = sorted(set.intersection(*whole))
    kept = [arm.filter(pl.col("seed").is_in(seeds)).sort("seed") for arm in arms]
    return DoseResponse(
        totals=[_total(arm) for arm in arms],
        seeds=seeds,
        held_out=np.array([arm["held_out"].to_numpy() for arm in kept]),
        foreign=np.array([arm["foreign"].to_numpy() for arm in kept]),
    )


def _total(arm: pl.DataFrame) -> int:
    totals: list[int] = arm["foreign_total"].to_list()
    return max(totals)
