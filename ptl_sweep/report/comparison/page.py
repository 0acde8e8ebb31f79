"""Two sweeps side by side: contrasts of their cells in pairs, and the settings that differ.

One page without any request, in the look of the report, and its contrasts as CSV and Parquet.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl
from matplotlib.figure import Figure

from ptl_sweep.report.comparison import tables
from ptl_sweep.report.comparison.sentences import Finding, Names, findings, notes
from ptl_sweep.report.comparison.settings import Settings, compared_values, differing_settings
from ptl_sweep.report.evidence import off_first
from ptl_sweep.report.figures import FigureFile
from ptl_sweep.report.figures.drawing.saving import mark, save_figure, slug
from ptl_sweep.report.figures.drawing.style import INK, line_style
from ptl_sweep.report.page import Shown, all_series, assets, chosen_figures, environment
from ptl_sweep.store import write_atomically
from ptl_sweep.study.claims.between import ARMS, PLACE, Values, pair_cells, sweep_contrasts
from ptl_sweep.study.claims.table import METRIC
from ptl_sweep.study.tables import write_table
from ptl_sweep.vocabulary import ApT2t

MAX_FIGURE_BYTES = 2_000_000


class Compared(NamedTuple):
    """A sweep as the comparison sees it."""

    name: str
    rows: pl.DataFrame  # results
    score_thresholds: Sequence[float]  # the same in both
    settings: Settings  # that all of its cells share
    stages: Mapping[str, Settings]  # key of an evaluation -> all that its number depends on


class Comparison(NamedTuple):
    """What was written, and what the page says first."""

    page: Path
    table: Path
    findings: list[Finding]
    notes: list[str]


def write_comparison(
    folder: Path, name: str, own: Compared, other: Compared, values: Sequence[Values]
) -> Comparison:
    """Write the page comparison-`name`, its table and figure into `folder`, the own sweep's."""
    stem = slug(f"comparison-{name}")
    names = (own.name, other.name)
    metrics = compared_metrics(own.score_thresholds)
    pairs = pl.concat(pair_cells(own.rows, other.rows, one, metrics) for one in values)
    contrasts = sweep_contrasts(pairs, metrics)
    compared = compared_values(pairs, own.stages, other.stages)
    found, said = findings(contrasts, compared, names), notes(compared, names)
    page = (
        environment()
        .get_template("comparison.html.jinja")
        .render(
            names=names,
            findings=found,
            notes=said,
            num_pairs=len(pairs),
            table_file=f"{stem}.csv",
            figures=_figures(folder / "figures", stem, pairs, names),
            contrasts=tables.contrast_table(contrasts, metrics, names),
            values=tables.value_table(compared),
            cells=tables.cell_table(pairs, metrics),
            lacking=tables.lacking_table(_lacking(own, other, values)),
            settings=tables.settings_table(differing_settings(own.settings, other.settings), names),
            all_series=all_series(own.rows["synthetic"]),
            **assets(),
        )
    )
    path = folder / f"{stem}.html"
    write_atomically(path, page.encode())
    return Comparison(path, write_table(contrasts, folder, stem), found, said)


def compared_metrics(score_thresholds: Iterable[float]) -> dict[str, str]:
    """Columns that are compared and what the page calls them: AP50, AP, AP_t2t (shrunk)."""
    ap_t2t = {ApT2t(score).name: f"AP_t2t s ≥ {score:g}" for score in score_thresholds}
    return {METRIC: METRIC, "AP": "AP", **ap_t2t}


def _lacking(own: Compared, other: Compared, values: Sequence[Values]) -> pl.DataFrame:
    """Cells of the compared values that the other sweep does not have."""
    parts = []
    for one in values:
        cells = [
            side.rows.filter(synthetic=name).select(
                *PLACE, "synthetic", "status", only_in=pl.lit(side.name)
            )
            for side, name in zip((own, other), one, strict=True)
        ]
        parts += [cells[0].join(cells[1], PLACE, "anti"), cells[1].join(cells[0], PLACE, "anti")]
    return pl.concat(parts).unique(maintain_order=True)


def _figures(folder: Path, stem: str, pairs: pl.DataFrame, names: Names) -> dict[str, list[Shown]]:
    if _measured(pairs).is_empty():
        return {"scatter": []}
    title = f"AP50 of {names[0]} against {names[1]}"
    svg = save_figure(folder, stem, partial(scatter, pairs, names), title)
    caption = "A point per cell; above the line this sweep is better."
    return chosen_figures({"scatter": [FigureFile(title, svg, caption)]}, MAX_FIGURE_BYTES)


def scatter(pairs: pl.DataFrame, names: Names) -> Figure:
    """AP50 of this sweep against the other's, a point per cell; on the diagonal they are equal."""
    figure = Figure(figsize=(5.0, 4.6))
    axes = figure.subplots()
    synthetics = off_first(pairs["treated"].unique())
    top = 1.0
    for values, own in _measured(pairs).group_by(ARMS, maintain_order=True):
        y, x = (100 * own[name].to_numpy() for name in (METRIC, f"{METRIC}_reference"))
        treated, label = str(values[0]), " and ".join(dict.fromkeys(map(str, values)))
        style = line_style(treated, synthetics) | {"linestyle": "none"}
        (drawn,) = axes.plot(x, y, **style, markersize=5, alpha=0.8, label=label)
        cells = own.select("real_count", "target", "seed").iter_rows()
        tips = [
            f"{label}, {count} real, {target}, seed {seed}: {one:.1f} % and {other:.1f} %"
            for (count, target, seed), one, other in zip(cells, y, x, strict=True)
        ]
        mark(drawn, series=treated, tip=tips)
        top = max(top, *x, *y)
    axes.axline((0, 0), slope=1, color=INK, linewidth=0.8)
    axes.set(xlim=(0, 1.05 * top), ylim=(0, 1.05 * top), aspect="equal")
    axes.set_xlabel(f"AP50 of {names[1]} [%]")
    axes.set_ylabel(f"AP50 of {names[0]} [%]")
    figure.legend(loc="outside upper center", ncols=max(1, len(synthetics)))
    return figure


def _measured(pairs: pl.DataFrame) -> pl.DataFrame:
    """Cells that both sweeps have a number for."""
    return pairs.filter((pl.col(METRIC) + pl.col(f"{METRIC}_reference")).is_finite())
