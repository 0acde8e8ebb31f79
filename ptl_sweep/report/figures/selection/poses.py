"""What PTL selected from the virtual pool: poses of the camera and domain gaps."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy import ndarray

from ptl_sweep.report.figures.drawing.saving import mark
from ptl_sweep.report.figures.drawing.style import (
    INK,
    LineStyle,
    finish,
    from_zero,
    grid_of_panels,
    line_style,
    log_axis,
)
from ptl_sweep.study.study import PoolSelection

ATTRIBUTES = ("altitude_m", "radius_m")
HEIGHT = "height_px"
NUM_BINS = 8  # per attribute
NUM_GAP_BINS = 24
SMALLEST_DOT, LARGEST_DOT = 1.5, 11.0  # points; the largest is the bin that has the most
Bins: TypeAlias = Float[ndarray, " _"]  # edges
DrawShares: TypeAlias = Callable[[Axes, Sequence[PoolSelection], Bins, LineStyle, str], None]


class BinCounts(NamedTuple):
    """Images per bin of altitude (rows) and radius."""

    pool: Int[ndarray, "a r"]
    chosen: Int[ndarray, "a r"]


def pose_figure(selections: Sequence[PoolSelection], synthetics: Sequence[str]) -> Figure:
    """Selected images over altitude and radius: real counts (rows) by iterations.

    Grey squares: share of the pool in a bin; dots: share of the selected; areas compare.
    """
    counts, iterations = rows_and_columns(selections)
    edges = [_edges(selections, name) for name in ATTRIBUTES]
    synthetic = selections[0].synthetic
    style = line_style(synthetic, synthetics)
    figure, panels = grid_of_panels(
        [f"iteration {step}" for step in iterations], len(counts), 1.5, same_y="all"
    )
    tables = {
        (count, step): _binned(selections_of(selections, count, step), edges)
        for count in counts
        for step in iterations
    }
    largest = max(shares.max() for pair in tables.values() for shares in _shares(pair))
    for line, count in zip(panels, counts, strict=True):
        line[0].set_ylabel(f"{count} real\naltitude [m]")
        for axes, step in zip(line, iterations, strict=True):
            _draw_bins(axes, tables[count, step], edges, largest, (style, synthetic))
    finish(figure, panels, "horizontal distance of the camera (radius) [m]")
    return figure


def rows_and_columns(selections: Sequence[PoolSelection]) -> tuple[list[int], list[int]]:
    """Real counts and iterations, each sorted."""
    return (
        sorted({one.real_count for one in selections}),
        sorted({one.iteration for one in selections}),
    )


def selections_of(
    selections: Sequence[PoolSelection], count: int, iteration: int
) -> list[PoolSelection]:
    """Those of one panel, seeds together."""
    return [one for one in selections if (one.real_count, one.iteration) == (count, iteration)]


def _edges(selections: Sequence[PoolSelection], name: str) -> Bins:
    """Bins of an attribute; one per value where there are few values."""
    values = np.unique(np.concatenate([one.attributes[name] for one in selections]))
    if 1 < len(values) <= 2 * NUM_BINS:
        middle = (values[:-1] + values[1:]) / 2
        return np.concatenate(
            [[2 * values[0] - middle[0]], middle, [2 * values[-1] - middle[-1]]]
        ).astype(np.float64)
    reach = max(float(values[-1] - values[0]), 1e-6)
    return np.linspace(values[0] - 0.01 * reach, values[-1] + 0.01 * reach, NUM_BINS + 1)


def _binned(selections: Sequence[PoolSelection], edges: Sequence[Bins]) -> BinCounts:
    """Images of the pool and selected ones per bin, over the seeds."""
    pool = np.zeros([len(bins) - 1 for bins in edges], np.int64)
    chosen = np.zeros_like(pool)
    for one in selections:
        about = np.stack([one.attributes[name].astype(np.float64) for name in ATTRIBUTES], axis=1)
        pool += np.histogramdd(about, edges)[0].astype(np.int64)
        chosen += np.histogramdd(about[one.selected], edges)[0].astype(np.int64)
    return BinCounts(pool, chosen)


def _shares(table: BinCounts) -> tuple[Float[ndarray, "a r"], Float[ndarray, "a r"]]:
    """Of the pool and of the selected images; each adds up to 1."""
    return table.pool / max(1, table.pool.sum()), table.chosen / max(1, table.chosen.sum())


def _draw_bins(
    axes: Axes,
    table: BinCounts,
    edges: Sequence[Bins],
    largest: float,
    look: tuple[LineStyle, str],
) -> None:
    """A square and a circle per bin, of an area that is proportional to the share."""
    style, series = look
    middles = [(bins[:-1] + bins[1:]) / 2 for bins in edges]
    pool: LineStyle = {"marker": "s", "markerfacecolor": "#bbbbbb", "markeredgecolor": "none"}
    chosen: LineStyle = {
        "marker": "o",
        "markerfacecolor": "none",
        "markeredgecolor": style["color"],
    }
    labels = "pool", f"selected by {series}"
    for shares, drawn, label in zip(_shares(table), (pool, chosen), labels, strict=True):
        sizes = np.round(2 * LARGEST_DOT * np.sqrt(shares / largest)) / 2
        sizes[(shares > 0) & (sizes < SMALLEST_DOT)] = SMALLEST_DOT
        for size in np.unique(sizes[shares > 0])[::-1]:  # one artist per size: small files
            at = np.argwhere((sizes == size) & (shares > 0))
            x, y = middles[1][at[:, 1]], middles[0][at[:, 0]]
            drawn |= {"linestyle": "none", "markersize": float(size), "label": label}
            (dots,) = axes.plot(x, y, **drawn)
            if drawn is chosen:
                tips = [_bin_tip(table, edges, tuple(place)) for place in at.tolist()]
                mark(dots, series=series, tip=tips)


def _bin_tip(table: BinCounts, edges: Sequence[Bins], bin_: tuple[int, ...]) -> str:
    (low, high), (near, far) = ((b[i], b[i + 1]) for b, i in zip(edges, bin_, strict=True))
    pool, chosen = (int(counts[bin_]) for counts in table)
    return (
        f"altitude {low:.0f} to {high:.0f} m, radius {near:.0f} to {far:.0f} m: "
        f"{chosen} selected of {pool} in the pool"
    )


def gap_figure(selections: Sequence[PoolSelection], synthetics: Sequence[str]) -> Figure:
    """Domain gaps of the pool and of the selected images: real counts (rows) by iterations."""
    words = "domain gap, squared distance (log scale); inf: never detected"
    return _shares_figure(selections, synthetics, (_gap_bins(selections), _draw_gaps, words))


def height_figure(selections: Sequence[PoolSelection], synthetics: Sequence[str]) -> Figure:
    """Heights of the pool's and of the selected images' persons: real counts by iterations."""
    heights = np.concatenate([one.attributes[HEIGHT] for one in selections])
    bins = np.geomspace(heights.min() / 1.01, heights.max() * 1.01, NUM_GAP_BINS + 1)
    words = "height of the persons [px] (log scale)"
    return _shares_figure(selections, synthetics, (bins, _draw_heights, words))


def _shares_figure(
    selections: Sequence[PoolSelection],
    synthetics: Sequence[str],
    what: tuple[Bins, DrawShares, str],
) -> Figure:
    """A panel per real count and iteration, over logarithmic bins."""
    bins, draw, words = what
    counts, iterations = rows_and_columns(selections)
    synthetic = selections[0].synthetic
    figure, panels = grid_of_panels([f"iteration {step}" for step in iterations], len(counts), 1.3)
    for line, count in zip(panels, counts, strict=True):
        line[0].set_ylabel(f"{count} real\nshare [%]")
        for axes, step in zip(line, iterations, strict=True):
            own = selections_of(selections, count, step)
            draw(axes, own, bins, line_style(synthetic, synthetics), synthetic)
        from_zero(line[0], room=0.45)
    log_axis(panels[0][0], bins[0], bins[-1])
    finish(figure, panels, words)
    return figure


def _draw_heights(
    axes: Axes, selections: Sequence[PoolSelection], bins: Bins, style: LineStyle, series: str
) -> None:
    """Shares of all images of a kind, which add up to 1."""
    if not selections:
        return
    heights = np.concatenate([one.attributes[HEIGHT] for one in selections])
    selected = np.concatenate([one.selected for one in selections])
    line = {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.4}
    fill: LineStyle = {"fill": True, "color": "#cccccc"}
    for values, label, look, of in (
        (heights, "pool", fill, ""),
        (heights[selected], f"selected by {series}", line, series),
    ):
        shares = 100 * np.histogram(values, bins)[0] / max(1, len(values))
        steps = axes.stairs(shares, bins, label=label, **look)
        median = f"median {np.median(values):.3g} px" if len(values) else "none"
        mark(steps, series=of, tip=f"{label}: {len(values)} images, {median}")


def _gap_bins(selections: Sequence[PoolSelection]) -> Bins:
    """Logarithmic, over the finite gaps."""
    gaps = np.concatenate([one.gap for one in selections])
    positive = gaps[np.isfinite(gaps) & (gaps > 0)]
    low, high = (positive.min(), positive.max()) if len(positive) else (1.0, 10.0)
    return np.geomspace(low / 1.01, high * 1.01, NUM_GAP_BINS + 1)


def _draw_gaps(
    axes: Axes, selections: Sequence[PoolSelection], bins: Bins, style: LineStyle, series: str
) -> None:
    """Shares of all images of a kind, so the steps of a kind and its infinite share add up to 1."""
    if not selections:
        return
    gap = np.concatenate([one.gap for one in selections])
    selected = np.concatenate([one.selected for one in selections])
    line = {"color": style["color"], "linestyle": style["linestyle"], "linewidth": 1.4}
    never = [
        _draw_shares(axes, gap, bins, "pool", {"fill": True, "color": "#cccccc"}, ""),
        _draw_shares(axes, gap[selected], bins, f"selected by {series}", line, series),
    ]
    words = f"inf: {never[0]:.0f} % of pool,\n{never[1]:.0f} % of selected"
    place: LineStyle = {"transform": axes.transAxes, "ha": "right", "va": "top"}
    axes.text(0.98, 0.98, words, **place, fontsize=8, color=INK)


def _draw_shares(
    axes: Axes, gap: Float[ndarray, " g"], bins: Bins, label: str, look: LineStyle, series: str
) -> float:
    """Finite gaps in percent of all images; returns the percent that are infinite."""
    shares = 100 * np.histogram(np.maximum(gap, bins[0]), bins)[0] / max(1, len(gap))
    steps = axes.stairs(shares, bins, label=label, **look)
    never = 100 * float(np.mean(np.isinf(gap))) if len(gap) else 0.0
    found = gap[np.isfinite(gap)]
    median = f"median gap {np.median(found):.3g}" if len(found) else "no finite gap"
    tip = f"{label}: {len(gap)} images, {median}, {never:.0f} % never detected"
    mark(steps, series=series, tip=tip)
    return never
