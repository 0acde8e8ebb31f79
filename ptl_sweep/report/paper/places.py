"""Where a table has rows, what it compares there, and the values of each seed."""

from typing import NamedTuple

import polars as pl

from ptl_sweep.vocabulary import OFF

AP_COLUMNS = {"AP50": "AP50 [%]", "AP": "AP [%]"}


class PaperPlace(NamedTuple):
    """Cells that differ in seed, `synthetic` and iteration only."""

    dataset: str
    target: str
    real_count: int

    @property
    def labels(self) -> tuple[str, str, str]:
        """As printed."""
        return self.dataset, self.target, str(self.real_count)


class Method(NamedTuple):
    """A way to train; `off` is iteration 0 of every other one."""

    synthetic: str
    iteration: int


def places(rows: pl.DataFrame) -> list[PaperPlace]:
    """Where there are cells, failed and missing ones included, in the order of display."""
    unique = rows.select(PaperPlace._fields).unique().sort(PaperPlace._fields)
    return [PaperPlace(*row) for row in unique.iter_rows()]


def last_iterations(rows: pl.DataFrame) -> list[Method]:
    """Per value of `synthetic` but off the last iteration that was planned."""
    planned = rows.filter(pl.col("synthetic") != OFF, pl.col("iteration").is_not_null())
    last = planned.group_by("synthetic").agg(pl.col("iteration").max()).sort("synthetic")
    return [Method(*row) for row in last.iter_rows()]


def seed_values(rows: pl.DataFrame, place: PaperPlace, method: Method, column: str) -> pl.DataFrame:
    """`seed` and `value`; cells without a number are left out."""
    own = rows.filter(pl.col(column).is_finite(), **place._asdict(), iteration=method.iteration)
    if method.synthetic != OFF:
        own = own.filter(synthetic=method.synthetic)
    value = pl.col(column).cast(pl.Float64)
    return own.select("seed", value=value).unique("seed", keep="last", maintain_order=True)
