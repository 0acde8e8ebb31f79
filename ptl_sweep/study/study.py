"""The study: every table that the reducer makes of a grid, and the columns of each.

A table is a list of rows; figures, report and files read these and nothing else. A cell without a
number is NaN or None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jaxtyping import Bool, Float
from numpy import ndarray

from ptl_sweep.vocabulary import BANDS, Row

CELL_COLUMNS = ("dataset", "real_count", "synthetic", "target", "seed", "iteration")

# One row per cell (last iteration), kind, band ("" for all scores; missed has only "") and variant.
SPREAD_COLUMNS = (
    *CELL_COLUMNS, "kind", "band", "variant", "num", "mean", "lower_quartile", "median",
    "upper_quartile",
)  # fmt: skip

# One row per detector: what stands behind its distances and whether a Gaussian describes them.
GAUSSIAN_COLUMNS = (
    "dataset", "real_count", "synthetic", "seed", "iteration", "train_key",
    "n",  # training features
    "num_images",  # training images that gave a feature
    "num_channels", "num_dropped",  # channels that vary, dead ones
    "rank",  # of the ML covariance
    "condition", "shrinkage",  # of the shrunk covariance
    "raw_unshifted",  # D (n + 1) / (n - D - 2): raw distance of unseen data without any shift
    "equal_n",  # features per subset of the equal_n distance
    "calibration",  # validation | crossfit | none
    "calibration_scale",  # mean shrunk distance that calibrated distances are multiples of
    "num_calibration",  # features it is the mean of
    "below_50", "below_90", "below_99",  # share of validation true positives below these quantiles
    # of the law of the raw distance; 0.5, 0.9, 0.99 when the Gaussian holds
    "mardia",  # Mardia kurtosis over its expectation: 1 for a Gaussian
    "mardia_z",
    "warning",  # what fails, in words; None when nothing does
)  # fmt: skip

FALSE_POSITIVE_COLUMNS = (*CELL_COLUMNS, "type", "band", "size", "nearness", "num")
# One row per cell and type, and one with type "all": AP50 if these false positives vanished.
ERROR_COLUMNS = (*CELL_COLUMNS, "type", "num", "AP50", "AP50_without", "gain")

# Precision by rank: one row per cell (last iteration), score threshold, ranking and recall.
CURVE_COLUMNS = (*CELL_COLUMNS, "score_threshold", "ranking", "recall", "precision")

# E(s) = AP_t2t_s(synthetic) - AP_t2t_s(off) at the three thresholds, and the claim that the medium
# one gains most: claim = E(medium) - max(E(low), E(high)). One row per group and scale.
SCALES = ("cumulative", "band")  # score >= s | score in one band only
CONTRAST_COLUMNS = (
    "dataset", "real_count", "synthetic", "target", "scale", "num_seeds",
    *(f"{band}{bound}" for band in BANDS for bound in ("", "_low", "_high")),
    "claim", "claim_low", "claim_high",  # mean over seeds, Student t interval
    "claim_image_low", "claim_image_high",  # bootstrap over test images of the mean over seeds
    "num_blocks", "p", "note",
)  # fmt: skip

# Does train2test predict AP? Spearman over cells. One row per predictor and scope.
CORRELATION_COLUMNS = (
    "dataset", "predictor", "variant", "metric", "scope", "rho", "low", "high", "num_cells",
    "num_blocks", "note",
)  # fmt: skip
SCOPES = ("pooled", "within real_count", "partial on log n")

# Published AP, as fractions: one row per paper, table and cell of it.
PUBLISHED_COLUMNS = (
    "paper", "table", "dataset", "target", "real_count", "synthetic", "iteration", "AP50", "AP",
)  # fmt: skip


class Selection(NamedTuple):
    """The virtual pool as one PTL iteration saw it."""

    dataset: str
    real_count: int
    synthetic: str
    seed: int
    iteration: int  # 1 is the first
    gap: Float[ndarray, " p"]  # domain gap, squared Mahalanobis distance; inf: never detected
    selected: Bool[ndarray, " p"]
    attributes: Mapping[str, ndarray]  # of each pool image, for example altitude_m, radius_m


class ErrorCrop(NamedTuple):
    """A false positive, cut out with its surroundings and drawn in."""

    path: str  # PNG
    group: str  # "most confident" | "nearest"
    caption: str  # cell, score, distance, type


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What a grid has come to; every table has the columns of its constant above."""

    rows: Sequence[Row]  # results.csv: one per cell, failed and missing ones included
    iteration_rows: Sequence[Row]  # iterations.csv
    summary: Sequence[Row]  # summary.csv
    spreads: Sequence[Row] = ()
    gaussians: Sequence[Row] = ()
    false_positives: Sequence[Row] = ()
    errors: Sequence[Row] = ()
    curves: Sequence[Row] = ()
    contrasts: Sequence[Row] = ()
    correlations: Sequence[Row] = ()
    published: Sequence[Row] = ()
    selections: Sequence[Selection] = ()
    crops: Sequence[ErrorCrop] = ()
    score_thresholds: Sequence[float] = field(default=(0.01, 0.1, 0.5))
