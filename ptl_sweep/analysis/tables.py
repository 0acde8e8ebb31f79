"""Result tables: results.csv, summary.csv and the text table that ends a run."""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from ptl_sweep.analysis.ap_t2t import DISTANCE_COLUMNS, threshold_label
from ptl_sweep.analysis.statistics import (
    SIGNIFICANCE,
    Interval,
    holm,
    mean_interval,
    sign_flip_p,
    smallest_p,
)
from ptl_sweep.store import write_atomically

Value: TypeAlias = str | int | float | None
Row: TypeAlias = Mapping[str, Value]

OFF = "off"  # the value of `synthetic` that every effect is measured against
ALL_TARGETS = "(all)"  # target of a summary row over all targets; over all real counts: empty
DISTANCE_METRIC = "t2t_tp_mean_shrunk"
SUMMARY_COLUMNS = (
    "dataset", "real_count", "synthetic", "target", "metric", "num_seeds", "mean", "sd", "low",
    "high", "num_pairs", "effect", "effect_sd", "effect_low", "effect_high", "p", "p_holm", "note",
)  # fmt: skip
INTEGER_COLUMNS = {
    "real_count", "seed", "iteration", "num_train_images", "num_synthetic", "num_ground_truth",
    "num_detections", "gaussian_n", "gaussian_rank", "num_seeds", "num_pairs",
}  # fmt: skip
TEXT_COLUMNS = {
    "dataset", "synthetic", "target", "status", "reason", "train_key", "evaluate_key", "metric",
    "note",
}  # fmt: skip


def result_columns(score_thresholds: Sequence[float]) -> tuple[str, ...]:
    """Columns of results.csv and iterations.csv, in the order of architecture.md."""
    ap_t2t = [f"AP_t2t_{threshold_label(threshold)}" for threshold in score_thresholds]
    return (
        "dataset", "real_count", "synthetic", "target", "seed", "iteration", "status", "reason",
        "num_train_images", "num_synthetic", "num_ground_truth", "num_detections", "AP50", "AP",
        *(name + kind for kind in ("", "_shrunk", "_lift") for name in ap_t2t),
        *(name + kind for kind in ("", "_shrunk", "_calibrated") for name in DISTANCE_COLUMNS),
        "gaussian_n", "gaussian_rank", "t2t_auroc", "train_key", "evaluate_key",
        *(name + "_equal_n" for name in (*ap_t2t, *DISTANCE_COLUMNS)),
    )  # fmt: skip


RESULT_COLUMNS = result_columns((0.01, 0.1, 0.5))


def number(row: Row, column: str) -> float:
    """The value as float; NaN where it is missing."""
    value = row.get(column)
    return float(value) if isinstance(value, int | float) else np.nan


def text(row: Row, column: str) -> str:
    """The value as text; empty where it is missing."""
    value = row.get(column)
    return "" if value is None else str(value)


def write_table(
    rows: Sequence[Row], folder: Path, stem: str, columns: Sequence[str] = RESULT_COLUMNS
) -> Path:
    """Write `stem`.csv and `stem`.parquet, each by one rename; returns the path of the CSV.

    NaN and None are empty cells (nulls in Parquet). Floats have all their digits, so equal numbers
    are equal bytes.

    Raises: ValueError for a row with a column that the table does not have.
    """
    unknown = {name for row in rows for name in row} - set(columns)
    if unknown:
        raise ValueError(f"{stem}.csv has no column {', '.join(sorted(unknown))}")
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_csv_cell(row.get(name)) for name in columns] for row in rows)
    path = folder / f"{stem}.csv"
    write_atomically(path, target.getvalue().encode())
    table = pa.table({name: _parquet_column(rows, name) for name in columns})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    write_atomically(path.with_suffix(".parquet"), buffer.getvalue())
    return path


def _is_missing(value: Value) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _csv_cell(value: Value) -> str:
    if _is_missing(value):
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)


def _parquet_column(rows: Sequence[Row], name: str) -> pa.Array:
    values = [row.get(name) for row in rows]
    kept = [None if _is_missing(value) else value for value in values]
    if name in TEXT_COLUMNS:
        return pa.array(kept, pa.string())
    return pa.array(kept, pa.int64() if name in INTEGER_COLUMNS else pa.float64())


class Group(NamedTuple):
    """Cells that differ in the seed only, or the mean of several such groups."""

    dataset: str
    real_count: int | None  # None: mean over the real counts
    synthetic: str
    target: str  # ALL_TARGETS: mean over the targets


Series: TypeAlias = dict[int, float]  # seed -> value


def ap_t2t_labels(rows: Iterable[Row]) -> list[str]:
    """Score thresholds of the AP_t2t columns, as `001`, rising."""
    names = {name for row in rows for name in row}
    return sorted(
        match[1] for name in names if (match := re.fullmatch(r"AP_t2t_(\d+)_shrunk", name))
    )


def summary_metrics(rows: Iterable[Row]) -> list[str]:
    """Columns that are summarised over seeds."""
    headline = [f"AP_t2t_{label}_shrunk" for label in ap_t2t_labels(rows)]
    return ["AP50", "AP", *headline, DISTANCE_METRIC]


def summarise(rows: Sequence[Row]) -> list[dict[str, Value]]:
    """One row per group and metric: mean over seeds with interval, and the effect of synthetic.

    The effect is paired with `off` by (dataset, real_count, target, seed). Rows over all targets,
    and over all targets and real counts, average within each seed first and use complete seeds
    only: cells of one seed share images and weights, so the sign flips are per seed. Holm is over
    the groups of one metric that are not averages.
    """
    return [row for metric in summary_metrics(rows) for row in _summarise_metric(rows, metric)]


def _summarise_metric(rows: Sequence[Row], metric: str) -> list[dict[str, Value]]:
    series = with_averages(_by_group(rows, metric))
    summary = [_summary_row(group, metric, series) for group in series]
    tested = [row for row in summary if row["target"] != ALL_TARGETS]
    adjusted = holm(np.array([number(row, "p") for row in tested]))
    num_tests = int(np.isfinite(adjusted).sum())
    for row, p_holm in zip(tested, adjusted, strict=True):
        row["p_holm"] = float(p_holm)
    for row in summary:
        row["note"] = _note(row, num_tests if row["target"] != ALL_TARGETS else 1)
    return summary


def _by_group(rows: Sequence[Row], metric: str) -> dict[Group, Series]:
    """Values by group and seed; a cell without a number leaves its seed out."""
    series: dict[Group, Series] = {}
    for row in rows:
        group = Group(
            text(row, "dataset"),
            int(number(row, "real_count")),
            text(row, "synthetic"),
            text(row, "target"),
        )
        values = series.setdefault(group, {})
        if np.isfinite(number(row, metric)):
            values[int(number(row, "seed"))] = number(row, metric)
    return series


def with_averages(series: Mapping[Group, Series]) -> dict[Group, Series]:
    """The groups, then their means over targets, then over targets and real counts."""
    result = dict(series)
    for wider in ({"target": ALL_TARGETS}, {"target": ALL_TARGETS, "real_count": None}):
        members: dict[Group, list[Series]] = {}
        for group, values in series.items():
            members.setdefault(Group(**(group._asdict() | wider)), []).append(values)
        result |= {group: _mean_of_complete(parts) for group, parts in members.items()}
    return result


def _mean_of_complete(parts: Sequence[Series]) -> Series:
    seeds = set.intersection(*(set(part) for part in parts))
    return {seed: float(np.mean([part[seed] for part in parts])) for seed in sorted(seeds)}


def _summary_row(group: Group, metric: str, series: Mapping[Group, Series]) -> dict[str, Value]:
    values = series[group]
    over_seeds = mean_interval(np.array(list(values.values()), np.float64))
    row: dict[str, Value] = {
        **group._asdict(),
        "metric": metric,
        "num_seeds": over_seeds.num,
        "mean": over_seeds.mean,
        "sd": over_seeds.sd,
        "low": over_seeds.low,
        "high": over_seeds.high,
    }
    off = series.get(group._replace(synthetic=OFF), {})
    if group.synthetic == OFF:
        return row
    shared = [seed for seed in values if seed in off]
    differences = np.array([values[seed] - off[seed] for seed in shared], np.float64)
    effect = mean_interval(differences)
    testable = metric != DISTANCE_METRIC
    return row | {
        "num_pairs": effect.num,
        "effect": effect.mean,
        "effect_sd": effect.sd,
        "effect_low": effect.low,
        "effect_high": effect.high,
        "p": sign_flip_p(differences, np.random.default_rng(0)) if testable else np.nan,
    }


def _note(row: Row, num_tests: int) -> str:
    """What a reader of the p value must know."""
    if row["synthetic"] == OFF:
        return ""
    num_pairs = int(number(row, "num_pairs"))
    if num_pairs == 0:
        return "no pair with off"
    if row["metric"] == DISTANCE_METRIC:
        return "not comparable across gaussian_n, so not tested"
    seeds = f"{num_pairs} seed{'s' if num_pairs > 1 else ''}"
    if smallest_p(num_pairs) > SIGNIFICANCE:
        return f"cannot reach {SIGNIFICANCE} with {seeds}"
    if num_tests * smallest_p(num_pairs) > SIGNIFICANCE:
        return f"Holm over {num_tests} tests cannot reach {SIGNIFICANCE} with {seeds}"
    return ""


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
        Group(
            text(row, "dataset"),
            int(number(row, "real_count")),
            text(row, "synthetic"),
            ALL_TARGETS,
        )
        for row in summary
        if row["target"] == ALL_TARGETS and row["real_count"] is not None
    }
    return sorted(found, key=lambda g: (g.dataset, g.real_count, g.synthetic != OFF, g.synthetic))


def demo_table(summary: Sequence[Row]) -> str:
    """Plain text, at most 100 columns: off and on per real count, mean over targets per seed.

    `+-` is half of the Student t 95 % interval over seeds, left out with one seed.
    """
    labels = ap_t2t_labels({text(row, "metric"): None} for row in summary)
    ap_t2t = ["AP_t2t [%]"] * len(labels)
    header = [
        ["real", "synthetic", "seeds", "AP50", "change", "train2test", *ap_t2t],
        ["count", "", "", "[%]", "[points]", "TP, d^2", *map(_score_label, labels)],
    ]
    groups = groups_over_targets(summary)
    parts = []
    for dataset in sorted({group.dataset for group in groups}):
        own = [_demo_row(summary, group, labels) for group in groups if group.dataset == dataset]
        title = f"Trained on {dataset}; mean over targets, +- 95 % interval over seeds"
        parts.append("\n".join([title, *aligned([*header, *own])]))
    return "\n\n".join(parts)


def _demo_row(summary: Sequence[Row], group: Group, labels: Sequence[str]) -> list[str]:
    ap50 = find_summary(summary, "AP50", group) or {}
    others = [DISTANCE_METRIC, *(f"AP_t2t_{label}_shrunk" for label in labels)]
    scales = [1.0, *[100.0] * len(labels)]
    means = [number(find_summary(summary, name, group) or {}, "mean") for name in others]
    return [
        str(group.real_count),
        group.synthetic[:16],
        text(ap50, "num_seeds"),
        with_half_width(mean_of(ap50)),
        "" if group.synthetic == OFF else with_half_width(effect_of(ap50), sign="+"),
        *(_one_decimal(scale * mean) for scale, mean in zip(scales, means, strict=True)),
    ]


def _score_label(label: str) -> str:
    """`010` -> `s >= 0.10`."""
    return f"s >= {int(label) / 100:.2f}"


def _one_decimal(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"


def with_half_width(interval: Interval, sign: str = "") -> str:
    """`12.4 +- 3.1`, in hundredths; `-` without a value."""
    if np.isnan(interval.mean):
        return "-"
    mean = f"{100 * interval.mean:{sign}.1f}"
    return f"{mean} +- {50 * (interval.high - interval.low):.1f}" if interval.known else mean


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their longest cell, two spaces apart, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
