"""Does the train2test distance predict AP? One point per cell."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptl_sweep.report.figures.saving import mark
from ptl_sweep.report.figures.style import (
    INK,
    WIDTH,
    Axis,
    LineStyle,
    axes_of,
    from_zero,
    line_style,
    wrapped,
)
from ptl_sweep.study.groups import number, text
from ptl_sweep.vocabulary import OFF, Distance, Row

PREDICTOR = Distance("tp", "mean")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")  # of targets
FILLS = ("full", "left", "bottom", "right", "top")  # of values of synthetic beside off
SIZES = (3.0, 8.0)  # points, of the smallest and the largest real count


def predicting_variant(rows: Sequence[Row]) -> str:
    """equal_n where it exists, else shrunk; empty where no cell has both a distance and AP50."""
    for variant in ("equal_n", "shrunk"):
        if any(np.isfinite(_value(row, variant) + number(row, "AP50")) for row in rows):
            return variant
    return ""


def _value(row: Row, variant: str) -> float:
    return number(row, PREDICTOR._replace(variant=variant).name)


def prediction_figure(rows: Sequence[Row], variant: str, correlations: str) -> Figure:
    """AP50 against the mean distance of true positives.

    The marker is the target, colour and fill are the synthetic images, the size is the real count;
    `correlations` is what `correlation_sentence` says.
    """
    axis = axes_of(rows)
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    axes = figure.subplots()
    for target in axis.targets:
        for synthetic in axis.synthetics:
            for count in axis.real_counts:
                wanted = (target, synthetic, count)
                own = [r for r in rows if (r["target"], r["synthetic"], r["real_count"]) == wanted]
                _draw_cells(axes, own, variant, axis)
    axes.set_xlabel(f"train2test distance, squared, {variant}: mean of true positives")
    axes.set_ylabel("AP50 [%]")
    axes.margins(x=0.04)
    from_zero(axes)
    if correlations:
        axes.set_title(textwrap.fill(f"Spearman's rho: {correlations}", 85), loc="left")
    _legends(figure, axes, axis)
    return figure


def _draw_cells(axes: Axes, rows: Sequence[Row], variant: str, axis: Axis) -> None:
    """Cells that differ in the seed only."""
    drawn = [row for row in rows if np.isfinite(_value(row, variant) + number(row, "AP50"))]
    if not drawn:
        return
    target, synthetic, count = (rows[0][key] for key in ("target", "synthetic", "real_count"))
    x = [_value(row, variant) for row in drawn]
    y = [100 * number(row, "AP50") for row in drawn]
    look = _look(str(synthetic), axis) | {"marker": _marker(str(target), axis)}
    size = _size(number(rows[0], "real_count"), axis)
    (dots,) = axes.plot(x, y, **look, markersize=size)
    tips = [
        f"{synthetic}, {count} real, {target}, seed {row['seed']}: AP50 {high:.1f} %, "
        f"distance {across:.3g}"
        for row, across, high in zip(drawn, x, y, strict=True)
    ]
    mark(dots, series=str(synthetic), tip=tips)


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


def correlation_sentence(correlations: Sequence[Row], dataset: str, variant: str) -> str:
    """`pooled -0.83 [-0.94, -0.70]; within real_count ...`: Spearman's rho of what is drawn."""
    wanted = (dataset, PREDICTOR.predictor, variant, "AP50")
    parts = []
    for row in correlations:
        own = tuple(text(row, key) for key in ("dataset", "predictor", "variant", "metric"))
        rho, low, high = (number(row, key) for key in ("rho", "low", "high"))
        if own == wanted and np.isfinite(rho):
            bounds = f" [{low:+.2f}, {high:+.2f}]" if np.isfinite(low + high) else ""
            parts.append(f"{row['scope']} {rho:+.2f}{bounds}")
    return "; ".join(parts)
