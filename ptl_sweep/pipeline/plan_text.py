"""What a sweep would compute, and why: the table of `plan`, also printed before every run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ptl_sweep.pipeline.costs import StageTime, measured_seconds
from ptl_sweep.pipeline.plan import PLAN, Plan
from ptl_sweep.pipeline.store_listing import StoreListing
from ptl_sweep.pipeline.toy import pool_note
from ptl_sweep.stages.base import KINDS, Stage
from ptl_sweep.stages.inputs import MISSING_WEIGHTS
from ptl_sweep.stages.train import DetectorStage
from ptl_sweep.store import StoreError
from ptl_sweep.terminal import duration, text_table, wrap


@dataclass(frozen=True, slots=True)
class KindCount:
    """One line of the plan table."""

    kind: str
    naive: int
    unique: int
    cached: int
    resumed: int  # of the cached: by an earlier attempt at this sweep, not by another one
    cost: StageTime

    @property
    def to_run(self) -> int:
        """Stages that are not published."""
        return self.unique - self.cached


def grid_line(plan: Plan) -> str:
    """`grid    12 cells = 2 real_count x 2 synthetic x 3 target x 1 seed`."""
    places = [cell.coordinates for cell in plan.cells]
    axes = [*plan.cells[0].id._fields, *plan.axes]
    counts = {axis: len({own[axis] for own in places if axis in own}) for axis in axes}
    shown = [f"{n} {axis}" for axis, n in counts.items() if n > 1 or axis != "dataset"]
    total = len(plan.cells)
    product = 1
    for n in counts.values():
        product *= n
    sign = "=" if product == total else "of"
    return f"grid    {total} cell{'s' * (total != 1)} {sign} {' x '.join(shown)}"


def plan_text(plan: Plan, listing: StoreListing | None = None) -> str:
    """The plan: stages naive, unique, cached and to run, with their time."""
    listing = listing or StoreListing(plan.store)
    lines = kind_counts(plan, listing)
    rows = [_plan_row(line) for line in lines]
    header = [
        "stage", "naive", "unique", "cached", "to run", "per stage",
        "hours naive", "unique", "to run",
    ]  # fmt: skip
    notes = [wrap(note) for note in _notes(plan, listing, lines)]
    return "\n".join([f"sweep   {plan.name}", grid_line(plan), text_table(header, rows), *notes])


def _notes(plan: Plan, listing: StoreListing, lines: Sequence[KindCount]) -> Iterator[str]:
    """What stands below the table."""
    yield "m: measured median, d: default guess; hours of one core (tiny) or one GPU (r50)"
    missing = missing_data(plan)
    if missing:
        yield f"no data yet for {', '.join(missing)}: their keys are provisional"
    if any(line.naive > line.unique for line in lines):
        yield "shared  no training reads the target; synthetic=off is the first detector of on"
    resumed = sum(line.resumed for line in lines)
    if resumed:
        others = sum(line.cached for line in lines) - resumed
        yield f"cached  {resumed} resumed: this sweep's own work; {others} of other sweeps"
    if plan.axes:
        yield f"axes    {axes_note(plan)}"
    reasons = reasons_to_run(plan, listing)
    if reasons:
        yield f"to run  {reasons}"
    power = _power(plan)
    if power:
        yield f"power   {power}"
    note = pool_note(plan)
    if note:
        yield f"note    {note}"


def axes_note(plan: Plan) -> str:
    """Which values of synthetic an axis does not change: they have one cell for all its values."""
    parts = []
    for axis in plan.axes:
        own: dict[str, bool] = {}
        for cell in plan.cells:
            own[str(cell.coordinates["synthetic"])] = cell.axes[axis] is not None
        changed = [name for name, is_changed in own.items() if is_changed]
        rest = [name for name, is_changed in own.items() if not is_changed]
        parts.append(
            f"{axis} changes synthetic={','.join(changed)}"
            + (f", not {','.join(rest)}: one cell for all its values" if rest else "")
        )
    return "; ".join(parts)


def _power(plan: Plan) -> str:
    from ptl_sweep.pipeline.power import power_text  # half a second of SciPy, for these texts alone

    return power_text(plan)


def _plan_row(line: KindCount) -> list[str]:
    seconds = line.cost.seconds
    counts = (line.naive, line.unique, line.cached, line.to_run)
    hours = (f"{n * seconds / 3600:.2f}" for n in (line.naive, line.unique, line.to_run))
    per_stage = f"{duration(seconds)} {'m' if line.cost.is_measured else 'd'}"
    return [line.kind, *map(str, counts), per_stage, *hours]


def plan_json(plan: Plan, listing: StoreListing | None = None) -> dict[str, Any]:
    """The same, for scripts."""
    listing = listing or StoreListing(plan.store)
    return {
        "sweep": plan.name,
        "cells": len(plan.cells),
        "stages": {
            line.kind: {
                "naive": line.naive,
                "unique": line.unique,
                "cached": line.cached,
                "resumed": line.resumed,
                "to_run": line.to_run,
                "seconds_per_stage": line.cost.seconds,
                "measured": line.cost.is_measured,
            }
            for line in kind_counts(plan, listing)
        },
        "missing_data": missing_data(plan),
        "reasons": reasons_to_run(plan, listing),
        "power": _power(plan),
    }


def missing_data(plan: Plan) -> list[str]:
    """Names of data sets whose files are not there."""
    names = set()
    for stage in plan.stages.values():
        for role, data in stage.inputs.items():
            if data.fingerprint is None:
                names.add(f"{role} {data.place.name}")
        if isinstance(stage, DetectorStage) and stage.detector.weights_sha256 == MISSING_WEIGHTS:
            names.add(f"detector weights {stage.detector.weights}")
    return sorted(names)


def kind_counts(plan: Plan, listing: StoreListing | None = None) -> list[KindCount]:
    """The plan table: naive, unique and cached stages by kind, with their time."""
    listing = listing or StoreListing(plan.store)
    costs = measured_seconds(plan, listing)
    lines = []
    for kind in KINDS:
        keys = [key for key, stage in plan.stages.items() if stage.kind == kind]
        cached = [key for key in keys if listing.is_published(key)]
        if keys:
            counts = (plan.naive[kind], len(keys), len(cached), _num_resumed(plan, listing, cached))
            lines.append(KindCount(kind, *counts, costs[kind]))
    return lines


def _num_resumed(plan: Plan, listing: StoreListing, cached: Sequence[str]) -> int:
    """Stages that were begun since this sweep was planned first; none before it was ever saved."""
    if not (plan.folder / PLAN).exists():
        return 0
    return sum(listing.started(key) >= plan.first_planned for key in cached)


def reasons_to_run(plan: Plan, listing: StoreListing | None = None) -> str:
    """Why stages are not cached: "24 never computed, 6 changed: translator.lambda_cycle"."""
    listing = listing or StoreListing(plan.store)
    never, changed, fields = 0, 0, set()
    for key, stage in plan.stages.items():
        if listing.is_published(key):
            continue
        difference = changed_fields(listing, stage)
        if difference is None:
            never += 1
        else:
            changed += 1
            fields |= difference or {"parents"}
    parts = [f"{never} never computed"] if never else []
    if changed:
        parts.append(f"{changed} changed: {', '.join(sorted(fields))}")
    return ", ".join(parts)


def changed_fields(listing: StoreListing, stage: Stage) -> set[str] | None:
    """Keys in which a published stage of the same label differs; None when there is none."""
    differences = []
    for twin in listing.labelled(stage.kind, stage.label):
        try:
            meta = listing.meta(twin)
        except StoreError:  # of a stage that this sweep does not need
            continue
        difference = _different(meta["spec"], stage.spec)
        if meta["version"] != stage.version:
            difference.add("stage version")
        differences.append(difference)
    return min(differences, key=len) if differences else None


def _different(old: Any, new: Any, prefix: str = "") -> set[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        found: set[str] = set()
        for name in old.keys() | new.keys():
            found |= _different(old.get(name), new.get(name), f"{prefix}{name}.")
        return found
    return set() if old == new else {prefix.rstrip(".")}
