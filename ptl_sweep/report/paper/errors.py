"""Which errors synthetic images change: AP50 that each type costs, with its verdict."""

import polars as pl

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.report.paper.arms import judged_cells, rows_about
from ptl_sweep.report.paper.layout import GAP, GAP_NOTE, PaperTable
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.vocabulary import ERROR_TYPES, MISSED, UNHIT, cost_name

WORDS = {
    MISSED: "missed persons",
    UNHIT: "persons that no detection hits",
}

ABOUT_COSTS = (
    "A cost is AP50 with these errors fixed, as TIDE defines it, minus AP50; costs do not add up."
)


def errors(source: PaperSource) -> PaperTable:
    """Every type of error by value of `synthetic`: what it costs more than with real images."""
    kinds = {cost_name(kind): kind for kind in ERROR_TYPES}
    found = rows_about(source.claims, Statement.ERROR_COST).filter(
        pl.col("metric").is_in(list(kinds))
    )
    rows = tuple(
        (row["dataset"], row["treated"], _words(kinds[row["metric"]]), *judged_cells(row))
        for row in found.iter_rows(named=True)
    )
    if not rows:
        raise ConfigError(
            "this sweep says nothing of errors: it needs off and another value of synthetic, and a "
            "number of real images at which a seed has both on every target"
        )
    gaps = [GAP_NOTE] if any(GAP in row for row in rows) else []
    return PaperTable(
        title="Errors",
        caption="AP50 that the errors of each type cost, beside what they cost with real images "
        "alone: the change in points with its 95 % interval, over targets of another domain and "
        "numbers of real images.",
        header=("trained on", "synthetic", "errors", "change [points]", "p", "verdict", "seeds"),
        rows=rows,
        notes=(
            ABOUT_COSTS,
            "p is adjusted for the types of error.",
            *gaps,
        ),
    )


def _words(kind: str) -> str:
    return WORDS.get(kind, f"{kind} errors")
