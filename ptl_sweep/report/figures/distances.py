"""Where true and false positives lie: train2test distances off and on."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from ptl_sweep.distance.train2test import DistanceHistogram
from ptl_sweep.report.evidence import axes_of
from ptl_sweep.report.figures.drawing.saving import mark
from ptl_sweep.report.figures.drawing.style import (
    INK,
    LineStyle,
    finish,
    grid_of_panels,
    line_style,
    log_axis,
)
from ptl_sweep.vocabulary import Group

BINS_PER_STEP = 2  # histogram bins that are drawn as one


class CellHistogram(NamedTuple):
    """Shrunk distances of one cell; cells of several seeds are drawn as one."""

    group: Group
    histogram: DistanceHistogram


def distance_figure(histograms: Sequence[CellHistogram], synthetics: Sequence[str]) -> Figure:
    """Distances of true (up) and false (down) positives: score bands by targets."""
    axis = axes_of(pl.DataFrame([one.group for one in histograms]))
    edges, bands = histograms[0].histogram.edges, histograms[0].histogram.score_bands
    figure, panels = grid_of_panels(axis.targets, len(bands), 1.6)
    for column, target in enumerate(axis.targets):
        for synthetic in axis.synthetics:
            style = line_style(synthetic, synthetics)
            for index, counts in enumerate(_total(histograms, target, synthetic)):
                _draw_distances(panels[index][column], edges, counts, style, synthetic)
    for line, (low, high) in zip(panels, bands, strict=True):
        line[0].set_ylabel(f"score {low:g} to {high:g}\nshare per decade")
        line[0].yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        _halves(line)
    everything = np.sum([one.histogram.counts for one in histograms], axis=0)
    _distance_axis(panels[0][0], edges, everything)
    finish(figure, panels, "train2test distance, squared, shrunk covariance (log scale)")
    return figure


def _total(
    histograms: Iterable[CellHistogram], target: str, synthetic: str
) -> list[Int[ndarray, "2 b"]]:
    """Counts over the seeds, per score band; empty without a cell."""
    wanted = (target, synthetic)
    parts = [
        one.histogram.counts
        for one in histograms
        if (one.group.target, one.group.synthetic) == wanted
    ]
    return list(np.sum(parts, axis=0)) if parts else []


def _draw_distances(
    axes: Axes,
    edges: Float[ndarray, " e"],
    counts: Int[ndarray, "2 b"],
    style: LineStyle,
    label: str,
) -> None:
    """True positives upwards, false positives downwards; area 1 over the log of the distance."""
    coarse = edges[::BINS_PER_STEP]
    line = {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.4}
    for kind, sign, row in zip(("true", "false"), (1, -1), counts, strict=True):
        num = int(row.sum())
        if not num:
            continue
        share = row.reshape(-1, BINS_PER_STEP).sum(axis=1) / num
        density = sign * share / np.diff(np.log10(coarse))
        filled = np.flatnonzero(density)
        first, last = filled[0], filled[-1] + 1
        steps = axes.stairs(density[first:last], coarse[first : last + 1], label=label, **line)
        median = edges[np.searchsorted(np.cumsum(row), num / 2)]
        tip = f"{label}: {num} {kind} positives, median distance about {median:.3g}"
        mark(steps, series=label, tip=tip)


def _halves(line: Sequence[Axes]) -> None:
    """Zero marked, room above and below for the words that name the halves."""
    low, high = line[0].get_ylim()
    reach = 1.3 * max(-low, high)
    line[0].set_ylim(-reach, reach)
    for axes in line:
        axes.axhline(0, color=INK, linewidth=0.8)
    for words, height, anchor in (("true positives", 0.98, "top"), ("false", 0.02, "bottom")):
        place = line[0].transAxes
        line[0].text(0.02, height, words, transform=place, va=anchor, fontsize=8, color=INK)


def _distance_axis(axes: Axes, edges: Float[ndarray, " e"], counts: Int[ndarray, "s 2 b"]) -> None:
    """Logarithmic, cut to the bins that hold something."""
    filled = np.flatnonzero(counts.sum(axis=(0, 1)))
    log_axis(axes, float(edges[filled[0]]) / 1.5, float(edges[filled[-1] + 1]) * 1.5)
