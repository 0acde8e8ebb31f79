"""Rows of claims.csv, made by hand, for what words them."""

from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.claims.table import Statement

WHOLE = {
    "part": "", "dataset": "town", "treated": "on", "reference": "off", "real_counts": "20, 100",
    "targets": "field, karst", "metric": "AP50", "verdict": Verdict.FOUND, "value": 0.11,
    "low": 0.085, "high": 0.135, "num_seeds": 6, "p": 0.03125,
}  # fmt: skip


def claim_row(statement: Statement, **changes: object) -> dict[str, object]:
    """An effect of +11 points that six seeds found, and what is changed of it."""
    return {**WHOLE, "statement": statement, **changes}
