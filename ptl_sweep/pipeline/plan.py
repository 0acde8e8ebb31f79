"""From cells to stages to tasks: equal stages of different cells are one stage."""

import dataclasses
import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ptl_sweep.compose.grid import CellId, cell_id
from ptl_sweep.config.schema import Config
from ptl_sweep.pipeline import specs
from ptl_sweep.pipeline.provenance import code_fingerprint
from ptl_sweep.store import Stage, Store, canonical_json, write_atomically

KINDS = ("train", "ptl", "evaluate")
PLAN = "plan.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a cell reads at one PTL iteration: a detector and its detections on the target."""

    iteration: int  # 0: real pictures only
    detector: str  # key of a train or ptl stage
    evaluate: str  # key of an evaluate stage
    validation: str | None = None  # the same on what the source holds back; None: not asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of the grid; the last reading is its headline."""

    id: CellId
    config: int  # index into Plan.configs
    readings: tuple[Reading, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Stages that run one after the other in one allocation."""

    name: str
    kind: str
    stages: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class Plan:
    """A sweep: its cells, its unique stages in an order that respects parents, its tasks."""

    name: str  # <sweep.name>-<8 hex of the cells>
    root: Path
    command: str
    configs: list[dict[str, Any]] = field(default_factory=list)  # of the cells, then others
    cells: list[Cell] = field(default_factory=list)
    stages: dict[str, Stage] = field(default_factory=dict)
    stage_config: dict[str, int] = field(default_factory=dict)  # key -> index into configs
    tasks: list[Task] = field(default_factory=list)
    naive: Counter[str] = field(default_factory=Counter)  # stages if no cell shared any
    code: str | None = None  # fingerprint of the package that planned

    @property
    def folder(self) -> Path:
        """outputs/sweeps/<name>."""
        return self.root / "sweeps" / self.name

    @property
    def store(self) -> Store:
        """outputs/store, shared by all sweeps."""
        return Store(self.root / "store")

    def log_path(self, task: Task) -> Path:
        """One log per task."""
        return self.folder / "logs" / f"{task.name}.log"

    def task_of(self, key: str) -> Task:
        """The task that computes a stage."""
        return next(task for task in self.tasks if key in task.stages)

    def parents_of(self, task: Task) -> set[str]:
        """Stages of other tasks that must be published before this task can run."""
        return {p for key in task.stages for p in self.stages[key].parents} - set(task.stages)


class Planner:
    """Collects the stages of cell after cell and keeps one of each."""

    def __init__(self, root: Path, cells: Sequence[Config]) -> None:
        self.root = root
        self.configs = list(cells)  # first those of the cells, in their order
        self.held_back: dict[int, int] = {}  # index of a cell -> of its config for validation
        self.stages: dict[str, Stage] = {}
        self.stage_config: dict[str, int] = {}
        self.naive: Counter[str] = Counter()

    def _keep(self, stage: Stage, config: int) -> Stage:
        self.naive[stage.kind] += 1
        self.stage_config.setdefault(stage.key, config)
        return self.stages.setdefault(stage.key, stage)

    def readings(self, config: Config, index: int) -> tuple[Reading, ...]:
        """Stages of one cell: train, its PTL chain, and what is evaluated."""
        weights_folder = self.root / specs.WEIGHTS_FOLDER
        chain = [self._keep(specs.train_stage(config, weights_folder), index)]
        if config.synthetic.method != "off":
            for iteration in range(1, config.synthetic.num_iterations + 1):
                stage = specs.ptl_stage(config, iteration, chain[-1], weights_folder)
                chain.append(self._keep(stage, index))
        wanted = (
            enumerate(chain)
            if config.evaluate.iterations == "all"
            else [(len(chain) - 1, chain[-1])]
        )
        return tuple(
            Reading(
                iteration=iteration,
                detector=detector.key,
                evaluate=self._keep(specs.evaluate_stage(config, detector), index).key,
                validation=self._validation(config, detector, index),
            )
            for iteration, detector in wanted
        )

    def _validation(self, config: Config, detector: Stage, index: int) -> str | None:
        """The evaluation that calibrates distances; a cell that tests on the same data shares it.

        Its config is that of a cell that tests on them: the target decides what a stage reads.
        """
        if config.analysis.calibration != "validation":
            return None
        held_back = replace(config, target=config.dataset.held_back())
        stage = specs.validation_stage(held_back, detector)
        if stage.key not in self.stages and index not in self.held_back:
            self.held_back[index] = len(self.configs)
            self.configs.append(held_back)
        return self._keep(stage, self.held_back.get(index, index)).key


def plan_sweep(cells: Sequence[Config], command: str) -> Plan:
    """Stages and tasks of a checked grid; reads data-set fingerprints, computes nothing."""
    root = Path(cells[0].sweep.root)
    planner = Planner(root, cells)
    planned = [
        Cell(id=cell_id(config), config=index, readings=planner.readings(config, index))
        for index, config in enumerate(cells)
    ]
    content = canonical_json(sorted([list(c.id), [asdict(r) for r in c.readings]] for c in planned))
    digest = hashlib.sha256(content.encode()).hexdigest()[:8]
    return Plan(
        name=f"{cells[0].sweep.name}-{digest}",
        root=root,
        command=command,
        configs=[asdict(config) for config in planner.configs],
        cells=planned,
        stages=planner.stages,
        stage_config=planner.stage_config,
        tasks=_tasks(planner.stages),
        naive=planner.naive,
        code=code_fingerprint(),
    )


def _tasks(stages: dict[str, Stage]) -> list[Task]:
    """Trainings alone; a PTL chain in one; one detector on all its targets in one."""
    groups: dict[str, list[Stage]] = {}
    for stage in stages.values():
        if stage.kind == "train":
            name = stage.key
        elif stage.kind == "ptl":
            name = _chain_root(stage, groups)
        else:
            name = f"evaluate-{stage.parents[0]}"
        groups.setdefault(name, []).append(stage)
    return [
        Task(
            name=name if group[0].kind != "ptl" else f"{group[-1].key}-chain",
            kind=group[0].kind,
            stages=tuple(stage.key for stage in group),
        )
        for name, group in groups.items()
    ]


def _chain_root(stage: Stage, groups: dict[str, list[Stage]]) -> str:
    """The group whose last stage is this one's parent; a branch starts a group of its own."""
    for name, group in groups.items():
        if group[-1].key == stage.parents[0] and group[-1].kind == "ptl":
            return name
    return f"chain-{stage.key}"


def save_plan(plan: Plan) -> Path:
    """Write plan.json; the workers and every verb read it."""
    (plan.folder / "logs").mkdir(parents=True, exist_ok=True)
    content = {
        "name": plan.name,
        "command": plan.command,
        "code": plan.code,
        "time": time.time(),
        "configs": plan.configs,
        "cells": [{**asdict(cell), "id": cell.id._asdict()} for cell in plan.cells],
        "stages": [
            {
                "kind": stage.kind,
                "label": stage.label,
                "version": stage.version,
                "spec": stage.spec,
                "parents": list(stage.parents),
                "config": plan.stage_config[stage.key],
            }
            for stage in plan.stages.values()
        ],
        "tasks": [asdict(task) for task in plan.tasks],
        "naive": dict(plan.naive),
    }
    path = plan.folder / PLAN
    write_atomically(path, json.dumps(content, indent=1).encode())
    return path


def load_plan(folder: Path) -> Plan:
    """Read plan.json of a sweep folder ``<root>/sweeps/<name>``. Raises: FileNotFoundError."""
    content = json.loads((folder / PLAN).read_text())
    stages = [
        Stage(
            **{k: v for k, v in s.items() if k not in ("config", "parents")},
            parents=tuple(s["parents"]),
        )
        for s in content["stages"]
    ]
    cells = [
        Cell(
            id=CellId(**cell["id"]),
            config=cell["config"],
            readings=tuple(Reading(**reading) for reading in cell["readings"]),
        )
        for cell in content["cells"]
    ]
    return Plan(
        name=content["name"],
        root=folder.resolve().parent.parent,
        command=content["command"],
        configs=content["configs"],
        cells=cells,
        stages={stage.key: stage for stage in stages},
        stage_config={s.key: c["config"] for s, c in zip(stages, content["stages"], strict=True)},
        tasks=[Task(**{**task, "stages": tuple(task["stages"])}) for task in content["tasks"]],
        naive=Counter(content["naive"]),
        code=content.get("code"),
    )


def config_of(plan: Plan, index: int) -> Config:
    """The typed config of a cell, rebuilt from plan.json."""
    config: Config = build_dataclass(Config, plan.configs[index])
    return config


def build_dataclass(cls: type[Any], values: dict[str, Any]) -> Any:
    """The nested dataclass that `dataclasses.asdict` came from.

    A field that is newer than the plan takes its default: a sweep outlives the version it began in.
    """
    arguments = {}
    for item in dataclasses.fields(cls):
        if item.name not in values:
            continue
        value = values[item.name]
        if isinstance(item.type, type) and dataclasses.is_dataclass(item.type):
            value = build_dataclass(item.type, value)
        arguments[item.name] = value
    return cls(**arguments)


def newest_sweep(root: Path) -> Path | None:
    """Folder of the sweep that was planned last."""
    plans = sorted((root / "sweeps").glob(f"*/{PLAN}"), key=lambda path: path.stat().st_mtime)
    return plans[-1].parent if plans else None
