"""Annotation files of numbers, one box a line: parsed fast, and exactly where a field is bad."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.datasets.validation import MAX_COORDINATE_PX, data_error, number, quoted

FIX_ROW = "correct the row or delete it"


@dataclass(frozen=True, slots=True)
class DelimitedTable:
    """The numbers of one annotation file and the line each row stands on."""

    path: Path
    columns: tuple[str, ...]
    values: Float[ndarray, "n c"]
    lines: Int[ndarray, " n"]

    def column(self, name: str) -> Float[ndarray, " n"]:
        """Return one column by name."""
        return self.values[:, self.columns.index(name)]

    def require(self, name: str, valid: Bool[ndarray, " n"], allowed: str, fix: str) -> None:
        """Raise DataError that names the first row whose field `name` is not valid."""
        if valid.all():
            return
        row = int(np.argmin(valid))
        raise data_error(
            self.path,
            f"{name} is {self.column(name)[row]:g}, must be {allowed}",
            fix,
            int(self.lines[row]),
        )

    def require_pixels(self, names: Iterable[str]) -> None:
        """Raise DataError for a coordinate that no image has, or a negative width or height."""
        for name in names:
            low = 0 if name in ("width", "height") else -MAX_COORDINATE_PX
            value = self.column(name)
            self.require(
                name,
                (value >= low) & (value <= MAX_COORDINATE_PX),
                f"pixels in [{low:g}, {MAX_COORDINATE_PX:g}]",
                FIX_ROW,
            )


def parse_table(
    path: Path, text: str, columns: tuple[str, ...], delimiter: str | None
) -> DelimitedTable:
    """Parse the rows of a text of numbers; blank lines and one trailing delimiter are allowed.

    Raises: DataError for a wrong number of columns and for anything but finite numbers.
    """
    kept = [(line, row.strip()) for line, row in enumerate(text.split("\n"), 1) if row.strip()]
    rows = [row.removesuffix(delimiter) if delimiter else row for _, row in kept]
    lines = np.array([line for line, _ in kept], dtype=np.int64)
    if not rows:
        return DelimitedTable(path, columns, np.zeros((0, len(columns))), lines)
    try:
        values = np.loadtxt(rows, delimiter=delimiter, comments=None, ndmin=2)
    except ValueError:
        values = np.zeros((len(rows), 0))
    if values.shape[1] != len(columns) or not np.isfinite(values).all():
        fields = [row.split(delimiter) for row in rows]
        values = _parse_exactly(DelimitedTable(path, columns, values, lines), fields, delimiter)
    return DelimitedTable(path, columns, values, lines)


def _parse_exactly(
    table: DelimitedTable, rows: Sequence[Sequence[str]], delimiter: str | None
) -> Float[ndarray, "n c"]:
    """Parse field by field, so that the first bad one can be named. Raises: DataError."""
    for line, fields in zip(table.lines.tolist(), rows, strict=True):
        if len(fields) != len(table.columns):
            raise data_error(
                table.path,
                f"has {len(fields)} columns, must have {len(table.columns)}: "
                f"{quoted((delimiter or ' ').join(fields))}",
                f"one box a line: {(delimiter or ' ').join(table.columns)}",
                line,
            )
        for name, field in zip(table.columns, map(str.strip, fields), strict=True):
            if math.isnan(number(field)):
                raise data_error(
                    table.path,
                    f"{name} is {quoted(field)}, must be a finite number",
                    FIX_ROW,
                    line,
                )
    return np.array([[number(field.strip()) for field in fields] for fields in rows])
