"""One schema per table of the study: columns in the order of their file, and the type of each."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import polars as pl

from ptl_sweep.config.analysis import EQUAL_COUNTS
from ptl_sweep.vocabulary import (
    AT_COUNT,
    BANDS,
    DISTANCES,
    KNN_DISTANCE,
    NEG_LOG_P,
    RELATIVE_DISTANCE,
    RELATIVE_MAHALANOBIS,
    VARIANTS,
    ApT2t,
    ApT2tAtCount,
    ApT2tVariant,
    Row,
    Value,
    band_name,
    bounded,
)

TEXT, INTEGER, NUMBER = pl.String(), pl.Int64(), pl.Float64()
Schema: TypeAlias = Mapping[str, Any]  # a pl.Schema, which beartype cannot take for a hint


def _texts(*names: str) -> Schema:
    return dict.fromkeys(names, TEXT)


def _integers(*names: str) -> Schema:
    return dict.fromkeys(names, INTEGER)


def _numbers(*names: str) -> Schema:
    return dict.fromkeys(names, NUMBER)


GROUP = pl.Schema({"dataset": TEXT, "real_count": INTEGER, "synthetic": TEXT, "target": TEXT})
CELL = pl.Schema({**GROUP, "seed": INTEGER, "iteration": INTEGER})


def results_schema(
    score_thresholds: Sequence[float], equal_counts: Sequence[float] = EQUAL_COUNTS
) -> Schema:
    """results.csv and iterations.csv: one row per cell, and per cell and evaluated iteration."""

    def ap_t2t(*variants: ApT2tVariant) -> list[str]:
        return [ApT2t(score, kind).name for kind in variants for score in score_thresholds]

    def distances(*variants: str) -> list[str]:
        return [one._replace(variant=name).name for name in variants for one in DISTANCES]

    of = ApT2tVariant
    return pl.Schema(
        {
            **CELL,
            **_texts("status", "reason"),
            **_integers("num_train_images", "num_synthetic", "num_ground_truth", "num_detections"),
            **_numbers("AP50", "AP", *ap_t2t(of.RAW, of.SHRUNK, of.LIFT)),
            **_numbers(*distances(*VARIANTS[:-1])),
            **_integers("gaussian_n", "gaussian_rank"),
            "t2t_auroc": NUMBER,
            **_texts("train_key", "evaluate_key"),
            **_numbers(*ap_t2t(of.EQUAL_N), *distances("equal_n")),
            **_numbers(*ap_t2t(of.NULL, of.MATCHED, of.REMATCHED, of.IOU_50_95)),
            **_numbers(*map(band_name, BANDS)),
            **_numbers(*ap_t2t(of.MATCHED_LIFT)),
            "domain": TEXT,  # vocabulary.Domain
            **_numbers(RELATIVE_DISTANCE, NEG_LOG_P),
            **_numbers(*(ApT2tAtCount(n, kind).name for kind in AT_COUNT for n in equal_counts)),
            **_numbers(KNN_DISTANCE, RELATIVE_MAHALANOBIS),
        }
    )


# Means over seeds, paired effects of synthetic, and what they are worth: per group and metric.
SUMMARY = pl.Schema(
    {
        **GROUP,
        "metric": TEXT,
        "num_seeds": INTEGER,
        **_numbers("mean", "sd", "low", "high"),
        "num_pairs": INTEGER,
        **_numbers("effect", "effect_sd", "effect_low", "effect_high", "p", "p_holm"),
        "note": TEXT,
        # AP50 only: bootstrap over test images (scenes) of the effect, over the seeds in it
        **_numbers("image_low", "image_high", "image_sd"),
        "num_blocks": INTEGER,  # images or scenes that were resampled; over targets: their sum
        # AP50 only: real images that give the same without synthetic; 0: fewer than the smallest
        # count, inf: more than the largest; the ratio is to real_count
        **_numbers(*bounded("real_equivalent"), *bounded("replacement_ratio")),
    }
)

# One row per cell (last iteration), kind, band ("" for all scores; missed has only "") and variant.
TRAIN2TEST = pl.Schema(
    {
        **CELL,
        **_texts("kind", "band", "variant"),
        "num": INTEGER,
        **_numbers("mean", "lower_quartile", "median", "upper_quartile"),
    }
)

# One row per detector: what stands behind its distances and whether a Gaussian describes them.
GAUSSIANS = pl.Schema(
    {
        **{name: dtype for name, dtype in CELL.items() if name != "target"},
        "train_key": TEXT,
        "n": INTEGER,  # training features
        "num_images": INTEGER,  # training images that gave a feature
        "num_channels": INTEGER,  # that vary
        "num_dropped": INTEGER,  # dead ones
        "rank": INTEGER,  # of the ML covariance
        "condition": NUMBER,  # of the shrunk covariance, as is the shrinkage
        "shrinkage": NUMBER,
        "raw_unshifted": NUMBER,  # D (n + 1) / (n - D - 2): raw distance of unseen, unshifted data
        "equal_n": INTEGER,  # features per subset of the equal_n distance
        "calibration": TEXT,  # validation | crossfit | none
        "calibration_scale": NUMBER,  # mean shrunk distance, unit of the calibrated ones
        "num_calibration": INTEGER,  # features it is the mean of
        # share of validation true positives below these quantiles of the law of the raw distance;
        # 0.5, 0.9, 0.99 when the Gaussian holds
        **_numbers("below_50", "below_90", "below_99"),
        "mardia": NUMBER,  # Mardia kurtosis over its expectation: 1 for a Gaussian
        "mardia_z": NUMBER,
        "warning": TEXT,  # what fails or was not looked at, in words; null when nothing is
        "gaussian_check": TEXT,  # vocabulary.Condition: whether the Gaussian holds
        "relative_n": INTEGER,  # features per subset behind the relative distance
        "relative_unit": NUMBER,  # mean distance by them of the source's validation persons
        "num_relative": INTEGER,  # persons it is the mean of
        "num_scores": INTEGER,  # validation detections with a medium or high score
        "score_error": NUMBER,  # expected calibration error of these scores
        "score_check": TEXT,  # vocabulary.Condition: whether scores say how precise they are
    }
)

FALSE_POSITIVES = pl.Schema({**CELL, **_texts("type", "band", "size", "nearness"), "num": INTEGER})

# One row per cell and type of error, "all" being all false positives: AP50 if these vanished, and
# if the errors were fixed as TIDE defines it.
ERRORS = pl.Schema(
    {
        **CELL,
        "type": TEXT,
        "num": INTEGER,
        **_numbers("AP50", "AP50_without", "gain", "AP50_fixed", "gain_fixed"),
    }
)

# One row per cell and class of persons by size, and by distance to the training set.
MISSED_PERSONS = pl.Schema(
    {
        **CELL,
        **_texts("split", "part"),  # size | distance, and which class
        **_integers("num_ground_truth", "num", "num_missed"),
        **_numbers("AP50_fixed", "gain_fixed"),
    }
)

# Precision by rank: one row per cell (last iteration), score threshold, ranking and recall.
CURVES = pl.Schema(
    {
        **CELL,
        "score_threshold": NUMBER,
        "ranking": TEXT,
        **_numbers("recall", "precision"),
    }
)

# E(s) = AP_t2t_s(synthetic) - AP_t2t_s(off) at the three thresholds, and the claim that the medium
# one gains most: claim = E(medium) - max(E(low), E(high)). One row per group and scale.
CONTRASTS = pl.Schema(
    {
        **GROUP,
        "scale": TEXT,
        "num_seeds": INTEGER,
        **_numbers(*(name for band in BANDS for name in bounded(band))),
        **_numbers(*bounded("claim")),  # mean over seeds, Student t interval
        **_numbers(*bounded("claim_image")[1:]),  # bootstrap of test images, mean over seeds
        "num_blocks": INTEGER,
        "p": NUMBER,
        "note": TEXT,
    }
)

# Does train2test predict AP? Spearman over cells. One row per predictor and scope.
CORRELATIONS = pl.Schema(
    {
        **_texts("dataset", "predictor", "variant", "metric", "scope"),
        **_numbers("rho", "low", "high"),
        **_integers("num_cells", "num_blocks"),
        "note": TEXT,
    }
)

# What the study may say: one row per statement, and one per part that it is judged by (`part`).
# Columns of the statement alone are empty in its parts.
CLAIMS = pl.Schema(
    {
        **_texts("statement", "part", "dataset", "treated", "reference"),
        "real_count": INTEGER,  # null: all of real_counts
        "target": TEXT,  # null: all of targets
        **_texts("real_counts", "targets", "metric"),
        **_texts("verdict", "agreement"),  # found | none | open; with the papers' direction
        **_numbers("value", "sd", "low", "high"),  # over seeds; Student t interval
        "num_seeds": INTEGER,
        "p": NUMBER,  # exact, over seeds
        "family": TEXT,  # of tests that one sentence is about; p_family is adjusted over it
        **_numbers("p_family", "control", "control_low", "control_high"),
        **_texts("disagreeing", "undecided"),  # readings with another answer, or with none
    }
)

# Published AP, as fractions: one row per paper, table and cell of it.
PUBLISHED = pl.Schema(
    {
        **_texts("paper", "table", "dataset", "target"),
        "real_count": INTEGER,
        **_texts("synthetic", "iteration"),  # iteration: a number, "best", or null
        **_numbers("AP50", "AP"),
    }
)

# A published change by synthetic images, and ours where this sweep has the same cell.
BESIDE = pl.Schema(
    {
        **_texts("paper", "table", "dataset", "target"),
        "real_count": INTEGER,
        **_texts("metric", "published_change"),  # up | down | same
        "published_ratio": NUMBER,  # AP with synthetic over AP without
        "change": TEXT,  # of ours; empty without ours
        "ratio": NUMBER,
        "note": TEXT,
    }
)


def frame_of(rows: Sequence[Row], schema: Schema) -> pl.DataFrame:
    """The rows as a table; what a row lacks is NaN in a column of floats and null in the others.

    Raises: ValueError for a row with a column that the table does not have.
    """
    unknown = {name for row in rows for name in row} - set(schema)
    if unknown:
        raise ValueError(f"no column {', '.join(sorted(unknown))}; known: {', '.join(schema)}")
    return pl.DataFrame(
        {
            name: pl.Series(
                name, [_stored(row.get(name), is_float=dtype == NUMBER) for row in rows], dtype
            )
            for name, dtype in schema.items()
        }
    )


def _stored(value: Value, *, is_float: bool) -> Value:
    missing = value is None or value != value
    return (np.nan if is_float else None) if missing else value
