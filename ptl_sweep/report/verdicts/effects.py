"""On which targets AP50 changes, and how two values of synthetic differ."""

from collections import Counter
from collections.abc import Mapping, Sequence

import polars as pl

from ptl_sweep.report.evidence import plural
from ptl_sweep.report.verdicts.claim_row import POINTS, ClaimRow, read_claims
from ptl_sweep.study.claims.claim import MIN_SEEDS, Verdict
from ptl_sweep.study.claims.table import Statement


def effects(claims: pl.DataFrame) -> list[str]:
    """On which targets AP50 changes; the targets of one value of synthetic are a family."""
    rows = read_claims(claims, Statement.TARGET_EFFECT)
    keys = dict.fromkeys((row.dataset, row.treated) for row in rows)
    sentences = [_by_target([r for r in rows if (r.dataset, r.treated) == key]) for key in keys]
    contrasts = read_claims(claims, Statement.CONTRAST)
    sizes = Counter(row.dataset for row in contrasts)  # of their families
    return [*sentences, *(_contrast(row) + _tested(row, sizes) for row in contrasts)] or [
        "No effect: this sweep has no value of synthetic beside off."
    ]


def _by_target(rows: Sequence[ClaimRow]) -> str:
    each = "; ".join(
        f"{row.target} {POINTS * row.value:+.1f} points ({row.bounds()})" for row in rows
    )
    name, found = rows[0].name, [row for row in rows if row.verdict is Verdict.FOUND]
    if any(row.verdict is Verdict.OPEN for row in rows):
        fewest = min(row.num_seeds for row in rows)
        opening = (
            f"No verdict by target for {name} ({plural(fewest, 'seed')}, {MIN_SEEDS} are needed)"
        )
    elif not found:
        opening = f"No evidence that {name} change AP50 on any target"
    else:
        parts = [
            f"{verb} it on {', '.join(str(row.target) for row in own)}"
            for verb, own in (
                ("raise", [row for row in found if row.value > 0]),
                ("lower", [row for row in found if row.value < 0]),
            )
            if own
        ]
        rest = len(rows) - len(found)
        opening = f"AP50 by target: {name} {' and '.join(parts)}"
        opening += f", no evidence on {plural(rest, 'other')}" if rest else ""
    family = rows[0].family
    if family in ("", "targets"):
        family = plural(len(rows), "target")
    return f"{opening}: {each}; adjusted for {family}."


def _contrast(row: ClaimRow) -> str:
    arms = f"synthetic={row.treated} and synthetic={row.reference}"
    change = f"{POINTS * row.value:+.1f} points, {row.bounds()} ({row.scope})"
    if row.verdict is Verdict.OPEN:
        return f"No verdict between {arms} ({row.seeds}, {MIN_SEEDS} are needed): {change}."
    if row.verdict is Verdict.NONE:
        return f"No evidence that {arms} differ in AP50: {change}."
    side = "higher" if row.value > 0 else "lower"
    return f"AP50 is {side} with synthetic={row.treated} than with {row.reference}: {change}."


def _tested(row: ClaimRow, sizes: Mapping[str, int]) -> str:
    """An interval without zero is not enough among many contrasts: the p that decides."""
    if row.verdict is Verdict.OPEN:
        return ""
    num = sizes[row.dataset]
    over = f", adjusted for {plural(num, 'contrast')}" if num > 1 else ""
    return f" Exact sign-flip test: p = {row.p_family:.3g}{over}."
