"""One style for all figures, colour-blind safe, readable in grey, and the panels they share.

`off` is dark grey, dashed, hollow; other values of `synthetic` differ in colour, marker, line and
hatch. A figure is at most as wide as a printed page, so that its letters keep their size.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from ptl_sweep.report.evidence import bounded_text, plural
from ptl_sweep.study.statistics import Interval
from ptl_sweep.vocabulary import ALL_TARGETS, OFF

STYLE: Any = {
    "font.size": 9.0,
    "font.sans-serif": ["DejaVu Sans"],
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.fontsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "hatch.linewidth": 0.7,
    "svg.hashsalt": "ptl-sweep",  # ids of the SVG are then the same in every run
    "svg.fonttype": "none",
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
OFF_HATCH, OTHER_HATCHES = "", ("////", "\\\\\\\\", "xxxx", "----", "||||")  # of bars
INK, SOFT = "#222222", "#8a8a8a"
WIDTH = 7.4  # inches: A4 without its margins
LINE, TICK_WIDTH, GAP = 0.17, 0.48, 0.13  # inches: of text, of numbers beside an axis, of panels
POINT_SIZE = 4.5

Panels: TypeAlias = list[list[Axes]]


def line_style(synthetic: str, synthetics: Sequence[str]) -> LineStyle:
    """Colour, marker and line of one value of `synthetic`."""
    if synthetic == OFF:
        return dict(OFF_STYLE)
    others = [name for name in synthetics if name != OFF]
    return dict(OTHER_STYLES[others.index(synthetic) % len(OTHER_STYLES)])


def bar_style(synthetic: str, synthetics: Sequence[str]) -> LineStyle:
    """Face, edge and hatch of the bars of one value of `synthetic`."""
    colour = line_style(synthetic, synthetics)["color"]
    if synthetic == OFF:
        return {"facecolor": "white", "edgecolor": colour, "hatch": OFF_HATCH, "linestyle": "--"}
    others = [name for name in synthetics if name != OFF]
    hatch = OTHER_HATCHES[others.index(synthetic) % len(OTHER_HATCHES)]
    pale = tuple(1 - 0.3 * (1 - part) for part in to_rgb(colour))  # an SVG hatch needs it opaque
    return {"facecolor": pale, "edgecolor": colour, "hatch": hatch}


def dodge(index: int, num: int, width: float) -> float:
    """Offset of series `index` of `num` that share a position, `width` in all."""
    return width * ((index + 0.5) / num - 0.5)


def wrapped(name: str, width: int) -> str:
    """The name in lines of about `width` letters, broken after `-`, `_` and spaces."""
    lines = [""]
    for part in re.findall(r"[^-_ ]*[-_ ]?", name):
        if part and lines[-1] and len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def shown_target(target: str) -> str:
    """The name of a target in titles."""
    return "mean over targets" if target == ALL_TARGETS else target


def with_bounds(interval: Interval, unit: str = " %", sign: str = "") -> str:
    """`26.7 % [22.1, 31.3], 3 seeds`, in hundredths: the hover text of a mean over seeds."""
    shown = bounded_text(interval.bounded, f"{sign}.1f", unit=unit, scale=100)
    return f"{shown}, {plural(interval.num, 'seed')}"


def grid_of_panels(
    titles: Sequence[str], num_rows: int, height: float, *, same_y: Literal["row", "all"] = "row"
) -> tuple[Figure, Panels]:
    """Panels with one x axis and a y axis per row; a title per column; `height` inches a row.

    `finish` gives them their places.
    """
    titles = [wrapped(title, max(8, round(72 / len(titles)))) for title in titles]
    width = WIDTH if len(titles) > 1 else 0.65 * WIDTH
    figure = Figure(figsize=(width, height * num_rows))
    panels = figure.subplots(num_rows, len(titles), sharex=True, sharey=same_y, squeeze=False)
    for axes, title in zip(panels[0], titles, strict=True):
        axes.set_title(title, pad=4)
    return figure, [list(line) for line in panels]


def finish(figure: Figure, panels: Panels, x_label: str, num_tick_lines: int = 1) -> None:
    """A legend above all panels, one label below; margins in inches, much quicker than a solver."""
    top = 0.1 + LINE * _legend(figure, panels)
    top += LINE * (1 + max(axes.get_title().count("\n") for axes in panels[0]))
    bottom = 0.17 + LINE * (num_tick_lines + 1 + x_label.count("\n"))
    num_label_lines = 1 + max(line[0].get_ylabel().count("\n") for line in panels)
    left, right = 0.08 + TICK_WIDTH + LINE * num_label_lines, 0.12
    width, inner = figure.get_figwidth(), figure.get_figheight()
    height = inner + top + bottom
    figure.set_figheight(height)
    num_rows, num_columns = len(panels), len(panels[0])
    panel_width = (width - left - right - GAP * (num_columns - 1)) / num_columns
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        top=1 - top / height,
        bottom=bottom / height,
        wspace=GAP / panel_width,
        hspace=GAP / (inner / num_rows - GAP),
    )
    for line in panels:
        line[0].yaxis.set_label_coords(-TICK_WIDTH / panel_width, 0.5)
    figure.text(0.5, 0.05 / height, x_label, ha="center", va="bottom", fontsize=9)


def _legend(figure: Figure, panels: Panels) -> int:
    """One entry per label of all panels; the number of lines it takes."""
    handles: dict[str, Artist] = {}
    for axes in (axes for line in panels for axes in line):
        found = axes.get_legend_handles_labels()
        handles = dict(zip(found[1], found[0], strict=True)) | handles
    if not handles:
        return 0
    letters = 15 * figure.get_figwidth()  # of a line
    most = max(1, int(letters // (7 + max(map(len, handles)))))
    num_lines = -(-len(handles) // most)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="upper center",
        bbox_to_anchor=(0.5, 1.0),
        borderaxespad=0.2,
        ncols=-(-len(handles) // num_lines),
    )
    return num_lines


def count_axis(axes: Axes, real_counts: Sequence[int]) -> None:
    """Logarithmic, with a tick at each real count and nowhere else."""
    axes.set_xscale("log")
    axes.set_xlim(min(real_counts) / 1.3, max(real_counts) * 1.3)
    axes.xaxis.set_major_locator(FixedLocator(list(real_counts)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:.0f}")


def log_axis(axes: Axes, low: float, high: float) -> None:
    """Logarithmic x from low to high, with plain numbers at few ticks."""
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    steps = (1, 2, 5) if high / low < 40 else (1,)
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def from_zero(axes: Axes, room: float = 0.06) -> None:
    """Scale from zero, with `room` above the highest as a share of it."""
    axes.set_ylim(0, (1 + room) * axes.get_ylim()[1])
