"""Cells of results.csv as arrays over seeds, real counts and targets, for the claims."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from numpy import ndarray

from ptl_sweep.study.claims.effects import PairedCells
from ptl_sweep.study.claims.worth import RealCurve
from ptl_sweep.vocabulary import ERROR_TYPES, cost_name

AXES = ("seed", "real_count", "target")
CELL = ("dataset", "synthetic", *AXES)


@dataclass(frozen=True, slots=True)
class _PlacedRows:
    """Rows of one value of `synthetic` and where they lie in an array over the axes."""

    rows: pl.DataFrame
    places: Int[ndarray, "n 3"]
    shape: tuple[int, ...]

    def levels(self, metric: str) -> Float[ndarray, "s c t"]:
        """NaN where a cell is missing."""
        found = np.full(self.shape, np.nan)
        found[tuple(self.places.T)] = self.rows[metric].to_numpy()
        return found


class ArmPair:
    """Two values of `synthetic` at the seeds, counts and targets that both have.

    `results` are the cells of one source.
    """

    def __init__(self, results: pl.DataFrame, treated: str, reference: str) -> None:
        arms = [results.filter(synthetic=name) for name in (treated, reference)]
        self._axes = [sorted(set(arms[0][axis]) & set(arms[1][axis])) for axis in AXES]
        self._treated, self._reference = (_placed(arm, self._axes) for arm in arms)
        self._reference_rows = arms[1]

    def cells(self, metric: str) -> PairedCells | None:
        """One metric of both; None where no real count has a seed with every number.

        Such a count is left out, because a mean over counts would have no seed at all.
        """
        treated, reference = self._treated.levels(metric), self._reference.levels(metric)
        measured = np.isfinite(treated + reference).all(axis=2).any(axis=0)
        if not measured.any():
            return None
        seeds, counts, targets = self._axes
        return PairedCells(
            seeds=tuple(seeds),
            counts=tuple(count for count, known in zip(counts, measured, strict=True) if known),
            targets=tuple(targets),
            treated=treated[:, measured],
            reference=reference[:, measured],
        )

    @cached_property
    def curve(self) -> RealCurve:
        """AP50 of the reference at every real count that it has, mean over targets.

        A real count at which no seed has every target is left out.
        """
        seeds, _, targets = self._axes
        counts = sorted(set(self._reference_rows["real_count"]))
        placed = _placed(self._reference_rows, [seeds, counts, targets])
        levels = placed.levels("AP50").mean(axis=2)
        known = np.isfinite(levels).any(axis=0)
        return RealCurve(counts=tuple(np.array(counts)[known].tolist()), levels=levels[:, known])


def strata(results: pl.DataFrame, metric: str) -> Float[ndarray, "s g"]:
    """A metric by seed and stratum (count x target x synthetic), both rising."""
    wide = results.pivot("seed", index=["real_count", "target", "synthetic"], values=metric)
    seeds = sorted(set(results["seed"]))
    ordered = wide.sort("real_count", "target", "synthetic").select(map(str, seeds))
    return ordered.to_numpy().astype(np.float64).T


def _placed(results: pl.DataFrame, axes: Sequence[Sequence[int | str]]) -> _PlacedRows:
    """The rows within the axes."""
    own = results.filter(
        pl.col(axis).is_in(list(values)) for axis, values in zip(AXES, axes, strict=True)
    )
    orders = [{value: place for place, value in enumerate(axis)} for axis in axes]
    places = [[order[one] for one in own[axis]] for axis, order in zip(AXES, orders, strict=True)]
    shape = tuple(map(len, axes))
    return _PlacedRows(own, np.array(places, np.int64).reshape(len(AXES), -1).T, shape)


def with_error_costs(results: pl.DataFrame, errors: pl.DataFrame) -> pl.DataFrame:
    """Add a column per type of error: AP50 fixed minus AP50 (TIDE), null where not measured."""
    for kind in ERROR_TYPES:
        own = errors.filter(type=kind).select(*CELL, pl.col("gain_fixed").alias(cost_name(kind)))
        results = results.join(own, on=CELL, how="left", maintain_order="left")
    return results
