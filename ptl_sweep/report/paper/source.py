"""What the tables for a paper are made of."""

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import polars as pl

from ptl_sweep.study.schemas import SUMMARY, TRAIN2TEST


class PaperSource(NamedTuple):
    """Tables of a sweep, and what its plan knows of the trainings."""

    iteration_rows: pl.DataFrame  # iterations.csv
    results: pl.DataFrame  # results.csv
    claims: pl.DataFrame  # claims.csv
    score_thresholds: Sequence[float]  # of AP_t2t
    steps: Mapping[tuple[str, str], Set[int]]  # of the tested detector, by dataset and synthetic
    axes: Sequence[str] = ()  # of the sweep: columns of results
    spreads: pl.DataFrame = TRAIN2TEST.to_frame()  # train2test.csv
    summary: pl.DataFrame = SUMMARY.to_frame()  # summary.csv
