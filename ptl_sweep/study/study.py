"""The study: every table that the reducer makes of a grid; `schemas` has the columns of each.

A table is a list of rows; figures, report and files read these and nothing else. A cell without a
number is NaN or None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from jaxtyping import Bool, Float
from numpy import ndarray

from ptl_sweep.vocabulary import Row

SCALES = ("cumulative", "band")  # score >= s | score in one band only
SCOPES = ("pooled", "within real_count", "partial on log n")

# Published AP, as fractions: one row per paper, table and cell of it.
PUBLISHED_COLUMNS = (
    "paper", "table", "dataset", "target", "real_count", "synthetic", "iteration", "AP50", "AP",
)  # fmt: skip


class PoolSelection(NamedTuple):
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
    """What a grid has come to; every table has the columns of its schema."""

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
    selections: Sequence[PoolSelection] = ()
    crops: Sequence[ErrorCrop] = ()
    score_thresholds: Sequence[float] = field(default=(0.01, 0.1, 0.5))
