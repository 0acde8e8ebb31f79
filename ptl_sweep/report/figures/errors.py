"""Which errors there are, what they cost, and precision by rank."""

import itertools
from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptl_sweep.report.evidence import axes_of, plural
from ptl_sweep.report.figures.drawing.saving import mark
from ptl_sweep.report.figures.drawing.style import (
    bar_style,
    dodge,
    finish,
    grid_of_panels,
    line_style,
    with_bounds,
)
from ptl_sweep.study.statistics import Interval, mean_interval
from ptl_sweep.vocabulary import ERROR_TYPES, MISSED, RANKINGS

TYPES = tuple(kind for kind in ERROR_TYPES if kind != MISSED)  # nearly all of them are hit nearly
GROUP_WIDTH = 0.8  # of the bars of one type
SHORT_TYPES = {
    "localisation": "local-\nisation",
    "duplicate": "dupli-\ncate",
    "background": "back-\nground",
    "unhit": "persons\nnot hit",
}
RANKING_WIDTH = {"distance": 1.6, "score": 0.7}  # points


def error_figure(errors: pl.DataFrame, synthetics: Sequence[str]) -> Figure:
    """Errors by type (above) and AP50 gained by fixing them (below), a column per target."""
    axis = axes_of(errors)
    figure, panels = grid_of_panels(axis.targets, 2, 1.8)
    for line, column in zip(panels, ("num", "gain_fixed"), strict=True):
        for axes, target in zip(line, axis.targets, strict=True):
            for index, synthetic in enumerate(synthetics):
                own = errors.filter(target=target, synthetic=synthetic)
                offset = dodge(index, len(synthetics), GROUP_WIDTH)
                width = GROUP_WIDTH / len(synthetics)
                _draw_bars(axes, own, column, (offset, width), synthetics)
    panels[0][0].set_ylabel("errors\na cell (log scale)")
    panels[0][0].set_yscale("log")
    panels[0][0].set_ylim(bottom=1)
    panels[0][0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panels[1][0].set_ylabel("AP50 gained if\nfixed [points]")
    panels[1][0].set_xticks(range(len(TYPES)), list(SHORT_TYPES.values()))
    for axes in (axes for line in panels for axes in line):
        axes.grid(visible=False, axis="x")
    finish(figure, panels, "type of error", num_tick_lines=2)
    return figure


def _draw_bars(
    axes: Axes,
    rows: pl.DataFrame,
    column: str,
    place: tuple[float, float],
    synthetics: Sequence[str],
) -> None:
    """A bar per type; its whisker is the interval over seeds."""
    if rows.is_empty():
        return
    synthetic, target = rows["synthetic"][0], rows["target"][0]
    offset, width = place
    scale = 100.0 if column == "gain_fixed" else 1.0
    for index, kind in enumerate(TYPES):
        mean = mean_over_seeds(rows.filter(type=kind), column)
        if not np.isfinite(mean.mean):
            continue
        style = bar_style(synthetic, synthetics)
        label = synthetic if index == 0 else "_"
        x = index + offset
        (bar,) = axes.bar(x, scale * mean.mean, 0.9 * width, label=label, **style)
        shown = (
            with_bounds(mean, " points") if column == "gain_fixed" else f"{mean.mean:.0f} a cell"
        )
        mark(bar, series=synthetic, tip=f"{synthetic}, {kind}, {target}: {shown}")
        if mean.known:
            bounds = [scale * max(mean.low, 0), scale * mean.high]
            (whisker,) = axes.plot([x, x], bounds, color=style["edgecolor"], linewidth=1)
            mark(whisker, series=synthetic)


def mean_over_seeds(rows: pl.DataFrame, column: str) -> Interval:
    """Mean over the real counts within each seed, then over seeds; complete seeds only."""
    known = rows.filter(pl.col(column).is_finite())
    seeds = known.group_by("seed", maintain_order=True).agg(
        pl.col(column).mean(), num_cells=pl.len()
    )
    complete = seeds.filter(num_cells=known["real_count"].n_unique())
    return mean_interval(complete[column].cast(pl.Float64).to_numpy())


def precision_figure(curves: pl.DataFrame, synthetics: Sequence[str]) -> Figure:
    """Precision by recall of one real count: score thresholds (rows of panels) by targets."""
    axis = axes_of(curves)
    thresholds = sorted(curves["score_threshold"].unique())
    figure, panels = grid_of_panels(axis.targets, len(thresholds), 1.45)
    keys = ("score_threshold", "target", "synthetic", "ranking")
    groups = curves.partition_by(keys, as_dict=True)
    for line, threshold in zip(panels, thresholds, strict=True):
        line[0].set_ylabel(f"score ≥ {threshold:g}\nprecision [%]")
        for axes, target in zip(line, axis.targets, strict=True):
            for synthetic, ranking in itertools.product(synthetics, RANKINGS):
                own = groups.get((threshold, target, synthetic, ranking))
                if own is not None:
                    _draw_curve(axes, own, synthetics)
        line[0].set_ylim(0, 102)
    panels[0][0].set_xlim(0, 100)
    panels[0][0].set_xticks([0, 25, 50, 75])  # 100 would touch the 0 of the next panel
    finish(figure, panels, "recall [%]")
    return figure


def _draw_curve(axes: Axes, rows: pl.DataFrame, synthetics: Sequence[str]) -> None:
    """Mean precision over seeds at each recall; thin when ranked by score."""
    synthetic, ranking, target = (rows[name][0] for name in ("synthetic", "ranking", "target"))
    means = rows.group_by("recall").agg(pl.col("precision").mean()).sort("recall")
    x, precision = 100 * means["recall"].to_numpy(), 100 * means["precision"].to_numpy()
    style = line_style(synthetic, synthetics)
    look = {key: style[key] for key in ("color", "linestyle")}
    label = f"{synthetic}, by {ranking}"
    (curve,) = axes.plot(x, precision, label=label, **look, linewidth=RANKING_WIDTH[ranking])
    tip = f"{label}, {target}: mean precision {np.mean(precision):.1f} %"
    mark(curve, series=synthetic, tip=f"{tip}, {plural(rows['seed'].n_unique(), 'seed')}")
