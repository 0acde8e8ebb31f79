"""How many real images synthetic ones are worth (docs/method.md, section 4)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ptl_sweep.report.evidence import GroupSummary, axes_of, by_group, count_text
from ptl_sweep.report.figures.drawing.saving import mark
from ptl_sweep.report.figures.drawing.style import (
    INK,
    POINT_SIZE,
    SOFT,
    LineStyle,
    count_axis,
    dodge,
    finish,
    grid_of_panels,
    line_style,
    shown_target,
)
from ptl_sweep.vocabulary import ALL_TARGETS

EDGE = 1.95  # the vertical axis reaches from smallest / EDGE to largest x EDGE
ARROW = 1.4  # equivalents outside the counts are arrows at smallest / ARROW and largest x ARROW


class Scale(NamedTuple):
    """Real counts of the sweep; equivalents beyond them are known to be beyond, no more."""

    smallest: int
    largest: int

    def place(self, value: float) -> float:
        """Where a number of real images is drawn; 0 (below) and inf (above) just outside."""
        return float(np.clip(value, self.smallest / ARROW, self.largest * ARROW))

    def shown(self, value: float) -> str:
        """`34`, `> 200` or `< 20`."""
        return count_text(value, (self.smallest, self.largest))


def equivalent_rows(summary: pl.DataFrame) -> list[GroupSummary]:
    """Rows of the summary that hold a real-image equivalent, infinite ones included."""
    rows = summary.filter(pl.col("real_count").is_not_null())
    return [one for one in by_group(rows, "AP50").values() if not np.isnan(one.worth.value)]


def equivalent_figure(summary: pl.DataFrame) -> Figure:
    """Real-image equivalent against real images, a panel per target and one over all of them."""
    rows = equivalent_rows(summary)
    axis = axes_of(summary)
    found = {one.group.target for one in rows}
    targets = [name for name in (*axis.targets, ALL_TARGETS) if name in found]
    scale = Scale(min(axis.real_counts), max(axis.real_counts))
    figure, (panels,) = grid_of_panels([shown_target(name) for name in targets], 1, 2.2)
    for axes, target in zip(panels, targets, strict=True):
        _frame(axes, scale, axis.real_counts)
        for index, synthetic in enumerate(axis.others):
            series = (synthetic, target)
            own = [row for row in rows if (row.group.synthetic, row.group.target) == series]
            shift = float(np.exp(dodge(index, len(axis.others), 0.22)))
            style = line_style(synthetic, axis.synthetics)
            _draw(axes, own, shift, style, scale)
    panels[0].set_ylabel("real images that give\nthe same AP50 alone")
    finish(figure, [panels], "real training images beside the synthetic ones (log scale)")
    return figure


def _frame(axes: Axes, scale: Scale, real_counts: Sequence[int]) -> None:
    """Log-log axes, the diagonal, and the range outside of which nothing is known."""
    count_axis(axes, real_counts)
    axes.set_yscale("log")
    axes.set_ylim(scale.smallest / EDGE, scale.largest * EDGE)
    axes.yaxis.set_major_locator(FixedLocator(list(real_counts)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter("{x:.0f}")
    both = [scale.smallest / EDGE, scale.largest * EDGE]
    axes.plot(both, both, color=SOFT, linewidth=1, label="synthetic adds nothing", zorder=1)
    for low, high in ((both[0], scale.smallest), (scale.largest, both[1])):
        axes.axhspan(low, high, color="#eeeeee", linewidth=0, zorder=0)
    across = axes.get_yaxis_transform()  # x: share of the panel, y: real images
    above, below = scale.shown(np.inf), scale.shown(0)
    look: LineStyle = {"transform": across, "fontsize": 8, "color": INK}
    axes.text(0.03, scale.largest * 1.08, above, va="bottom", ha="left", **look)
    axes.text(0.97, scale.smallest / 1.08, below, va="top", ha="right", **look)


def _draw(
    axes: Axes, rows: Sequence[GroupSummary], shift: float, style: LineStyle, scale: Scale
) -> None:
    """Points with bars; an arrow for what lies outside the counts."""
    rows = sorted(rows, key=lambda row: row.group.real_count or 0)
    if not rows:
        return
    series = rows[0].group.synthetic
    x = [shift * (row.group.real_count or 0) for row in rows]
    values = [row.worth.value for row in rows]
    inside = [np.nan if _outside(value, scale) else value for value in values]
    (joint,) = axes.plot(x, inside, color=style["color"], linestyle=style["linestyle"])
    mark(joint, series=series)
    look = style | {"linestyle": "none"}
    places = [scale.place(value) for value in values]
    (line,) = axes.plot(x, places, label=series, **look, markersize=POINT_SIZE)
    mark(line, series=series, tip=[equivalent_tip(row, scale) for row in rows])
    for position, row, value in zip(x, rows, values, strict=True):
        bounds = [row.worth.low, row.worth.high]
        if not np.isnan(bounds).any():
            ends = [scale.place(bound) for bound in bounds]
            (bar,) = axes.plot([position] * 2, ends, color=style["color"], linewidth=1.2)
            mark(bar, series=series)
        for outside in {bound for bound in (*bounds, value) if _outside(bound, scale)}:
            _arrow(axes, position, outside, style["color"], series, scale)


def _outside(value: float, scale: Scale) -> bool:
    return value < scale.smallest or value > scale.largest


def _arrow(axes: Axes, x: float, value: float, colour: str, series: str, scale: Scale) -> None:
    """A head that points out of the counts, where a bar or a point ends outside of them."""
    head = "^" if value > scale.largest else "v"
    outward = ARROW * 1.2 if head == "^" else 1 / (ARROW * 1.2)
    y = outward * (scale.largest if head == "^" else scale.smallest)
    (arrow,) = axes.plot([x], [y], color=colour, marker=head, markersize=4, linestyle="none")
    mark(arrow, series=series)


def equivalent_tip(row: GroupSummary, scale: Scale) -> str:
    """`on, 20 real, karst: as good as 34 real [25, > 200], 1.7 times`."""
    group, (value, low, high) = row.group, row.worth
    tip = f"{group.synthetic}, {group.real_count} real, {shown_target(group.target)}: "
    tip += f"as good as {scale.shown(value)} real"
    if not np.isnan([low, high]).any():
        tip += f" [{scale.shown(low)}, {scale.shown(high)}]"
    return f"{tip}, {row.ratio:.2g} times" if np.isfinite(row.ratio) and row.ratio > 0 else tip
