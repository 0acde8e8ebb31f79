"""What the tables say and how sure it is: typed rows, which sentences and figures read."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from polars import selectors

from ptl_sweep.compose.cells.ids import name_before_axes, values_after_name
from ptl_sweep.study.statistics import Interval, mean_interval
from ptl_sweep.vocabulary import ALL_TARGETS, BANDS, OFF, Distance, Group, bounded

UNKNOWN = mean_interval(np.empty(0))  # of a group that does not exist


class Bounds(NamedTuple):
    """A value with an interval; NaN: not known."""

    value: float
    low: float
    high: float


class GroupSummary(NamedTuple):
    """One row of summary.csv."""

    group: Group
    mean: Interval
    effect: Interval  # paired with `off`, of which it is empty
    over_images: tuple[float, float]  # interval of the effect over test images
    p: float
    note: str
    worth: Bounds  # real images that alone give the same AP50; 0, inf: outside the counts
    ratio: float  # worth over the real images that were used


class Contrast(NamedTuple):
    """One row of contrasts.csv: what AP_t2t gains at each confidence."""

    group: Group
    scale: str
    num_seeds: int
    gains: dict[str, Bounds]  # by band
    claim: Bounds  # gain at medium confidence minus the larger of the others
    claim_over_images: tuple[float, float]


class Correlation(NamedTuple):
    """One row of correlations.csv."""

    dataset: str
    scope: str
    rho: Bounds  # interval over blocks of a seed


class Axis(NamedTuple):
    """Values of the axes of one data set's sweep, in the order of display."""

    real_counts: list[int]
    synthetics: list[str]  # off first
    targets: list[str]

    @property
    def others(self) -> list[str]:
        """Values of `synthetic` that are compared with off."""
        return [name for name in self.synthetics if name != OFF]


def axes_of(rows: pl.DataFrame) -> Axis:
    """Values in the rows; failed and missing cells included, averages left out."""
    own = rows.filter(pl.col("target") != ALL_TARGETS, pl.col("real_count").is_not_null())
    return Axis(
        sorted(own["real_count"].unique()),
        off_first(own["synthetic"].unique()),
        sorted(own["target"].unique()),
    )


def off_first(names: Iterable[str]) -> list[str]:
    """The values of `synthetic` in the order of display."""
    return sorted(names, key=lambda name: (name != OFF, name_before_axes(name), _numbers(name)))


def _numbers(name: str) -> tuple[list[float], str]:
    """Values of axes by size: `temperature=5` before `temperature=10`."""
    values = re.findall(r"=(-?\d[\d.e+-]*)(?=,|$)", values_after_name(name))
    return [float(value) for value in values], name


def plural(count: float, noun: str) -> str:
    """`1 seed`, `3 seeds`."""
    return f"{count:.0f} {noun}{'' if count == 1 else 's'}"


def bounded_text(
    found: Sequence[float], layout: str = ".1f", *, unit: str = "", scale: float = 1
) -> str:
    """`12.4 [9.1, 15.7]` of value, low, high; the value alone where it has no bounds."""
    value, low, high = (scale * one for one in found)
    shown = f"{value:{layout}}{unit}"
    return f"{shown} [{low:{layout}}, {high:{layout}}]" if np.isfinite(low + high) else shown


def count_text(value: float, counts: Sequence[int]) -> str:
    """A number of real images; `> 200` and `< 20` outside the counts that were measured."""
    if np.isposinf(value):
        return f"> {max(counts)}"
    return f"< {min(counts)}" if value <= 0 else f"{value:.0f}"


def equivalent_text(worth: Bounds, counts: Sequence[int]) -> str:
    """A real-image equivalent, `34 [28, > 200]`; empty when there is none."""
    if np.isnan(worth.value):
        return ""
    shown = count_text(worth.value, counts)
    if np.isnan([worth.low, worth.high]).any():
        return shown
    return f"{shown} [{count_text(worth.low, counts)}, {count_text(worth.high, counts)}]"


def group_summaries(summary: pl.DataFrame) -> list[GroupSummary]:
    """Every row of summary.csv."""
    return [
        GroupSummary(
            group=Group(row["dataset"], row["real_count"], row["synthetic"], row["target"]),
            mean=Interval(row["mean"], row["sd"], row["low"], row["high"], row["num_seeds"] or 0),
            effect=Interval(
                row["effect"], row["effect_sd"], row["effect_low"], row["effect_high"],
                row["num_pairs"] or 0,
            ),
            over_images=(row["image_low"], row["image_high"]),
            p=row["p"],
            note=row["note"] or "",
            worth=Bounds(*(row[name] for name in bounded("real_equivalent"))),
            ratio=row["replacement_ratio"],
        )
        for row in _known(summary).iter_rows(named=True)
    ]  # fmt: skip


def by_group(summary: pl.DataFrame, metric: str) -> dict[Group, GroupSummary]:
    """The rows of one metric."""
    return {one.group: one for one in group_summaries(summary.filter(metric=metric))}


def read_contrasts(contrasts: pl.DataFrame) -> list[Contrast]:
    """Every row of contrasts.csv."""
    return [
        Contrast(
            Group(row["dataset"], row["real_count"], row["synthetic"], row["target"]),
            row["scale"],
            row["num_seeds"] or 0,
            {band: Bounds(*(row[name] for name in bounded(band))) for band in BANDS},
            Bounds(*(row[name] for name in bounded("claim"))),
            (row["claim_image_low"], row["claim_image_high"]),
        )
        for row in _known(contrasts).iter_rows(named=True)
    ]


def read_correlations(
    correlations: pl.DataFrame, distance: Distance, metric: str = "AP50"
) -> list[Correlation]:
    """The correlations of a distance with a metric that exist."""
    own = correlations.filter(
        pl.col("rho").is_finite(),
        predictor=distance.predictor,
        variant=distance.variant,
        metric=metric,
    )
    return [
        Correlation(row["dataset"], row["scope"], Bounds(row["rho"], row["low"], row["high"]))
        for row in _known(own).iter_rows(named=True)
    ]


def _known(rows: pl.DataFrame) -> pl.DataFrame:
    """NaN for every missing number."""
    return rows.with_columns(selectors.float().fill_null(float("nan")))
