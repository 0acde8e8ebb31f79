"""Effect of synthetic on AP_t2t by confidence, and the claim that the medium one gains most."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ptl_sweep.report.figures.series import Point, draw_series
from ptl_sweep.report.figures.style import (
    INK,
    axes_of,
    dodge,
    finish,
    grid_of_panels,
    line_style,
    wrapped,
)
from ptl_sweep.study.groups import number, text
from ptl_sweep.vocabulary import ALL_TARGETS, BANDS, Row


def band_figure(
    contrasts: Sequence[Row], thresholds: Sequence[float], synthetics: Sequence[str]
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
            own = [r for r in contrasts if (r["target"], r["real_count"]) == (target, count)]
            axes.set_visible(bool(own))
            for row in own:
                _draw(axes, row, synthetics)
            axes.margins(y=0.12)
            axes.axhline(0, color=INK, linewidth=0.8)
        name = "all targets" if target == ALL_TARGETS else wrapped(target, 16)
        line[0].set_ylabel(f"{name}\n[points]")
    panels[0][0].set_xticks(range(len(BANDS)), ["low", "med.", "high"])
    panels[0][0].set_xlim(-0.5, len(BANDS) - 0.5)
    scores = _scores(text(contrasts[0], "scale"), thresholds)
    letters = int(14 * figure.get_figwidth())
    claim = textwrap.fill(
        f"claim, medium minus the larger of both: {claim_sentence(contrasts)}", letters
    )
    finish(figure, panels, f"confidence: {scores}\n{claim}")
    return figure


def _draw(axes: Axes, row: Row, synthetics: Sequence[str]) -> None:
    synthetic = text(row, "synthetic")
    offset = dodge(synthetics.index(synthetic), len(synthetics), 0.3)
    points = [
        Point(
            x=index + offset,
            y=100 * number(row, band),
            low=100 * number(row, f"{band}_low"),
            high=100 * number(row, f"{band}_high"),
            tip=band_tip(row, band),
        )
        for index, band in enumerate(BANDS)
    ]
    draw_series(axes, points, line_style(synthetic, synthetics), synthetic)


def _scores(scale: str, thresholds: Sequence[float]) -> str:
    """Which scores the three bands hold."""
    ends = [f"{value:g}" for value in (*thresholds[1:], 1)]
    return ", ".join(
        f"{band} {low:g} to {end}" if scale == "band" else f"{band} score ≥ {low:g}"
        for band, low, end in zip(BANDS, thresholds, ends, strict=True)
    )


def _bounded(row: Row, column: str) -> str:
    """`+1.2 [-0.3, +2.7]`, in points."""
    mean, low, high = (100 * number(row, f"{column}{end}") for end in ("", "_low", "_high"))
    return f"{mean:+.1f}" + (f" [{low:+.1f}, {high:+.1f}]" if np.isfinite(low) else "")


def band_tip(row: Row, band: str) -> str:
    """`on, medium, 20 real, karst: +1.2 [-0.3, +2.7] points, 6 seeds; medium over the rest ...`."""
    count = "all counts" if row["real_count"] is None else f"{row['real_count']} real"
    place = "all targets" if row["target"] == ALL_TARGETS else row["target"]
    tip = f"{row['synthetic']}, {band}, {count}, {place}: {_bounded(row, band)} points"
    tip += f", {number(row, 'num_seeds'):.0f} seeds"
    return f"{tip}; medium over the rest {_bounded(row, 'claim')}" if band == "medium" else tip


def claim_sentence(contrasts: Sequence[Row]) -> str:
    """The claim over everything, per value of synthetic, with its interval over seeds."""
    widest = max(
        contrasts, key=lambda row: (row["target"] == ALL_TARGETS, row["real_count"] is None)
    )
    place = (widest["target"], widest["real_count"])
    claims = [
        f"{row['synthetic']} {_bounded(row, 'claim')} points"
        for row in contrasts
        if (row["target"], row["real_count"]) == place and np.isfinite(number(row, "claim"))
    ]
    return "; ".join(claims)
