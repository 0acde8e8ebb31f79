"""The study: every table that the reducer makes of a grid; `schemas` has the columns of each.

Figures, report and files read these and nothing else. Null: missing, in a column of integers or
text; NaN: not measurable, in a column of floats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl
from jaxtyping import Bool, Float
from numpy import ndarray

from ptl_sweep.study import schemas

SCALES = ("cumulative", "band")  # score >= s | score in one band only
SCOPES = ("pooled", "within real_count", "partial on log n")


class TranslationGap(NamedTuple):
    """What a translator did to the domain gap of the images that one PTL iteration selected."""

    untranslated: float  # median d^2 over the images in which the person is found both times
    translated: float  # likewise, of the same images
    real: float  # median d^2 of as many real persons, which detector and Gaussian were fitted to
    found_untranslated: float  # share of the images in which the detector finds the person
    found_translated: float
    found_real: float  # likewise, of those real persons


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
    kinds: Mapping[str, Sequence[Sequence[str]]]  # of each pool image, for example backgrounds
    effective_sample_size: float  # (sum w)^2 / sum w^2 of the weights that were drawn by
    translation: TranslationGap | None = None  # None: nothing was translated, or not measured


class ErrorCrop(NamedTuple):
    """A false positive, cut out with its surroundings and drawn in."""

    path: str  # PNG
    group: str  # "most confident" | "nearest"
    caption: str  # cell, score, distance, type


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What a grid has come to; every table has the columns of its schema."""

    rows: pl.DataFrame  # results.csv: one per cell, failed and missing ones included
    iteration_rows: pl.DataFrame  # iterations.csv
    summary: pl.DataFrame = field(default_factory=schemas.SUMMARY.to_frame)
    spreads: pl.DataFrame = field(default_factory=schemas.TRAIN2TEST.to_frame)
    gaussians: pl.DataFrame = field(default_factory=schemas.GAUSSIANS.to_frame)
    false_positives: pl.DataFrame = field(default_factory=schemas.FALSE_POSITIVES.to_frame)
    errors: pl.DataFrame = field(default_factory=schemas.ERRORS.to_frame)
    missed_persons: pl.DataFrame = field(default_factory=schemas.MISSED_PERSONS.to_frame)
    curves: pl.DataFrame = field(default_factory=schemas.CURVES.to_frame)
    contrasts: pl.DataFrame = field(default_factory=schemas.CONTRASTS.to_frame)
    correlations: pl.DataFrame = field(default_factory=schemas.CORRELATIONS.to_frame)
    claims: pl.DataFrame = field(default_factory=schemas.CLAIMS.to_frame)
    published: pl.DataFrame = field(default_factory=schemas.PUBLISHED.to_frame)
    selections: Sequence[PoolSelection] = ()
    crops: Sequence[ErrorCrop] = ()
    score_thresholds: Sequence[float] = field(default=(0.01, 0.1, 0.5))
