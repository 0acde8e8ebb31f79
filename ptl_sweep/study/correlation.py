"""Does train2test predict AP? Spearman's rho over the cells of a grid (seed; interval ours)."""

from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from numpy import ndarray

from ptl_sweep.metrics.bootstrap import block_weights, few_blocks_note, percentile_interval
from ptl_sweep.study.schemas import CORRELATIONS, frame_of
from ptl_sweep.study.statistics import joined_notes
from ptl_sweep.study.study import SCOPES
from ptl_sweep.vocabulary import VARIANTS, Distance, Value

PREDICTORS = (Distance("tp", "mean"), Distance("tp", "median"), Distance("fp", "median"))
METRIC = "AP50"
MIN_CELLS = 3
MIN_BLOCKS = 2


class _Cells(NamedTuple):
    """Cells of one source that have the predictor and the metric."""

    predictor: Float[ndarray, " m"]
    metric: Float[ndarray, " m"]
    gaussian_n: Float[ndarray, " m"]  # may be NaN
    real_count: Float[ndarray, " m"]
    seed: Int[ndarray, " m"]


def correlations(
    results: pl.DataFrame, num_resamples: int, rng: np.random.Generator
) -> pl.DataFrame:
    """One row per source, predictor, variant of the distance and scope.

    Scopes: all cells; ranks within each real_count, around their middle (removes what both owe to
    the number of real images); partial, given log gaussian_n.
    The interval is a percentile bootstrap over seeds: cells of a seed share images and weights.
    rho is NaN with fewer than three cells or when all values are equal, its bounds with one seed.
    """
    rows = []
    for (dataset,), own in results.group_by("dataset", maintain_order=True):
        for predictor in PREDICTORS:
            for variant in VARIANTS:
                cells = _cells(own, predictor._replace(variant=variant))
                weights = _seed_weights(cells, num_resamples, rng)
                place = {
                    "dataset": dataset,
                    "predictor": predictor.predictor,
                    "variant": variant,
                    "metric": METRIC,
                }
                rows += [
                    {**place, "scope": scope, **_columns(cells, scope, weights)} for scope in SCOPES
                ]
    return frame_of(rows, CORRELATIONS)


def spearman(
    first: Float[ndarray, " m"],
    second: Float[ndarray, " m"],
    strata: Float[ndarray, " m"],
    weights: Float[ndarray, "b m"],
) -> Float[ndarray, " b"]:
    """Spearman's rho of samples that repeat cell i weights[b, i] times; NaN without variation.

    Ranks (the mean rank of ties) count within each stratum, around its middle; with one stratum
    this is the common coefficient.
    """
    return _correlation(
        _centred_ranks(first, strata, weights), _centred_ranks(second, strata, weights), weights
    )


def partial_spearman(
    first: Float[ndarray, " m"],
    second: Float[ndarray, " m"],
    given: Float[ndarray, " m"],
    weights: Float[ndarray, "b m"],
) -> Float[ndarray, " b"]:
    """Spearman's rho of what a straight line in `given` leaves of both ranks.

    (r_12 - r_1g r_2g) / sqrt((1 - r_1g^2) (1 - r_2g^2)) with r_1g, r_2g between a rank and the
    value of `given`; NaN when a line explains one of the ranks. `given` keeps its values because n
    clusters around the real counts: its ranks would tell apart what hardly differs.
    """
    one = np.zeros_like(first)
    mean = (weights @ given) / weights.sum(axis=1)
    centred = (
        _centred_ranks(first, one, weights),
        _centred_ranks(second, one, weights),
        given - mean[:, None],
    )
    both, left, right = (
        _correlation(centred[i], centred[j], weights) for i, j in ((0, 1), (0, 2), (1, 2))
    )
    remaining = (1 - left**2) * (1 - right**2)
    known = remaining > np.finfo(np.float64).eps ** 0.5
    return np.where(known, both - left * right, np.nan) / np.sqrt(np.where(known, remaining, 1.0))


def _centred_ranks(
    values: Float[ndarray, " m"], strata: Float[ndarray, " m"], weights: Float[ndarray, "b m"]
) -> Float[ndarray, "b m"]:
    """Mean rank minus (n + 1) / 2 in each repeated sample: half of (those below - those above).

    The m x m comparison is over cells of a grid: hundreds.
    """
    above = np.sign(values[None, :] - values[:, None])  # [j, i]: i above j
    above[strata[None, :] != strata[:, None]] = 0.0
    ranks: Float[ndarray, "b m"] = weights @ above / 2
    return ranks


def _correlation(
    first: Float[ndarray, "b m"], second: Float[ndarray, "b m"], weights: Float[ndarray, "b m"]
) -> Float[ndarray, " b"]:
    """Pearson's r of values that are centred already."""
    product = (weights * first * second).sum(axis=1)
    scale = (weights * first**2).sum(axis=1) * (weights * second**2).sum(axis=1)
    return np.where(scale > 0, product, np.nan) / np.sqrt(np.where(scale > 0, scale, 1.0))


def _cells(results: pl.DataFrame, predictor: Distance) -> _Cells:
    kept = results.filter(pl.col(predictor.name).is_finite(), pl.col(METRIC).is_finite())
    names = (predictor.name, METRIC, "gaussian_n", "real_count")
    predicting, metric, gaussian_n, real_count = (
        kept[name].cast(pl.Float64).to_numpy() for name in names
    )
    return _Cells(predicting, metric, gaussian_n, real_count, kept["seed"].to_numpy())


def _seed_weights(
    cells: _Cells, num_resamples: int, rng: np.random.Generator
) -> Float[ndarray, "b m"]:
    """First the cells themselves, then the resamples of whole seeds."""
    own = np.ones((1, len(cells.seed)))
    if len(np.unique(cells.seed)) < MIN_BLOCKS:
        return own
    return np.concatenate([own, block_weights(cells.seed, num_resamples, rng)])


def _columns(cells: _Cells, scope: str, weights: Float[ndarray, "b m"]) -> dict[str, Value]:
    num_cells, num_blocks = len(cells.seed), len(np.unique(cells.seed))
    if num_cells < MIN_CELLS:
        rho = np.full(len(weights), np.nan)
    elif scope == "partial on log n":
        log_n = np.log(cells.gaussian_n)
        rho = partial_spearman(cells.predictor, cells.metric, log_n, weights)
    else:
        within = scope == "within real_count"
        strata = cells.real_count if within else np.zeros(num_cells)
        rho = spearman(cells.predictor, cells.metric, strata, weights)
    low, high = percentile_interval(rho[1:])
    few_cells = f"needs {MIN_CELLS} cells, there are {num_cells}" if num_cells < MIN_CELLS else ""
    return {
        "rho": float(rho[0]),
        "low": low,
        "high": high,
        "num_cells": num_cells,
        "num_blocks": num_blocks,
        "note": joined_notes(few_cells, few_blocks_note(num_blocks)),
    }
