"""The seed's key results beside our trainings: each agrees, is contradicted, or has no evidence."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ptl_sweep.report.evidence import plural
from ptl_sweep.report.verdicts.claim_row import ClaimRow, read_claims
from ptl_sweep.study.claims.claim import MIN_SEEDS, Agreement, Verdict
from ptl_sweep.study.claims.medium_confidence import READINGS
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.study.statistics import SIGNIFICANCE


class KeyResultText(NamedTuple):
    """How the page words a key result."""

    statement: str
    unit: str
    scale: float
    control: str  # what stands beside the number


TEXTS = {
    Statement.MEDIUM: KeyResultText(
        "AP_t2t gains most at medium confidence", "points", 100, "from more real images"
    ),
    Statement.RISES_ONLY: KeyResultText(
        "AP_t2t above a medium score rises with real images only when synthetic images are used",
        "points per doubling, with minus without", 100, "without synthetic images",
    ),
    Statement.REPLACEMENT: KeyResultText(
        "The ability to replace real images grows with their number",
        "points of effect per doubling", 100, "",
    ),
    Statement.TARGETS_DIFFER: KeyResultText(
        "The effect differs between test sets", "points between targets", 100, ""
    ),
    Statement.FALSE_POSITIVES: KeyResultText(
        "Test sets differ through their false positives, true positives change alike",
        "d² between targets, false positives", 1, "true positives",
    ),
}  # fmt: skip


def key_result_lines(
    claims: pl.DataFrame, mark: Callable[[ClaimRow], str] = lambda _: ""
) -> pl.DataFrame:
    """One line per key result, source and value of synthetic, in the words of the page.

    `mark` says what a row rests on and does not hold.
    """
    rows = [
        {
            "statement": text.statement,
            "dataset": row.dataset,
            "synthetic": row.treated,
            "agreement": _verdict(row),
            "p_family": row.p_family,
            "number": _number(row, text),
            "control": _control(row, text),
            "readings": "; ".join(filter(None, (_readings(row), mark(row)))),
        }
        for statement, text in TEXTS.items()
        for row in read_claims(claims, statement)
    ]
    names = ("statement", "dataset", "synthetic", "agreement", "number", "control", "readings")
    schema = dict.fromkeys(names, pl.String()) | {"p_family": pl.Float64()}
    return pl.DataFrame(rows, schema=schema)


def key_results(claims: pl.DataFrame) -> list[str]:
    """How many of them agree, per (source, value of synthetic): a family, so p is adjusted."""
    rows = [row for statement in TEXTS for row in read_claims(claims, statement)]
    keys = dict.fromkeys((row.dataset, row.treated) for row in rows)
    return [_count([r for r in rows if (r.dataset, r.treated) == key]) for key in keys]


def _count(all_rows: Sequence[ClaimRow]) -> str:
    rows = [row for row in all_rows if row.num_seeds]  # others have no number in this grid
    name = all_rows[0].name
    if not rows:
        return f"This sweep has no number of any key result of the paper for {name}."
    found = [row.agreement for row in rows if row.p_family <= SIGNIFICANCE]
    agree, against = found.count(Agreement.AGREES), found.count(Agreement.CONTRADICTED)
    rest = len(rows) - agree - against
    return (
        f"Of {plural(len(rows), 'key result')} of the paper that this sweep can look at, {agree} "
        f"{'agrees' if agree == 1 else 'agree'} with {name}, {against} "
        f"{'is' if against == 1 else 'are'} contradicted, and {rest} "
        f"{'has' if rest == 1 else 'have'} no evidence"
        f"{_too_few(rows)}{_adjustment(rows, agree + against)}."
    )


def _too_few(rows: Sequence[ClaimRow]) -> str:
    """Say which rows have too few seeds for a verdict; empty: none."""
    most, fewest = (end(row.num_seeds for row in rows) for end in (max, min))
    if most < MIN_SEEDS:
        return f" ({plural(most, 'seed')}, {MIN_SEEDS} are needed)"
    return f" (some with fewer than {MIN_SEEDS} seeds)" if fewest < MIN_SEEDS else ""


def _adjustment(rows: Sequence[ClaimRow], num_counted: int) -> str:
    """Over how many tests, and how many verdicts of the table it leaves out of the count."""
    num_tests = int(np.isfinite([row.p_family for row in rows]).sum())
    judged = sum(row.agreement in (Agreement.AGREES, Agreement.CONTRADICTED) for row in rows)
    lost = judged - num_counted
    over = f", adjusted for {num_tests} tests" if num_tests > 1 else ""
    alone = f"; {lost} of these {'has' if lost == 1 else 'have'} evidence only when tested alone"
    return over + (alone if lost else "")


def _verdict(row: ClaimRow) -> str:
    shown = str(row.agreement or Agreement.NO_EVIDENCE)
    is_open = row.verdict is Verdict.OPEN and row.agreement is Agreement.NO_EVIDENCE
    few = f", {row.seeds}" if row.num_seeds else ""  # none: no seed has the number
    return f"{shown}: open{few}" if is_open else shown


def _number(row: ClaimRow, text: KeyResultText) -> str:
    if np.isnan(row.value):
        return "-"
    return f"{_bounded(row.value, row.low, row.high, text.scale)} {text.unit}"


def _control(row: ClaimRow, text: KeyResultText) -> str:
    if np.isnan(row.control):
        return ""
    ends = _bounded(row.control, row.control_low, row.control_high, text.scale)
    return f"{ends} {text.control}"


def _bounded(value: float, low: float, high: float, scale: float) -> str:
    shown = f"{scale * value:+.1f}"
    if np.isnan(low + high):
        return shown
    return f"{shown} [{scale * low:+.1f}, {scale * high:+.1f}]"


def _readings(row: ClaimRow) -> str:
    parts = [("disagree", row.disagreeing), ("not decided", row.undecided)]
    return "; ".join(f"{name}: {_shortened(readings)}" for name, readings in parts if readings)


def _shortened(readings: str) -> str:
    every = "; ".join(one.name for one in READINGS)
    return f"all {len(READINGS)} readings" if readings == every else readings.replace("; ", " | ")
