"""Tables of the page: columns that read rows of the study, cells that know how they sort."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ptl_sweep.report.figures import series_class
from ptl_sweep.study.groups import number, text
from ptl_sweep.vocabulary import Row

MISSING = "\N{EN DASH}"


class PageColumn(NamedTuple):
    """A column of a table and how its values are written."""

    name: str  # of the value in a row
    header: str
    unit: str = ""
    scale: float | None = None  # of a number; None: text
    decimals: int = 1
    sign: str = ""  # "+": signed
    bounds: tuple[str, str] = ("", "")  # columns of an interval, written behind the value
    shown: str = ""  # column of the text that is shown for the value, which then only sorts
    missing: str = MISSING
    style: str = ""  # long: may wrap; code: a key to copy


class PageCell(NamedTuple):
    """One cell: what is shown, what it is sorted by (empty: missing, always last)."""

    shown: str
    sort: str
    style: str  # number | long | code | ""


class Line(NamedTuple):
    """One row; toggles hide it by `series`, a gap has no result."""

    cells: list[PageCell]
    series: str
    is_gap: bool


class PageTable(NamedTuple):
    """A sortable table; `can_filter` gives it a search field."""

    name: str
    caption: str
    columns: Sequence[PageColumn]
    lines: list[Line]
    can_filter: bool


def make_table(
    name: str,
    caption: str,
    columns: Sequence[PageColumn],
    rows: Iterable[Row],
    *,
    can_filter: bool = False,
) -> PageTable:
    """The rows as a table; a column `dataset` that says the same everywhere is left out."""
    kept = list(rows)
    if len({text(row, "dataset") for row in kept}) == 1:
        columns = [column for column in columns if column.name != "dataset"]
    lines = [
        Line(
            [make_cell(row, column) for column in columns],
            series_class(text(row, "synthetic")) if row.get("synthetic") else "",
            text(row, "status") not in ("", "ok"),
        )
        for row in kept
    ]
    return PageTable(name, caption, columns, lines, can_filter)


def make_cell(row: Row, column: PageColumn) -> PageCell:
    """The value of one row in one column."""
    if column.scale is None:
        shown = text(row, column.name)
        return PageCell(shown, shown, column.style)
    value = column.scale * number(row, column.name)
    sort = "" if np.isnan(value) else repr(float(np.nan_to_num(value)))  # no "inf" in JavaScript
    if column.shown:
        return PageCell(text(row, column.shown) or column.missing, sort, "number")
    if np.isnan(value):
        return PageCell(column.missing, "", "number")
    low, high = (column.scale * number(row, bound) for bound in column.bounds)
    return PageCell(with_bounds(value, low, high, column), sort, "number")


def with_bounds(value: float, low: float, high: float, column: PageColumn) -> str:
    """`12.4 [9.1, 15.7]`; without bounds where there are none."""
    layout = f"{column.sign},.{column.decimals}f"
    if not np.isfinite(low + high):
        return format(value, layout)
    return f"{value:{layout}} [{low:{layout}}, {high:{layout}}]"
