"""Two sweeps side by side: what the cells that both have say, what only one has, which settings
differ. One page without any request, in the look of the report.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import polars as pl
from matplotlib.figure import Figure

from ptl_sweep.report.aggregates import OVER_TARGETS
from ptl_sweep.report.columns import CELL, NOTE, REAL, SOURCE, SYNTHETIC, TARGET
from ptl_sweep.report.comparison.differences import (
    HEADLINE,
    GroupDifference,
    Pairing,
    cell_differences,
    compared_metrics,
    differing_settings,
    group_differences,
    pair_cells,
)
from ptl_sweep.report.evidence import off_first, plural
from ptl_sweep.report.figures import FigureFile
from ptl_sweep.report.figures.saving import mark, save_figure, slug
from ptl_sweep.report.figures.style import INK, line_style
from ptl_sweep.report.page import Shown, all_series, assets, chosen_figures, environment
from ptl_sweep.report.tables import PageColumn, PageTable, make_table
from ptl_sweep.store import write_atomically
from ptl_sweep.study.study import Study
from ptl_sweep.vocabulary import ALL_TARGETS

MAX_FIGURE_BYTES = 2_000_000


class Compared(NamedTuple):
    """A sweep as the comparison sees it."""

    name: str
    study: Study
    settings: Mapping[str, str]  # key -> value


def sentences(rows: Sequence[GroupDifference], names: tuple[str, str]) -> list[str]:
    """How AP50 differs over all shared cells, per (source, value of synthetic); reads the means."""
    pooled = [row for row in rows if row.real_count is None and row.metric == HEADLINE]
    known = [row for row in pooled if row.num_seeds]
    if not known:
        return [f"No comparison of {names[1]} with {names[0]}: no seed has all cells of both."]
    return [f"{_sentence(row, names)}." for row in known]


def _sentence(row: GroupDifference, names: tuple[str, str]) -> str:
    found = row.evidence
    where = f"synthetic={row.synthetic}, trained on {row.dataset}"
    who = f"{names[1]} against {names[0]} at {where}"
    change = f"AP50 {100 * found.value:+.1f} points"
    if found.verdict == "unknown":
        seeds = plural(row.num_seeds, "seed")
        return f"No evidence either way for {who}: {change}, no interval with {seeds}"
    opening = "No evidence of a difference for " if found.verdict == "none" else ""
    return f"{opening}{who}: {change}, {found.bounds()}, p = {row.p:.3g}"


def scatter(pairs: pl.DataFrame, names: tuple[str, str]) -> Figure:
    """AP50 of the second against the first, a point per cell; on the diagonal nothing changed."""
    figure = Figure(figsize=(5.0, 4.6))
    axes = figure.subplots()
    synthetics = off_first(pairs["synthetic"].unique())
    top = 1.0
    for synthetic in synthetics:
        own = _measured(pairs).filter(synthetic=synthetic)
        if own.is_empty():
            continue
        x, y = (100 * own[name].to_numpy() for name in (HEADLINE, f"{HEADLINE}_second"))
        style = line_style(synthetic, synthetics) | {"linestyle": "none"}
        (drawn,) = axes.plot(x, y, **style, markersize=5, alpha=0.8, label=synthetic)
        cells = own.select("real_count", "target", "seed").iter_rows()
        tips = [
            f"{synthetic}, {count} real, {target}, seed {seed}: {one:.1f} % and {other:.1f} %"
            for (count, target, seed), one, other in zip(cells, x, y, strict=True)
        ]
        mark(drawn, series=synthetic, tip=tips)
        top = max(top, *x, *y)
    axes.axline((0, 0), slope=1, color=INK, linewidth=0.8)
    axes.set(xlim=(0, 1.05 * top), ylim=(0, 1.05 * top), aspect="equal")
    axes.set_xlabel(f"AP50 of {names[0]} [%]")
    axes.set_ylabel(f"AP50 of {names[1]} [%]")
    figure.legend(loc="outside upper center", ncols=max(1, len(synthetics)))
    return figure


def _measured(pairs: pl.DataFrame) -> pl.DataFrame:
    """Cells that both sweeps have a number for."""
    return pairs.filter((pl.col(HEADLINE) + pl.col(f"{HEADLINE}_second")).is_finite())


def write_comparison(folder: Path, first: Compared, second: Compared) -> Path:
    """Write comparison-with-<first>.html and its figure into `folder`, that of the second sweep."""
    names = (first.name, second.name)
    one, other = first.study, second.study
    metrics = compared_metrics(sorted({*one.score_thresholds, *other.score_thresholds}))
    pairing = pair_cells(one.rows, other.rows, metrics)
    groups = [row for metric in metrics for row in group_differences(pairing.shared, metric)]
    stem = f"comparison-with-{slug(first.name)}"
    settings = differing_settings(first.settings, second.settings)
    page = (
        environment()
        .get_template("comparison.html.jinja")
        .render(
            names=names,
            leads=sentences(groups, names),
            num_cells=(len(one.rows), len(other.rows)),
            num_shared=len(pairing.shared),
            figures=_figures(folder / "figures", stem, pairing.shared, names),
            tables=_tables(pairing, metrics, groups, names),
            settings=make_table(
                "settings", "Settings that differ", _settings_columns(names), settings
            ),
            all_series=all_series([*one.rows["synthetic"], *other.rows["synthetic"]]),
            **assets(),
        )
    )
    path = folder / f"{stem}.html"
    write_atomically(path, page.encode())
    return path


def _figures(
    folder: Path, stem: str, pairs: pl.DataFrame, names: tuple[str, str]
) -> dict[str, list[Shown]]:
    if _measured(pairs).is_empty():
        return {"scatter": []}
    title = f"AP50 of {names[1]} against {names[0]}"
    svg = save_figure(folder, stem, partial(scatter, pairs, names), title)
    caption = "A point per cell; above the line the second sweep is better."
    return chosen_figures({"scatter": [FigureFile(title, svg, caption)]}, MAX_FIGURE_BYTES)


def _tables(
    pairing: Pairing,
    metrics: Mapping[str, str],
    groups: Sequence[GroupDifference],
    names: tuple[str, str],
) -> dict[str, PageTable]:
    means_first = pl.col("real_count").is_not_null()
    by_group = pl.DataFrame(groups, GroupDifference._fields, orient="row", infer_schema_length=None)
    named = by_group.sort(means_first, maintain_order=True).with_columns(
        pl.col("metric").cast(pl.String).replace(metrics),
        pl.col("target").cast(pl.String).replace(ALL_TARGETS, OVER_TARGETS),
    )
    lacking = pl.concat(
        rows.with_columns(only_in=pl.lit(name))
        for name, rows in zip(names, (pairing.only_first, pairing.only_second), strict=True)
    )
    lacking_columns = [*CELL, PageColumn("only_in", "only in"), PageColumn("status", "status")]
    cells = cell_differences(pairing.shared, metrics)
    tables = [
        make_table(name, caption, columns, rows, can_filter=True)
        for name, caption, columns, rows in (
            ("groups", "Differences by group", _group_columns(names), named),
            ("cells", "Cells of both sweeps", _cell_columns(metrics), cells),
            ("lacking", "Cells of one sweep only", lacking_columns, lacking),
        )
    ]
    return {table.name: table for table in tables}


def _group_columns(names: tuple[str, str]) -> list[PageColumn]:
    return [
        PageColumn("metric", "metric"),
        SOURCE,
        REAL,
        SYNTHETIC,
        TARGET,
        PageColumn("first", "first", f"%, {names[0]}", 100),
        PageColumn("second", "second", f"%, {names[1]}", 100),
        PageColumn(
            "difference", "difference", "points [over seeds]", 100, sign="+", bounds=("low", "high")
        ),
        PageColumn("num_seeds", "seeds", "", 1, 0),
        PageColumn("p", "p", "sign flips", 1, 3),
        NOTE,
    ]


def _cell_columns(metrics: Mapping[str, str]) -> list[PageColumn]:
    parts = (("first", "% first", ""), ("second", "% second", ""), ("difference", "points", "+"))
    return [
        *CELL,
        *(
            PageColumn(f"{metric}_{part}", shown, unit, 100, sign=sign)
            for metric, shown in metrics.items()
            for part, unit, sign in parts
        ),
    ]


def _settings_columns(names: tuple[str, str]) -> list[PageColumn]:
    return [
        PageColumn("key", "key"),
        PageColumn("first", names[0], "first", style="long"),
        PageColumn("second", names[1], "second", style="long"),
    ]
