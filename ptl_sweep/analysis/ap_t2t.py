"""AP_t2t: average precision by train2test distance instead of score (seed), and a cell's columns.

Defaults are those of method.md, section 3: every ground truth is in the denominator of recall, true
positives are those of the AP (matched once, by score), only the ranking changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.analysis.train2test import (
    FEATURE_MIN_SCORE,
    DetectionTable,
    DistanceHistogram,
    DistanceSummary,
    distance_histogram,
    distances,
    summarise_distances,
)
from ptl_sweep.detection.average_precision import average_precision, ranking
from ptl_sweep.ptl.gaussian import Gaussian, GaussianRefusal, fit_gaussian

NULL_DRAWS = 20  # random orders behind one lift
DISTANCE_COLUMNS = ("t2t_tp_mean", "t2t_fp_mean", "t2t_tp_median", "t2t_fp_median")
NOT_COMPUTED = ("_calibrated", "_equal_n")  # columns that exist and stay empty in this version


def threshold_label(score_threshold: float) -> str:
    """`010` for 0.1: the suffix of the AP_t2t columns."""
    return f"{round(100 * score_threshold):03d}"


def ap_t2t(
    table: DetectionTable, distance: Float[ndarray, " n_f"], score_threshold: float
) -> float:
    """Average precision of the detections with score >= s, ranked by distance, nearest first.

    `distance` is aligned with `table.features`. Ties: higher score, then image, then box index.
    0.0 without detections; NaN without ground truth or when distances do not exist. A root or a
    rescaling of the distances changes nothing.

    Raises: ValueError for s below the score from which features are kept.
    """
    rows, chosen = _ranked_rows(table, score_threshold)
    nearest = distance[chosen]
    if np.isnan(nearest).any():
        return np.nan
    order = ranking(nearest, table.score[rows], table.image[rows], table.box_index[rows])
    return average_precision(table.true_positive[rows][order], table.num_truths)


def random_order_null(
    table: DetectionTable,
    score_threshold: float,
    rng: np.random.Generator,
    num_draws: int = NULL_DRAWS,
) -> float:
    """Mean average precision of the same detections in random order: what the lift is over."""
    rows, _ = _ranked_rows(table, score_threshold)
    hits = table.true_positive[rows]
    draws = [average_precision(rng.permutation(hits), table.num_truths) for _ in range(num_draws)]
    return float(np.mean(draws))


def _ranked_rows(
    table: DetectionTable, score_threshold: float
) -> tuple[Int[ndarray, " k"], Bool[ndarray, " n_f"]]:
    """Rows of the table with score >= s that count, and which features are theirs."""
    if score_threshold < FEATURE_MIN_SCORE:
        raise ValueError(
            f"AP_t2t at score {score_threshold} needs features, which are kept from score "
            f"{FEATURE_MIN_SCORE}; raise evaluate.score_thresholds"
        )
    featured = table.featured
    chosen = (table.score[featured] >= score_threshold) & table.counted[featured]
    return featured[chosen], chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMetrics:
    """What the analysis adds to one row of results.csv."""

    columns: dict[str, float | int | str | None]  # None: not computed in this version
    reasons: tuple[str, ...]  # why a column is NaN, for the column `reason`
    histogram: DistanceHistogram  # of the shrunk distance; empty when there is no Gaussian


def measure_cell(
    table: DetectionTable,
    training_features: Float[ndarray, "n d"],
    score_thresholds: Sequence[float],
    rng: np.random.Generator,
) -> CellMetrics:
    """Distances and AP_t2t of one detector on one target, raw (ML) and shrunk (OAS).

    `_lift` is the shrunk AP_t2t over the mean of random orders drawn from `rng`. A covariance that
    does not exist gives NaN and a reason, never an error.
    """
    raw_fit = fit_gaussian(training_features, "ml")
    shrunk_fit = fit_gaussian(training_features, "oas")
    raw, shrunk = distances(table.features, raw_fit), distances(table.features, shrunk_fit)
    summary = summarise_distances(table, shrunk)
    columns: dict[str, float | int | str | None] = {
        "num_ground_truth": table.num_truths,
        "num_detections": len(table.score),
        "t2t_auroc": summary.auroc,
        **_gaussian_columns(shrunk_fit),
        **_distance_columns(summarise_distances(table, raw), ""),
        **_distance_columns(summary, "_shrunk"),
        **dict.fromkeys(f"{name}{kind}" for name in DISTANCE_COLUMNS for kind in NOT_COMPUTED),
    }
    for threshold in score_thresholds:
        name = f"AP_t2t_{threshold_label(threshold)}"
        headline = ap_t2t(table, shrunk, threshold)
        columns[name] = ap_t2t(table, raw, threshold)
        columns[f"{name}_shrunk"] = headline
        columns[f"{name}_lift"] = headline - random_order_null(table, threshold, rng)
        columns[f"{name}_equal_n"] = None
    return CellMetrics(
        columns=columns,
        reasons=_reasons(table, raw_fit, shrunk_fit, summary),
        histogram=distance_histogram(table, shrunk, score_thresholds),
    )


def _distance_columns(summary: DistanceSummary, suffix: str) -> dict[str, float]:
    hit, missed = summary.true_positive, summary.false_positive
    values = (hit.mean, missed.mean, hit.median, missed.median)
    return {name + suffix: value for name, value in zip(DISTANCE_COLUMNS, values, strict=True)}


def _gaussian_columns(fit: Gaussian | GaussianRefusal) -> dict[str, float | int]:
    rank = np.nan if isinstance(fit, GaussianRefusal) else fit.rank
    return {"gaussian_n": fit.n, "gaussian_rank": rank}


def _reasons(
    table: DetectionTable,
    raw: Gaussian | GaussianRefusal,
    shrunk: Gaussian | GaussianRefusal,
    summary: DistanceSummary,
) -> tuple[str, ...]:
    """One clause per cause, the most general first."""
    reasons: list[str] = []
    if table.num_truths == 0:
        reasons.append("no ground truth in the target, so no AP")
    if isinstance(shrunk, GaussianRefusal):
        reasons.append(f"no distances: {shrunk.reason}")
    elif isinstance(raw, GaussianRefusal):
        reasons.append(f"no raw distances: {raw.reason}")
    for spread, kind in ((summary.true_positive, "true"), (summary.false_positive, "false")):
        if spread.num == 0:
            reasons.append(f"no {kind} positive with score >= {FEATURE_MIN_SCORE}")
    return tuple(reasons)
