"""measures.csv, measures.parquet and measures.json: what was measured of any detector."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from ptl_sweep import __version__
from ptl_sweep.own_detector.measure import Measured
from ptl_sweep.store import write_atomically
from ptl_sweep.study.schemas import results_schema
from ptl_sweep.study.tables import write_table
from ptl_sweep.vocabulary import ApT2t, Value, bounded

STEM = "measures"
ONE_DETECTOR = (
    "One detector: intervals are over its test images. What another training of it would give, "
    "and so what is better, only several trainings of each can say."
)


def measures_frame(
    measured: Measured, thresholds: Sequence[float], equal_counts: Sequence[float]
) -> pl.DataFrame:
    """One row for each target, with the columns of results.csv that one detector has."""
    known = results_schema(thresholds, equal_counts)
    headline = ["AP50", *(ApT2t(score).name for score in thresholds)]
    columns = {
        "target": pl.String(), "num_images": pl.Int64(), "num_blocks": pl.Int64(),
        **{name: known[name] for name in known if name in measured.targets[0]},
        **{bound: pl.Float64() for name in headline for bound in bounded(name)[1:]},
        "reason": pl.String(),
    }  # fmt: skip
    rows = [{name: _plain(row[name]) for name in columns} for row in measured.targets]
    return pl.DataFrame(rows, schema=columns)


def measures_content(folder: Path, measured: Measured) -> dict[str, Any]:
    """Everything, for --json and measures.json; what is missing is null."""
    return {
        "tool": "ptl_sweep measure",
        "version": __version__,
        "folder": str(folder.resolve()),
        "training": measured.training,
        "gaussian": _plain_row(measured.gaussian),
        "targets": [_plain_row(row) for row in measured.targets],
        "note": ONE_DETECTOR,
    }


def write_measures(out: Path, table: pl.DataFrame, content: Mapping[str, Any]) -> None:
    """Write the three files into a folder. Raises: OSError."""
    out.mkdir(parents=True, exist_ok=True)
    write_table(table, out, STEM)
    write_atomically(out / f"{STEM}.json", (json.dumps(content, indent=1) + "\n").encode())


def _plain_row(row: Mapping[str, Value]) -> dict[str, Value]:
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Value) -> Value:
    """A number of Python, which JSON knows; null for NaN."""
    plain: Value = value.item() if isinstance(value, np.generic) else value
    return None if plain != plain else plain
