"""AP and AP_t2t against real images and PTL iterations, and the paired effect of synthetic."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ptl_sweep.report.evidence import UNKNOWN, Axis, axes_of, by_group
from ptl_sweep.report.figures.drawing.saving import mark
from ptl_sweep.report.figures.drawing.series import Point, draw_series
from ptl_sweep.report.figures.drawing.style import (
    INK,
    WIDTH,
    LineStyle,
    count_axis,
    dodge,
    finish,
    from_zero,
    grid_of_panels,
    line_style,
    shown_target,
    with_bounds,
)
from ptl_sweep.study.statistics import Interval, mean_interval
from ptl_sweep.vocabulary import ALL_TARGETS, OFF, ApT2t, Group


def effect_figure(summary: pl.DataFrame, dataset: str) -> Figure:
    """Paired change of AP50 by synthetic, per real count and target, and over the targets."""
    axis = axes_of(summary)
    effects = {group: one.effect for group, one in by_group(summary, "AP50").items()}
    lines = [
        (count, target) for count in axis.real_counts for target in [*axis.targets, ALL_TARGETS]
    ]
    height = 1.0 + len(lines) * (0.1 + 0.09 * len(axis.others))
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    for offset, synthetic in enumerate(axis.others):
        style = line_style(synthetic, axis.synthetics) | {"linestyle": "none"}
        for index, (count, target) in enumerate(lines):
            group = Group(dataset, count, synthetic, target)
            position = index + dodge(offset, len(axis.others), 0.6)
            _draw_effect(axes, effects.get(group, UNKNOWN), position, style, group)
        axes.plot([], [], label=f"{synthetic} - {OFF}", **style)
    _effect_axis(axes, lines)
    figure.legend(loc="outside upper center", ncols=min(4, len(axis.others)))
    return figure


def _draw_effect(
    axes: Axes, effect: Interval, position: float, style: LineStyle, group: Group
) -> None:
    """A point, with its interval where there is one; larger over the targets."""
    if not np.isfinite(effect.mean):
        return
    bold = group.target == ALL_TARGETS
    if effect.known:
        bounds = [100 * effect.low, 100 * effect.high]
        width = 2.4 if bold else 1.3
        (bar,) = axes.plot(bounds, [position] * 2, color=style["color"], linewidth=width)
        mark(bar, series=group.synthetic)
    (point,) = axes.plot([100 * effect.mean], [position], **style, markersize=7 if bold else 4.5)
    place = "mean over targets" if bold else group.target
    shown = with_bounds(effect, " points", "+")
    tip = f"{group.synthetic} - {OFF}, {group.real_count} real, {place}: {shown}"
    mark(point, series=group.synthetic, tip=[tip])


def _effect_axis(axes: Axes, lines: Sequence[tuple[int, str]]) -> None:
    """A line of text per group, a rule between real counts, zero marked."""
    labels = [
        f"{'mean over targets' if target == ALL_TARGETS else target}, {count} real"
        for count, target in lines
    ]
    axes.set_yticks(range(len(lines)), labels)
    for tick, (_, target) in zip(axes.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("bold" if target == ALL_TARGETS else "normal")
    for index, (_, target) in enumerate(lines[:-1]):
        if target == ALL_TARGETS:
            axes.axhline(index + 0.5, color="#bbbbbb", linewidth=0.8)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.axvline(0, color=INK, linewidth=1)
    axes.set_xlabel("change of AP50 [points]; bar: 95 % interval over seeds")


def count_figure(summary: pl.DataFrame, dataset: str, metrics: dict[str, str]) -> Figure:
    """Metrics (rows of panels) against real images: their mean, then a column per target."""
    axis = axes_of(summary)
    targets = [ALL_TARGETS, *axis.targets] if len(axis.targets) > 1 else axis.targets
    figure, panels = grid_of_panels([shown_target(name) for name in targets], len(metrics), 1.75)
    for line, (metric, label) in zip(panels, metrics.items(), strict=True):
        means = {group: one.mean for group, one in by_group(summary, metric).items()}
        line[0].set_ylabel(label)
        for axes, target in zip(line, targets, strict=True):
            for synthetic in axis.synthetics:
                points = _count_points(means, axis, Group(dataset, None, synthetic, target))
                draw_series(axes, points, line_style(synthetic, axis.synthetics), synthetic)
        from_zero(line[0])
    count_axis(panels[0][0], axis.real_counts)
    finish(figure, panels, "real training images (log scale)")
    return figure


def _count_points(means: Mapping[Group, Interval], axis: Axis, every: Group) -> list[Point]:
    """Means over seeds of one series, in percent; the series stand a little beside each other."""
    offset = dodge(axis.synthetics.index(every.synthetic), len(axis.synthetics), 0.12)
    points = []
    for count in axis.real_counts:
        mean = means.get(every._replace(real_count=count), UNKNOWN)
        tip = f"{every.synthetic}, {count} real, {shown_target(every.target)}: {with_bounds(mean)}"
        points.append(_percent(count * float(np.exp(offset)), mean, tip))
    return points


def _percent(x: float, mean: Interval, tip: str) -> Point:
    return Point(x, 100 * mean.mean, 100 * mean.low, 100 * mean.high, tip)


def ap_t2t_metrics(score_thresholds: Sequence[float]) -> dict[str, str]:
    """AP_t2t columns of a sweep and what their axis says."""
    return {ApT2t(score).name: f"AP_t2t [%]\nscore ≥ {score:g}" for score in score_thresholds}


def iteration_figure(rows: pl.DataFrame) -> Figure:
    """AP50 against PTL iteration (0: off), a row of panels per real count, a column per target."""
    axis = axes_of(rows)
    figure, panels = grid_of_panels(axis.targets, len(axis.real_counts), 1.45)
    for line, count in zip(panels, axis.real_counts, strict=True):
        line[0].set_ylabel(f"{count} real\nAP50 [%]")
        for axes, target in zip(line, axis.targets, strict=True):
            own = rows.filter(real_count=count, target=target)
            for synthetic in axis.others:
                points = _iteration_points(own, synthetic, f"{count} real, {target}")
                draw_series(axes, points, line_style(synthetic, axis.synthetics), synthetic)
        from_zero(line[0])
    panels[0][0].xaxis.set_major_locator(MaxNLocator(integer=True))
    finish(figure, panels, "PTL iteration (0: real images only)")
    return figure


def _iteration_points(rows: pl.DataFrame, synthetic: str, place: str) -> list[Point]:
    """Mean over seeds per iteration; the detector of `off` is iteration 0 of every method."""
    is_first = (pl.col("synthetic") == OFF) & (pl.col("iteration") == 0)
    own = rows.filter(
        is_first | (pl.col("synthetic") == synthetic), pl.col("iteration").is_not_null()
    )
    cells = own.sort(~is_first, maintain_order=True).unique(
        ["iteration", "seed"], keep="last", maintain_order=True
    )
    points = []
    for iteration, values in cells.group_by("iteration").agg("AP50").sort("iteration").iter_rows():
        mean = mean_interval(np.array(values, np.float64))
        tip = f"{synthetic}, iteration {iteration}, {place}: {with_bounds(mean)}"
        points.append(_percent(float(iteration), mean, tip))
    return points
