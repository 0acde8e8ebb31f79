"""Effect of synthetic on AP_t2t by confidence, and the claim that the medium one gains most."""

import textwrap
from collections.abc import Sequence

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptl_sweep.report.evidence import Bounds, Contrast, axes_of, bounded_text, read_contrasts
from ptl_sweep.report.figures.drawing.series import Point, draw_series
from ptl_sweep.report.figures.drawing.style import (
    INK,
    dodge,
    finish,
    grid_of_panels,
    line_style,
    wrapped,
)
from ptl_sweep.vocabulary import ALL_TARGETS, BANDS


def band_figure(
    contrasts: pl.DataFrame, thresholds: Sequence[float], synthetics: Sequence[str]
) -> Figure:
    """E(low), E(medium), E(high) of one data set and scale: targets (rows) by real counts."""
    axis = axes_of(contrasts)
    targets = [*axis.targets, *([ALL_TARGETS] if len(axis.targets) > 1 else [])]
    counts: list[int | None] = [*axis.real_counts]
    if len(counts) > 1:
        counts.append(None)  # over all of them
    titles = ["all counts" if count is None else f"{count} real" for count in counts]
    figure, panels = grid_of_panels(titles, len(targets), 1.15, same_y="all")
    for line, target in zip(panels, targets, strict=True):
        for axes, count in zip(line, counts, strict=True):
            own = contrasts.filter(pl.col("real_count").eq_missing(count), target=target)
            axes.set_visible(not own.is_empty())
            for row in read_contrasts(own):
                _draw(axes, row, synthetics)
            axes.margins(y=0.12)
            axes.axhline(0, color=INK, linewidth=0.8)
        name = "all targets" if target == ALL_TARGETS else wrapped(target, 16)
        line[0].set_ylabel(f"{name}\n[points]")
    panels[0][0].set_xticks(range(len(BANDS)), ["low", "med.", "high"])
    panels[0][0].set_xlim(-0.5, len(BANDS) - 0.5)
    scores = _scores(contrasts["scale"][0], thresholds)
    letters = int(14 * figure.get_figwidth())
    claim = textwrap.fill(
        f"AP_t2t itself, medium minus the larger of both: {claim_sentence(contrasts)}", letters
    )
    finish(figure, panels, f"confidence: {scores}\n{claim}")
    return figure


def _draw(axes: Axes, row: Contrast, synthetics: Sequence[str]) -> None:
    synthetic = row.group.synthetic
    offset = dodge(synthetics.index(synthetic), len(synthetics), 0.3)
    points = []
    for index, band in enumerate(BANDS):
        y, low, high = (100 * value for value in row.gains[band])
        points.append(Point(index + offset, y, low, high, band_tip(row, band)))
    draw_series(axes, points, line_style(synthetic, synthetics), synthetic)


def _scores(scale: str, thresholds: Sequence[float]) -> str:
    """Which scores the three bands hold."""
    ends = [f"{value:g}" for value in (*thresholds[1:], 1)]
    return ", ".join(
        f"{band} {low:g} to {end}" if scale == "band" else f"{band} score ≥ {low:g}"
        for band, low, end in zip(BANDS, thresholds, ends, strict=True)
    )


def _bounded(gain: Bounds) -> str:
    """`+1.2 [-0.3, +2.7]`, in points."""
    return bounded_text(gain, "+.1f", scale=100)


def band_tip(row: Contrast, band: str) -> str:
    """`on, medium, 20 real, karst: +1.2 [-0.3, +2.7] points, 6 seeds; medium over the rest ...`."""
    group = row.group
    count = "all counts" if group.real_count is None else f"{group.real_count} real"
    place = "all targets" if group.target == ALL_TARGETS else group.target
    tip = f"{group.synthetic}, {band}, {count}, {place}: {_bounded(row.gains[band])} points"
    tip += f", {row.num_seeds} seeds"
    return f"{tip}; medium over the rest {_bounded(row.claim)}" if band == "medium" else tip


def claim_sentence(contrasts: pl.DataFrame) -> str:
    """E(medium) - max(E(low), E(high)) of AP_t2t itself, over everything: a level, no verdict."""
    rows = read_contrasts(contrasts)
    widest = max(
        (row.group for row in rows),
        key=lambda group: (group.target == ALL_TARGETS, group.real_count is None),
    )
    return "; ".join(
        f"{row.group.synthetic} {_bounded(row.claim)} points"
        for row in rows
        if row.group._replace(synthetic=widest.synthetic) == widest and np.isfinite(row.claim.value)
    )
