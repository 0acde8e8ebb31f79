"""Result tables: results.csv, summary.csv and the text table that ends a run."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import parquet

from ptl_sweep.store import write_atomically
from ptl_sweep.study.groups import ap_t2t_of, number, text
from ptl_sweep.study.statistics import Interval
from ptl_sweep.study.summary import (
    effect_of,
    find_summary,
    groups_over_targets,
    mean_of,
)
from ptl_sweep.vocabulary import OFF, SHRUNK_DISTANCE, ApT2t, Group, Row, Value


def write_table(table: pl.DataFrame, folder: Path, stem: str) -> Path:
    """Write `stem`.csv and `stem`.parquet, each by one rename; returns the path of the CSV.

    NaN and null are empty cells (nulls in Parquet). Floats have all their digits, so equal numbers
    are equal bytes.
    """
    known = table.fill_nan(None)
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(known.columns)
    # not DataFrame.write_csv: it writes 1e16 where Python, pandas and these files say 1e+16
    writer.writerows(map(_csv_cell, row) for row in known.iter_rows())
    path = folder / f"{stem}.csv"
    write_atomically(path, target.getvalue().encode())
    buffer = io.BytesIO()
    parquet.write_table(_arrow(known), buffer)
    write_atomically(path.with_suffix(".parquet"), buffer.getvalue())
    return path


def _csv_cell(value: Value) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def _arrow(table: pl.DataFrame) -> pa.Table:
    """Text as `string`, which every reader of Parquet knows, not as a view."""
    arrow = table.to_arrow(compat_level=pl.CompatLevel.oldest())
    plain = [
        field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field
        for field in arrow.schema
    ]
    return arrow.cast(pa.schema(plain))


def demo_table(summary: Sequence[Row]) -> str:
    """Plain text, at most 100 columns: off and on per real count, mean over targets per seed.

    `+-` is half of the Student t 95 % interval over seeds, left out with one seed.
    """
    columns = ap_t2t_of({text(row, "metric"): None} for row in summary)
    ap_t2t = ["AP_t2t [%]"] * len(columns)
    header = [
        ["real", "synthetic", "seeds", "AP50", "change", "train2test", *ap_t2t],
        [
            "count",
            "",
            "",
            "[%]",
            "[points]",
            "TP, d^2",
            *(f"s >= {one.threshold:.2f}" for one in columns),
        ],
    ]
    groups = groups_over_targets(summary)
    parts = []
    for dataset in sorted({group.dataset for group in groups}):
        own = [_demo_row(summary, group, columns) for group in groups if group.dataset == dataset]
        title = f"Trained on {dataset}; mean over targets, +- 95 % interval over seeds"
        parts.append("\n".join([title, *aligned([*header, *own])]))
    return "\n\n".join(parts)


def _demo_row(summary: Sequence[Row], group: Group, ap_t2t: Sequence[ApT2t]) -> list[str]:
    ap50 = find_summary(summary, "AP50", group) or {}
    others = [SHRUNK_DISTANCE.name, *(one.name for one in ap_t2t)]
    scales = [1.0, *[100.0] * len(ap_t2t)]
    means = [number(find_summary(summary, name, group) or {}, "mean") for name in others]
    return [
        str(group.real_count),
        group.synthetic[:16],
        text(ap50, "num_seeds"),
        with_half_width(mean_of(ap50)),
        "" if group.synthetic == OFF else with_half_width(effect_of(ap50), sign="+"),
        *(_one_decimal(scale * mean) for scale, mean in zip(scales, means, strict=True)),
    ]


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
