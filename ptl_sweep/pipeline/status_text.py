"""How far a sweep is: the table of `status`, the live view, and each failure with its fix."""

import textwrap
from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.table import Table

from ptl_sweep.compose.cells.ids import value_text
from ptl_sweep.ownership import read_claim
from ptl_sweep.pipeline import status
from ptl_sweep.pipeline.costs import time_left
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.plan_text import grid_line
from ptl_sweep.pipeline.queue import QueueSnapshot
from ptl_sweep.pipeline.status import StageState, States
from ptl_sweep.stages.train import DetectorStage
from ptl_sweep.terminal import WIDTH, duration, text_table, wrap


def status_text(plan: Plan, jobs: QueueSnapshot | None = None) -> str:
    """Counts by state, running stages, the queue, then each failure once, last."""
    states = status.stage_states(plan, jobs)
    counts = status.count_states(plan, states)
    rows = [
        [kind, *(str(count[state]) if count[state] else "." for state in StageState)]
        for kind, count in counts.items()
    ]
    cells = Counter(status.cell_states(plan, states).values())
    rows.append(["cells", *(str(cells[state]) if cells[state] else "." for state in StageState)])
    parts = [f"sweep   {plan.name}", grid_line(plan), text_table(["stage", *StageState], rows)]
    parts += [
        f"running {key}  {progress_note(plan, key, jobs)}"
        for key, state in states.items()
        if state == StageState.RUNNING
    ]
    parts += [
        f"requeued {key}  {_step_note(plan, key)}"
        for key, state in states.items()
        if state == StageState.QUEUED and plan.store.progress(key)
    ]
    parts += queue_lines(jobs)
    parts += [
        failure_text(plan, key, states, jobs) for key, s in states.items() if s == StageState.FAILED
    ]
    return "\n".join(parts)


def cells_text(plan: Plan, jobs: QueueSnapshot | None = None) -> str:
    """Every cell with its state and the kind of the first stage that it lacks."""
    states = status.stage_states(plan, jobs)
    by_cell = status.cell_states(plan, states)
    axes = [*plan.cells[0].id._fields, *plan.axes]
    rows = []
    for cell in plan.cells:
        key = status.first_unpublished(plan, states, cell)
        lacks = plan.stages[key].kind if key is not None else "."
        place = [value_text(cell.coordinates.get(axis, "-")) for axis in axes]
        rows.append([*place, by_cell[cell.id], lacks])
    return text_table([*axes, "state", "lacks"], rows)


def queue_lines(jobs: QueueSnapshot | None) -> list[str]:
    """Why jobs wait, which of them wait for nothing that will come, and the reducer."""
    if jobs is None:
        return []
    if jobs.error is not None:
        said = textwrap.shorten(jobs.error, 2 * WIDTH)
        return [wrap(f"queue   unknown, the states are the store's: {said}")]
    reasons = Counter(job.reason for job in jobs.own if job.is_pending)
    lines = [f"{count} {reason}" for reason, count in reasons.most_common()]
    text = [f"queue   {', '.join(lines)}"] if lines else []
    text += [
        wrap(f"STUCK   {jobs.scheduler} job {job.id} cannot start: {job.reason}; {job.advice}")
        for job in jobs.stuck_jobs
    ]
    if jobs.reducer is not None:
        note = "waits for all others" if jobs.reducer.is_pending else jobs.reducer.state.lower()
        text.append(f"reducer {jobs.scheduler} job {jobs.reducer.id}: {note}")
    return text


def status_json(plan: Plan, jobs: QueueSnapshot | None = None) -> dict[str, Any]:
    """The same, for scripts."""
    states = status.stage_states(plan, jobs)
    by_cell = status.cell_states(plan, states)
    return {
        "sweep": plan.name,
        "folder": str(plan.folder),
        "stages": states,
        "cells": [{**cell.coordinates, "state": by_cell[cell.id]} for cell in plan.cells],
        "jobs": {key: asdict(job) for key, job in jobs.queued.items()} if jobs else {},
        "stuck": [asdict(job) for job in jobs.stuck_jobs] if jobs else [],
        "queue_error": jobs.error if jobs else None,
    }


def progress_note(plan: Plan, key: str, jobs: QueueSnapshot | None = None) -> str:
    """Last logged step of a running stage, its speed, where it runs and the time it has left."""
    parts = [_step_note(plan, key)]
    claim = read_claim(plan.store.claim_path(key))
    if claim is not None:
        parts.append(f"{claim.host}, seen {duration(max(claim.age_s, 0))} ago")
        if claim.restart:
            parts.append(f"requeued {claim.restart} time{'s' * (claim.restart > 1)}")
    job = jobs.queued.get(key) if jobs else None
    if job is not None:
        parts.append(f"job {job.id}, {job.left} left")
    return ", ".join(parts)


def _step_note(plan: Plan, key: str) -> str:
    row = plan.store.progress(key)
    stage = plan.stages[key]
    if "train/step" in row and isinstance(stage, DetectorStage):
        speed = row.get("train/images_per_second")
        rate = f", {speed:.1f} images/s" if speed is not None else ""
        return f"train {row['train/step']}/{stage.train.num_steps}{rate}"
    if "translate/step" in row:
        return f"translator step {row['translate/step']}"
    return "starting"


def what_failed(plan: Plan, key: str, jobs: QueueSnapshot | None) -> str:
    """What FAILED.json says, or what is damaged, else how the stage's SLURM job ended."""
    if plan.store.is_published(key):
        return plan.store.damage(key) or "unknown"
    failure = plan.store.failure(key)
    if failure is not None:
        return str(failure["what"])
    if jobs is None or key not in jobs.ended:
        return "unknown"
    return f"{jobs.scheduler} {jobs.ended[key]}"


def failure_text(plan: Plan, key: str, states: States, jobs: QueueSnapshot | None = None) -> str:
    """What, where, what is kept, what waits for it, and how to fix it."""
    failure = plan.store.failure(key) or {}
    waiting = {key} | {
        k for k, s in states.items() if s == StageState.BLOCKED and _needs(plan, k, key)
    }
    cells = sum(any(r.evaluate in waiting for r in cell.readings) for cell in plan.cells)
    log = failure.get("log") or plan.log_path(plan.task_of(key))
    return "\n".join(
        [
            f"FAILED  {key}",
            f"  what    {what_failed(plan, key, jobs)}",
            f"  where   {failure.get('where') or 'outside our code'}, log {log}",
            f"  kept    checkpoint and attempts in {plan.store.work_folder(key)}",
            f"  effect  {len(waiting) - 1} stages and {cells} of {len(plan.cells)} cells wait",
            f"  fix     {_fix(plan, key, jobs)}",
            f"  repro   python -m ptl_sweep rerun {key} {plan.folder}",
        ]
    )


def _fix(plan: Plan, key: str, jobs: QueueSnapshot | None) -> str:
    again = "the same command again: it queues only what is missing"
    ended = jobs.ended.get(key) if jobs is not None else None
    if ended is None or plan.store.failure(key) is not None:
        return f"fix the cause, then {again}"
    if ended.raise_keys is None:
        return again
    return f"more launcher.{plan.stages[key].kind}.{ended.raise_keys}, then {again}"


def _needs(plan: Plan, key: str, ancestor: str) -> bool:
    parents = plan.stages[key].parents
    return ancestor in parents or any(_needs(plan, parent, ancestor) for parent in parents)


def progress_view(
    plan: Plan, states: States, *, elapsed_s: float, num_workers: int | None
) -> Group:
    """Live view: stages by state, how far the running ones are, time left.

    `num_workers` None: on a cluster, where the queue decides; the work that is left is shown.
    """
    counts = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("stage", *StageState):
        counts.add_column(name, justify="left" if name == "stage" else "right")
    for kind, count in status.count_states(plan, states).items():
        counts.add_row(kind, *(str(count[state] or ".") for state in StageState))
    running = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for key, state in states.items():
        if state == StageState.RUNNING:
            stage = plan.stages[key]
            running.add_row(state, f"{stage.kind} {stage.label}", progress_note(plan, key))
    left = duration(time_left(plan, states, num_workers or 1))
    what = "left" if num_workers else "of work left"
    return Group(counts, running, f"{duration(elapsed_s)} so far, about {left} {what}")
