"""AP50 against the number of virtual images, held out and on other domains."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from ptl_sweep.report.evidence import plural
from ptl_sweep.report.figures.drawing.series import Point, draw_series
from ptl_sweep.report.figures.drawing.style import (
    SOFT,
    LineStyle,
    dodge,
    finish,
    from_zero,
    grid_of_panels,
    line_style,
    with_bounds,
)
from ptl_sweep.study.questions.dose import DosePlace, DoseResponse
from ptl_sweep.study.statistics import mean_interval


def dose_figure(responses: Mapping[DosePlace, DoseResponse]) -> Figure:
    """A column per number of real images: other domains above, held-out pictures below.

    All places of one data set. A grey line stands at the fewest virtual images that are enough.
    """
    counts = sorted({place.real_count for place in responses})
    names = sorted({place.synthetic for place in responses})
    titles = [plural(count, "real image") for count in counts]
    figure, panels = grid_of_panels(titles, 2, 1.75)
    panels[0][0].set_ylabel("AP50 [%]\nother domains")
    panels[1][0].set_ylabel("AP50 [%]\nheld out")
    widest = max(max(response.totals) for response in responses.values())
    for place, response in responses.items():
        shift = dodge(names.index(place.synthetic), len(names), 0.02 * widest)
        style = line_style(place.synthetic, names)
        upper, lower = (line[counts.index(place.real_count)] for line in panels)
        _draw(upper, place, response, response.foreign, style, shift)
        _draw(lower, place, response, response.held_out, style, shift)
    for line in panels:
        from_zero(line[0])
    finish(figure, panels, "virtual images")
    return figure


def _draw(
    axes: Axes,
    place: DosePlace,
    response: DoseResponse,
    values: Float[ndarray, "t s"],
    style: LineStyle,
    shift: float,
) -> None:
    """Means with intervals, `shift` beside the numbers: bars of two places are told apart."""
    points = []
    for total, row in zip(response.totals, values, strict=True):
        mean = mean_interval(np.asarray(row))
        bounds = (100 * mean.mean, 100 * mean.low, 100 * mean.high)
        tip = f"{place.synthetic}, {total} virtual images: {with_bounds(mean)}"
        points.append(Point(total + shift, *bounds, tip))
    draw_series(axes, points, style, place.synthetic)
    axes.axvline(response.totals[response.enough], color=SOFT, linewidth=0.8, zorder=0)
