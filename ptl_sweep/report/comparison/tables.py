"""Tables of the page of two sweeps: contrasts, what is compared, cells, settings."""

from collections.abc import Mapping, Sequence

import polars as pl

from ptl_sweep.report.aggregates import OVER_TARGETS
from ptl_sweep.report.columns import REAL, SEED, SEEDS, SOURCE, TARGET
from ptl_sweep.report.comparison.sentences import Names
from ptl_sweep.report.comparison.settings import ComparedValues
from ptl_sweep.report.tables import PageColumn, PageTable, make_table
from ptl_sweep.study.claims.between import ARMS

TREATED = PageColumn("treated", "synthetic", "this sweep")
REFERENCE = PageColumn("reference", "synthetic", "the other")
VALUES = [
    TREATED,
    REFERENCE,
    PageColumn("num_pairs", "cells", "in both", 1, 0),
    PageColumn("num_shared", "of them", "one stage", 1, 0),
    PageColumn("num_evaluated", "of them", "one detector", 1, 0),
    PageColumn("differs_in", "the others differ in", style="long"),
]
LACKING = [
    SOURCE,
    REAL,
    PageColumn("synthetic", "synthetic"),
    TARGET,
    SEED,
    PageColumn("only_in", "only in"),
    PageColumn("status", "status"),
]


def contrast_table(contrasts: pl.DataFrame, metrics: Mapping[str, str], names: Names) -> PageTable:
    """Every row of the contrasts; `metrics`: column -> what the page calls it."""
    levels = [
        PageColumn(f"{arm}_level", metric, f"%, {name}", 100)
        for arm, metric, name in zip(ARMS, ("this", "other"), names, strict=True)
    ]
    bounds = ("low", "high")
    columns = [
        PageColumn("metric", "metric"),
        SOURCE,
        REAL,
        TARGET,
        TREATED,
        REFERENCE,
        *levels,
        PageColumn("value", "difference", "points [over seeds]", 100, sign="+", bounds=bounds),
        SEEDS,
        PageColumn("p", "p", "sign flips", 1, 3),
        PageColumn("p_family", "p", "in its family", 1, 3),
        PageColumn("family", "family", "of one metric"),
        PageColumn("verdict", "verdict", "over trainings"),
    ]
    rows = contrasts.with_columns(
        pl.col("metric").replace(metrics), pl.col("target").fill_null(OVER_TARGETS)
    )
    return make_table(
        "contrasts", "This sweep minus the other", columns, _in_series(rows), can_filter=True
    )


def value_table(values: Sequence[ComparedValues]) -> PageTable:
    """How many cells stand behind each contrast, and what it is about."""
    rows = pl.DataFrame(values, ComparedValues._fields, orient="row")
    return make_table("values", "What is compared", VALUES, _in_series(rows))


def cell_table(pairs: pl.DataFrame, metrics: Mapping[str, str]) -> PageTable:
    """Both values of every metric and their difference, cell by cell."""
    columns = [SOURCE, REAL, TARGET, SEED, TREATED, REFERENCE]
    for metric, shown in metrics.items():
        columns += [
            PageColumn(metric, shown, "% this", 100),
            PageColumn(f"{metric}_reference", shown, "% other", 100),
            PageColumn(f"{metric}_difference", shown, "points", 100, sign="+"),
        ]
    columns.append(PageColumn("is_shared", "one stage"))
    rows = pairs.with_columns(
        *(
            (pl.col(metric) - pl.col(f"{metric}_reference")).alias(f"{metric}_difference")
            for metric in metrics
        ),
        is_shared=pl.when("is_shared").then(pl.lit("yes")).otherwise(pl.lit("")),
    )
    return make_table("cells", "Cells of both sweeps", columns, _in_series(rows), can_filter=True)


def settings_table(settings: pl.DataFrame, names: Names) -> PageTable:
    """Keys of the configuration whose values differ."""
    columns = [
        PageColumn("key", "key"),
        *(PageColumn(arm, name, style="long") for arm, name in zip(ARMS, names, strict=True)),
    ]
    return make_table("settings", "Settings that differ", columns, settings)


def lacking_table(lacking: pl.DataFrame) -> PageTable:
    """Cells of the compared values that one sweep alone has."""
    return make_table("lacking", "Cells of one sweep only", LACKING, lacking, can_filter=True)


def _in_series(rows: pl.DataFrame) -> pl.DataFrame:
    """The toggles of the page hide a row by this sweep's value of synthetic."""
    return rows.with_columns(synthetic="treated")
