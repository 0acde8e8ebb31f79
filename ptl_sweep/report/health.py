"""What went wrong in a sweep, or is to be known of it, as one table: the worst first."""

from collections import Counter
from collections.abc import Iterator

import polars as pl

from ptl_sweep.report.context import ReportContext
from ptl_sweep.report.evidence import plural
from ptl_sweep.report.tables import PageColumn

COLUMNS = (
    PageColumn("kind", "what"),
    PageColumn("num", "how many", "", 1, 0),
    PageColumn("text", "why", style="long"),
    PageColumn("place", "where", style="code"),
)
SCHEMA = {
    "kind": pl.String, "num": pl.Int64, "text": pl.String, "place": pl.String, "status": pl.String
}  # fmt: skip


def health_lines(context: ReportContext) -> pl.DataFrame:
    """Failed stages, missing values, warnings of stages and boxes that a reader left out."""
    return pl.DataFrame(list(_lines(context)), SCHEMA, orient="row")


def _lines(context: ReportContext) -> Iterator[tuple[str, int, str, str, str]]:
    for failure in context.failures:
        yield "stage failed", 1, failure.what, f"{failure.key}, {failure.log}", "failed"
    for reason, num in missing_reasons(context.study.rows).items():
        yield "cells with missing values", num, reason, "", "ok"
    for text, places in _warnings(context).items():
        more = f" and {plural(len(places) - 1, 'other')}" if len(places) > 1 else ""
        yield "warning", len(places), text, places[0] + more, "ok"
    for dataset, dropped in context.drops.items():
        for reason, num in dropped.items():
            yield "boxes left out by the reader", num, reason, dataset, "ok"


def missing_reasons(rows: pl.DataFrame) -> Counter[str]:
    """Why values are missing, and in how many cells."""
    return Counter(reason for reason in rows["reason"] if reason)


def _warnings(context: ReportContext) -> dict[str, list[str]]:
    """Stages by what they warn of; a warning begins with the key of its stage, if it has one."""
    places: dict[str, list[str]] = {}
    for warning in context.warnings:
        key, colon, text = warning.partition(": ")
        is_of_stage = bool(colon) and " " not in key
        places.setdefault(text if is_of_stage else warning, []).append(key if is_of_stage else "")
    return places
