"""Figures of the report, SVG and PNG: one style, colour-blind safe, readable in grey.

`off` is dark grey, dashed, hollow; other values of `synthetic` differ in colour, marker and line.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import matplotlib as mpl
import numpy as np
from jaxtyping import Float, Int
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator
from numpy import ndarray

from ptl_sweep.analysis.statistics import Interval, mean_interval
from ptl_sweep.analysis.tables import (
    ALL_TARGETS,
    OFF,
    Group,
    Row,
    ap_t2t_labels,
    effect_of,
    find_summary,
    mean_of,
    number,
    text,
)
from ptl_sweep.analysis.train2test import DistanceHistogram

STYLE: Any = {
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "svg.hashsalt": "ptl-sweep",  # ids of the SVG are then the same in every run
    "svg.fonttype": "none",
    "savefig.dpi": 150,
}
LineStyle: TypeAlias = dict[str, Any]
OFF_STYLE: LineStyle = {
    "color": "#444444", "marker": "o", "linestyle": "--", "markerfacecolor": "white"
}  # fmt: skip
OTHER_STYLES: tuple[LineStyle, ...] = (  # colours of Okabe and Ito (2008)
    {"color": "#0072B2", "marker": "o", "linestyle": "-"},
    {"color": "#D55E00", "marker": "s", "linestyle": "-."},
    {"color": "#009E73", "marker": "^", "linestyle": ":"},
    {"color": "#CC79A7", "marker": "D", "linestyle": (0, (6, 2))},
    {"color": "#56B4E9", "marker": "v", "linestyle": (0, (1, 1))},
)
PANEL_WIDTH, PANEL_HEIGHT = 2.8, 2.0  # inches
BINS_PER_STEP = 2  # histogram bins that are drawn as one

Panels: TypeAlias = list[list[Axes]]
Point: TypeAlias = tuple[float, Interval]


class CellHistogram(NamedTuple):
    """Shrunk distances of one cell; cells of several seeds are drawn as one."""

    group: Group
    histogram: DistanceHistogram


class FigureFile(NamedTuple):
    """A figure on disk: `svg`, and beside it the same as .png."""

    title: str
    svg: Path


class Axis(NamedTuple):
    """Values of the axes of one data set's sweep, in the order of display."""

    real_counts: list[int]
    synthetics: list[str]  # off first
    targets: list[str]


def axes_of(rows: Iterable[Row]) -> Axis:
    """Values in the rows; failed and missing cells included, averages left out."""
    own = [row for row in rows if row["target"] != ALL_TARGETS]
    synthetics = sorted(
        {text(row, "synthetic") for row in own}, key=lambda name: (name != OFF, name)
    )
    return Axis(
        sorted({int(number(row, "real_count")) for row in own}),
        synthetics,
        sorted({text(row, "target") for row in own}),
    )


def save_figure(folder: Path, name: str, draw: Callable[[], Figure]) -> Path:
    """Draw in the report's style; write `name`.svg and .png. Equal input gives an equal SVG."""
    folder.mkdir(parents=True, exist_ok=True)
    svg = folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.svg"
    with mpl.rc_context(STYLE):
        figure = draw()
        figure.savefig(svg, metadata={"Date": None})
        figure.savefig(svg.with_suffix(".png"), metadata={"Software": None})
    return svg


def line_style(synthetic: str, synthetics: Sequence[str]) -> LineStyle:
    """Colour, marker and line of one value of `synthetic`."""
    if synthetic == OFF:
        return dict(OFF_STYLE)
    others = [name for name in synthetics if name != OFF]
    return dict(OTHER_STYLES[others.index(synthetic) % len(OTHER_STYLES)])


def effect_figure(summary: Sequence[Row], dataset: str) -> Figure:
    """Paired change of AP50 by synthetic, per real count and target, and over the targets."""
    axis = axes_of(summary)
    others = [name for name in axis.synthetics if name != OFF]
    lines = [
        (count, target) for count in axis.real_counts for target in [*axis.targets, ALL_TARGETS]
    ]
    figure = Figure(figsize=(7.6, 1.0 + 0.24 * len(lines) * len(others)))
    axes = figure.subplots()
    for offset, synthetic in enumerate(others):
        style = line_style(synthetic, axis.synthetics) | {"linestyle": "none"}
        for index, (count, target) in enumerate(lines):
            row = find_summary(summary, "AP50", Group(dataset, count, synthetic, target))
            position = index + 0.6 * ((offset + 0.5) / len(others) - 0.5)
            _draw_effect(axes, effect_of(row or {}), position, style, bold=target == ALL_TARGETS)
        axes.plot([], [], label=f"{synthetic} - {OFF}", **style)
    labels = [
        f"{'mean over targets' if target == ALL_TARGETS else target}, {count} real"
        for count, target in lines
    ]
    axes.set_yticks(range(len(lines)), labels)
    for tick, (_, target) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("bold" if target == ALL_TARGETS else "normal")
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.axvline(0, color="#222222", linewidth=1)
    axes.set_xlabel("change of AP50 [points]; bar: 95 % interval over seeds")
    figure.legend(loc="outside upper center", ncols=len(others))
    return figure


def _draw_effect(
    axes: Axes, effect: Interval, position: float, style: LineStyle, *, bold: bool
) -> None:
    """A point, with its interval where there is one."""
    if effect.known:
        bounds = [100 * effect.low, 100 * effect.high]
        axes.plot(bounds, [position] * 2, color=style["color"], linewidth=2.6 if bold else 1.4)
    axes.plot([100 * effect.mean], [position], **style, markersize=8 if bold else 5)


def count_figure(summary: Sequence[Row], dataset: str, metrics: dict[str, str]) -> Figure:
    """Metrics (rows of panels) against real images, a column per target."""
    axis = axes_of(summary)
    figure, panels = _panels(len(metrics), axis.targets)
    for line, (metric, label) in zip(panels, metrics.items(), strict=True):
        line[0].set_ylabel(label)
        for axes, target in zip(line, axis.targets, strict=True):
            for index, synthetic in enumerate(axis.synthetics):
                dodge = 1.03 ** (index - (len(axis.synthetics) - 1) / 2)
                found = [
                    (count, find_summary(summary, metric, Group(dataset, count, synthetic, target)))
                    for count in axis.real_counts
                ]
                points = [(count * dodge, mean_of(row)) for count, row in found if row]
                _draw_series(axes, points, line_style(synthetic, axis.synthetics), synthetic)
    _count_axis(panels[0][0], axis.real_counts)
    figure.supxlabel("real training images (log scale)", fontsize=9)
    _finish(figure, panels)
    return figure


def ap_t2t_metrics(summary: Iterable[Row]) -> dict[str, str]:
    """AP_t2t columns of a sweep and what their axis says."""
    labels = ap_t2t_labels({text(row, "metric"): None} for row in summary)
    return {
        f"AP_t2t_{label}_shrunk": f"AP_t2t [%]\nscore ≥ {int(label) / 100:g}" for label in labels
    }


def iteration_figure(rows: Sequence[Row]) -> Figure:
    """AP50 against PTL iteration (0: off), a row of panels per real count, a column per target."""
    axis = axes_of(rows)
    figure, panels = _panels(len(axis.real_counts), axis.targets)
    for line, count in zip(panels, axis.real_counts, strict=True):
        line[0].set_ylabel(f"{count} real\nAP50 [%]")
        for axes, target in zip(line, axis.targets, strict=True):
            own = [r for r in rows if r["real_count"] == count and r["target"] == target]
            for synthetic in axis.synthetics:
                if synthetic != OFF:
                    points = _iteration_points(own, synthetic)
                    _draw_series(axes, points, line_style(synthetic, axis.synthetics), synthetic)
    panels[0][0].xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.supxlabel("PTL iteration (0: real images only)", fontsize=9)
    _finish(figure, panels)
    return figure


def _iteration_points(rows: Sequence[Row], synthetic: str) -> list[Point]:
    """Mean over seeds per iteration; the detector of `off` is iteration 0 of every method."""
    values: dict[int, dict[float, float]] = {}
    for row in sorted(rows, key=lambda row: row["synthetic"] != OFF):
        iteration = number(row, "iteration")
        belongs = row["synthetic"] == synthetic or (row["synthetic"] == OFF and iteration == 0)
        if belongs and np.isfinite(iteration):
            values.setdefault(int(iteration), {})[number(row, "seed")] = number(row, "AP50")
    return [(t, mean_interval(np.array(list(values[t].values())))) for t in sorted(values)]


def distance_figure(histograms: Sequence[CellHistogram]) -> Figure:
    """Distances of true and false positives: score bands (rows of panels) by targets."""
    axis = axes_of([one.group._asdict() for one in histograms])
    edges, bands = histograms[0].histogram.edges, histograms[0].histogram.score_bands
    figure, panels = _panels(len(bands), axis.targets)
    for line, (low, high) in zip(panels, bands, strict=True):
        line[0].set_ylabel(f"score {low:g} to {high:g}\nshare per decade")
    for column, target in enumerate(axis.targets):
        for synthetic in axis.synthetics:
            wanted = (target, synthetic)
            parts = [
                one.histogram.counts
                for one in histograms
                if (one.group.target, one.group.synthetic) == wanted
            ]
            for index, counts in enumerate(np.sum(parts, axis=0) if parts else []):
                colour = line_style(synthetic, axis.synthetics)["color"]
                _draw_distances(panels[index][column], edges, counts, colour, synthetic)
    _distance_axis(
        panels[0][0], edges, np.sum([one.histogram.counts for one in histograms], axis=0)
    )
    figure.supxlabel("train2test distance, squared, OAS shrinkage (log scale)", fontsize=9)
    _finish(figure, panels)
    return figure


def _draw_distances(
    axes: Axes, edges: Float[ndarray, " e"], counts: Int[ndarray, "2 b"], colour: str, label: str
) -> None:
    """True positives solid, false positives dotted; area 1 over the logarithm of the distance."""
    coarse = edges[::BINS_PER_STEP]
    for kind, style, width, row in zip("TF", ("-", ":"), (1.8, 1.2), counts, strict=True):
        share = row.reshape(-1, BINS_PER_STEP).sum(axis=1) / max(1, row.sum())
        density = share / np.diff(np.log10(coarse))
        name = f"{label}: {'true' if kind == 'T' else 'false'} positives"
        axes.stairs(density, coarse, color=colour, linestyle=style, linewidth=width, label=name)


def _distance_axis(axes: Axes, edges: Float[ndarray, " e"], counts: Int[ndarray, "s 2 b"]) -> None:
    """Logarithmic, cut to the bins that hold something."""
    filled = np.flatnonzero(counts.sum(axis=(0, 1)))
    axes.set_xscale("log")
    if len(filled):
        axes.set_xlim(edges[filled[0]] / 1.5, edges[filled[-1] + 1] * 1.5)


def _count_axis(axes: Axes, real_counts: Sequence[int]) -> None:
    """Logarithmic, with a tick at each real count and nowhere else."""
    axes.set_xscale("log")
    axes.set_xlim(min(real_counts) / 1.3, max(real_counts) * 1.3)
    axes.xaxis.set_major_locator(FixedLocator(list(real_counts)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:.0f}")


def _draw_series(axes: Axes, points: Sequence[Point], style: LineStyle, label: str) -> None:
    """Means joined by a line; bars where there is an interval."""
    x = np.array([position for position, _ in points])
    y = 100 * np.array([interval.mean for _, interval in points])
    half = 50 * np.array([interval.high - interval.low for _, interval in points])
    axes.plot(x, y, label=label, **style, markersize=4.5)
    known = np.isfinite(half)
    axes.errorbar(x[known], y[known], half[known], fmt="none", ecolor=style["color"], capsize=2)


def _panels(num_rows: int, targets: Sequence[str]) -> tuple[Figure, Panels]:
    """Panels with one x axis and a y axis per row, a title per column."""
    size = (PANEL_WIDTH * max(2, len(targets)), 0.9 + PANEL_HEIGHT * num_rows)
    figure = Figure(figsize=size)
    panels = figure.subplots(num_rows, len(targets), sharex=True, sharey="row", squeeze=False)
    for axes, target in zip(panels[0], targets, strict=True):
        axes.set_title(f"target {target}")
    return figure, [list(line) for line in panels]


def _finish(figure: Figure, panels: Panels) -> None:
    """Scales from zero, and one legend for all panels."""
    for line in panels:
        line[0].set_ylim(bottom=0)
    handles: dict[str, Artist] = {}
    for axes in (axes for line in panels for axes in line):
        found = axes.get_legend_handles_labels()
        handles |= dict(zip(found[1], found[0], strict=True))
    figure.legend(list(handles.values()), list(handles), loc="outside upper center", ncols=4)


def write_figures(
    folder: Path,
    summary: Sequence[Row],
    iteration_rows: Sequence[Row],
    histograms: Sequence[CellHistogram],
) -> dict[str, list[FigureFile]]:
    """Every figure that the numbers allow, into `folder`; keys: effect, ap, ap_t2t, distances and
    iterations, each with a figure per source data set (distances: and per real count).
    """
    figures: dict[str, list[FigureFile]] = {
        name: [] for name in ("effect", "ap", "ap_t2t", "distances", "iterations")
    }

    def add(kind: str, name: str, title: str, draw: Callable[[], Figure]) -> None:
        """Title doubles as the text for readers without the picture; numbers are in the tables."""
        svg = save_figure(folder, f"{kind}-{name}", draw)
        figures[kind].append(FigureFile(title, svg))

    measured = [row for row in summary if number(row, "num_seeds") > 0]
    for dataset in sorted({text(row, "dataset") for row in measured}):
        own = [row for row in summary if row["dataset"] == dataset]
        trained = f"trained on {dataset}"
        if set(axes_of(own).synthetics) - {OFF}:
            title = f"Change of AP50 by synthetic images, {trained}"
            add("effect", dataset, title, partial(effect_figure, own, dataset))
        metrics = {"AP50": "AP50 [%]", "AP": "AP [%]\nIoU .5:.95"}
        title = f"AP50 and AP against real images, {trained}"
        add("ap", dataset, title, partial(count_figure, own, dataset, metrics))
        title = f"AP_t2t (shrunk) by score threshold against real images, {trained}"
        add("ap_t2t", dataset, title, partial(count_figure, own, dataset, ap_t2t_metrics(own)))
        steps = [row for row in iteration_rows if row["dataset"] == dataset]
        if any(number(row, "iteration") > 0 for row in steps):
            title = f"AP50 against PTL iteration, {trained}"
            add("iterations", dataset, title, partial(iteration_figure, steps))
    for (dataset, count), cells in _by_training_set(histograms).items():
        title = f"Distances of true and false positives, trained on {count} images of {dataset}"
        add("distances", f"{dataset}-{count}", title, partial(distance_figure, cells))
    return figures


def _by_training_set(
    histograms: Iterable[CellHistogram],
) -> dict[tuple[str, int | None], list[CellHistogram]]:
    """Cells by (dataset, real count), rising; cells without any distance left out."""
    result: dict[tuple[str, int | None], list[CellHistogram]] = {}
    for one in sorted(histograms, key=lambda one: (one.group.dataset, one.group.real_count)):
        if one.histogram.counts.any():
            result.setdefault((one.group.dataset, one.group.real_count), []).append(one)
    return result
