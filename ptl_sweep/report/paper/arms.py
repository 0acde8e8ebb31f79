"""Arms of a study side by side: what each reaches, and what it changes, with verdicts.

The numbers are those of claims.csv: over all targets of another domain and all numbers of real
images, paired within seeds.
"""

from typing import Any

import polars as pl
import polars.selectors as cs

from ptl_sweep.report.paper.layout import GAP, PERCENT, PaperTable, interval_cell, with_gap_note
from ptl_sweep.report.paper.places import AP_COLUMNS
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.study.claims.table import METRIC, Statement
from ptl_sweep.study.groups import split_domains
from ptl_sweep.vocabulary import OFF

CHANGE = f"change of {METRIC} [points]"
VERDICTS = ("found: the change is there. none: no evidence of one. open: fewer than six seeds.",)
UNADJUSTED = (
    "p against off is not adjusted for the number of values of synthetic: that of contrasts is."
)
ADJUSTED = "p is adjusted for the number of {what} where it says so."


def effects(source: PaperSource) -> PaperTable:
    """Every value of `synthetic`: AP50, AP, and the change against real images alone."""
    kept, _ = split_domains(source.results)
    arms = kept.partition_by("dataset", "synthetic", maintain_order=True)
    rows = tuple(_effect_row(source, one) for one in sorted(arms, key=_order))
    return PaperTable(
        title="Effects",
        caption="AP over targets of another domain and numbers of real images, mean over seeds, "
        "and the change against real images alone (off) with its 95 % interval.",
        header=(
            "trained on", "synthetic", "virtual images", "steps", *AP_COLUMNS.values(), CHANGE,
            "p", "verdict", "seeds",
        ),
        rows=rows,
        notes=with_gap_note(
            rows, "steps: of the detector that is tested.", *VERDICTS, UNADJUSTED,
            ADJUSTED.format(what="values of an axis"),
        ),
    )  # fmt: skip


def contrasts(source: PaperSource) -> PaperTable:
    """Every two values of `synthetic` that are not off, the first minus the second."""
    found = _of(source.claims, Statement.CONTRAST).filter(pl.col("target").is_null())
    rows = tuple(
        (row["dataset"], row["treated"], row["reference"], *judged_cells(row))
        for row in found.iter_rows(named=True)
    )
    return PaperTable(
        title="Contrasts",
        caption="AP50 of one way to train minus that of another, over targets of another domain "
        "and numbers of real images, paired within seeds, with the 95 % interval.",
        header=("trained on", "synthetic", "minus", CHANGE, "p", "verdict", "seeds"),
        rows=rows,
        notes=with_gap_note(rows, *VERDICTS, ADJUSTED.format(what="contrasts")),
    )


def _order(arm: pl.DataFrame) -> tuple[str, bool, str]:
    """Real images alone first."""
    dataset, name = arm.select("dataset", "synthetic").row(0)
    return dataset, name != OFF, name


def _effect_row(source: PaperSource, arm: pl.DataFrame) -> tuple[str, ...]:
    dataset, name = arm.select("dataset", "synthetic").row(0)
    found = _of(source.claims, Statement.EFFECT).filter(dataset=dataset, treated=name)
    seeds = _whole_seeds(arm)
    judged = (GAP, GAP, GAP, str(len(seeds)))
    if len(found):
        judged = judged_cells(found.row(0, named=True))
    return (
        dataset,
        name,
        " / ".join(str(count) for count in sorted(set(arm["num_synthetic"].drop_nulls()))) or GAP,
        " / ".join(str(count) for count in sorted(source.steps.get((dataset, name), ()))) or GAP,
        *(interval_cell(seeds[column], PERCENT) for column in AP_COLUMNS),
        *judged,
    )


def _whole_seeds(arm: pl.DataFrame) -> pl.DataFrame:
    """Mean of each seed that has a number in every cell, so that all are about the same cells."""
    columns = list(AP_COLUMNS)
    means = arm.group_by("seed", maintain_order=True).agg(
        pl.col(columns).cast(pl.Float64).mean(),
        is_whole=pl.all_horizontal(pl.col(columns).is_finite().fill_null(value=False)).all(),
    )
    return means.filter("is_whole")


def _of(claims: pl.DataFrame, statement: Statement) -> pl.DataFrame:
    return rows_about(claims, statement).filter(metric=METRIC)


def rows_about(claims: pl.DataFrame, statement: Statement) -> pl.DataFrame:
    """Rows of a statement itself, not of what it is judged by; NaN as null."""
    found = claims.filter(pl.col("part").fill_null("") == "", statement=statement)
    return found.with_columns(cs.float().fill_nan(None))


def judged_cells(row: dict[str, Any]) -> tuple[str, str, str, str]:
    """Change with interval, p, verdict and seeds of a row of `rows_about`, as printed."""
    if row["value"] is None:  # no seed has both
        return GAP, GAP, str(row["verdict"]), str(row["num_seeds"] or 0)
    text = f"{PERCENT * row['value']:+.1f}"
    if row["low"] is not None:
        text += f" [{PERCENT * row['low']:+.1f}, {PERCENT * row['high']:+.1f}]"
    p, adjusted = row["p"], row["p_family"]
    shown = f"{adjusted:.3f} adj." if adjusted is not None else GAP if p is None else f"{p:.3f}"
    return text, shown, str(row["verdict"]), str(row["num_seeds"])
