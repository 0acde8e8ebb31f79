"""What a sweep has done, is doing and waits for: from the store, with SLURM's word as advice."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TypeAlias

from ptl_sweep.compose.cells.ids import CellId
from ptl_sweep.pipeline.graph import Cell
from ptl_sweep.pipeline.plan import PLAN, Plan
from ptl_sweep.pipeline.queue import QueuedJob, QueueSnapshot
from ptl_sweep.pipeline.store_listing import StoreListing
from ptl_sweep.stages.base import KINDS, Stage, encode
from ptl_sweep.store import canonical_json, write_atomically

REDUCED = "reduced.json"


class StageState(StrEnum):
    """How far a stage is."""

    PUBLISHED = "published"
    RUNNING = "running"
    QUEUED = "queued"  # its job waits for its turn
    WAITING = "waiting"  # for a parent or a worker
    FAILED = "failed"
    BLOCKED = "blocked"  # by something that failed or can never start


States: TypeAlias = Mapping[str, StageState]  # by key of the stage
STUCK = (StageState.FAILED, StageState.BLOCKED)  # until somebody fixes a cause
ENDED = (StageState.PUBLISHED, *STUCK)  # nothing more comes of it by itself


def stage_states(plan: Plan, jobs: QueueSnapshot | None = None) -> dict[str, StageState]:
    """State of every stage; `jobs` tells of those that a scheduler has."""
    view, listing = jobs or QueueSnapshot(), StoreListing(plan.store)
    states: dict[str, StageState] = {}
    for key, stage in plan.stages.items():
        states[key] = _stage_state(stage, listing, states, view)
    return states


def _stage_state(
    stage: Stage, store: StoreListing, states: dict[str, StageState], view: QueueSnapshot
) -> StageState:
    key, parents = stage.key, stage.parents
    if store.is_published(key):
        return StageState.PUBLISHED
    if any(states[parent] in STUCK for parent in parents):
        return StageState.BLOCKED
    if store.is_running(key):
        return StageState.RUNNING
    if key in view.queued:
        ready = all(states[parent] == StageState.PUBLISHED for parent in parents)
        return _queued_state(view.queued[key], is_ready=ready)
    if store.failure(key) is not None or key in view.ended:
        return StageState.FAILED
    return StageState.WAITING


def _queued_state(job: QueuedJob, *, is_ready: bool) -> StageState:
    if job.is_stuck:
        return StageState.BLOCKED
    if not is_ready:
        return StageState.WAITING
    return StageState.QUEUED if job.is_pending else StageState.RUNNING


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """The last time the reducer ran to its end."""

    time: float  # seconds since 1970, when it began
    num_cells: int
    num_failed: int  # cells without a result
    text: str  # what the terminal shows at the end
    settings: str  # digest of what the reducer read from the config
    submission: str | None = None  # to SLURM, of which the reducer was the last job


def record_reduction(plan: Plan, reduction: Reduction) -> None:
    """Write reduced.json: `wait` ends with it."""
    content = json.dumps(asdict(reduction)).encode()
    write_atomically(plan.folder / REDUCED, content)


def last_reduction(plan: Plan) -> Reduction | None:
    """The reduction that reduced.json tells of; None before the first."""
    try:
        return Reduction(**json.loads((plan.folder / REDUCED).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def reducer_settings(plan: Plan) -> str:
    """Digest of what the reducer reads: other thresholds need another reduction."""
    settings = plan.settings
    content = [encode(settings.analysis, keyed=False), settings.score_thresholds, settings.shared]
    return hashlib.sha256(canonical_json(content).encode()).hexdigest()[:12]


def is_complete(plan: Plan) -> bool:
    """Whether every stage is published and the report tells of all of them."""
    reduction = last_reduction(plan)
    return (
        reduction is not None
        and reduction.num_failed == 0
        and reduction.settings == reducer_settings(plan)
        and all(plan.store.is_published(key) for key in plan.stages)
    )


def planned_at(plan: Plan) -> float:
    """When plan.json was written, seconds since 1970."""
    return (plan.folder / PLAN).stat().st_mtime


def cell_states(plan: Plan, states: States) -> dict[CellId, StageState]:
    """State of every cell: that of the first stage that it lacks; published when it has all."""
    lacks = {cell.id: first_unpublished(plan, states, cell) for cell in plan.cells}
    return {
        cell: StageState.PUBLISHED if key is None else states[key] for cell, key in lacks.items()
    }


def first_unpublished(plan: Plan, states: States, cell: Cell) -> str | None:
    """The first stage that a cell's last reading lacks; None when it has all."""
    line: list[str] = []
    key: str | None = cell.readings[-1].evaluate
    while key is not None:
        line.append(key)
        parents = plan.stages[key].parents
        key = parents[0] if parents else None
    return next((key for key in reversed(line) if states[key] != StageState.PUBLISHED), None)


def count_states(plan: Plan, states: States) -> dict[str, Counter[str]]:
    """Stages by kind and state."""
    counts = {kind: Counter[str]() for kind in KINDS}
    for key, state in states.items():
        counts[plan.stages[key].kind][state] += 1
    return {kind: count for kind, count in counts.items() if count}
