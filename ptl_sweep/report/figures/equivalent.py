"""How many real images synthetic ones are worth (docs/method.md, section 4)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ptl_sweep.report.figures.saving import mark
from ptl_sweep.report.figures.style import (
    INK,
    POINT_SIZE,
    SOFT,
    LineStyle,
    axes_of,
    count_axis,
    dodge,
    finish,
    grid_of_panels,
    line_style,
    shown_target,
)
from ptl_sweep.study.groups import number, text
from ptl_sweep.vocabulary import ALL_TARGETS, Row

EDGE = 1.95  # the vertical axis reaches from smallest / EDGE to largest x EDGE
ARROW = 1.4  # equivalents outside the counts are arrows at smallest / ARROW and largest x ARROW


class Scale(NamedTuple):
    """Real counts of the sweep; equivalents beyond them are known to be beyond, no more."""

    smallest: float
    largest: float

    def place(self, value: float) -> float:
        """Where a number of real images is drawn; 0 (below) and inf (above) just outside."""
        return float(np.clip(value, self.smallest / ARROW, self.largest * ARROW))

    def shown(self, value: float) -> str:
        """`34`, `> 200` or `< 20`."""
        if value > self.largest:
            return f"> {self.largest:.0f}"
        return f"< {self.smallest:.0f}" if value < self.smallest else f"{value:.0f}"


def equivalent_rows(summary: Sequence[Row], dataset: str) -> list[Row]:
    """Rows of the summary that hold a real-image equivalent, infinite ones included."""
    return [
        row
        for row in summary
        if row["dataset"] == dataset
        and row["metric"] == "AP50"
        and row["real_count"] is not None
        and not np.isnan(number(row, "real_equivalent"))
    ]


def equivalent_figure(summary: Sequence[Row], dataset: str) -> Figure:
    """Real-image equivalent against real images, a panel per target and one over all of them."""
    rows = equivalent_rows(summary, dataset)
    axis = axes_of(row for row in summary if row["dataset"] == dataset)
    found = {text(row, "target") for row in rows}
    targets = [name for name in (*axis.targets, ALL_TARGETS) if name in found]
    scale = Scale(min(axis.real_counts), max(axis.real_counts))
    figure, (panels,) = grid_of_panels([shown_target(name) for name in targets], 1, 2.2)
    for axes, target in zip(panels, targets, strict=True):
        _frame(axes, scale, axis.real_counts)
        for index, synthetic in enumerate(axis.others):
            own = [row for row in rows if (row["target"], row["synthetic"]) == (target, synthetic)]
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
    above, below = f"> {scale.largest:.0f}", f"< {scale.smallest:.0f}"
    look: LineStyle = {"transform": across, "fontsize": 8, "color": INK}
    axes.text(0.03, scale.largest * 1.08, above, va="bottom", ha="left", **look)
    axes.text(0.97, scale.smallest / 1.08, below, va="top", ha="right", **look)


def _draw(axes: Axes, rows: Sequence[Row], shift: float, style: LineStyle, scale: Scale) -> None:
    """Points with bars; an arrow for what lies outside the counts."""
    rows = sorted(rows, key=lambda row: number(row, "real_count"))
    if not rows:
        return
    series = text(rows[0], "synthetic")
    x = [shift * number(row, "real_count") for row in rows]
    values = [number(row, "real_equivalent") for row in rows]
    inside = [np.nan if _outside(value, scale) else value for value in values]
    (joint,) = axes.plot(x, inside, color=style["color"], linestyle=style["linestyle"])
    mark(joint, series=series)
    look = style | {"linestyle": "none"}
    places = [scale.place(value) for value in values]
    (line,) = axes.plot(x, places, label=series, **look, markersize=POINT_SIZE)
    mark(line, series=series, tip=[equivalent_tip(row, scale) for row in rows])
    for position, row, value in zip(x, rows, values, strict=True):
        bounds = [number(row, f"real_equivalent_{end}") for end in ("low", "high")]
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


def equivalent_tip(row: Row, scale: Scale) -> str:
    """`on, 20 real, karst: as good as 34 real [25, > 200], 1.7 times`."""
    value, low, high = (number(row, f"real_equivalent{end}") for end in ("", "_low", "_high"))
    place = shown_target(text(row, "target"))
    tip = f"{row['synthetic']}, {row['real_count']} real, {place}: as good as {scale.shown(value)}"
    tip += " real"
    if not np.isnan([low, high]).any():
        tip += f" [{scale.shown(low)}, {scale.shown(high)}]"
    ratio = number(row, "replacement_ratio")
    return f"{tip}, {ratio:.2g} times" if np.isfinite(ratio) and ratio > 0 else tip
