"""Columns of every table of the page: which value of a row, under which header, in which unit."""

from collections.abc import Sequence

from ptl_sweep.report.tables import Column
from ptl_sweep.vocabulary import NEARNESS, SIZES

SOURCE = Column("dataset", "source")
REAL = Column("real_count", "real", "images", 1, 0, missing="all")
SYNTHETIC = Column("synthetic", "synthetic")
TARGET = Column("target", "target")
SEED = Column("seed", "seed", "", 1, 0)
SEEDS = Column("num_seeds", "seeds", "", 1, 0)
NOTE = Column("note", "note", style="long")
GROUP = (SOURCE, REAL, SYNTHETIC, TARGET)
CELL = (*GROUP, SEED)
AP = (Column("AP50", "AP50", "%", 100), Column("AP", "AP", "%, IoU .5:.95", 100))
SQUARED = "shrunk d²"


def grid_columns(labels: Sequence[str]) -> list[Column]:
    """The main table; labels are score thresholds as in `AP_t2t_010`."""
    headline = [
        Column(f"AP_t2t_{label}_shrunk", "AP_t2t", f"%, s ≥ {threshold(label)}", 100)
        for label in labels
    ]
    return [
        *CELL,
        Column("status", "status"),
        *AP,
        *headline,
        Column("t2t_tp_mean_equal_n", "TP mean", "equal_n d²", 1),
        Column("t2t_tp_mean_shrunk", "TP mean", SQUARED, 1),
        Column("gaussian_n", "n", "of fit", 1, 0),
        Column("reason", "reason", style="long"),
        Column("train_key", "detector", "key", style="code"),
        Column("evaluate_key", "evaluation", "key", style="code"),
    ]


def ap_t2t_columns(labels: Sequence[str]) -> list[Column]:
    """AP_t2t of a cell by threshold: every covariance, and what chance gives."""
    kinds = {
        "": "raw", "_shrunk": "shrunk", "_equal_n": "equal_n", "_null": "random",
        "_lift": "lift, points",
    }  # fmt: skip
    bands = [
        Column(f"AP_t2t_{band}", band, "shrunk, band", 100) for band in ("low", "medium", "high")
    ]
    return [
        *CELL,
        *(
            Column(f"AP_t2t_{label}{kind}", f"s ≥ {threshold(label)}", unit, 100)
            for label in labels
            for kind, unit in kinds.items()
        ),
        *bands,
    ]


def threshold(label: str) -> str:
    """`010` -> `0.1`."""
    return f"{int(label) / 100:g}"


DISTANCES = (
    *CELL,
    Column("gaussian_n", "n", "of fit", 1, 0),
    *(
        Column(f"t2t_{kind}_{middle}{variant}", f"{kind.upper()} {middle}", f"{unit} d²", 1)
        for variant, unit in (("_equal_n", "equal_n"), ("_shrunk", "shrunk"), ("", "raw"))
        for middle in ("mean", "median")
        for kind in ("tp", "fp")
    ),
    Column("t2t_tp_mean_calibrated", "TP mean", "calibrated", 1, 2),
    Column("t2t_fp_mean_calibrated", "FP mean", "calibrated", 1, 2),
    Column("t2t_auroc", "AUROC", "TP nearer", 1, 3),
)
EFFECTS = (
    *GROUP,
    SEEDS,
    Column("mean", "AP50", "% [over seeds]", 100, bounds=("low", "high")),
    Column(
        "effect", "change", "points [over seeds]", 100,
        sign="+", bounds=("effect_low", "effect_high"), missing="",
    ),
    Column("image_low", "over images", "points, 95 %", 100, shown="images_shown", missing=""),
    Column("p", "p", "sign flips", 1, 3, missing=""),
    Column("p_holm", "p", "Holm", 1, 3, missing=""),
    Column("real_equivalent", "worth", "real images", 1, shown="equivalent_shown", missing=""),
    Column("replacement_ratio", "ratio", "worth / real", 1, shown="ratio_shown", missing=""),
    NOTE,
)  # fmt: skip
TRAINING_SETS = [column for column in EFFECTS if column.name not in ("target", "p_holm")]
CONTRASTS = (
    *GROUP,
    Column("scale", "scores"),
    SEEDS,
    *(
        Column(band, f"E({band})", "points", 100, sign="+", bounds=(f"{band}_low", f"{band}_high"))
        for band in ("low", "medium", "high")
    ),
    Column("claim", "claim", "points [seeds]", 100, sign="+", bounds=("claim_low", "claim_high")),
    Column("claim_image_low", "claim", "points [images]", 100, shown="images_shown", missing=""),
    Column("p", "p", "sign flips", 1, 3),
    NOTE,
)
CORRELATIONS = (
    SOURCE,
    Column("predictor", "predictor"),
    Column("variant", "distance"),
    Column("metric", "of"),
    Column("scope", "scope"),
    Column("rho", "rho", "Spearman", 1, 2, sign="+", bounds=("low", "high")),
    Column("num_cells", "cells", "", 1, 0),
    Column("num_blocks", "blocks", "", 1, 0),
    NOTE,
)
SPREADS = (
    *GROUP,
    Column("kind", "of"),
    Column("num", "detections", "per seed", 1, 0),
    Column("median", "median", "equal_n d²", 1, bounds=("lower_quartile", "upper_quartile")),
    SEEDS,
)
ERRORS = (
    *GROUP,
    Column("type", "without"),
    Column("num", "detections", "per seed", 1, 0),
    Column("AP50", "AP50", "%", 100),
    Column("AP50_without", "AP50", "% without", 100),
    Column("gain", "gain", "points [over seeds]", 100, sign="+", bounds=("gain_low", "gain_high")),
    SEEDS,
)
COMPOSITION = (
    SOURCE,
    SYNTHETIC,
    Column("type", "type"),
    Column("num", "false positives", "all cells", 1, 0),
    *(Column(name, name, "% by score", 100, 0) for name in ("low", "medium", "high")),
    *(Column(f"size_{name}", name, "% by size", 100, 0) for name in SIZES),
    *(Column(name, name, "% by distance", 100, 0) for name in NEARNESS),
)
GAUSSIANS = (
    SOURCE,
    REAL,
    SYNTHETIC,
    SEED,
    Column("warning", "warning", style="long"),
    Column("n", "n", "features", 1, 0),
    Column("num_images", "images", "", 1, 0),
    Column("rank", "rank", "", 1, 0),
    Column("num_dropped", "dead", "channels", 1, 0),
    Column("condition", "condition", "shrunk", 1, 0),
    Column("shrinkage", "rho", "shrinkage", 1, 3),
    Column("raw_unshifted", "raw d²", "without shift", 1, 0, missing="none exists"),
    Column("calibration_scale", "unit", "of calibrated", 1),
    Column("equal_n", "equal_n", "features", 1, 0),
    *(Column(f"below_{q}", f"below {q} %", "of the law", 100, 0) for q in (50, 90, 99)),
    Column("mardia", "Mardia", "1: Gaussian", 1, 2),
)
PUBLISHED = (
    Column("paper", "paper", style="long"),
    Column("table", "table"),
    SOURCE,
    TARGET,
    REAL,
    Column("metric", "metric"),
    Column("published_change", "change", "published"),
    Column("change", "change", "ours"),
    Column("published_ratio", "ratio", "published", 1, 2),
    Column("ratio", "ratio", "ours", 1, 2),
    NOTE,
)
COSTS = (
    Column("kind", "stage"),
    Column("num_naive", "naive", "", 1, 0),
    Column("num_unique", "unique", "", 1, 0),
    Column("num_cached", "in the store", "", 1, 0),
    Column("num_run", "run", "", 1, 0),
    Column("num_failed", "failed", "", 1, 0),
    Column("seconds", "time", "all unique", 1, shown="time"),
)
FAILURES = (
    Column("key", "stage", style="code"),
    Column("what", "what", style="long"),
    Column("log", "log", style="code"),
)
DRIFT = (
    Column("spectrum", "spectrum"),
    Column("shifted", "test data"),
    Column("n", "n", "features", 1, 0),
    Column("raw", "raw", "d²", 1, 0, missing="none exists"),
    Column("expected_raw", "raw", "by formula", 1, 0, missing=""),
    Column("shrunk", "shrunk", "d²", 1, 0),
    Column("calibrated", "calibrated", "times", 1, 2),
    Column("equal_n", "equal_n", "d²", 1, 0),
)
SELECTIONS = (
    SOURCE,
    REAL,
    SYNTHETIC,
    Column("iteration", "iteration", "", 1, 0),
    Column("pool", "pool", "images", 1, 0),
    Column("selected", "selected", "images", 1, 0),
    Column("undetected", "never detected", "% of the pool", 100),
    Column("gap_selected", "gap, selected", "median d²", 1),
    Column("gap_left", "gap, left", "median d²", 1),
    Column("nearer", "selected nearer", "0.5: chance", 1, 2, bounds=("nearer_low", "nearer_high")),
    SEEDS,
)
