"""Published effect beside ours: direction and ratio, never absolute values."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ptl_sweep.report.figures.saving import mark
from ptl_sweep.report.figures.style import (
    INK,
    WIDTH,
    LineStyle,
    line_style,
)
from ptl_sweep.study.groups import number, text
from ptl_sweep.study.summary import find_summary
from ptl_sweep.vocabulary import OFF, Group, Row

METRICS = ("AP50", "AP")  # the first that both have


class Comparison(NamedTuple):
    """AP with synthetic images over AP without, theirs and ours; NaN: ours has no such cell."""

    paper: str
    target: str
    real_count: int
    synthetic: str
    metric: str
    published: float
    ours: float


def comparisons(published: Sequence[Row], summary: Sequence[Row], dataset: str) -> list[Comparison]:
    """Cells of both; the published last iteration, never the one chosen on test data ("best")."""
    rows = [row for row in published if row["dataset"] == dataset]
    found: dict[tuple[str, str, int, str], Comparison] = {}
    for row in sorted(rows, key=_iteration):
        if row["synthetic"] == OFF or np.isnan(_iteration(row)):
            continue
        for metric in METRICS:
            ratio = number(row, metric) / _baseline(rows, row, metric)
            group = Group(
                dataset, int(number(row, "real_count")), text(row, "synthetic"), text(row, "target")
            )
            ours = _our_ratio(summary, group, metric)
            if np.isfinite(ratio) and np.isfinite(ours) and ratio > 0 and ours > 0:
                key = (
                    text(row, "paper"),
                    group.target,
                    int(number(row, "real_count")),
                    group.synthetic,
                )
                found[key] = Comparison(*key, metric, ratio, ours)
                break
    return sorted(found.values(), key=lambda one: (one.target, one.real_count, one.paper))


def _iteration(row: Row) -> float:
    """NaN for `best`."""
    return number(row, "iteration")


def _baseline(rows: Sequence[Row], row: Row, metric: str) -> float:
    """Published value without synthetic images, of the same paper, table, target and count."""
    keys = ("paper", "table", "target", "real_count")
    wanted = [row[key] for key in keys]
    values = [
        number(other, metric)
        for other in rows
        if other["synthetic"] == OFF and [other[key] for key in keys] == wanted
    ]
    return values[0] if values and values[0] > 0 else np.nan


def _our_ratio(summary: Sequence[Row], group: Group, metric: str) -> float:
    with_it = find_summary(summary, metric, group) or {}
    without = find_summary(summary, metric, group._replace(synthetic=OFF)) or {}
    below = number(without, "mean")
    return number(with_it, "mean") / below if below > 0 else np.nan


def published_figure(found: Sequence[Comparison], synthetics: Sequence[str]) -> Figure:
    """Ratio on over off: theirs as an open diamond, ours in the style of its synthetic."""
    figure = Figure(figsize=(WIDTH, 1.1 + 0.34 * len(found)), layout="constrained")
    axes = figure.subplots()
    for index, one in enumerate(found):
        _draw(axes, index, one, synthetics)
    labels = [f"{one.target}, {one.real_count} real\n{one.paper}, {one.metric}" for one in found]
    axes.set_yticks(range(len(found)), labels)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xscale("log")
    _ratio_axis(axes, [value for one in found for value in (one.published, one.ours)])
    axes.set_xlabel("AP with synthetic images over AP without (log scale)")
    handles, names = axes.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    figure.legend(list(unique.values()), list(unique), loc="outside upper center", ncols=4)
    return figure


def _draw(axes: Axes, index: int, one: Comparison, synthetics: Sequence[str]) -> None:
    place = f"{one.target}, {one.real_count} real"
    theirs: LineStyle = {
        "marker": "D",
        "color": INK,
        "markerfacecolor": "white",
        "linestyle": "none",
    }
    (joint,) = axes.plot([one.published, one.ours], [index] * 2, color="#bbbbbb", linewidth=1)
    (point,) = axes.plot([one.published], [index], label="published", **theirs, markersize=6.5)
    mark(joint, series=one.synthetic)
    mark(point, tip=[f"{one.paper}, {place}: {one.metric} times {one.published:.2f}"])
    style = line_style(one.synthetic, synthetics) | {"linestyle": "none"}
    label = f"{one.synthetic}, ours"
    (point,) = axes.plot([one.ours], [index], label=label, **style, markersize=5)
    mark(point, series=one.synthetic, tip=[f"{label}, {place}: {one.metric} times {one.ours:.2f}"])


def _ratio_axis(axes: Axes, values: Sequence[float]) -> None:
    """One marked, plain numbers at the ticks."""
    axes.axvline(1, color=INK, linewidth=1)
    low, high = min([1.0, *values]) / 1.25, max([1.0, *values]) * 1.25
    axes.set_xlim(low, high)
    ticks = [t for t in (0.1, 0.2, 0.5, 0.8, 1, 1.25, 1.5, 2, 3, 5, 10, 20) if low <= t <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
