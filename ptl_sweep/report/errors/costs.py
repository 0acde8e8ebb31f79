"""What each type of error costs, as a level, and how synthetic images change it, as a verdict."""

from collections.abc import Mapping, Sequence

import polars as pl

from ptl_sweep.report.evidence import bounded_text, off_first, plural
from ptl_sweep.report.verdicts.claim_row import POINTS, ClaimRow, read_claims
from ptl_sweep.study.claims.claim import MIN_SEEDS, Verdict
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.study.groups import split_domains
from ptl_sweep.study.statistics import Interval, mean_interval
from ptl_sweep.vocabulary import ERROR_TYPES, cost_name

CELL = ("dataset", "real_count", "synthetic", "target", "seed")
WORDS = {
    "localisation": "localisation errors",
    "duplicate": "duplicates",
    "background": "background",
    "missed": "persons neither hit nor nearly hit",
    "unhit": "persons that no detection hits",
}


def of_foreign_targets(table: pl.DataFrame, results: pl.DataFrame) -> pl.DataFrame:
    """The rows of those cells that means are about: targets of the source's own domain are out."""
    return table.join(split_domains(results)[0], on=CELL, how="semi")


def error_costs(errors: pl.DataFrame) -> list[str]:
    """What each type costs per source; neither types nor arms are compared.

    Means over the cells of a seed first; seeds that lack a cell are left out.
    """
    found = []
    for dataset in sorted(errors["dataset"].unique()):
        costs = costs_by_type(errors.filter(dataset=dataset))
        if costs:
            each = "; ".join(f"{WORDS[kind]} {_listed(own)}" for kind, own in costs.items())
            found.append(
                f"AP50 that errors cost, in points, trained on {dataset} (fixed as TIDE defines "
                f"it, mean over targets and real counts): {each}."
            )
    return found or ["No error was examined in this sweep."]


def costs_by_type(errors: pl.DataFrame) -> dict[str, dict[str, Interval]]:
    """AP50 gained by fixing a type, per value of synthetic, `off` first."""
    keys = ("type", "synthetic", "seed")
    cells = errors.group_by(*keys, maintain_order=True).agg(
        pl.col("gain_fixed").mean(), num=pl.len()
    )
    complete = cells.filter(pl.col("num") == pl.col("num").max().over("type", "synthetic"))
    found: dict[str, dict[str, Interval]] = {}
    for kind in ERROR_TYPES:
        for synthetic in off_first(complete["synthetic"].unique()):
            own = complete.filter(type=kind, synthetic=synthetic)["gain_fixed"]
            cost = mean_interval(own.to_numpy())
            if cost.num:
                found.setdefault(kind, {})[synthetic] = cost
    return found


def _listed(costs: Mapping[str, Interval]) -> str:
    each = [f"{name} {bounded_text(one.bounded, scale=POINTS)}" for name, one in costs.items()]
    return ", ".join(each) + ("" if any(one.known for one in costs.values()) else " (1 seed)")


def cost_changes(claims: pl.DataFrame) -> list[str]:
    """Whether a value of synthetic changes what a type of error costs; the types are a family."""
    rows = read_claims(claims, Statement.ERROR_COST)
    keys = dict.fromkeys((row.dataset, row.treated) for row in rows)
    return [_change([row for row in rows if (row.dataset, row.treated) == key]) for key in keys]


def _change(rows: Sequence[ClaimRow]) -> str:
    kinds = {cost_name(kind): words for kind, words in WORDS.items()}
    each = "; ".join(
        f"{kinds[row.metric]} {POINTS * row.value:+.1f} points ({row.bounds()})" for row in rows
    )
    name, found = rows[0].name, [row for row in rows if row.verdict is Verdict.FOUND]
    fewest = min(row.num_seeds for row in rows)
    if any(row.verdict is Verdict.OPEN for row in rows):
        opening = (
            f"No verdict on whether {name} change what a type of error costs "
            f"({plural(fewest, 'seed')}, {MIN_SEEDS} are needed)"
        )
    elif not found:
        opening = f"No evidence that {name} change what a type of error costs"
    else:
        parts = [
            f"{side} AP50 is lost to {', '.join(kinds[row.metric] for row in own)}"
            for side, own in (
                ("less", [row for row in found if row.value < 0]),
                ("more", [row for row in found if row.value > 0]),
            )
            if own
        ]
        rest = len(rows) - len(found)
        opening = f"With {name} {' and '.join(parts)}"
        opening += f", no evidence on {plural(rest, 'other type')}" if rest else ""
    return f"{opening}: {each}; {rows[0].scope}, adjusted for {plural(len(rows), 'type')}."
