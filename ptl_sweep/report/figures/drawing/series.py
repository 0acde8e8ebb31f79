"""Means with intervals along an axis: what most figures are made of."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes

from ptl_sweep.report.figures.drawing.saving import mark
from ptl_sweep.report.figures.drawing.style import POINT_SIZE, LineStyle


class Point(NamedTuple):
    """A marker, its bar and its hover text, in the unit of the axis; NaN: not drawn."""

    x: float
    y: float
    low: float
    high: float
    tip: str


def draw_series(axes: Axes, points: Sequence[Point], style: LineStyle, label: str) -> None:
    """Markers joined by a line, broken at NaN; bars where there are bounds."""
    drawn = [point for point in points if np.isfinite(point.y)]
    if not drawn:
        return
    x, y = [point.x for point in points], [point.y for point in points]
    (line,) = axes.plot(x, y, label=label, **style, markersize=POINT_SIZE)
    mark(line, series=label, tip=[point.tip for point in drawn])
    barred = [point for point in drawn if np.isfinite(point.low + point.high)]
    if barred:
        reach = [[p.y - p.low for p in barred], [p.high - p.y for p in barred]]
        centre = [p.x for p in barred], [p.y for p in barred]
        bars = axes.errorbar(*centre, reach, fmt="none", ecolor=style["color"], capsize=2)
        for artist in (*bars.lines[1], *bars.lines[2]):
            mark(artist, series=label)
