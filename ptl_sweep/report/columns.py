"""Columns of every table of the page: which value of a row, under which header, in which unit."""

from collections.abc import Sequence

from ptl_sweep import vocabulary as measured
from ptl_sweep.report.tables import MISSING, NOTED, PageColumn
from ptl_sweep.vocabulary import (
    BANDS,
    COMPARABLE_DISTANCE,
    NEARNESS,
    SHRUNK_DISTANCE,
    SIZES,
    ApT2t,
    ApT2tVariant,
    Distance,
    band_name,
    bounded,
)

SOURCE = PageColumn("dataset", "source")
REAL = PageColumn("real_count", "real", "images", 1, 0, missing="all")
SYNTHETIC = PageColumn("synthetic", "synthetic")
TARGET = PageColumn("target", "target")
SEED = PageColumn("seed", "seed", "", 1, 0)
SEEDS = PageColumn("num_seeds", "seeds", "", 1, 0)
NOTE = PageColumn("note", "note", style=NOTED)
GROUP = (SOURCE, REAL, SYNTHETIC, TARGET)
CELL = (*GROUP, SEED)


def _points(name: str, header: str, unit: str, missing: str = MISSING) -> PageColumn:
    """A difference in hundredths with its interval."""
    ends = bounded(name)[1:]
    return PageColumn(name, header, unit, 100, sign="+", bounds=ends, missing=missing)


AP = (PageColumn("AP50", "AP50", "%", 100), PageColumn("AP", "AP", "%, IoU .5:.95", 100))
SQUARED = "shrunk d²"


def grid_columns(ap_t2t: Sequence[ApT2t]) -> list[PageColumn]:
    """The main table."""
    headline = [PageColumn(one.name, "AP_t2t", f"%, s ≥ {one.threshold:g}", 100) for one in ap_t2t]
    return [
        *CELL,
        PageColumn("status", "status"),
        *AP,
        *headline,
        PageColumn(measured.RELATIVE_DISTANCE, "train2test", "relative", 1, 2),
        PageColumn(COMPARABLE_DISTANCE.name, "TP mean", "equal_n d²", 1),
        PageColumn(SHRUNK_DISTANCE.name, "TP mean", SQUARED, 1),
        PageColumn("gaussian_n", "n", "of fit", 1, 0),
        PageColumn("reason", "reason", style=NOTED),
        PageColumn("train_key", "detector", "key", style="code"),
        PageColumn("evaluate_key", "evaluation", "key", style="code"),
    ]


def ap_t2t_columns(ap_t2t: Sequence[ApT2t]) -> list[PageColumn]:
    """AP_t2t of a cell by threshold: every covariance, and what chance gives."""
    kinds = {
        ApT2tVariant.RAW: "raw", ApT2tVariant.SHRUNK: "shrunk", ApT2tVariant.EQUAL_N: "equal_n",
        ApT2tVariant.NULL: "random", ApT2tVariant.LIFT: "lift, points",
    }  # fmt: skip
    bands = [PageColumn(band_name(band), band, "shrunk, band", 100) for band in BANDS]
    return [
        *CELL,
        *(
            PageColumn(one._replace(variant=kind).name, f"s ≥ {one.threshold:g}", unit, 100)
            for one in ap_t2t
            for kind, unit in kinds.items()
        ),
        *bands,
    ]


DISTANCES = (
    *CELL,
    PageColumn("gaussian_n", "n", "of fit", 1, 0),
    *(
        PageColumn(one._replace(variant=kind).name, f"{one.kind.upper()} {one.statistic}", unit, 1)
        for kind, unit in (("equal_n", "equal_n d²"), ("shrunk", SQUARED), ("raw", "raw d²"))
        for one in measured.DISTANCES
    ),
    PageColumn(Distance("tp", "mean", "calibrated").name, "TP mean", "calibrated", 1, 2),
    PageColumn(Distance("fp", "mean", "calibrated").name, "FP mean", "calibrated", 1, 2),
    PageColumn("t2t_auroc", "AUROC", "TP nearer", 1, 3),
)
EFFECTS = (
    *GROUP,
    SEEDS,
    PageColumn("mean", "AP50", "% [over seeds]", 100, bounds=("low", "high")),
    _points("effect", "change", "points [over seeds]", missing=""),
    PageColumn("image_low", "over images", "points, 95 %", 100, shown="images_shown", missing=""),
    PageColumn("p", "p", "sign flips", 1, 3, missing=""),
    PageColumn("p_holm", "p", "Holm", 1, 3, missing=""),
    PageColumn("real_equivalent", "worth", "real images", 1, shown="equivalent_shown", missing=""),
    PageColumn("replacement_ratio", "ratio", "worth / real", 1, shown="ratio_shown", missing=""),
    NOTE,
)  # fmt: skip
TRAINING_SETS = [column for column in EFFECTS if column.name not in ("target", "p_holm")]
KEY_RESULTS = (
    PageColumn("statement", "the paper says", style="long"),
    SOURCE,
    SYNTHETIC,
    PageColumn("agreement", "our trainings"),
    PageColumn("p_family", "p", "adjusted", 1, 3, missing=""),
    PageColumn("number", "number [95 % over seeds]", style="long"),
    PageColumn("control", "beside it", style="long", missing=""),
    PageColumn("readings", "readings", style=NOTED),
)
CONTRASTS = (
    *GROUP,
    PageColumn("scale", "scores"),
    SEEDS,
    *(_points(band, f"E({band})", "points") for band in BANDS),
    _points("claim", "claim", "points [seeds]"),
    PageColumn(
        "claim_image_low", "claim", "points [images]", 100, shown="images_shown", missing=""
    ),
    PageColumn("p", "p", "sign flips", 1, 3),
    NOTE,
)
CORRELATIONS = (
    SOURCE,
    PageColumn("predictor", "predictor"),
    PageColumn("variant", "distance"),
    PageColumn("metric", "of"),
    PageColumn("scope", "scope"),
    PageColumn("rho", "rho", "Spearman", 1, 2, sign="+", bounds=("low", "high")),
    PageColumn("num_cells", "cells", "", 1, 0),
    PageColumn("num_blocks", "blocks", "", 1, 0),
    NOTE,
)
SPREADS = (
    *GROUP,
    PageColumn("kind", "of"),
    PageColumn("num", "detections", "per seed", 1, 0),
    PageColumn("median", "median", "equal_n d²", 1, bounds=("lower_quartile", "upper_quartile")),
    SEEDS,
)
ERRORS = (
    *GROUP,
    PageColumn("type", "type"),
    PageColumn("num", "errors", "per seed", 1, 0),
    PageColumn("AP50", "AP50", "%", 100),
    PageColumn("AP50_fixed", "AP50", "% fixed", 100),
    _points("gain_fixed", "cost", "points [over seeds]"),
    PageColumn("AP50_without", "AP50", "% removed", 100, missing=""),
    PageColumn("gain", "gain", "points, removed", 100, sign="+", missing=""),
    SEEDS,
)
COMPOSITION = (
    SOURCE,
    SYNTHETIC,
    PageColumn("type", "type"),
    PageColumn("num", "false positives", "all cells", 1, 0),
    *(PageColumn(name, name, "% by score", 100, 0) for name in BANDS),
    *(PageColumn(f"size_{name}", name, "% by size", 100, 0) for name in SIZES),
    *(PageColumn(name, name, "% by distance", 100, 0) for name in NEARNESS),
)
GAUSSIANS = (
    SOURCE,
    REAL,
    SYNTHETIC,
    SEED,
    PageColumn("warning", "warning", style=NOTED),
    PageColumn("n", "n", "features", 1, 0),
    PageColumn("num_images", "images", "", 1, 0),
    PageColumn("rank", "rank", "", 1, 0),
    PageColumn("num_dropped", "dead", "channels", 1, 0),
    PageColumn("condition", "condition", "shrunk", 1, 0),
    PageColumn("shrinkage", "rho", "shrinkage", 1, 3),
    PageColumn("raw_unshifted", "raw d²", "without shift", 1, 0, missing="none exists"),
    PageColumn("calibration_scale", "unit", "of calibrated", 1),
    PageColumn("equal_n", "equal_n", "features", 1, 0),
    *(PageColumn(f"below_{q}", f"below {q} %", "of the law", 100, 0) for q in (50, 90, 99)),
    PageColumn("mardia", "Mardia", "1: Gaussian", 1, 2),
)
PUBLISHED = (
    PageColumn("paper", "paper", style="long"),
    PageColumn("table", "table"),
    SOURCE,
    TARGET,
    REAL,
    PageColumn("metric", "metric"),
    PageColumn("published_change", "change", "published"),
    PageColumn("change", "change", "ours"),
    PageColumn("published_ratio", "ratio", "published", 1, 2),
    PageColumn("ratio", "ratio", "ours", 1, 2),
    NOTE,
)
COSTS = (
    PageColumn("kind", "stage"),
    PageColumn("num_naive", "naive", "", 1, 0),
    PageColumn("num_unique", "unique", "", 1, 0),
    PageColumn("num_cached", "in the store", "", 1, 0),
    PageColumn("num_run", "run", "", 1, 0),
    PageColumn("num_failed", "failed", "", 1, 0),
    PageColumn("seconds", "time", "all unique", 1, shown="time"),
)
DRIFT = (
    PageColumn("spectrum", "spectrum"),
    PageColumn("shifted", "test data"),
    PageColumn("n", "n", "features", 1, 0),
    PageColumn("raw", "raw", "d²", 1, 0, missing="none exists"),
    PageColumn("expected_raw", "raw", "by formula", 1, 0, missing=""),
    PageColumn("shrunk", "shrunk", "d²", 1, 0),
    PageColumn("calibrated", "calibrated", "times", 1, 2),
    PageColumn("equal_n", "equal_n", "d²", 1, 0),
)
SELECTIONS = (
    SOURCE,
    REAL,
    SYNTHETIC,
    PageColumn("iteration", "iteration", "", 1, 0),
    PageColumn("pool", "pool", "images", 1, 0),
    PageColumn("selected", "selected", "images", 1, 0),
    PageColumn("undetected", "never detected", "% of the pool", 100),
    PageColumn("gap_selected", "gap, selected", "median d²", 1),
    PageColumn("gap_left", "gap, left", "median d²", 1),
    PageColumn(
        "nearer", "selected nearer", "0.5: chance", 1, 2, bounds=("nearer_low", "nearer_high")
    ),
    PageColumn("untranslated", "as drawn", "median d²", 1),
    PageColumn("translated", "translated", "median d²", 1),
    PageColumn("real", "real", "median d², in-sample", 1),
    PageColumn("found_untranslated", "found, as drawn", "% of the selected", 100),
    PageColumn("found_translated", "found, translated", "% of the selected", 100),
    PageColumn("found_real", "found, real", "%, in-sample", 100),
    SEEDS,
)
