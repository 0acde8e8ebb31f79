"""Published effect beside ours: direction and ratio, never absolute values."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ptl_sweep.report.evidence import by_group
from ptl_sweep.report.figures.drawing.saving import mark
from ptl_sweep.report.figures.drawing.style import INK, WIDTH, LineStyle, line_style
from ptl_sweep.vocabulary import OFF, Group

METRICS = ("AP50", "AP")  # the first that both have
PLACE = ("paper", "table", "target", "real_count")  # of a published baseline


class Comparison(NamedTuple):
    """AP with synthetic images over AP without, theirs and ours; NaN: ours has no such cell."""

    paper: str
    target: str
    real_count: int
    synthetic: str
    metric: str
    published: float
    ours: float


def comparisons(published: pl.DataFrame, summary: pl.DataFrame) -> list[Comparison]:
    """Cells of both; the published last iteration, never the one chosen on test data ("best")."""
    ours = {metric: _our_ratios(summary, metric) for metric in METRICS}
    found: dict[tuple[str, str, int, str], Comparison] = {}
    for row in _published_ratios(published).iter_rows(named=True):
        group = Group(row["dataset"], row["real_count"], row["synthetic"], row["target"])
        for metric in METRICS:
            ratios = (row[f"{metric}_ratio"], ours[metric].get(group, np.nan))
            if np.isfinite(ratios).all() and min(ratios) > 0:
                key = (row["paper"], group.target, row["real_count"], group.synthetic)
                found[key] = Comparison(*key, metric, *ratios)
                break
    return sorted(found.values(), key=lambda one: (one.target, one.real_count, one.paper))


def _published_ratios(own: pl.DataFrame) -> pl.DataFrame:
    """AP over that without synthetic images, of the same paper, table, target and count.

    The last iteration of a method is the last row.
    """
    numbered = pl.col("iteration").cast(pl.Int64, strict=False)
    steps = own.with_columns(numbered).filter(
        pl.col("synthetic") != OFF, pl.col("iteration").is_not_null()
    )
    off = own.filter(synthetic=OFF).unique(PLACE, keep="first", maintain_order=True)
    return (
        steps.join(off, on=PLACE, suffix="_off")
        .with_columns(
            (pl.col(name) / pl.col(f"{name}_off")).alias(f"{name}_ratio") for name in METRICS
        )
        .sort("iteration", maintain_order=True)
    )


def _our_ratios(summary: pl.DataFrame, metric: str) -> dict[Group, float]:
    """Mean over that of `off`, where that is positive."""
    means = {group: one.mean.mean for group, one in by_group(summary, metric).items()}
    off = {group: means.get(group._replace(synthetic=OFF), np.nan) for group in means}
    return {group: mean / off[group] for group, mean in means.items() if off[group] > 0}


def published_figure(found: Sequence[Comparison], synthetics: Sequence[str]) -> Figure:
    """Ratio on over off: theirs as an open diamond, ours in the style of its synthetic."""
    figure = Figure(figsize=(WIDTH, 1.1 + 0.34 * len(found)), layout="constrained")
    axes = figure.subplots()
    for index, one in enumerate(found):
        _draw(axes, index, one, synthetics)
    labels = [f"{one.target}, {one.real_count} real\n{one.paper}, {one.metric}" for one in found]
    axes.set_yticks(range(len(found)), labels)
    axes.set_ylim(len(found) - 0.5, -0.5)
    axes.set_xscale("log")
    _ratio_axis(axes, [value for one in found for value in (one.published, one.ours)])
    axes.set_xlabel("AP with synthetic images over AP without (log scale)")
    handles, names = axes.get_legend_handles_labels()
    unique = dict(zip(names, handles, strict=True))
    figure.legend(list(unique.values()), list(unique), loc="outside upper center", ncols=4)
    return figure


def _draw(axes: Axes, index: int, one: Comparison, synthetics: Sequence[str]) -> None:
    place = f"{one.target}, {one.real_count} real"
    theirs: LineStyle = {"color": INK, "markerfacecolor": "white", "linestyle": "none"}
    (joint,) = axes.plot([one.published, one.ours], [index] * 2, color="#bbbbbb", linewidth=1)
    (point,) = axes.plot([one.published], [index], "D", label="published", **theirs, markersize=6.5)
    mark(joint, series=one.synthetic)
    mark(point, tip=[f"{one.paper}, {place}: {one.metric} times {one.published:.2f}"])
    style = line_style(one.synthetic, synthetics) | {"linestyle": "none"}
    label = f"{one.synthetic}, ours"
    (point,) = axes.plot([one.ours], [index], label=label, **style, markersize=5)
    mark(point, series=one.synthetic, tip=[f"{label}, {place}: {one.metric} times {one.ours:.2f}"])


def _ratio_axis(axes: Axes, values: Sequence[float]) -> None:
    """One marked, plain numbers at the ticks."""
    axes.axvline(1, color=INK, linewidth=1)
    low, high = min([1.0, *values]) / 1.25, max([1.0, *values]) * 1.25
    axes.set_xlim(low, high)
    ticks = [t for t in (0.1, 0.2, 0.5, 0.8, 1, 1.25, 1.5, 2, 3, 5, 10, 20) if low <= t <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
