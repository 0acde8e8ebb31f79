"""What a sweep has done, is doing and waits for: from the store, with SLURM's word as advice."""

import hashlib
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ptl_sweep.compose.grid import CellId
from ptl_sweep.pipeline.graph import Cell
from ptl_sweep.pipeline.plan import PLAN, Plan
from ptl_sweep.pipeline.queue import QueuedJob, QueueSnapshot
from ptl_sweep.pipeline.store_listing import StoreListing
from ptl_sweep.stages.base import KINDS, Stage, encode
from ptl_sweep.store import StoreError, canonical_json, write_atomically

STATES = ("published", "running", "queued", "waiting", "failed", "blocked")
REDUCED = "reduced.json"
MAX_TIMED = 200  # stages of a kind whose times a median is taken of, spread over the plan


@dataclass(frozen=True, slots=True)
class StageTime:
    """Seconds that a stage of this kind takes, and whether that was measured."""

    seconds: float
    is_measured: bool


@dataclass(frozen=True, slots=True)
class KindCount:
    """One line of the plan table."""

    kind: str
    naive: int
    unique: int
    cached: int
    cost: StageTime

    @property
    def to_run(self) -> int:
        """Stages that are not published."""
        return self.unique - self.cached


def stage_states(plan: Plan, jobs: QueueSnapshot | None = None) -> dict[str, str]:
    """State of every stage: one of STATES.

    queued: its SLURM job waits for its turn; waiting: for a parent or a worker; blocked: for
    something that failed or can never start.
    """
    view, listing = jobs or QueueSnapshot(), StoreListing(plan.store)
    states: dict[str, str] = {}
    for key, stage in plan.stages.items():
        states[key] = _stage_state(stage, listing, states, view)
    return states


def _stage_state(
    stage: Stage, store: StoreListing, states: dict[str, str], view: QueueSnapshot
) -> str:
    key, parents = stage.key, stage.parents
    if store.is_published(key):
        return "published"
    if any(states[parent] in ("failed", "blocked") for parent in parents):
        return "blocked"
    if store.is_running(key):
        return "running"
    if key in view.queued:
        ready = all(states[parent] == "published" for parent in parents)
        return _queued_state(view.queued[key], is_ready=ready)
    if store.failure(key) is not None or key in view.ended:
        return "failed"
    return "waiting"


def _queued_state(job: QueuedJob, *, is_ready: bool) -> str:
    if job.is_stuck:
        return "blocked"
    if not is_ready:
        return "waiting"
    return "queued" if job.is_pending else "running"


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


def cell_states(plan: Plan, states: dict[str, str]) -> dict[CellId, str]:
    """State of every cell: that of the first stage that it lacks; published when it has all."""
    lacks = {cell.id: first_unpublished(plan, states, cell) for cell in plan.cells}
    return {cell: "published" if key is None else states[key] for cell, key in lacks.items()}


def first_unpublished(plan: Plan, states: dict[str, str], cell: Cell) -> str | None:
    """The first stage that a cell's last reading lacks; None when it has all."""
    line: list[str] = []
    key: str | None = cell.readings[-1].evaluate
    while key is not None:
        line.append(key)
        parents = plan.stages[key].parents
        key = parents[0] if parents else None
    return next((key for key in reversed(line) if states[key] != "published"), None)


def count_states(plan: Plan, states: dict[str, str]) -> dict[str, Counter[str]]:
    """Stages by kind and state."""
    counts = {kind: Counter[str]() for kind in KINDS}
    for key, state in states.items():
        counts[plan.stages[key].kind][state] += 1
    return {kind: count for kind, count in counts.items() if count}


def measured_seconds(plan: Plan, listing: StoreListing | None = None) -> dict[str, StageTime]:
    """Median time per kind: of the plan's stages, else of like ones in the store, else a guess."""
    listing = listing or StoreListing(plan.store)
    costs: dict[str, StageTime] = {}
    for kind in KINDS:
        stages = [stage for stage in plan.stages.values() if stage.kind == kind]
        published = [stage.key for stage in stages if listing.is_published(stage.key)]
        every = -(-len(published) // MAX_TIMED) or 1
        keys = published[::every] or _like_stages(stages, listing)
        times = [float(listing.meta(key)["seconds"]) for key in keys]
        guess = stages[0].default_seconds[stages[0].architecture] if stages else 0.0
        costs[kind] = StageTime(statistics.median(times) if times else guess, bool(times))
    return costs


def _like_stages(stages: Sequence[Stage], listing: StoreListing) -> list[str]:
    """Other sweeps' stages of the same data and architecture: the next best estimate."""
    wanted = {_work_of(stage.spec) for stage in stages}
    prefixes = {f"{stage.kind}-{stage.label.split('-')[0]}" for stage in stages}
    candidates = [key for prefix in sorted(prefixes) for key in listing.starting(prefix)]
    return [key for key in candidates[:MAX_TIMED] if _work_in_store(key, listing) in wanted]


def _work_in_store(key: str, listing: StoreListing) -> tuple[str, str] | None:
    """As `_work_of`; None where meta.json cannot be read, or is of another version."""
    try:
        return _work_of(listing.meta(key)["spec"])
    except (StoreError, KeyError):
        return None


def _work_of(spec: Mapping[str, Any]) -> tuple[str, str]:
    """What decides how long a stage takes: its data, as text, and the architecture."""
    return canonical_json(spec["data"]), str(spec["detector"]["architecture"])


def kind_counts(plan: Plan, listing: StoreListing | None = None) -> list[KindCount]:
    """The plan table: naive, unique and cached stages by kind, with their time."""
    listing = listing or StoreListing(plan.store)
    costs = measured_seconds(plan, listing)
    lines = []
    for kind in KINDS:
        keys = [key for key, stage in plan.stages.items() if stage.kind == kind]
        cached = sum(listing.is_published(key) for key in keys)
        if keys:
            lines.append(KindCount(kind, plan.naive[kind], len(keys), cached, costs[kind]))
    return lines


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
