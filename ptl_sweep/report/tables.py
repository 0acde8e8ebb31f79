"""Tables of the page: columns that read frames of the study, cells that know how they sort."""

import string
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.report.evidence import bounded_text
from ptl_sweep.report.figures import series_class

MISSING = "\N{EN DASH}"
NOTED = "noted"
BETWEEN_NOTES = "; "  # as rows and summary join what they have to say of a value


class PageColumn(NamedTuple):
    """A column of a table and how its values are written."""

    name: str  # of the value in a frame
    header: str
    unit: str = ""
    scale: float | None = None  # of a number; None: text
    decimals: int = 1
    sign: str = ""  # "+": signed
    bounds: tuple[str, str] = ("", "")  # columns of an interval, written behind the value
    shown: str = ""  # column of the text that is shown for the value, which then only sorts
    missing: str = MISSING
    style: str = ""  # long: may wrap; code: a key to copy; noted: a letter, words below the table


class PageCell(NamedTuple):
    """One cell: what is shown, what it is sorted by (empty: missing, always last)."""

    shown: str
    sort: str
    style: str  # number | long | code | noted | ""


class Line(NamedTuple):
    """One row; toggles hide it by `series`, a gap has no result."""

    cells: list[PageCell]
    series: str
    is_gap: bool


class Note(NamedTuple):
    """Words that stand once below a table; its cells refer to them, so that a row is one line."""

    code: str
    text: str


class PageTable(NamedTuple):
    """A sortable table; `can_filter` gives it a search field."""

    name: str
    caption: str
    columns: Sequence[PageColumn]
    lines: list[Line]
    can_filter: bool
    notes: list[Note]


def make_table(
    name: str,
    caption: str,
    columns: Sequence[PageColumn],
    rows: pl.DataFrame,
    *,
    can_filter: bool = False,
) -> PageTable:
    """The rows as a table; a column `dataset` that says the same everywhere is left out."""
    if len(set(_texts(rows, "dataset"))) == 1:
        columns = [column for column in columns if column.name != "dataset"]
    notes = _notes(rows, columns)
    cells = zip(*(_make_column(rows, column, notes) for column in columns), strict=True)
    series, status = _texts(rows, "synthetic"), _texts(rows, "status")
    lines = [
        Line(list(own), series_class(name) if name else "", state not in ("", "ok"))
        for own, name, state in zip(cells, series, status, strict=True)
    ]
    listed = [Note(code, text) for text, code in notes.items()]
    return PageTable(name, caption, columns, lines, can_filter, listed)


def _notes(rows: pl.DataFrame, columns: Sequence[PageColumn]) -> dict[str, str]:
    """The letter of each note of all noted columns, in the order in which they are met."""
    noted = [column.name for column in columns if column.style == NOTED]
    met = dict.fromkeys(
        part for name in noted for text in _texts(rows, name) for part in _parts(text)
    )
    return {text: _letters(index) for index, text in enumerate(met)}


def _parts(text: str) -> list[str]:
    return [part for part in text.split(BETWEEN_NOTES) if part]


def _letters(index: int) -> str:
    """`a` to `z`, then `aa`, `ab` and so on."""
    before = _letters(index // 26 - 1) if index >= 26 else ""
    return before + string.ascii_lowercase[index % 26]


def _make_column(
    rows: pl.DataFrame, column: PageColumn, notes: Mapping[str, str]
) -> list[PageCell]:
    cells = make_cells(rows, column)
    if column.style != NOTED:
        return cells
    return [
        cell._replace(shown=" ".join(notes[part] for part in _parts(cell.sort))) for cell in cells
    ]


def make_cells(rows: pl.DataFrame, column: PageColumn) -> list[PageCell]:
    """The values of one column."""
    if column.scale is None:
        return [PageCell(text, text, column.style) for text in _texts(rows, column.name)]
    values, low, high = (
        column.scale * _numbers(rows, name) for name in (column.name, *column.bounds)
    )
    if column.shown:
        shown = [text or column.missing for text in _texts(rows, column.shown)]
    else:
        layout = f"{column.sign},.{column.decimals}f"
        shown = [
            column.missing if np.isnan(ends[0]) else bounded_text(ends, layout)
            for ends in zip(values, low, high, strict=True)
        ]
    # no "inf" in JavaScript
    sort = ["" if np.isnan(one) else repr(float(np.nan_to_num(one))) for one in values]
    return [PageCell(*one, "number") for one in zip(shown, sort, strict=True)]


def _texts(rows: pl.DataFrame, name: str) -> list[str]:
    """A column as text, empty where it or its value is missing."""
    if name not in rows.columns:
        return [""] * len(rows)
    return rows[name].cast(pl.String).fill_null("").to_list()


def _numbers(rows: pl.DataFrame, name: str) -> Float[ndarray, " n"]:
    """A column as numbers, NaN where it or its value is missing."""
    if name not in rows.columns:
        return np.full(len(rows), np.nan)
    return rows[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
