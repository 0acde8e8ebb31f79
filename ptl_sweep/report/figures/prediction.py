"""Does the train2test distance predict AP? One point per cell."""

import itertools
import textwrap

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptl_sweep.report.evidence import Axis, axes_of, bounded_text, read_correlations
from ptl_sweep.report.figures.drawing.saving import mark
from ptl_sweep.report.figures.drawing.style import (
    INK,
    WIDTH,
    LineStyle,
    from_zero,
    line_style,
    wrapped,
)
from ptl_sweep.vocabulary import OFF, Distance

PREDICTOR = Distance("tp", "mean")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")  # of targets
FILLS = ("full", "left", "bottom", "right", "top")  # of values of synthetic beside off
SIZES = (3.0, 8.0)  # points, of the smallest and the largest real count


def predicting_variant(rows: pl.DataFrame) -> str:
    """equal_n where it exists, else shrunk; empty where no cell has both a distance and AP50."""
    variants = ("equal_n", "shrunk")
    return next((name for name in variants if not _drawn(rows, name).is_empty()), "")


def _drawn(rows: pl.DataFrame, variant: str) -> pl.DataFrame:
    """Cells with both a `distance` and AP50."""
    known = rows.with_columns(distance=pl.col(PREDICTOR._replace(variant=variant).name))
    return known.filter(pl.col("distance").is_finite(), pl.col("AP50").is_finite())


def prediction_figure(rows: pl.DataFrame, variant: str, correlations: str) -> Figure:
    """AP50 against the mean distance of true positives.

    The marker is the target, colour and fill are the synthetic images, the size is the real count;
    `correlations` is what `correlation_sentence` says.
    """
    axis = axes_of(rows)
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    groups = _drawn(rows, variant).partition_by("target", "synthetic", "real_count", as_dict=True)
    for key in itertools.product(axis.targets, axis.synthetics, axis.real_counts):
        if key in groups:
            _draw_cells(axes, groups[key], key, axis)
    axes.set_xlabel(f"train2test distance, squared, {variant}: mean of true positives")
    axes.set_ylabel("AP50 [%]")
    axes.margins(x=0.04)
    from_zero(axes)
    if correlations:
        axes.set_title(textwrap.fill(f"Spearman's rho: {correlations}", 85), loc="left")
    _legends(figure, axes, axis)
    return figure


def _draw_cells(axes: Axes, rows: pl.DataFrame, group: tuple[str, str, int], axis: Axis) -> None:
    """Cells that differ in the seed only."""
    target, synthetic, count = group
    x, y = rows["distance"].to_numpy(), 100 * rows["AP50"].to_numpy()
    look = _look(synthetic, axis) | {"marker": _marker(target, axis)}
    (dots,) = axes.plot(x, y, **look, markersize=_size(count, axis))
    tips = [
        f"{synthetic}, {count} real, {target}, seed {seed}: AP50 {high:.1f} %, "
        f"distance {across:.3g}"
        for seed, across, high in zip(rows["seed"], x, y, strict=True)
    ]
    mark(dots, series=synthetic, tip=tips)


def _look(synthetic: str, axis: Axis) -> LineStyle:
    colour = line_style(synthetic, axis.synthetics)["color"]
    look: LineStyle = {"color": colour, "linestyle": "none", "markeredgewidth": 0.9}
    if synthetic == OFF:
        return look | {"markerfacecolor": "none"}
    fill = FILLS[axis.others.index(synthetic) % len(FILLS)]
    return look | {"fillstyle": fill, "markerfacecoloralt": "white"}


def _marker(target: str, axis: Axis) -> str:
    return MARKERS[axis.targets.index(target) % len(MARKERS)]


def _size(count: float, axis: Axis) -> float:
    """Rises with the logarithm of the real count."""
    low, high = np.log(axis.real_counts[0]), np.log(axis.real_counts[-1])
    share = (np.log(count) - low) / (high - low) if high > low else 0.5
    return float(SIZES[0] + share * (SIZES[1] - SIZES[0]))


def _legends(figure: Figure, axes: Axes, axis: Axis) -> None:
    """Three keys at the right: target, synthetic, real count."""
    plain: LineStyle = {"color": INK, "linestyle": "none", "markerfacecolor": "none"}
    keys: list[tuple[str, LineStyle]] = [
        (wrapped(name, 20), plain | {"marker": _marker(name, axis), "markersize": 6})
        for name in axis.targets
    ]
    keys += [
        (name, _look(name, axis) | {"marker": "o", "markersize": 6}) for name in axis.synthetics
    ]
    keys += [
        (f"{count} real", plain | {"marker": "o", "markersize": _size(count, axis)})
        for count in axis.real_counts
    ]
    handles = [axes.plot([], [], label=label, **look)[0] for label, look in keys]
    figure.legend(handles=handles, loc="outside right upper")


def correlation_sentence(correlations: pl.DataFrame, variant: str) -> str:
    """`pooled -0.83 [-0.94, -0.70]; within real_count ...`: Spearman's rho of what is drawn."""
    distance = PREDICTOR._replace(variant=variant)
    return "; ".join(
        f"{row.scope} {bounded_text(row.rho, '+.2f')}"
        for row in read_correlations(correlations, distance)
    )
