"""A sweep as it is planned, and plan.json, which the workers and every command read."""

import hashlib
import json
import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from ptl_sweep.compose.cells.ids import CellId
from ptl_sweep.config.schema import (
    AnalysisConfig,
    Config,
    ConfigError,
    LauncherConfig,
    TrackingConfig,
)
from ptl_sweep.pipeline.graph import Cell, CellIteration, Graph, Task, make_tasks, plan_cells
from ptl_sweep.pipeline.provenance import code_fingerprint
from ptl_sweep.stages.base import Stage, StageKind, decode, encode
from ptl_sweep.stages.evaluate import EvaluateStage
from ptl_sweep.stages.ptl import PtlStage
from ptl_sweep.stages.train import DetectorStage, TrainStage
from ptl_sweep.store import Store, canonical_json, write_atomically
from ptl_sweep.terminal import did_you_mean

log = logging.getLogger(__name__)

PLAN = "plan.json"
STAGES: dict[StageKind, type[Stage]] = {
    StageKind.TRAIN: TrainStage,
    StageKind.PTL: PtlStage,
    StageKind.EVALUATE: EvaluateStage,
}
WHERE = ("launcher", "tracking", "sweep", "data_root")  # keys that no result depends on


@dataclass(frozen=True, kw_only=True)
class SweepSettings:
    """What is the same for a whole sweep and read by no stage: by launcher, W&B and reducer."""

    launcher: LauncherConfig
    tracking: TrackingConfig
    analysis: AnalysisConfig
    score_thresholds: list[float]  # s of AP_t2t
    shared: dict[str, str]  # every key that all cells share and a result depends on, as text


@dataclass(slots=True, kw_only=True)
class Plan:
    """A sweep: its cells, its unique stages in an order that respects parents, its tasks."""

    name: str  # <sweep.name>-<8 hex of the cells>
    root: Path
    command: str
    settings: SweepSettings
    cells: list[Cell] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)
    naive: Counter[StageKind] = field(default_factory=Counter)  # stages if no cell shared any
    code: str | None = None  # fingerprint of the package that planned
    first_planned: float = field(default_factory=time.time)  # seconds since 1970
    _behind: dict[str, list[Cell]] = field(default_factory=dict, init=False, repr=False)

    @property
    def folder(self) -> Path:
        """outputs/sweeps/<name>."""
        return self.root / "sweeps" / self.name

    @property
    def store(self) -> Store:
        """outputs/store, shared by all sweeps."""
        return Store(self.root / "store")

    @property
    def num_threads(self) -> int:
        """CPU threads of a worker: what its greediest stage asks for."""
        return max(stage.num_threads for stage in self.stages.values())

    @property
    def axes(self) -> list[str]:
        """Keys that the sweep varies beside the coordinates of a cell."""
        return list(self.cells[0].axes)

    def of_kind(self, kind: StageKind) -> list[str]:
        """Keys of the stages of a kind."""
        return [key for key, stage in self.stages.items() if stage.kind == kind]

    def detector_stage(self, key: str) -> DetectorStage:
        """The stage that trains the detector which stage `key` makes or evaluates."""
        stage = self.stages[key]
        if isinstance(stage, EvaluateStage):
            stage = self.stages[stage.parents[0]]
        assert isinstance(stage, DetectorStage)
        return stage

    def evaluate_stage(self, key: str) -> EvaluateStage:
        """The evaluate stage of this key."""
        stage = self.stages[key]
        assert isinstance(stage, EvaluateStage)
        return stage

    def ptl_stages(self) -> list[PtlStage]:
        """Every PTL iteration of the sweep."""
        return [stage for stage in self.stages.values() if isinstance(stage, PtlStage)]

    def cells_behind(self, key: str) -> list[Cell]:
        """The cells that need a stage."""
        if not self._behind:
            for cell in self.cells:
                line = [key for r in cell.readings for key in (r.evaluate, r.validation) if key]
                for needed in line:  # which grows
                    line += self.stages[needed].parents
                for needed in dict.fromkeys(line):
                    self._behind.setdefault(needed, []).append(cell)
        return self._behind[key]

    def log_path(self, task: Task) -> Path:
        """One log per task."""
        return self.folder / "logs" / f"{task.name}.log"

    def task_of(self, key: str) -> Task:
        """The task that computes a stage."""
        return next(task for task in self.tasks if key in task.stages)

    def parents_of(self, task: Task) -> set[str]:
        """Stages of other tasks that must be published before this task can run."""
        return {p for key in task.stages for p in self.stages[key].parents} - set(task.stages)


def plan_sweep(cells: Sequence[Config], command: str) -> Plan:
    """Stages and tasks of a checked grid; reads data-set fingerprints, computes nothing.

    Raises: ConfigError, DataError.
    """
    root = Path(cells[0].sweep.root)
    graph = Graph(root)
    planned = plan_cells(graph, cells)
    readings = {cell.id: list(map(asdict, cell.readings)) for cell in planned}
    content = canonical_json(sorted([list(id_), found] for id_, found in readings.items()))
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    plan = Plan(
        name=f"{cells[0].sweep.name}-{digest}",
        root=root,
        command=command,
        settings=SweepSettings(
            launcher=cells[0].launcher,
            tracking=cells[0].tracking,
            analysis=cells[0].analysis,
            score_thresholds=cells[0].evaluate.score_thresholds,
            shared=_shared_keys(cells),
        ),
        cells=planned,
        stages=graph.stages,
        tasks=make_tasks(graph.stages),
        naive=graph.naive,
        code=code_fingerprint(),
    )
    plan.first_planned = _first_planned(plan)
    return plan


def _shared_keys(cells: Sequence[Config]) -> dict[str, str]:
    first = {item.name: getattr(cells[0], item.name) for item in fields(Config)}
    shared = flat({name: _plain(part) for name, part in first.items() if name not in WHERE})
    for cell in cells:
        for name, part in first.items():
            other = getattr(cell, name)
            if name not in WHERE and other != part:  # most parts are those of the first cell
                found = flat({name: _plain(other)})
                shared = {
                    key: value
                    for key, value in shared.items()
                    if key.split(".")[0] != name or found.get(key) == value
                }
    return shared


def _plain(part: Any) -> Any:
    return asdict(part) if is_dataclass(part) and not isinstance(part, type) else part


def flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested keys joined by points; values as text."""
    result: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping) and key not in ("categories", "options"):
            result |= flat(value, f"{prefix}{key}.")
        else:
            result[prefix + key] = "null" if value is None else str(value)
    return result


def save_plan(plan: Plan) -> Path:
    """Write plan.json."""
    (plan.folder / "logs").mkdir(parents=True, exist_ok=True)
    plan.first_planned = _first_planned(plan)
    content = {
        "name": plan.name,
        "command": plan.command,
        "code": plan.code,
        "time": plan.first_planned,
        "settings": encode(plan.settings, keyed=False),
        "cells": [_encoded(cell) for cell in plan.cells],
        "stages": [
            {"kind": stage.kind, **encode(stage, keyed=False)} for stage in plan.stages.values()
        ],
        "tasks": [asdict(task) for task in plan.tasks],
        "naive": dict(plan.naive),
    }
    path = plan.folder / PLAN
    write_atomically(path, json.dumps(content, separators=(",", ":")).encode())
    return path


def _encoded(cell: Cell) -> dict[str, Any]:
    content = {**asdict(cell), "id": cell.id._asdict()}
    return content if cell.axes else {name: content[name] for name in ("id", "readings")}


def _first_planned(plan: Plan) -> float:
    """When a sweep was planned that goes on now: what it computed then is its own work."""
    try:
        return float(json.loads((plan.folder / PLAN).read_text())["time"])
    except (OSError, ValueError, KeyError, TypeError):
        return plan.first_planned


def load_plan(folder: Path) -> Plan:
    """Read plan.json of a sweep folder ``<root>/sweeps/<name>``. Raises: FileNotFoundError."""
    content = json.loads((folder / PLAN).read_text())
    stages = [decode(STAGES[StageKind(s.pop("kind"))], s) for s in content["stages"]]
    return Plan(
        name=content["name"],
        root=folder.resolve().parent.parent,
        command=content["command"],
        settings=decode(SweepSettings, content["settings"]),
        cells=[
            Cell(
                id=CellId(**cell["id"]),
                readings=tuple(CellIteration(**reading) for reading in cell["readings"]),
                axes=cell.get("axes", {}),
            )
            for cell in content["cells"]
        ],
        stages={stage.key: stage for stage in stages},
        tasks=[
            Task(name=t["name"], kind=t["kind"], stages=tuple(t["stages"]))
            for t in content["tasks"]
        ],
        naive=Counter({StageKind(kind): n for kind, n in content["naive"].items()}),
        code=content.get("code"),
        first_planned=float(content["time"]),
    )


def newest_sweep(root: Path) -> Path | None:
    """Folder of the sweep that was planned last."""
    plans = sorted((root / "sweeps").glob(f"*/{PLAN}"), key=lambda path: path.stat().st_mtime)
    return plans[-1].parent if plans else None


def find_plan(root: Path, name: str | None) -> Plan:
    """The plan of a sweep by name or folder, the newest of a sweep.name, or the newest of `root`.

    Raises: ConfigError.
    """
    folder = newest_sweep(root) if name is None else _named_sweep(root, name)
    if folder is None:
        raise ConfigError(f"no sweep in {root / 'sweeps'}; start one, or set sweep.root=...")
    try:
        return load_plan(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{folder / PLAN} cannot be read ({type(error).__name__}: {error})\n"
            "  fix: run the sweep's command again, which writes it anew"
        ) from error


def _named_sweep(root: Path, name: str) -> Path:
    """Look for a folder, a full name, or the newest of a sweep.name. Raises: ConfigError."""
    for folder in (Path(name), root / "sweeps" / name):
        if (folder / PLAN).is_file():
            return folder
    plans = sorted((root / "sweeps").glob(f"*/{PLAN}"))
    called = [path for path in plans if path.parent.name.rpartition("-")[0] == name]
    if called:
        newest = max(called, key=lambda path: path.stat().st_mtime).parent
        if len(called) > 1:
            log.warning("%d sweeps are called %s; this is %s", len(called), name, newest.name)
        return newest
    names = [path.parent.name for path in plans]
    there = f"\nthere: {', '.join(names[:20])}" if names else ", which holds none"
    raise ConfigError(f"no sweep {name} in {root / 'sweeps'}{did_you_mean(name, names)}{there}")
