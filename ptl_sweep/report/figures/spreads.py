"""How far true positives, false positives and missed persons lie, off and on."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptl_sweep.report.figures.series import Point, draw_series
from ptl_sweep.report.figures.style import (
    Axis,
    axes_of,
    count_axis,
    dodge,
    finish,
    finite,
    from_zero,
    grid_of_panels,
    line_style,
)
from ptl_sweep.study.groups import number
from ptl_sweep.vocabulary import Group, Row

SHOWN_KINDS = {"tp": "true positives", "fp": "false positives", "missed": "missed persons"}
VARIANT = "equal_n"  # the only distance that compares across real counts and synthetic


def spread_rows(spreads: Sequence[Row], dataset: str) -> list[Row]:
    """Rows of all scores with an equal_n distance."""
    return [
        row
        for row in spreads
        if (row["dataset"], row["variant"], row["band"] or "") == (dataset, VARIANT, "")
        and row["kind"] in SHOWN_KINDS
        and np.isfinite(number(row, "median"))
    ]


def spread_figure(rows: Sequence[Row], dataset: str) -> Figure:
    """Median and quartiles of the equal_n distance: kinds (rows of panels) by targets."""
    axis = axes_of(rows)
    kinds = [kind for kind in SHOWN_KINDS if any(row["kind"] == kind for row in rows)]
    figure, panels = grid_of_panels(axis.targets, len(kinds), 1.6)
    for line, kind in zip(panels, kinds, strict=True):
        line[0].set_ylabel(f"{SHOWN_KINDS[kind]}\nequal_n distance")
        for axes, target in zip(line, axis.targets, strict=True):
            own = [row for row in rows if (row["kind"], row["target"]) == (kind, target)]
            for synthetic in axis.synthetics:
                points = _points(own, axis, Group(dataset, None, synthetic, target))
                draw_series(axes, points, line_style(synthetic, axis.synthetics), synthetic)
        from_zero(line[0], room=0.18)
        for axes, target in zip(line, axis.targets, strict=True):
            _write_num(axes, [r for r in rows if (r["kind"], r["target"]) == (kind, target)])
    count_axis(panels[0][0], axis.real_counts)
    finish(figure, panels, "real training images (log scale); bars: quartiles")
    return figure


def _points(rows: Sequence[Row], axis: Axis, every: Group) -> list[Point]:
    """Quartiles, each the mean over seeds."""
    index = axis.synthetics.index(every.synthetic)
    shift = float(np.exp(dodge(index, len(axis.synthetics), 0.2)))
    points = []
    for count in axis.real_counts:
        own = [r for r in rows if (r["synthetic"], r["real_count"]) == (every.synthetic, count)]
        if not own:
            points.append(Point(count, np.nan, np.nan, np.nan, ""))
            continue
        low, median, high, num = (
            float(np.mean([number(row, column) for row in own]))
            for column in ("lower_quartile", "median", "upper_quartile", "num")
        )
        tip = f"{every.synthetic}, {count} real, {every.target}: median {median:.3g}, quartiles "
        tip += f"{low:.3g} to {high:.3g}; {num:.0f} of them a cell, {len(own)} seeds"
        points.append(Point(count * shift, median, low, high, tip))
    return points


def _write_num(axes: Axes, rows: Sequence[Row]) -> None:
    """How many distances a cell has, least to most."""
    numbers = finite(number(row, "num") for row in rows)
    if numbers:
        low, high = min(numbers), max(numbers)
        shown = f"n = {low:.0f}" if low == high else f"n = {low:.0f} to {high:.0f}"
        place = axes.transAxes
        axes.text(0.98, 0.98, shown, transform=place, ha="right", va="top", fontsize=8)
