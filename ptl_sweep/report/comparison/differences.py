"""Differences of two sweeps, second minus first, over the cells that both have."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import polars as pl

from ptl_sweep.report.columns import CELL
from ptl_sweep.report.evidence import Evidence, plural
from ptl_sweep.study.statistics import mean_interval, power_note, sign_flip_p
from ptl_sweep.vocabulary import ALL_TARGETS, ApT2t, Group

HEADLINE = "AP50"
KEY = [column.name for column in CELL]  # dataset, real_count, synthetic, target, seed


class Pairing(NamedTuple):
    """Cells of two sweeps by `KEY`; what the second says has the suffix `_second`."""

    shared: pl.DataFrame
    only_first: pl.DataFrame
    only_second: pl.DataFrame


class GroupDifference(NamedTuple):
    """One metric of one group, over the seeds that both sweeps have a number for."""

    dataset: str
    real_count: int | None  # None: mean over the real counts
    synthetic: str
    target: str
    metric: str
    first: float
    second: float
    difference: float
    low: float
    high: float
    num_seeds: int
    p: float
    note: str

    @property
    def evidence(self) -> Evidence:
        """The difference with its interval over seeds."""
        over = f"over {plural(self.num_seeds, 'seed')}"
        return Evidence(self.difference, self.low, self.high, over)


def compared_metrics(score_thresholds: Iterable[float]) -> dict[str, str]:
    """Columns that are compared and what the page calls them: AP50, AP, AP_t2t (shrunk)."""
    ap_t2t = {ApT2t(score).name: f"AP_t2t s ≥ {score:g}" for score in score_thresholds}
    return {HEADLINE: HEADLINE, "AP": "AP", **ap_t2t}


def pair_cells(first: pl.DataFrame, second: pl.DataFrame, metrics: Iterable[str]) -> Pairing:
    """Cells of both, in the order of `first`, and those that one of them lacks."""
    one, other = (_with_metrics(rows, metrics) for rows in (first, second))
    return Pairing(
        one.join(other, KEY, suffix="_second", maintain_order="left"),
        one.join(other, KEY, "anti", maintain_order="left"),
        other.join(one, KEY, "anti", maintain_order="left"),
    )


def _with_metrics(rows: pl.DataFrame, metrics: Iterable[str]) -> pl.DataFrame:
    """A metric that the sweep did not measure is NaN."""
    known = (
        (pl.col(name) if name in rows.columns else pl.lit(np.nan)).alias(name) for name in metrics
    )
    return rows.select(*KEY, "status", *known)


def cell_differences(pairs: pl.DataFrame, metrics: Iterable[str]) -> pl.DataFrame:
    """One row per cell of both sweeps: `<metric>_first`, `_second` and `_difference`."""
    columns = []
    for metric in metrics:
        first, second = pl.col(metric), pl.col(f"{metric}_second")
        columns += [first.alias(f"{metric}_first"), second]
        columns.append((second - first).alias(f"{metric}_difference"))
    return pairs.select(*KEY, *columns)


def group_differences(
    pairs: pl.DataFrame, metric: str, rng: np.random.Generator | None = None
) -> list[GroupDifference]:
    """Second minus first per group, over targets, and over real counts too, paired by seed.

    Mean over the seeds that both sweeps have a number for, 95 % Student t interval, exact
    sign-flip p (above 16 seeds `rng`, seed 0 when not given, draws the flips). A mean over groups
    is taken within each seed, over the seeds that all of them have.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    every, all_counts = (
        pl.lit(ALL_TARGETS).alias("target"),
        pl.lit(None, pl.Int64).alias("real_count"),
    )
    found = []
    for wider in ([], [every], [every, all_counts]):
        part = pl.struct("real_count", "target")
        cells = pairs.select(*KEY, part=part, first=metric, second=f"{metric}_second")
        for key, own in cells.with_columns(wider).group_by(Group._fields, maintain_order=True):
            found.append(_group_difference(Group(*key), metric, own, rng))
    return found


def _group_difference(
    group: Group, metric: str, cells: pl.DataFrame, rng: np.random.Generator
) -> GroupDifference:
    """`cells`: first and second per seed and `part`, several where the group is a mean."""
    known = cells.filter((pl.col("first") + pl.col("second")).is_finite())
    seeds = known.group_by("seed").agg(pl.col("first", "second").mean(), num=pl.len()).sort("seed")
    complete = seeds.filter(num=cells["part"].n_unique())
    first, second = (complete[name].to_numpy() for name in ("first", "second"))
    found = mean_interval(second - first)
    return GroupDifference(
        *group,
        metric=metric,
        first=mean_interval(first).mean,
        second=mean_interval(second).mean,
        difference=found.mean,
        low=found.low,
        high=found.high,
        num_seeds=found.num,
        p=sign_flip_p(second - first, rng),
        note=power_note(found.num) if found.num else "no seed has all cells in both sweeps",
    )


def differing_settings(first: Mapping[str, str], second: Mapping[str, str]) -> pl.DataFrame:
    """Keys whose values differ, or that one sweep lacks (null)."""
    keys = sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))
    rows = [(key, first.get(key), second.get(key)) for key in keys]
    return pl.DataFrame(rows, dict.fromkeys(("key", "first", "second"), pl.String), orient="row")
