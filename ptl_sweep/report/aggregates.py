"""Rows of the page's tables that the study holds per seed or per cell: means, shares, wording."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import rankdata

from ptl_sweep.distance.sample_size_bias import DriftRow
from ptl_sweep.report.answers import equivalent_text, real_counts
from ptl_sweep.study.groups import number, text
from ptl_sweep.study.statistics import mean_interval
from ptl_sweep.study.study import PoolSelection
from ptl_sweep.vocabulary import ALL_TARGETS, BANDS, NEARNESS, OFF, SIZES, Row, Value

GROUP = ("dataset", "real_count", "synthetic", "target")
OVER_TARGETS = "mean"  # what the page calls a row over all targets


def groups(rows: Iterable[Row], keys: Sequence[str]) -> dict[tuple[Value, ...], list[Row]]:
    """Rows by the values of these columns, in the order in which they occur."""
    found: dict[tuple[Value, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), []).append(row)
    return found


def values(rows: Iterable[Row], column: str) -> Float[ndarray, " n"]:
    """The finite values of a column."""
    found = np.array([number(row, column) for row in rows], np.float64)
    return found[np.isfinite(found)]


def mean(rows: Iterable[Row], column: str) -> float:
    """Mean of the finite values of a column; NaN without one."""
    found = values(rows, column)
    return float(found.mean()) if len(found) else np.nan


def effect_lines(summary: Sequence[Row]) -> list[dict[str, Value]]:
    """The AP50 rows, `off` first within a count, with the texts of the intervals."""
    rows = [row for row in summary if row["metric"] == "AP50"]
    rows.sort(
        key=lambda row: (
            text(row, "dataset"),
            number(row, "real_count") if row["real_count"] is not None else np.inf,
            text(row, "target"),
            row["synthetic"] != OFF,
            text(row, "synthetic"),
        )
    )
    return [
        {
            **row,
            "target": OVER_TARGETS if row["target"] == ALL_TARGETS else row["target"],
            "images_shown": bounds_text(row, "image_low", "image_high"),
            "equivalent_shown": equivalent_text(row, summary),
            "ratio_shown": _ratio(row, summary),
        }
        for row in rows
    ]


def bounds_text(row: Row, low: str, high: str) -> str:
    """`-1.0 to +2.5` in hundredths; empty without bounds."""
    ends = 100 * np.array([number(row, low), number(row, high)])
    return f"{ends[0]:+.1f} to {ends[1]:+.1f}" if np.isfinite(ends).all() else ""


def _ratio(row: Row, summary: Sequence[Row]) -> str:
    ratio = number(row, "replacement_ratio")
    if np.isnan(ratio):
        return ""
    counts = real_counts(summary, text(row, "dataset"))
    count = number(row, "real_count")
    if np.isposinf(ratio):
        return f"> {max(counts) / count:.1f}"
    return f"< {min(counts) / count:.1f}" if ratio <= 0 else f"{ratio:.2f}"


def spread_lines(spreads: Sequence[Row]) -> list[dict[str, Value]]:
    """Median and quartiles of the equal_n distance over all scores: means over seeds."""
    rows = [row for row in spreads if row["variant"] == "equal_n" and not row["band"]]
    columns = ("num", "lower_quartile", "median", "upper_quartile")
    return [
        {
            **dict(zip((*GROUP, "kind"), key, strict=True)),
            **{column: mean(own, column) for column in columns},
            "num_seeds": len(values(own, "median")),
        }
        for key, own in groups(rows, (*GROUP, "kind")).items()
    ]


def error_lines(errors: Sequence[Row]) -> list[dict[str, Value]]:
    """AP50 that a type of false positive costs: means over seeds, the dearest first."""
    lines: list[dict[str, Value]] = []
    for key, own in groups(errors, (*GROUP, "type")).items():
        gain = mean_interval(values(own, "gain"))
        lines.append(
            {
                **dict(zip((*GROUP, "type"), key, strict=True)),
                **{column: mean(own, column) for column in ("num", "AP50", "AP50_without")},
                "gain": gain.mean,
                "gain_low": gain.low,
                "gain_high": gain.high,
                "num_seeds": gain.num,
            }
        )
    return sorted(lines, key=lambda line: -float(np.nan_to_num(number(line, "gain"))))


def composition_lines(false_positives: Sequence[Row]) -> list[dict[str, Value]]:
    """How the false positives of a type split by score, size and distance, as shares."""
    lines: list[dict[str, Value]] = []
    for key, own in groups(false_positives, ("dataset", "synthetic", "type")).items():
        total = float(values(own, "num").sum())
        line: dict[str, Value] = dict(zip(("dataset", "synthetic", "type"), key, strict=True))
        line["num"] = total
        for column, names, prefix in (
            ("band", BANDS, ""), ("size", SIZES, "size_"), ("nearness", NEARNESS, ""),
        ):  # fmt: skip
            for name in names:
                part = values((row for row in own if row[column] == name), "num").sum()
                line[prefix + name] = float(part) / total if total else np.nan
        lines.append(line)
    return sorted(lines, key=lambda line: -number(line, "num"))


def nearer_probability(selection: PoolSelection) -> float:
    """Probability that a selected image has a smaller gap than one left, ties half; Mann-Whitney.

    NaN when all or none were selected, or no image has a finite gap.
    """
    chosen = selection.selected
    num, rest = int(chosen.sum()), int((~chosen).sum())
    if not num or not rest or not np.isfinite(selection.gap).any():
        return np.nan
    ranks = rankdata(selection.gap)
    farther = float(ranks[chosen].sum()) - num * (num + 1) / 2
    return 1 - farther / (num * rest)


def selection_lines(selections: Sequence[PoolSelection]) -> list[dict[str, Value]]:
    """Per training set and iteration: size of the pool, gaps of selected and left images."""
    rows = [_selection_row(one) for one in selections]
    keys = ("dataset", "real_count", "synthetic", "iteration")
    columns = ("pool", "selected", "undetected", "gap_selected", "gap_left")
    lines: list[dict[str, Value]] = []
    for key, own in groups(rows, keys).items():
        nearer = mean_interval(values(own, "nearer"))
        lines.append(
            {
                **dict(zip(keys, key, strict=True)),
                **{column: mean(own, column) for column in columns},
                "nearer": nearer.mean,
                "nearer_low": nearer.low,
                "nearer_high": nearer.high,
                "num_seeds": nearer.num,
            }
        )
    return lines


def _selection_row(one: PoolSelection) -> dict[str, Value]:
    finite = np.isfinite(one.gap)
    medians = [
        float(np.median(one.gap[mask])) if mask.any() else np.nan
        for mask in (finite & one.selected, finite & ~one.selected)
    ]
    return {
        "dataset": one.dataset, "real_count": one.real_count, "synthetic": one.synthetic,
        "seed": one.seed, "iteration": one.iteration,
        "pool": len(one.gap), "selected": int(one.selected.sum()),
        "undetected": float(np.mean(~finite)) if len(finite) else np.nan,
        "gap_selected": medians[0], "gap_left": medians[1],
        "nearer": nearer_probability(one),
    }  # fmt: skip


def drift_lines(drift: Sequence[DriftRow]) -> list[dict[str, Value]]:
    """The simulation's rows in the page's words, n rising within each block."""
    blocks = list(dict.fromkeys((row.spectrum, row.shifted) for row in drift))
    rows = sorted(drift, key=lambda row: (blocks.index((row.spectrum, row.shifted)), row.n))
    words = {False: "same distribution", True: "shifted"}
    return [row._asdict() | {"shifted": words[row.shifted]} for row in rows]


def gaussian_lines(gaussians: Sequence[Row]) -> list[Row]:
    """Those with a warning first."""
    return sorted(gaussians, key=lambda row: not row.get("warning"))
