"""How far true positives, false positives and missed persons lie, off and on."""

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptl_sweep.report.evidence import Axis, axes_of
from ptl_sweep.report.figures.drawing.series import Point, draw_series
from ptl_sweep.report.figures.drawing.style import (
    count_axis,
    dodge,
    finish,
    from_zero,
    grid_of_panels,
    line_style,
)

SHOWN_KINDS = {"tp": "true positives", "fp": "false positives", "missed": "missed persons"}
VARIANT = "equal_n"  # the only distance that compares across real counts and synthetic


def spread_rows(spreads: pl.DataFrame) -> pl.DataFrame:
    """Rows of all scores with an equal_n distance."""
    return spreads.filter(
        pl.col("band").fill_null("") == "",
        pl.col("kind").is_in(list(SHOWN_KINDS)),
        pl.col("median").is_finite(),
        variant=VARIANT,
    )


def spread_figure(rows: pl.DataFrame) -> Figure:
    """Median and quartiles of the equal_n distance: kinds (rows of panels) by targets."""
    axis = axes_of(rows)
    kinds = [kind for kind in SHOWN_KINDS if kind in rows["kind"]]
    figure, panels = grid_of_panels(axis.targets, len(kinds), 1.6)
    for line, kind in zip(panels, kinds, strict=True):
        line[0].set_ylabel(f"{SHOWN_KINDS[kind]}\nequal_n distance")
        own = [rows.filter(kind=kind, target=target) for target in axis.targets]
        for axes, target, cells in zip(line, axis.targets, own, strict=True):
            for synthetic in axis.synthetics:
                points = _points(cells.filter(synthetic=synthetic), axis, synthetic, target)
                draw_series(axes, points, line_style(synthetic, axis.synthetics), synthetic)
        from_zero(line[0], room=0.18)
        for axes, cells in zip(line, own, strict=True):
            _write_num(axes, cells)
    count_axis(panels[0][0], axis.real_counts)
    finish(figure, panels, "real training images (log scale); bars: quartiles")
    return figure


def _points(rows: pl.DataFrame, axis: Axis, synthetic: str, target: str) -> list[Point]:
    """Quartiles, each the mean over seeds."""
    index = axis.synthetics.index(synthetic)
    shift = float(np.exp(dodge(index, len(axis.synthetics), 0.2)))
    columns = ("lower_quartile", "median", "upper_quartile", "num")
    means = rows.group_by("real_count").agg(pl.col(columns).mean(), seeds=pl.len())
    found = {count: values for count, *values in means.iter_rows()}
    points = []
    for count in axis.real_counts:
        if count not in found:
            points.append(Point(count, np.nan, np.nan, np.nan, ""))
            continue
        low, median, high, num, seeds = found[count]
        tip = f"{synthetic}, {count} real, {target}: median {median:.3g}, quartiles "
        tip += f"{low:.3g} to {high:.3g}; {num:.0f} of them a cell, {seeds} seeds"
        points.append(Point(count * shift, median, low, high, tip))
    return points


def _write_num(axes: Axes, rows: pl.DataFrame) -> None:
    """How many distances a cell has, least to most."""
    numbers = rows["num"].to_list()
    if numbers:
        low, high = min(numbers), max(numbers)
        shown = f"n = {low:.0f}" if low == high else f"n = {low:.0f} to {high:.0f}"
        place = axes.transAxes
        axes.text(0.98, 0.98, shown, transform=place, ha="right", va="top", fontsize=8)
