"""Two sweeps side by side: what the cells that both have say, what only one has, which settings
differ. One page without any request, in the look of the report.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ptl_sweep.report.answers import Evidence, plural
from ptl_sweep.report.columns import CELL, NOTE, REAL, SOURCE, SYNTHETIC, TARGET
from ptl_sweep.report.differences import (
    HEADLINE,
    Pairing,
    cell_differences,
    compared_metrics,
    differing_settings,
    group_differences,
    pair_cells,
)
from ptl_sweep.report.figures import FigureFile
from ptl_sweep.report.figures.saving import mark, save_figure, slug
from ptl_sweep.report.figures.style import axes_of, line_style
from ptl_sweep.report.page import all_series, assets, chosen_figures, environment
from ptl_sweep.report.tables import PageColumn, PageTable, make_table
from ptl_sweep.store import write_atomically
from ptl_sweep.study.groups import number, text
from ptl_sweep.study.study import Study
from ptl_sweep.vocabulary import ALL_TARGETS, Row

MAX_FIGURE_BYTES = 2_000_000


class Compared(NamedTuple):
    """A sweep as the comparison sees it."""

    name: str
    study: Study
    settings: Mapping[str, str]  # key -> value


def sentences(rows: Sequence[Row], names: tuple[str, str]) -> list[str]:
    """How AP50 differs over all shared cells, per (source, value of synthetic); reads the means."""
    pooled = [r for r in rows if r["real_count"] is None and r["metric"] == HEADLINE]
    known = [row for row in pooled if number(row, "num_seeds") > 0]
    if not known:
        return [f"No comparison of {names[1]} with {names[0]}: no seed has all cells of both."]
    return [f"{_sentence(row, names)}." for row in known]


def _sentence(row: Row, names: tuple[str, str]) -> str:
    seeds = plural(number(row, "num_seeds"), "seed")
    found = Evidence(
        number(row, "difference"), number(row, "low"), number(row, "high"), f"over {seeds}"
    )
    where = f"synthetic={row['synthetic']}, trained on {row['dataset']}"
    who = f"{names[1]} against {names[0]} at {where}"
    change = f"AP50 {100 * found.value:+.1f} points"
    if found.verdict == "unknown":
        return f"No evidence either way for {who}: {change}, no interval with {seeds}"
    opening = "No evidence of a difference for " if found.verdict == "none" else ""
    return f"{opening}{who}: {change}, {found.bounds()}, p = {number(row, 'p'):.3g}"


def scatter(pairs: Sequence[tuple[Row, Row]], names: tuple[str, str]) -> Figure:
    """AP50 of the second against the first, a point per cell; on the diagonal nothing changed."""
    figure = Figure(figsize=(5.0, 4.6))
    axes = figure.subplots()
    synthetics = axes_of([one for one, _ in pairs]).synthetics
    top = 1.0
    for synthetic in synthetics:
        own = [pair for pair in pairs if pair[0]["synthetic"] == synthetic]
        points = [
            (100 * number(a, HEADLINE), 100 * number(b, HEADLINE), _tip(a, b)) for a, b in own
        ]
        points = [point for point in points if np.isfinite(point[0] + point[1])]
        if points:
            x, y, tips = zip(*points, strict=True)
            style = line_style(synthetic, synthetics) | {"linestyle": "none"}
            (drawn,) = axes.plot(x, y, **style, markersize=5, alpha=0.8, label=synthetic)
            mark(drawn, series=synthetic, tip=list(tips))
            top = max(top, *x, *y)
    axes.axline((0, 0), slope=1, color="#222222", linewidth=0.8)
    axes.set(xlim=(0, 1.05 * top), ylim=(0, 1.05 * top), aspect="equal")
    axes.set_xlabel(f"AP50 of {names[0]} [%]")
    axes.set_ylabel(f"AP50 of {names[1]} [%]")
    figure.legend(loc="outside upper center", ncols=max(1, len(synthetics)))
    return figure


def _tip(first: Row, second: Row) -> str:
    where = f"{first['synthetic']}, {first['real_count']} real, {first['target']}"
    values = f"{100 * number(first, HEADLINE):.1f} % and {100 * number(second, HEADLINE):.1f} %"
    return f"{where}, seed {first['seed']}: {values}"


def write_comparison(folder: Path, first: Compared, second: Compared) -> Path:
    """Write comparison-with-<first>.html and its figure into `folder`, that of the second sweep."""
    names = (first.name, second.name)
    pairing = pair_cells(first.study.rows, second.study.rows)
    metrics = compared_metrics(pairing.shared)
    groups = [row for metric in metrics for row in group_differences(pairing.shared, metric)]
    stem = f"comparison-with-{slug(first.name)}"
    page = (
        environment()
        .get_template("comparison.html.jinja")
        .render(
            names=names,
            leads=sentences(groups, names),
            num_cells=(len(first.study.rows), len(second.study.rows)),
            num_shared=len(pairing.shared),
            figures=_figures(folder / "figures", stem, pairing.shared, names),
            tables=_tables(pairing, metrics, groups, names),
            settings=make_table(
                "settings",
                "Settings that differ",
                _settings_columns(names),
                differing_settings(first.settings, second.settings),
            ),
            all_series=all_series([*first.study.rows, *second.study.rows]),
            **assets(),
        )
    )
    path = folder / f"{stem}.html"
    write_atomically(path, page.encode())
    return path


def _figures(
    folder: Path, stem: str, pairs: Sequence[tuple[Row, Row]], names: tuple[str, str]
) -> dict[str, list[object]]:
    if not any(np.isfinite(number(a, HEADLINE) + number(b, HEADLINE)) for a, b in pairs):
        return {"scatter": []}
    title = f"AP50 of {names[1]} against {names[0]}"
    svg = save_figure(folder, stem, partial(scatter, pairs, names), title)
    caption = "A point per cell; above the line the second sweep is better."
    found = chosen_figures({"scatter": [FigureFile(title, svg, caption)]}, MAX_FIGURE_BYTES)
    return {"scatter": list(found["scatter"])}


def _tables(
    pairing: Pairing,
    metrics: Mapping[str, str],
    groups: Sequence[Row],
    names: tuple[str, str],
) -> dict[str, PageTable]:
    named = [
        {
            **row,
            "metric": metrics[text(row, "metric")],
            "target": "mean" if row["target"] == ALL_TARGETS else row["target"],
        }
        for row in sorted(groups, key=lambda row: row["real_count"] is not None)  # means first
    ]
    lacking = [
        {**row, "only_in": name}
        for name, rows in zip(names, (pairing.only_first, pairing.only_second), strict=True)
        for row in rows
    ]
    cells = cell_differences(pairing.shared, metrics)
    return {
        "groups": make_table(
            "groups", "Differences by group", _group_columns(names), named, can_filter=True
        ),
        "cells": make_table(
            "cells", "Cells of both sweeps", _cell_columns(metrics), cells, can_filter=True
        ),
        "lacking": make_table(
            "lacking",
            "Cells of one sweep only",
            [*CELL, PageColumn("only_in", "only in"), PageColumn("status", "status")],
            lacking,
            can_filter=True,
        ),
    }


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
