"""Tables for a paper, made of iterations.csv: Markdown to read, CSV to compute, LaTeX to print.

`crossdomain` has the shape of PTL Table 4; `first_experiments` is one PTL iteration, its train2test
distances and its AP_t2t (seed).
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from ptl_sweep.store import write_atomically
from ptl_sweep.study.statistics import mean_interval
from ptl_sweep.vocabulary import OFF, ApT2t, ApT2tVariant, Distance

GAP = "\N{EN DASH}"
NOT_COMPARABLE = "n. c."
PERCENT = 100.0
AP_COLUMNS = {"AP50": "AP50 [%]", "AP": "AP [%]"}
SEEDS_NOTE = "±: half of the 95 % Student t interval over seeds; without ±, one seed."
GAP_NOTE = f"{GAP}: no result."


class PaperTable(NamedTuple):
    """A table as it is printed; every row has as many cells as the header."""

    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]  # what a reader must know, below the table


class PaperPlace(NamedTuple):
    """Cells that differ in seed, `synthetic` and iteration only."""

    dataset: str
    target: str
    real_count: int

    @property
    def labels(self) -> tuple[str, str, str]:
        """As printed."""
        return self.dataset, self.target, str(self.real_count)


class Method(NamedTuple):
    """A way to train; `off` is iteration 0 of every other one."""

    synthetic: str
    iteration: int


class Quantity(NamedTuple):
    """A line of the first experiments."""

    experiment: str
    label: str
    column: str
    scale: float
    is_comparable: bool = True  # between trainings with other numbers of features


def crossdomain(iteration_rows: pl.DataFrame) -> PaperTable:
    """AP50 and AP per target and real count: `off`, and the others at their last iteration.

    Mean over seeds with Student's t interval; the shape of PTL Table 4, whose last iteration is 5.
    """
    methods = [Method(OFF, 0), *_last_iterations(iteration_rows)]
    header = ["trained on", "target", "real"]
    for method in methods:
        name = OFF if method.synthetic == OFF else f"{method.synthetic}, it. {method.iteration}"
        header += [f"{name}: {label}" for label in AP_COLUMNS.values()]
    rows = [
        (*place.labels, *_ap_cells(iteration_rows, place, methods))
        for place in places(iteration_rows)
    ]
    return PaperTable(
        title="Cross-domain detection",
        caption="AP50 and AP (IoU .5:.95) with real images only (off) and after the last PTL "
        "iteration, mean over seeds.",
        header=(*header, "seeds"),
        rows=tuple(rows),
        notes=_notes(rows, "seeds: of each way to train in turn where they differ."),
    )


def first_experiments(
    iteration_rows: pl.DataFrame, score_thresholds: Sequence[float], iteration: int = 1
) -> PaperTable:
    """One PTL iteration against none: AP, medians of the train2test distance, AP_t2t and its lift.

    `change` is paired by seed. It is left out for the shrunk distance, which also changes with the
    number of training features (docs/method.md, section 2).
    """
    methods = [Method(name, iteration) for name, _ in _last_iterations(iteration_rows)]
    rows = [
        (quantity.experiment, *place.labels, quantity.label, method.synthetic, *cells)
        for quantity in _quantities(score_thresholds)
        for place in places(iteration_rows)
        for method in methods
        for cells in [_compared(iteration_rows, place, method, quantity)]
    ]
    return PaperTable(
        title="First experiments",
        caption=f"PTL iteration {iteration} against real images only: detection, medians of the "
        "squared train2test distance d² of true and false positives (TP, FP), AP ranked by it.",
        header=(
            "experiment", "trained on", "target", "real", "quantity", "synthetic", "off", "with",
            "change", "pairs",
        ),
        rows=tuple(rows),
        notes=_notes(
            rows,
            "lift: AP_t2t over that of the same detections in random order.",
            f"{NOT_COMPARABLE}: not comparable, because the shrunk distance changes with the number"
            " of training features; equal_n takes the same number for both.",
        ),
    )  # fmt: skip


def places(rows: pl.DataFrame) -> list[PaperPlace]:
    """Where there are cells, failed and missing ones included, in the order of display."""
    unique = rows.select(PaperPlace._fields).unique().sort(PaperPlace._fields)
    return [PaperPlace(*row) for row in unique.iter_rows()]


def _last_iterations(rows: pl.DataFrame) -> list[Method]:
    """Per value of `synthetic` but off the last iteration that was planned."""
    planned = rows.filter(pl.col("synthetic") != OFF, pl.col("iteration").is_not_null())
    last = planned.group_by("synthetic").agg(pl.col("iteration").max()).sort("synthetic")
    return [Method(*row) for row in last.iter_rows()]


def _series(rows: pl.DataFrame, place: PaperPlace, method: Method, column: str) -> pl.DataFrame:
    """`seed` and `value`; cells without a number are left out."""
    own = rows.filter(pl.col(column).is_finite(), **place._asdict(), iteration=method.iteration)
    if method.synthetic != OFF:
        own = own.filter(synthetic=method.synthetic)
    value = pl.col(column).cast(pl.Float64)
    return own.select("seed", value=value).unique("seed", keep="last", maintain_order=True)


def _ap_cells(rows: pl.DataFrame, place: PaperPlace, methods: Sequence[Method]) -> list[str]:
    """AP50 and AP of every method, then the number of seeds."""
    series = [_series(rows, place, method, column) for method in methods for column in AP_COLUMNS]
    counts = [str(len(one)) for one in series[:: len(AP_COLUMNS)]]
    seeds = counts[0] if len(set(counts)) == 1 else " / ".join(counts)
    return [*(_cell(one["value"], PERCENT) for one in series), seeds]


def _quantities(score_thresholds: Iterable[float]) -> list[Quantity]:
    """Lines of the first experiments; score thresholds as the columns say."""
    first, second, third = "detection", "train2test", "AP_t2t"
    lines = [Quantity(first, label, column, PERCENT) for column, label in AP_COLUMNS.items()]
    for kind, name in (("tp", "TP"), ("fp", "FP")):
        equal_n, shrunk = (Distance(kind, "median", variant) for variant in ("equal_n", "shrunk"))
        lines += [
            Quantity(second, f"{name} median, equal_n [d²]", equal_n.name, 1.0),
            Quantity(second, f"{name} median, shrunk [d²]", shrunk.name, 1.0, is_comparable=False),
        ]
    lines.append(Quantity(second, "training features n", "gaussian_n", 1.0))
    for threshold in score_thresholds:
        score, lift = f"score ≥ {threshold:g}", ApT2t(threshold, ApT2tVariant.LIFT)
        lines += [
            Quantity(third, f"{score} [%]", ApT2t(threshold).name, PERCENT),
            Quantity(third, f"{score}, lift [points]", lift.name, PERCENT),
        ]
    return lines


def _compared(
    rows: pl.DataFrame, place: PaperPlace, method: Method, quantity: Quantity
) -> tuple[str, str, str, str]:
    """Without, with, change, and the number of seeds that have both."""
    off = _series(rows, place, Method(OFF, 0), quantity.column)
    on = _series(rows, place, method, quantity.column)
    both = on.join(off, "seed", suffix="_off").sort("seed")
    change = _cell(both["value"] - both["value_off"], quantity.scale, "+")
    return (
        _cell(off["value"], quantity.scale),
        _cell(on["value"], quantity.scale),
        change if quantity.is_comparable else NOT_COMPARABLE,
        str(len(both)),
    )


def _cell(values: pl.Series, scale: float, sign: str = "") -> str:
    """`12.4 ± 3.1` over seeds, `12.4` for one, a dash for none."""
    interval = mean_interval(values.to_numpy())
    if np.isnan(interval.mean):
        return GAP
    mean = f"{scale * interval.mean:{sign}z.1f}"  # z: no -0.0
    half = scale * (interval.high - interval.low) / 2
    return f"{mean} ± {half:.1f}" if interval.known else mean


def _notes(rows: Iterable[tuple[str, ...]], *others: str) -> tuple[str, ...]:
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


TABLES: dict[str, Callable[[pl.DataFrame, Sequence[float]], PaperTable]] = {
    "crossdomain": lambda iteration_rows, _: crossdomain(iteration_rows),
    "first": first_experiments,
}  # of iterations.csv and the score thresholds of the sweep
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
