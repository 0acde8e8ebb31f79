"""summary.csv: means over seeds, paired effects of synthetic, and what both are worth."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ptl_sweep.metrics.bootstrap import Replicates, few_blocks_note, percentile_interval
from ptl_sweep.study.equivalent import Equivalent, real_equivalents
from ptl_sweep.study.groups import (
    Series,
    ap_t2t_of,
    by_group,
    members,
    number,
    paired_effects,
    text,
    with_averages,
)
from ptl_sweep.study.paired import PairedReplicates, paired_replicates
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
    OFF,
    SHRUNK_DISTANCE,
    CellKey,
    Group,
    Row,
    Value,
    bounded,
)


class _Measurement(NamedTuple):
    """One metric of a grid."""

    metric: str
    values: Mapping[Group, Series]
    effects: Mapping[Group, Series]  # groups of synthetic only


def summary_metrics(rows: Iterable[Row]) -> list[str]:
    """Columns that are summarised over seeds."""
    headline = [one.name for one in ap_t2t_of(rows)]
    return ["AP50", "AP", *headline, SHRUNK_DISTANCE.name, COMPARABLE_DISTANCE.name]


def summarise(
    rows: Sequence[Row],
    replicates: Mapping[CellKey, Replicates] | None = None,
    rng: np.random.Generator | None = None,
) -> list[dict[str, Value]]:
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
    summary = []
    for metric in summary_metrics(rows):
        series = by_group(rows, metric)
        measurement = _Measurement(metric, with_averages(series), paired_effects(series))
        summary += _summarise_metric(measurement, rng)
    headline = [row for row in summary if row["metric"] == "AP50"]
    _add_image_columns(headline, rows, replicates or {})
    _add_equivalents(headline, real_equivalents(rows, replicates, rng))
    return summary


def _summarise_metric(
    measurement: _Measurement, rng: np.random.Generator
) -> list[dict[str, Value]]:
    summary = [_summary_row(group, measurement, rng) for group in measurement.values]
    tested = [row for row in summary if row["target"] != ALL_TARGETS]
    adjusted = holm(np.array([number(row, "p") for row in tested]))
    num_tests = int(np.isfinite(adjusted).sum())
    for row, p_holm in zip(tested, adjusted, strict=True):
        row["p_holm"] = float(p_holm)
    for row in summary:
        row["note"] = _note(row, num_tests if row["target"] != ALL_TARGETS else 1)
    return summary


def _summary_row(
    group: Group, measurement: _Measurement, rng: np.random.Generator
) -> dict[str, Value]:
    over_seeds = mean_interval(np.array(list(measurement.values[group].values()), np.float64))
    row: dict[str, Value] = {
        **group._asdict(),
        "metric": measurement.metric,
        "num_seeds": over_seeds.num,
        "mean": over_seeds.mean,
        "sd": over_seeds.sd,
        "low": over_seeds.low,
        "high": over_seeds.high,
    }
    if group.synthetic == OFF:
        return row
    differences = np.array(list(measurement.effects[group].values()), np.float64)
    effect = mean_interval(differences)
    testable = measurement.metric != SHRUNK_DISTANCE.name
    return row | {
        "num_pairs": effect.num,
        "effect": effect.mean,
        "effect_sd": effect.sd,
        "effect_low": effect.low,
        "effect_high": effect.high,
        "p": sign_flip_p(differences, rng) if testable else np.nan,
    }


def _note(row: Row, num_tests: int) -> str:
    """What a reader of the p value must know."""
    if row["synthetic"] == OFF:
        return ""
    num_pairs = int(number(row, "num_pairs"))
    if num_pairs and row["metric"] == SHRUNK_DISTANCE.name:
        return "not comparable across gaussian_n, so not tested"
    return power_note(num_pairs, num_tests)


def _add_image_columns(
    headline: Sequence[dict[str, Value]],
    rows: Sequence[Row],
    replicates: Mapping[CellKey, Replicates],
) -> None:
    """Bootstrap columns of the AP50 rows of synthetic; a cell without replicates leaves them NaN.

    The note of a mean over targets names the fewest blocks of any of them.
    """
    series = by_group(rows, "AP50")
    effects, parts = paired_effects(series), members(series)
    for row in headline:
        group = _group(row)
        if group.synthetic != OFF:
            paired = paired_replicates(replicates, parts[group], list(effects[group]))
            row.update(_image_columns(paired, text(row, "note")))


def _image_columns(paired: PairedReplicates | None, note: str) -> dict[str, Value]:
    if paired is None:
        return dict.fromkeys(("image_low", "image_high", "image_sd"), np.nan)
    effect = paired.AP50.mean(axis=0)
    low, high = percentile_interval(effect)
    return {
        "image_low": low,
        "image_high": high,
        "image_sd": mean_interval(effect).sd,
        "num_blocks": paired.num_blocks,
        "note": joined_notes(note, few_blocks_note(paired.fewest_blocks)),
    }


def _add_equivalents(headline: Sequence[dict[str, Value]], found: Sequence[Equivalent]) -> None:
    equivalents = {one.group: one for one in found}
    for row in headline:
        one = equivalents.get(_group(row))
        if one is None:
            continue
        row |= {
            **dict(zip(bounded("real_equivalent"), one.bounded, strict=True)),
            **dict(zip(bounded("replacement_ratio"), one.ratio, strict=True)),
            "note": joined_notes(text(row, "note"), one.note and f"real_equivalent {one.note}"),
        }


def _group(row: Row) -> Group:
    """The group of a row of summary.csv."""
    count = row["real_count"]
    return Group(
        text(row, "dataset"),
        None if count is None else int(number(row, "real_count")),
        text(row, "synthetic"),
        text(row, "target"),
    )


def find_summary(summary: Iterable[Row], metric: str, group: Group) -> Row | None:
    """The summary row of one group and metric."""
    wanted = {**group._asdict(), "metric": metric}
    return next((row for row in summary if all(row[k] == v for k, v in wanted.items())), None)


def mean_of(row: Row) -> Interval:
    """Mean over seeds of a summary row."""
    return _interval(row, ("mean", "sd", "low", "high"), "num_seeds")


def effect_of(row: Row) -> Interval:
    """Paired effect of synthetic of a summary row; empty for the rows of `off`."""
    return _interval(row, ("effect", "effect_sd", "effect_low", "effect_high"), "num_pairs")


def _interval(row: Row, columns: Sequence[str], count: str) -> Interval:
    mean, sd, low, high = (number(row, column) for column in columns)
    num = number(row, count)
    return Interval(mean, sd, low, high, 0 if np.isnan(num) else int(num))


def groups_over_targets(summary: Iterable[Row]) -> list[Group]:
    """Per (dataset, real count, synthetic) the mean over targets, `off` first within a count."""
    found = {
        _group(row)
        for row in summary
        if row["target"] == ALL_TARGETS and row["real_count"] is not None
    }
    return sorted(
        found, key=lambda g: (g.dataset, g.real_count or 0, g.synthetic != OFF, g.synthetic)
    )
