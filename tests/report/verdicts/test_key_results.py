"""A key result without a number, for want of targets or seeds, has no unit in the table."""

import numpy as np
import polars as pl
from helpers.null_grids import POINTS, nothing

from ptl_sweep.report.verdicts.key_results import TEXTS, key_result_lines
from ptl_sweep.study.claims.table import claims


def test_a_number_has_its_unit_and_a_missing_one_has_none() -> None:
    table = claims(nothing(6, 3, np.random.default_rng(0)), POINTS)
    units = [text.unit for text in TEXTS.values()]
    numbers = key_result_lines(table)["number"].to_list()
    assert len(numbers) == len(units)
    assert all(one.endswith(unit) for one, unit in zip(numbers, units, strict=True))
    missing = key_result_lines(table.with_columns(value=pl.lit(np.nan)))["number"].to_list()
    assert missing == ["-"] * len(units)
