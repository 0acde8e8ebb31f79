"""summary.csv: means over seeds, paired effects of synthetic, and what both are worth."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import polars as pl

from ptl_sweep.metrics.bootstrap import Replicates, few_blocks_note, percentile_interval
from ptl_sweep.study.equivalent import real_equivalents
from ptl_sweep.study.groups import (
    Series,
    by_group,
    members,
    paired_effects,
    seeds_of,
    with_averages,
)
from ptl_sweep.study.paired import paired_replicates
from ptl_sweep.study.schemas import SUMMARY, frame_of
from ptl_sweep.study.statistics import (
    Interval,
    holm,
    joined_notes,
    mean_interval,
    power_note,
    sign_flip_p,
)
from ptl_sweep.vocabulary import (
    ALL_TARGETS,
    COMPARABLE_DISTANCE,
    RELATIVE_DISTANCE,
    SHRUNK_DISTANCE,
    ApT2t,
    CellKey,
    Group,
    Value,
    bounded,
)

HEADLINE = "AP50"  # the metric that also has an interval over test images and an equivalent
MEAN = ("mean", "sd", "low", "high", "num_seeds")  # columns of an Interval
EFFECT = ("effect", "effect_sd", "effect_low", "effect_high", "num_pairs")

Lines: TypeAlias = dict[Group, dict[str, Value]]  # columns of one metric's rows


class MeanAndEffect(NamedTuple):
    """What summary.csv says of one group and metric."""

    mean: Interval  # over seeds
    effect: Interval  # of synthetic, paired by seed; empty for `off`


def summary_metrics(thresholds: Sequence[float]) -> list[str]:
    """Columns that are summarised over seeds."""
    headline = [ApT2t(score).name for score in thresholds]
    distances = [RELATIVE_DISTANCE, SHRUNK_DISTANCE.name, COMPARABLE_DISTANCE.name]
    return [HEADLINE, "AP", *headline, *distances]


def summarise(
    results: pl.DataFrame,
    thresholds: Sequence[float],
    replicates: Mapping[CellKey, Replicates] | None = None,
    rng: np.random.Generator | None = None,
) -> pl.DataFrame:
    """One row per group and metric: mean over seeds with interval, and the effect of synthetic.

    The effect is paired with `off` by (dataset, real_count, target, seed). Rows over all targets,
    and over all targets and real counts, average within each seed first and use complete seeds
    only: cells of one seed share images and weights, so the sign flips are per seed. Holm is over
    the groups of one metric that are not averages.

    Test images are another source of chance than seeds, and stand apart: `image_*` comes from the
    bootstrap in `replicates` and is NaN without. `rng` (seed 0 when not given) draws sign flips
    beyond 16 seeds and the seeds of the real-image equivalent's interval.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    by_metric = {
        metric: _metric_lines(metric, by_group(results, metric), rng)
        for metric in summary_metrics(thresholds)
    }
    _add_images(by_metric[HEADLINE], results, replicates or {})
    _add_equivalents(by_metric[HEADLINE], results, replicates, rng)
    rows = [
        {**group._asdict(), "metric": metric, **columns}
        for metric, lines in by_metric.items()
        for group, columns in lines.items()
    ]
    return frame_of(rows, SUMMARY)


def _metric_lines(metric: str, series: Mapping[Group, Series], rng: np.random.Generator) -> Lines:
    values, effects = with_averages(series), paired_effects(series)
    lines: Lines = {
        group: {**dict(zip(MEAN, mean_interval(own), strict=True)), "note": ""}
        for group, own in values.items()
    }
    is_tested = metric != SHRUNK_DISTANCE.name
    p_values = {
        group: sign_flip_p(own, rng) if is_tested else np.nan for group, own in effects.items()
    }
    cells = [group for group in effects if group.target != ALL_TARGETS]
    adjusted = holm(np.array([p_values[group] for group in cells]))
    num_tests = int(np.isfinite(adjusted).sum())
    for group, own in effects.items():
        effect = mean_interval(own)
        note = power_note(effect.num, 1 if group.target == ALL_TARGETS else num_tests)
        if effect.num and not is_tested:
            note = "not comparable across gaussian_n, so not tested"
        columns = dict(zip(EFFECT, effect, strict=True))
        lines[group] |= {**columns, "p": p_values[group], "note": note}
    for group, p_holm in zip(cells, adjusted, strict=True):
        lines[group]["p_holm"] = float(p_holm)
    return lines


def _add_images(
    lines: Lines, results: pl.DataFrame, replicates: Mapping[CellKey, Replicates]
) -> None:
    """Bootstrap columns of synthetic; a cell without replicates leaves them NaN.

    The note of a mean over targets names the fewest blocks of any of them.
    """
    series, seeds = by_group(results, HEADLINE), np.array(seeds_of(results))
    parts = members(series)
    for group, own in paired_effects(series).items():
        paired = paired_replicates(replicates, parts[group], seeds[np.isfinite(own)].tolist())
        if paired is not None:
            effect = paired.AP50.mean(axis=0)
            low, high = percentile_interval(effect)
            lines[group] |= {
                "image_low": low,
                "image_high": high,
                "image_sd": mean_interval(effect).sd,
                "num_blocks": paired.num_blocks,
            }
            _add_note(lines[group], few_blocks_note(paired.fewest_blocks))


def _add_equivalents(
    lines: Lines,
    results: pl.DataFrame,
    replicates: Mapping[CellKey, Replicates] | None,
    rng: np.random.Generator,
) -> None:
    for one in real_equivalents(results, replicates, rng):
        columns = lines[one.group]
        columns |= zip(bounded("real_equivalent"), one.bounded, strict=True)
        columns |= zip(bounded("replacement_ratio"), one.ratio, strict=True)
        _add_note(columns, one.note and f"real_equivalent {one.note}")


def _add_note(columns: dict[str, Value], note: str) -> None:
    columns["note"] = joined_notes(str(columns["note"]), note)


def means_and_effects(summary: pl.DataFrame, metric: str) -> dict[Group, MeanAndEffect]:
    """The rows of one metric, by group."""
    rows = summary.filter(metric=metric).with_columns(pl.col(MEAN[-1], EFFECT[-1]).fill_null(0))
    keys, *intervals = (rows.select(names).rows() for names in (Group._fields, MEAN, EFFECT))
    return {
        Group._make(key): MeanAndEffect(Interval._make(mean), Interval._make(effect))
        for key, mean, effect in zip(keys, *intervals, strict=True)
    }
