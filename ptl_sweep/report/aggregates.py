"""Tables of the page that the study holds per seed or per cell: means, shares, wording."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from ptl_sweep.distance.sample_size_bias import DriftRow
from ptl_sweep.report.evidence import (
    GroupSummary,
    axes_of,
    equivalent_text,
    group_summaries,
    read_contrasts,
)
from ptl_sweep.study.claims.selection import nearer_probability
from ptl_sweep.study.statistics import mean_interval
from ptl_sweep.study.study import PoolSelection, TranslationGap
from ptl_sweep.vocabulary import ALL_TARGETS, BANDS, NEARNESS, OFF, SIZES, bounded

GROUP = ("dataset", "real_count", "synthetic", "target")
OVER_TARGETS = "mean"  # what the page calls a row over all targets
SELECTION = pl.Schema(
    {
        "dataset": pl.String, "real_count": pl.Int64, "synthetic": pl.String, "seed": pl.Int64,
        "iteration": pl.Int64, "pool": pl.Int64, "selected": pl.Int64, "undetected": pl.Float64,
        "gap_selected": pl.Float64, "gap_left": pl.Float64, "nearer": pl.Float64,
        **dict.fromkeys(TranslationGap._fields, pl.Float64),
    }
)  # fmt: skip
NOT_TRANSLATED = (np.nan,) * len(TranslationGap._fields)


def _mean(*columns: str) -> pl.Expr:
    """Means of columns over what is a number."""
    return pl.col(columns).fill_nan(None).mean()


def with_intervals(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """A column of lists, a value per seed, as mean, bounds and `num_seeds`."""
    found = [mean_interval(values.to_numpy().astype(np.float64)) for values in rows[column]]
    ends = np.array([one.bounded for one in found], np.float64).reshape(-1, 3)
    return rows.with_columns(
        *(pl.Series(name, ends[:, place]) for place, name in enumerate(bounded(column))),
        pl.Series("num_seeds", [one.num for one in found], pl.Int64),
    )


def effect_lines(summary: pl.DataFrame) -> pl.DataFrame:
    """The AP50 rows, `off` first within a count, with the texts of the intervals."""
    rows = summary.filter(metric="AP50").sort(
        "dataset", "real_count", "target", pl.col("synthetic") != OFF, "synthetic", nulls_last=True
    )
    counts = {
        dataset: axes_of(summary.filter(dataset=dataset)).real_counts
        for dataset in summary["dataset"].unique()
    }
    texts = [
        (
            bounds_text(*one.over_images),
            equivalent_text(one.worth, counts[one.group.dataset]),
            _ratio(one, counts[one.group.dataset]),
        )
        for one in group_summaries(rows)
    ]
    names = ("images_shown", "equivalent_shown", "ratio_shown")
    shown = pl.DataFrame(texts, schema=dict.fromkeys(names, pl.String), orient="row")
    target = pl.col("target").replace(ALL_TARGETS, OVER_TARGETS)
    return pl.concat([rows.with_columns(target), shown], how="horizontal")


def bounds_text(low: float, high: float) -> str:
    """`-1.0 to +2.5` in hundredths; empty without bounds."""
    return f"{100 * low:+.1f} to {100 * high:+.1f}" if np.isfinite(low + high) else ""


def _ratio(one: GroupSummary, counts: Sequence[int]) -> str:
    count = one.group.real_count
    if count is None or np.isnan(one.ratio):
        return ""
    if np.isposinf(one.ratio):
        return f"> {max(counts) / count:.1f}"
    return f"< {min(counts) / count:.1f}" if one.ratio <= 0 else f"{one.ratio:.2f}"


def contrast_lines(contrasts: pl.DataFrame) -> pl.DataFrame:
    """The contrasts, with the text of the interval over test images."""
    shown = [bounds_text(*one.claim_over_images) for one in read_contrasts(contrasts)]
    return contrasts.with_columns(pl.Series("images_shown", shown, pl.String))


def spread_lines(spreads: pl.DataFrame) -> pl.DataFrame:
    """Median and quartiles of the equal_n distance over all scores: means over seeds."""
    rows = spreads.filter(pl.col("band").fill_null("") == "", variant="equal_n")
    return rows.group_by(*GROUP, "kind", maintain_order=True).agg(
        _mean("num", "lower_quartile", "median", "upper_quartile"),
        num_seeds=pl.col("median").is_finite().sum(),
    )


def error_lines(errors: pl.DataFrame) -> pl.DataFrame:
    """AP50 that a type of error costs: means over seeds, the dearest first."""
    lines = errors.group_by(*GROUP, "type", maintain_order=True).agg(
        _mean("num", "AP50", "AP50_without", "gain", "AP50_fixed"), "gain_fixed"
    )
    dearest = -pl.col("gain_fixed").fill_nan(0)
    return with_intervals(lines, "gain_fixed").sort(dearest, maintain_order=True)


def composition_lines(false_positives: pl.DataFrame) -> pl.DataFrame:
    """How the false positives of a type split by score, size and distance, as shares."""
    num = pl.col("num")
    parts = [
        (num.filter(pl.col(column) == name).sum() / num.sum()).alias(prefix + name)
        for column, names, prefix in (
            ("band", BANDS, ""), ("size", SIZES, "size_"), ("nearness", NEARNESS, ""),
        )
        for name in names
    ]  # fmt: skip
    lines = false_positives.group_by("dataset", "synthetic", "type", maintain_order=True)
    return lines.agg(num.sum(), *parts).sort(-num, maintain_order=True)


def selection_rows(selections: Sequence[PoolSelection]) -> pl.DataFrame:
    """Per iteration: size of the pool, median gaps of selected, left and translated images."""
    rows = []
    for one in selections:
        finite = np.isfinite(one.gap)
        gaps = [one.gap[mask] for mask in (finite & one.selected, finite & ~one.selected)]
        rows.append(
            (
                one.dataset, one.real_count, one.synthetic, one.seed, one.iteration,
                len(one.gap), int(one.selected.sum()),
                float(np.mean(~finite)) if len(finite) else np.nan,
                *(float(np.median(gap)) if len(gap) else np.nan for gap in gaps),
                nearer_probability(one),
                *(one.translation or NOT_TRANSLATED),
            )
        )  # fmt: skip
    return pl.DataFrame(rows, SELECTION, orient="row")


def selection_lines(selections: Sequence[PoolSelection]) -> pl.DataFrame:
    """Per training set and iteration: means over seeds of `selection_rows`."""
    keys = ("dataset", "real_count", "synthetic", "iteration")
    means = ("pool", "selected", "undetected", "gap_selected", "gap_left", *TranslationGap._fields)
    rows = selection_rows(selections).group_by(*keys, maintain_order=True)
    return with_intervals(rows.agg(_mean(*means), "nearer"), "nearer")


def drift_lines(drift: Sequence[DriftRow]) -> pl.DataFrame:
    """The simulation's rows in the page's words, n rising within each block."""
    blocks = list(dict.fromkeys((row.spectrum, row.shifted) for row in drift))
    rows = sorted(drift, key=lambda row: (blocks.index((row.spectrum, row.shifted)), row.n))
    words = {False: "same distribution", True: "shifted"}
    return pl.DataFrame([row._asdict() | {"shifted": words[row.shifted]} for row in rows])


def gaussian_lines(gaussians: pl.DataFrame) -> pl.DataFrame:
    """Those with a warning first."""
    return gaussians.sort(pl.col("warning").fill_null("") == "", maintain_order=True)
