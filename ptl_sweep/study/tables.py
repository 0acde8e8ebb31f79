"""Result tables: results.csv, summary.csv and the text table that ends a run."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from ptl_sweep.metrics.ap_t2t import DISTANCE_COLUMNS, threshold_label
from ptl_sweep.store import write_atomically
from ptl_sweep.study.groups import ap_t2t_labels, number, text
from ptl_sweep.study.statistics import Interval
from ptl_sweep.study.summary import (
    DISTANCE_METRIC,
    effect_of,
    find_summary,
    groups_over_targets,
    mean_of,
)
from ptl_sweep.vocabulary import BANDS, OFF, Group, Row, Value

INTEGER_COLUMNS = {
    "real_count", "seed", "iteration", "num_train_images", "num_synthetic", "num_ground_truth",
    "num_detections", "gaussian_n", "gaussian_rank", "num_seeds", "num_pairs", "num_blocks",
    "num_cells", "num", "n", "num_images", "num_channels", "num_dropped", "rank", "equal_n",
    "num_calibration",
}  # fmt: skip
TEXT_COLUMNS = {
    "dataset", "synthetic", "target", "status", "reason", "train_key", "evaluate_key", "metric",
    "note", "kind", "band", "variant", "calibration", "warning", "type", "nearness", "ranking",
    "scale", "predictor", "scope", "paper", "table", "size",
}  # fmt: skip


def result_columns(score_thresholds: Sequence[float]) -> tuple[str, ...]:
    """Columns of results.csv and iterations.csv, in the order of architecture.md."""
    ap_t2t = [f"AP_t2t_{threshold_label(threshold)}" for threshold in score_thresholds]
    return (
        "dataset", "real_count", "synthetic", "target", "seed", "iteration", "status", "reason",
        "num_train_images", "num_synthetic", "num_ground_truth", "num_detections", "AP50", "AP",
        *(name + kind for kind in ("", "_shrunk", "_lift") for name in ap_t2t),
        *(name + kind for kind in ("", "_shrunk", "_calibrated") for name in DISTANCE_COLUMNS),
        "gaussian_n", "gaussian_rank", "t2t_auroc", "train_key", "evaluate_key",
        *(name + "_equal_n" for name in (*ap_t2t, *DISTANCE_COLUMNS)),
        *(name + kind for kind in ("_null", "_matched", "_rematched", "_50_95") for name in ap_t2t),
        *(f"AP_t2t_{band}" for band in BANDS),
    )  # fmt: skip


RESULT_COLUMNS = result_columns((0.01, 0.1, 0.5))


def write_table(
    rows: Sequence[Row], folder: Path, stem: str, columns: Sequence[str] = RESULT_COLUMNS
) -> Path:
    """Write `stem`.csv and `stem`.parquet, each by one rename; returns the path of the CSV.

    NaN and None are empty cells (nulls in Parquet). Floats have all their digits, so equal numbers
    are equal bytes.

    Raises: ValueError for a row with a column that the table does not have.
    """
    unknown = {name for row in rows for name in row} - set(columns)
    if unknown:
        raise ValueError(f"{stem}.csv has no column {', '.join(sorted(unknown))}")
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(row.get(name)) for name in columns] for row in rows)
    path = folder / f"{stem}.csv"
    write_atomically(path, target.getvalue().encode())
    table = pa.table({name: _parquet_column(rows, name) for name in columns})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    write_atomically(path.with_suffix(".parquet"), buffer.getvalue())
    return path


def _is_missing(value: Value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _csv_cell(value: Value) -> str:
    if _is_missing(value):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _parquet_column(rows: Sequence[Row], name: str) -> pa.Array:
    values = [row.get(name) for row in rows]
    kept = [None if _is_missing(value) else value for value in values]
    if name in TEXT_COLUMNS:
        return pa.array(kept, pa.string())
    return pa.array(kept, pa.int64() if name in INTEGER_COLUMNS else pa.float64())


def demo_table(summary: Sequence[Row]) -> str:
    """Plain text, at most 100 columns: off and on per real count, mean over targets per seed.

    `+-` is half of the Student t 95 % interval over seeds, left out with one seed.
    """
    labels = ap_t2t_labels({text(row, "metric"): None} for row in summary)
    ap_t2t = ["AP_t2t [%]"] * len(labels)
    header = [
        ["real", "synthetic", "seeds", "AP50", "change", "train2test", *ap_t2t],
        ["count", "", "", "[%]", "[points]", "TP, d^2", *map(_score_label, labels)],
    ]
    groups = groups_over_targets(summary)
    parts = []
    for dataset in sorted({group.dataset for group in groups}):
        own = [_demo_row(summary, group, labels) for group in groups if group.dataset == dataset]
        title = f"Trained on {dataset}; mean over targets, +- 95 % interval over seeds"
        parts.append("\n".join([title, *aligned([*header, *own])]))
    return "\n\n".join(parts)


def _demo_row(summary: Sequence[Row], group: Group, labels: Sequence[str]) -> list[str]:
    ap50 = find_summary(summary, "AP50", group) or {}
    others = [DISTANCE_METRIC, *(f"AP_t2t_{label}_shrunk" for label in labels)]
    scales = [1.0, *[100.0] * len(labels)]
    means = [number(find_summary(summary, name, group) or {}, "mean") for name in others]
    return [
        str(group.real_count),
        group.synthetic[:16],
        text(ap50, "num_seeds"),
        with_half_width(mean_of(ap50)),
        "" if group.synthetic == OFF else with_half_width(effect_of(ap50), sign="+"),
        *(_one_decimal(scale * mean) for scale, mean in zip(scales, means, strict=True)),
    ]


def _score_label(label: str) -> str:
    """`010` -> `s >= 0.10`."""
    return f"s >= {int(label) / 100:.2f}"


def _one_decimal(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"


def with_half_width(interval: Interval, sign: str = "") -> str:
    """`12.4 +- 3.1`, in hundredths; `-` without a value."""
    if np.isnan(interval.mean):
        return "-"
    mean = f"{100 * interval.mean:{sign}.1f}"
    return f"{mean} +- {50 * (interval.high - interval.low):.1f}" if interval.known else mean


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their longest cell, two spaces apart, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
