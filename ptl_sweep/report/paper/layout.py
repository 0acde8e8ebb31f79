"""A table for a paper: Markdown to read, CSV to compute, LaTeX to print."""

import csv
import io
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from ptl_sweep.store import write_atomically
from ptl_sweep.study.statistics import mean_interval

GAP = "\N{EN DASH}"
NOT_COMPARABLE = "n. c."
PERCENT = 100.0
SEEDS_NOTE = "±: half of the 95 % Student t interval over seeds; without ±, one seed."
GAP_NOTE = f"{GAP}: no result."


class PaperTable(NamedTuple):
    """A table as it is printed; every row has as many cells as the header."""

    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]  # what a reader must know, below the table


def interval_cell(values: pl.Series, scale: float, sign: str = "") -> str:
    """`12.4 ± 3.1` over seeds, `12.4` for one, a dash for none."""
    interval = mean_interval(values.to_numpy())
    if np.isnan(interval.mean):
        return GAP
    mean = f"{scale * interval.mean:{sign}z.1f}"  # z: no -0.0
    half = scale * (interval.high - interval.low) / 2
    return f"{mean} ± {half:.1f}" if interval.known else mean


def with_gap_note(rows: Iterable[tuple[str, ...]], *others: str) -> tuple[str, ...]:
    """The notes, and that on gaps where there are some."""
    has_gap = any(cell == GAP for row in rows for cell in row)
    return (SEEDS_NOTE, *others, *([GAP_NOTE] if has_gap else []))


def markdown(table: PaperTable) -> str:
    """A heading, the caption, the table and its notes."""
    right = _numeric_columns(table)
    lines = [_pipes(table.header), _pipes("--:" if is_right else "---" for is_right in right)]
    lines += [_pipes(row) for row in table.rows]
    parts = [f"## {table.title}", table.caption, "\n".join(lines), "  \n".join(table.notes)]
    return "\n\n".join(parts) + "\n"


def _pipes(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def csv_text(table: PaperTable) -> str:
    """Header and rows, as printed; numbers with all their digits are in iterations.csv."""
    target = io.StringIO()
    csv.writer(target, lineterminator="\n").writerows([table.header, *table.rows])
    return target.getvalue()


# A dash and ± as commands, so that the file is ASCII and compiles with every engine.
LATEX = str.maketrans(
    {character: f"\\{character}" for character in "%_&#${}"}
    | {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        "±": r"$\pm$", "≥": r"$\geq$", "²": r"$^2$", GAP: "--", "<": "$<$", ">": "$>$",
    }
)  # fmt: skip


def latex(table: PaperTable) -> str:
    """A `table` environment with a plain `tabular`: no package is needed.

    A page is narrow, so words that are the same in every row stand in the caption.
    """
    table = _with_constants_in_caption(table)
    columns = "".join("r" if is_right else "l" for is_right in _numeric_columns(table))
    lines = [
        r"\begin{table}",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{f'{table.title}. {table.caption}'.translate(LATEX)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\hline",
        _latex_row(table.header),
        r"\hline",
        *map(_latex_row, table.rows),
        r"\hline",
        r"\end{tabular}",
        rf"\par\smallskip {' '.join(table.notes).translate(LATEX)}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _with_constants_in_caption(table: PaperTable) -> PaperTable:
    columns = dict(zip(table.header, zip(*table.rows, strict=True), strict=False))
    is_number = dict(zip(table.header, _numeric_columns(table), strict=True))
    words = [name for name in columns if not is_number[name]]
    same = [name for name in words if len(set(columns[name])) == 1]
    kept = [index for index, name in enumerate(table.header) if name not in same]
    return table._replace(
        caption=" ".join([table.caption, *(f"{name}: {columns[name][0]}." for name in same)]),
        header=tuple(table.header[index] for index in kept),
        rows=tuple(tuple(row[index] for index in kept) for row in table.rows),
    )


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cell.translate(LATEX) for cell in cells) + r" \\"


def _numeric_columns(table: PaperTable) -> list[bool]:
    """Columns whose every cell is a number, a gap or no comparison: they stand to the right."""
    pattern = re.compile(rf"[-+]?\d.*|{GAP}|{re.escape(NOT_COMPARABLE)}")
    columns = zip(*table.rows, strict=True) if table.rows else [()] * len(table.header)
    return [all(pattern.fullmatch(cell) for cell in column) for column in columns]


WRITERS: dict[str, Callable[[PaperTable], str]] = {"md": markdown, "csv": csv_text, "tex": latex}


def write_paper_table(table: PaperTable, folder: Path, name: str) -> list[Path]:
    """Write `name`.md, .csv and .tex into `folder`, each by one rename; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for suffix, writer in WRITERS.items():
        path = folder / f"{name}.{suffix}"
        write_atomically(path, writer(table).encode())
        paths.append(path)
    return paths
