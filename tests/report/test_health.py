"""Health is one table: like warnings are one row, the worst stands first."""

import dataclasses
from pathlib import Path

import pytest
from helpers.demo_context import demo_context

from ptl_sweep.report import ReportContext
from ptl_sweep.report.health import health_lines


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    folder: Path = tmp_path_factory.mktemp("pictures")
    return demo_context(folder, num_seeds=2, counts=(20, 50))


def test_failures_come_first_then_missing_values_warnings_and_dropped_boxes(
    context: ReportContext,
) -> None:
    lines = health_lines(context)
    assert lines["kind"].unique(maintain_order=True).to_list() == [
        "stage failed", "cells with missing values", "warning", "boxes left out by the reader"
    ]  # fmt: skip
    (failure,) = context.failures
    assert failure.key in lines["place"][0]
    assert failure.log in lines["place"][0]
    assert lines.filter(text="outside the image")["num"].to_list() == [2]


def test_the_same_warning_of_many_stages_is_one_row_that_counts_them(
    context: ReportContext,
) -> None:
    warnings = [f"ptl-{seed}: no finite domain gap" for seed in range(4)]
    warnings += ["7 more such changes: columns _rematched of results.csv"]
    lines = health_lines(dataclasses.replace(context, warnings=warnings)).filter(kind="warning")
    assert lines.select("num", "text", "place").rows() == [
        (4, "no finite domain gap", "ptl-0 and 3 others"),
        (1, "7 more such changes: columns _rematched of results.csv", ""),
    ]


def test_a_sweep_without_trouble_has_no_row(context: ReportContext) -> None:
    rows = context.study.rows.with_columns(reason=None)
    study = dataclasses.replace(context.study, rows=rows)
    calm = dataclasses.replace(context, study=study, warnings=(), failures=(), drops={})
    assert health_lines(calm).is_empty()
