"""Result tables: results.csv, summary.csv and the text table that ends a run."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs
import pyarrow as pa
from pyarrow import parquet

from ptl_sweep.store import write_atomically
from ptl_sweep.study.statistics import Interval
from ptl_sweep.study.summary import HEADLINE, MeanAndEffect, means_and_effects
from ptl_sweep.vocabulary import ALL_TARGETS, OFF, RELATIVE_DISTANCE, ApT2t, Group, Value


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


def read_table(path: Path) -> pl.DataFrame:
    """Read back a Parquet file of `write_table`: an empty cell of a column of floats is NaN."""
    return pl.read_parquet(path).with_columns(cs.float().fill_null(np.nan))


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


def demo_table(summary: pl.DataFrame, thresholds: Sequence[float]) -> str:
    """Plain text, at most 100 columns: off and on per real count, mean over targets per seed.

    `+-` is half of the Student t 95 % interval over seeds, left out with one seed. train2test: the
    relative distance of all persons, 1 for unseen persons of the source.
    """
    over = summary.filter(pl.col("real_count").is_not_null(), target=ALL_TARGETS)
    names = (HEADLINE, RELATIVE_DISTANCE, *(ApT2t(score).name for score in thresholds))
    found = [means_and_effects(over, name) for name in names]
    header = [
        ["real", "synthetic", "seeds", "AP50", "change", "train2test"]
        + ["AP_t2t [%]"] * len(thresholds),
        ["count", "", "", "[%]", "[points]", "relative"]
        + [f"s >= {score:.2f}" for score in thresholds],
    ]
    parts = []
    for dataset in sorted({group.dataset for group in found[0]}):
        own = [group for group in found[0] if group.dataset == dataset]
        own.sort(key=lambda group: (group.real_count, group.synthetic != OFF, group.synthetic))
        lines = [_demo_row(group, [one[group] for one in found]) for group in own]
        title = f"Trained on {dataset}; mean over targets, +- 95 % interval over seeds"
        parts.append("\n".join([title, *aligned([*header, *lines])]))
    return "\n\n".join(parts)


def _demo_row(group: Group, found: Sequence[MeanAndEffect]) -> list[str]:
    """`found`: AP50, the distance, then AP_t2t by threshold."""
    ap50, distance, *ap_t2t = found
    return [
        str(group.real_count),
        group.synthetic[:16],
        str(ap50.mean.num),
        with_half_width(ap50.mean),
        "" if group.synthetic == OFF else with_half_width(ap50.effect, sign="+"),
        _number(distance.mean.mean, 2),
        *(_number(100 * one.mean.mean, 1) for one in ap_t2t),
    ]


def _number(value: float, decimals: int) -> str:
    return "-" if np.isnan(value) else f"{value:.{decimals}f}"


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
