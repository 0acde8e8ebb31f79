"""Differences of two sweeps, second minus first, over the cells that both have."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ptl_sweep.report.columns import CELL
from ptl_sweep.study.groups import Series, ap_t2t_of, number, text, with_averages
from ptl_sweep.study.statistics import mean_interval, power_note, sign_flip_p
from ptl_sweep.vocabulary import Group, Row, Value

HEADLINE = "AP50"


class Pairing(NamedTuple):
    """Cells of two sweeps by (dataset, real_count, synthetic, target, seed)."""

    shared: list[tuple[Row, Row]]  # first, second
    only_first: list[Row]
    only_second: list[Row]


def pair_cells(first: Sequence[Row], second: Sequence[Row]) -> Pairing:
    """Cells of both, in the order of `first`, and those that one of them lacks."""
    of_second = {_key(row): row for row in second}
    of_first = {_key(row) for row in first}
    return Pairing(
        [(row, of_second[_key(row)]) for row in first if _key(row) in of_second],
        [row for row in first if _key(row) not in of_second],
        [row for row in second if _key(row) not in of_first],
    )


def _key(row: Row) -> tuple[str, float, str, str, float]:
    return (
        text(row, "dataset"),
        number(row, "real_count"),
        text(row, "synthetic"),
        text(row, "target"),
        number(row, "seed"),
    )


def compared_metrics(pairs: Iterable[tuple[Row, Row]]) -> dict[str, str]:
    """Columns that are compared and what the page calls them: AP50, AP, AP_t2t (shrunk)."""
    headline = ap_t2t_of(row for pair in pairs for row in pair)
    ap_t2t = {one.name: f"AP_t2t s ≥ {one.threshold:g}" for one in headline}
    return {HEADLINE: HEADLINE, "AP": "AP", **ap_t2t}


def cell_differences(
    pairs: Sequence[tuple[Row, Row]], metrics: Iterable[str]
) -> list[dict[str, Value]]:
    """One row per cell of both sweeps: `<metric>_first`, `_second` and `_difference`."""
    rows: list[dict[str, Value]] = []
    for one, other in pairs:
        row: dict[str, Value] = {
            column.name: one[column.name] for column in CELL
        }  # dataset, real_count, synthetic, target, seed
        for metric in metrics:
            values = number(one, metric), number(other, metric)
            row |= {
                f"{metric}_first": values[0],
                f"{metric}_second": values[1],
                f"{metric}_difference": values[1] - values[0],
            }
        rows.append(row)
    return rows


def group_differences(
    pairs: Sequence[tuple[Row, Row]], metric: str, rng: np.random.Generator | None = None
) -> list[dict[str, Value]]:
    """Second minus first per group, over targets, and over real counts too, paired by seed.

    Mean over the seeds that both sweeps have a number for, 95 % Student t interval, exact
    sign-flip p (above 16 seeds `rng`, seed 0 when not given, draws the flips).
    """
    rng = np.random.default_rng(0) if rng is None else rng
    values: tuple[dict[Group, Series], ...] = ({}, {})
    for pair in pairs:
        numbers = [number(row, metric) for row in pair]
        dataset, real_count, synthetic, target, seed = _key(pair[0])
        group = Group(dataset, int(real_count), synthetic, target)
        for series, value in zip(values, numbers, strict=True):
            own = series.setdefault(group, {})
            if np.isfinite(sum(numbers)):
                own[int(seed)] = value
    first, second = (with_averages(series) for series in values)
    return [_group_row(group, metric, first[group], second[group], rng) for group in first]


def _group_row(
    group: Group, metric: str, first: Series, second: Series, rng: np.random.Generator
) -> dict[str, Value]:
    """Both hold the same seeds."""
    differences = np.array([second[seed] - first[seed] for seed in first], np.float64)
    found = mean_interval(differences)
    return {
        **group._asdict(),
        "metric": metric,
        "first": mean_interval(np.array(list(first.values()), np.float64)).mean,
        "second": mean_interval(np.array(list(second.values()), np.float64)).mean,
        "difference": found.mean,
        "low": found.low,
        "high": found.high,
        "num_seeds": found.num,
        "p": sign_flip_p(differences, rng),
        "note": power_note(found.num) if found.num else "no seed has all cells in both sweeps",
    }


def differing_settings(
    first: Mapping[str, str], second: Mapping[str, str]
) -> list[dict[str, Value]]:
    """Keys whose values differ, or that one sweep lacks (None)."""
    keys = sorted(first.keys() | second.keys())
    return [
        {"key": key, "first": first.get(key), "second": second.get(key)}
        for key in keys
        if first.get(key) != second.get(key)
    ]
