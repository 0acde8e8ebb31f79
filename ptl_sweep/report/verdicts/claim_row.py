"""A row of claims.csv and how its numbers are worded."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ptl_sweep.compose.cells.ids import name_before_axes, values_after_name
from ptl_sweep.report.evidence import plural
from ptl_sweep.study.claims.claim import Agreement, Verdict
from ptl_sweep.study.claims.table import Statement

ADD_IMAGES = ("on", "random", "raw")  # of conf/synthetic; a name of somebody's own says less
POINTS = 100  # hundredths


class ClaimRow(NamedTuple):
    """One row of claims.csv."""

    statement: Statement
    part: str
    dataset: str
    treated: str
    reference: str
    real_count: int | None
    target: str | None
    real_counts: str
    targets: str
    metric: str
    verdict: Verdict
    agreement: Agreement | None
    value: float
    low: float
    high: float
    num_seeds: int
    p: float
    family: str
    p_family: float
    control: float
    control_low: float
    control_high: float
    disagreeing: str
    undecided: str

    @property
    def name(self) -> str:
        """What a sentence calls the treated arm."""
        return arm_name(self.treated + values_after_name(self.dataset))

    @property
    def scope(self) -> str:
        """What the number is a mean over."""
        noun = "target" if "," not in self.targets else "targets"
        return (
            f"mean over the {noun} {self.targets} and {self.real_counts} real images of "
            f"{self.dataset}"
        )

    @property
    def seeds(self) -> str:
        """`6 seeds`."""
        return plural(self.num_seeds, "seed")

    @property
    def shown_verdict(self) -> Verdict:
        """Of the sentence: what contradicts a statement was found, though the statement was not."""
        return Verdict.FOUND if self.agreement is Agreement.CONTRADICTED else self.verdict

    def bounds(self, scale: float = POINTS, decimals: int = 1) -> str:
        """`95 % interval +6.0 to +10.8 over 6 seeds`; `no interval with 1 seed`."""
        if np.isnan(self.low + self.high):
            return f"no interval with {self.seeds}"
        low, high = (f"{scale * end:+.{decimals}f}" for end in (self.low, self.high))
        return f"95 % interval {low} to {high} over {self.seeds}"


def arm_name(synthetic: str) -> str:
    """What a sentence calls a value of `synthetic`; one of somebody's own may add no image."""
    if name_before_axes(synthetic) in ADD_IMAGES:
        return f"synthetic images ({synthetic})"
    return f"the settings of {synthetic}"


def read_claims(
    claims: pl.DataFrame, statement: Statement, *, parts: bool = False
) -> list[ClaimRow]:
    """The rows of one statement; with `parts`, what it is judged by instead of itself."""
    is_part = pl.col("part").fill_null("") != ""
    own = claims.lazy().filter(pl.col("statement") == statement, is_part if parts else ~is_part)
    filled = own.with_columns(
        pl.col("part", "treated", "reference", "family", "disagreeing", "undecided").fill_null(""),
        pl.col("num_seeds").fill_null(0),
    )
    return [_read(row) for row in filled.select(ClaimRow._fields).collect().iter_rows()]


def _read(row: Sequence[object]) -> ClaimRow:
    values = dict(zip(ClaimRow._fields, row, strict=True))
    agreement = values["agreement"]
    typed = {
        "statement": Statement(str(values["statement"])),
        "verdict": Verdict(str(values["verdict"])),
        "agreement": None if agreement is None else Agreement(str(agreement)),
    }
    return ClaimRow(**(values | typed))  # type: ignore[arg-type]
