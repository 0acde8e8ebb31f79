"""What a sweep has done, is doing and waits for: from the store, with SLURM's word as advice."""

import hashlib
import json
import statistics
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from ptl_sweep.compose.grid import CellId
from ptl_sweep.pipeline.plan import KINDS, PLAN, Cell, Plan
from ptl_sweep.pipeline.queue import QueuedJob, QueueSnapshot
from ptl_sweep.store import META, Stage, Store, canonical_json, write_atomically

STATES = ("published", "running", "queued", "waiting", "failed", "blocked")
REDUCED = "reduced.json"
DEFAULT_SECONDS = {  # a guess before the first stage of its kind was measured
    "retinanet_tiny": {"train": 30.0, "ptl": 50.0, "evaluate": 8.0},  # one core, miniature world
    "retinanet_r50": {"train": 3240.0, "ptl": 7560.0, "evaluate": 290.0},  # one GPU, paper grid
}


@dataclass(frozen=True, slots=True)
class StageCost:
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
    cost: StageCost

    @property
    def to_run(self) -> int:
        """Stages that are not published."""
        return self.unique - self.cached


def stage_states(plan: Plan, jobs: QueueSnapshot | None = None) -> dict[str, str]:
    """State of every stage: one of STATES.

    queued: its SLURM job waits for its turn; waiting: for a parent or a worker; blocked: for
    something that failed or can never start.
    """
    view = jobs or QueueSnapshot()
    states: dict[str, str] = {}
    for key in plan.stages:
        states[key] = _stage_state(plan, key, states, view)
    return states


def _stage_state(plan: Plan, key: str, states: dict[str, str], view: QueueSnapshot) -> str:
    store, parents = plan.store, plan.stages[key].parents
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
    """Digest of every config but where it ran: other thresholds need another reduction."""
    configs = [
        {name: part for name, part in config.items() if name not in ("launcher", "tracking")}
        for config in plan.configs
    ]
    return hashlib.sha256(canonical_json(configs).encode()).hexdigest()[:12]


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


def measured_seconds(plan: Plan) -> dict[str, StageCost]:
    """Median time per kind: of the plan's stages, else of like ones in the store, else a guess."""
    own: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for key, stage in plan.stages.items():
        if plan.store.is_published(key):
            own[stage.kind].append(float(plan.store.meta(key)["seconds"]))
    like = _seconds_of_like_stages(plan)
    guess = DEFAULT_SECONDS[plan.configs[0]["detector"]["architecture"]]
    costs = {}
    for kind in KINDS:
        times = own[kind] or like[kind]
        seconds = statistics.median(times) if times else guess[kind]
        costs[kind] = StageCost(seconds, bool(times))
    return costs


def _seconds_of_like_stages(plan: Plan) -> dict[str, list[float]]:
    """Times of other sweeps' stages of the same source or target: the next best estimate."""
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for kind, prefix in {(s.kind, s.label.split("-")[0]) for s in plan.stages.values()}:
        for path in list(plan.store.root.glob(f"{kind}-{prefix}-*/{META}"))[:50]:
            times[kind].append(float(plan.store.meta(path.parent.name)["seconds"]))
    return times


def kind_counts(plan: Plan) -> list[KindCount]:
    """The plan table: naive, unique and cached stages by kind, with their time."""
    costs = measured_seconds(plan)
    lines = []
    for kind in KINDS:
        keys = [key for key, stage in plan.stages.items() if stage.kind == kind]
        cached = sum(plan.store.is_published(key) for key in keys)
        if keys:
            lines.append(KindCount(kind, plan.naive[kind], len(keys), cached, costs[kind]))
    return lines


def reasons_to_run(plan: Plan) -> str:
    """Why stages are not cached: "24 never computed, 6 changed: translator.lambda_cycle"."""
    never, changed, fields = 0, 0, set()
    for key, stage in plan.stages.items():
        if plan.store.is_published(key):
            continue
        difference = changed_fields(plan.store, stage)
        if difference is None:
            never += 1
        elif difference:
            changed += 1
            fields |= difference
        else:
            changed += 1
            fields.add("parents")
    parts = [f"{never} never computed"] if never else []
    if changed:
        parts.append(f"{changed} changed: {', '.join(sorted(fields))}")
    return ", ".join(parts)


def changed_fields(store: Store, stage: Stage) -> set[str] | None:
    """Keys in which a published stage of the same label differs; None when there is none."""
    twins = [path.parent.name for path in store.root.glob(f"{stage.kind}-{stage.label}-*/{META}")]
    twins = [twin for twin in twins if len(twin) == len(stage.key)]
    differences = []
    for twin in twins:
        meta = store.meta(twin)
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
