"""Tables for the terminal: at most 100 columns, units in headers, no ANSI when piped."""

import textwrap
from collections.abc import Sequence
from typing import Any

from rich.console import Group
from rich.table import Table

from ptl_sweep.sweep import status
from ptl_sweep.sweep.planner import KINDS, Plan
from ptl_sweep.sweep.specs import MISSING_WEIGHTS

WIDTH = 100


def duration(seconds: float) -> str:
    """`3 s`, `4 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def wrap(text: str) -> str:
    """Lines of at most WIDTH columns; later lines are indented."""
    return textwrap.fill(text, WIDTH, subsequent_indent=" " * 8, break_long_words=False)


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned, first left and the others right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def grid_line(plan: Plan) -> str:
    """`grid    12 cells = 2 real_count x 2 synthetic x 3 target x 1 seed`."""
    axes = plan.cells[0].id._fields
    counts = {axis: len({getattr(cell.id, axis) for cell in plan.cells}) for axis in axes}
    shown = [f"{n} {axis}" for axis, n in counts.items() if n > 1 or axis != "dataset"]
    total = len(plan.cells)
    product = 1
    for n in counts.values():
        product *= n
    sign = "=" if product == total else "of"
    return f"grid    {total} cell{'s' * (total != 1)} {sign} {' x '.join(shown)}"


def plan_text(plan: Plan) -> str:
    """The plan: stages naive, unique, cached and to run, with their time."""
    lines = status.kind_counts(plan)
    rows = [_plan_row(line) for line in lines]
    header = [
        "stage", "naive", "unique", "cached", "to run", "per stage",
        "hours naive", "unique", "to run",
    ]  # fmt: skip
    notes = ["m: measured median, d: default guess; hours of one core (tiny) or one GPU (r50)"]
    missing = missing_data(plan)
    if missing:
        notes.append(f"no data yet for {', '.join(missing)}: their keys are provisional")
    if any(line.naive > line.unique for line in lines):
        notes.append(
            "shared  no training reads the target; synthetic=off is the first detector of on"
        )
    reasons = status.reasons_to_run(plan)
    if reasons:
        notes.append(f"to run  {reasons}")
    wrapped = [wrap(note) for note in notes]
    return "\n".join([f"sweep   {plan.name}", grid_line(plan), text_table(header, rows), *wrapped])


def _plan_row(line: status.KindCount) -> list[str]:
    seconds = line.cost.seconds
    counts = (line.naive, line.unique, line.cached, line.to_run)
    hours = (f"{n * seconds / 3600:.2f}" for n in (line.naive, line.unique, line.to_run))
    per_stage = f"{duration(seconds)} {'m' if line.cost.is_measured else 'd'}"
    return [line.kind, *map(str, counts), per_stage, *hours]


def plan_json(plan: Plan) -> dict[str, Any]:
    """The same, for scripts."""
    return {
        "sweep": plan.name,
        "cells": len(plan.cells),
        "stages": {
            line.kind: {
                "naive": line.naive,
                "unique": line.unique,
                "cached": line.cached,
                "to_run": line.to_run,
                "seconds_per_stage": line.cost.seconds,
                "measured": line.cost.is_measured,
            }
            for line in status.kind_counts(plan)
        },
        "missing_data": missing_data(plan),
        "reasons": status.reasons_to_run(plan),
    }


def missing_data(plan: Plan) -> list[str]:
    """Names of data sets whose files are not there."""
    names = set()
    for key, stage in plan.stages.items():
        config = plan.configs[plan.stage_config[key]]
        for part, role in (("dataset", "dataset"), ("target", "target"), ("pool", "pool")):
            content = stage.spec.get(part)
            if content is not None and content["fingerprint"] is None:
                names.add(f"{role} {config[role]['name']}")
        if stage.spec.get("detector", {}).get("weights") == MISSING_WEIGHTS:
            names.add(f"detector weights {config['detector']['weights']}")
    return sorted(names)


def status_text(plan: Plan) -> str:
    """Counts by state, running stages, then each failure once, last."""
    states = status.stage_states(plan)
    counts = status.count_states(plan, states)
    rows = [
        [kind, *(str(count[state]) if count[state] else "." for state in status.STATES)]
        for kind, count in counts.items()
    ]
    parts = [f"sweep   {plan.name}", grid_line(plan), text_table(["stage", *status.STATES], rows)]
    parts += [
        f"running {key}  {progress_note(plan, key)}"
        for key, state in states.items()
        if state == "running"
    ]
    parts += [failure_text(plan, key, states) for key, s in states.items() if s == "failed"]
    return "\n".join(parts)


def status_json(plan: Plan) -> dict[str, Any]:
    """The same, for scripts."""
    states = status.stage_states(plan)
    return {"sweep": plan.name, "folder": str(plan.folder), "stages": states}


def progress_note(plan: Plan, key: str) -> str:
    """Last logged step of a running stage."""
    row = plan.store.progress(key)
    total = plan.configs[plan.stage_config[key]]["train"]["num_steps"]
    if "train/step" in row:
        return f"train {row['train/step']}/{total}"
    if "translate/step" in row:
        return f"translator step {row['translate/step']}"
    return "starting"


def failure_text(plan: Plan, key: str, states: dict[str, str]) -> str:
    """What, where, what is kept, what waits for it, and how to mend it."""
    failure = plan.store.failure(key) or {}
    waiting = {key} | {k for k, s in states.items() if s == "blocked" and _needs(plan, k, key)}
    cells = sum(any(r.evaluate in waiting for r in cell.readings) for cell in plan.cells)
    return "\n".join(
        [
            f"FAILED  {key}",
            f"  what    {failure.get('what', 'unknown')}",
            f"  where   {failure.get('where')}, log {failure.get('log')}",
            f"  kept    checkpoint and FAILED.json in {plan.store.work_folder(key)}",
            f"  effect  {len(waiting) - 1} stages and {cells} of {len(plan.cells)} cells wait",
            "  fix     mend the cause, then the same command again: it queues only what is missing",
            f"  repro   python -m ptl_sweep rerun {key} {plan.folder}",
        ]
    )


def _needs(plan: Plan, key: str, ancestor: str) -> bool:
    parents = plan.stages[key].parents
    return ancestor in parents or any(_needs(plan, parent, ancestor) for parent in parents)


def progress_view(
    plan: Plan, states: dict[str, str], *, elapsed_s: float, num_workers: int
) -> Group:
    """Live view: stages by state, how far the running ones are, time left."""
    counts = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("stage", *status.STATES):
        counts.add_column(name, justify="left" if name == "stage" else "right")
    for kind, count in status.count_states(plan, states).items():
        counts.add_row(kind, *(str(count[state] or ".") for state in status.STATES))
    running = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for key, state in states.items():
        if state == "running":
            stage = plan.stages[key]
            running.add_row("running", f"{stage.kind} {stage.label}", progress_note(plan, key))
    left = duration(time_left(plan, states, num_workers))
    return Group(counts, running, f"{duration(elapsed_s)} so far, about {left} left")


def time_left(plan: Plan, states: dict[str, str], num_workers: int) -> float:
    """Seconds: the work that is left, spread over the workers."""
    costs = status.measured_seconds(plan)
    left = dict.fromkeys(KINDS, 0)
    for key, state in states.items():
        if state in ("waiting", "running"):
            left[plan.stages[key].kind] += 1
    return sum(left[kind] * costs[kind].seconds for kind in KINDS) / num_workers
