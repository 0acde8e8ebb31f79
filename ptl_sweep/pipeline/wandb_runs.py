"""What the W&B runs of a sweep are called and filed under: one per stage, one for the reducer."""

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from ptl_sweep.compose.cells.ids import BETWEEN, name_before_axes, value_text
from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.ownership import slurm_job
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.provenance import git_commit
from ptl_sweep.stages.base import Stage, StageKind
from ptl_sweep.stages.evaluate import EvaluateStage
from ptl_sweep.stages.ptl import PtlStage
from ptl_sweep.stages.train import MODEL, STEP_METRICS, DetectorStage
from ptl_sweep.store import StoreError
from ptl_sweep.tracking import Companion, FiledFiles, Order, RunInfo, mode_of
from ptl_sweep.vocabulary import OFF, Value

T = TypeVar("T")

log = logging.getLogger(__name__)

AXES = ("dataset", "real_count", "synthetic", "target", "seed")  # of a grid
SECTIONS = {  # of the configuration, by the field of a stage that holds what it reads of it
    "data": "dataset", "pool": "pool", "method": "synthetic", "translator": "translator",
    "detector": "detector", "train": "train", "features": "gaussian", "inference": "evaluate",
}  # fmt: skip
FOLDERS = re.compile(r"(^|(?<==))[~/].*/")  # of a path on this machine
SLURM_ARRAY = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")


def follow_stage(plan: Plan, stage: Stage, companion: Companion) -> None:
    """Have a stage that begins shown in W&B while it runs; online only. Never raises."""
    try:
        tracking = plan.settings.tracking
        if mode_of(tracking) == "online":
            companion.follow(stage_order(plan, stage, tracking, "online"))
    except Exception as error:  # what W&B shows must not fail a stage
        log.warning("W&B is not told of %s (%r)", stage.key, error)


def stage_order(plan: Plan, stage: Stage, tracking: TrackingConfig, mode: str) -> Order:
    """The order for the run of a stage, whether it has begun or not."""
    return Order(
        run=stage_run(plan, stage),
        folder=plan.store.path(stage.key).absolute(),
        work_folder=plan.store.work_folder(stage.key).absolute(),
        **_place(plan, tracking, mode),
    )


def reduce_order(plan: Plan, files: Sequence[str], tracking: TrackingConfig, mode: str) -> Order:
    """The order for the run of the reducer, which files `files` of the sweep's folder."""
    run, folder = reduce_run(plan, files), plan.folder.absolute()
    return Order(run=run, folder=folder, **_place(plan, tracking, mode))


def _place(plan: Plan, tracking: TrackingConfig, mode: str) -> dict[str, Any]:
    return {
        "sweep": plan.name,
        "root": (plan.root / "tracking").absolute(),
        "mode": mode,
        "project": tracking.project,
        "entity": tracking.entity,
    }


def stage_run(plan: Plan, stage: Stage) -> RunInfo:
    """The run of a stage; a train stage serves every synthetic method, so it has no such tag."""
    detector = plan.detector_stage(stage.key)
    synthetic, axes = _synthetic(detector), _axes(plan, stage)
    tags = [plan.name, stage.kind, detector.data.place.name]
    return RunInfo(
        key=stage.key,
        name=run_name(plan, stage),
        job_type=stage.job_type,
        notes=_notes(plan, _about(plan, stage)),
        config=_config(plan, stage, axes),
        uses=[f"model-{parent}" for parent in stage.parents],
        makes=_model(stage),
        step_metrics=() if stage.kind == StageKind.EVALUATE else STEP_METRICS,
        tags=_distinct(tags if stage.kind == StageKind.TRAIN else [*tags, synthetic]),
    )


def _axes(plan: Plan, stage: Stage) -> dict[str, Value]:
    """The value of each axis, where all cells that need the stage have the same; else None."""
    if not plan.axes:
        return {}
    cells = plan.cells_behind(stage.key)
    first = cells[0].axes
    return {
        axis: value if all(cell.axes[axis] == value for cell in cells) else None
        for axis, value in first.items()
    }


def _arm(plan: Plan, stage: Stage, axes: Mapping[str, Value]) -> str:
    """The arm and all its axes, since charts know no source.

    Those of the source stand last, as `values_after_name` of its name has them.
    """
    name = _synthetic(plan.detector_stage(stage.key))
    source = plan.cells_behind(stage.key)[0].id.dataset if axes else ""
    known = {axis: value for axis, value in axes.items() if value is not None}
    ordered = sorted(known, key=lambda axis: f"{BETWEEN}{axis}=" in source)
    texts = [f"{axis.removeprefix('synthetic.')}={value_text(known[axis])}" for axis in ordered]
    return BETWEEN.join([name, *texts])


def _config(plan: Plan, stage: Stage, axes: Mapping[str, Value]) -> dict[str, Any]:
    """The coordinates of a stage, its settings, and where it comes from."""
    detector = plan.detector_stage(stage.key)
    return {
        "sweep": plan.name,
        "key": stage.key,
        "kind": str(stage.kind),
        "dataset": detector.data.place.name,
        "real_count": detector.real_count,
        "synthetic": _arm(plan, stage, axes),
        "iteration": detector.iteration,
        "target": stage.data.place.name if isinstance(stage, EvaluateStage) else None,
        "role": _role(plan, stage),
        "seed": detector.seed,
        "translator": detector.translator_name if isinstance(detector, PtlStage) else None,
        "detector": detector.detector.name,
        "settings": read_settings(plan, stage),
        **axes,
        **_inputs(plan, stage),
        **_origin(plan.settings.launcher.name),
    }


def read_settings(plan: Plan, stage: Stage) -> dict[str, Any]:
    """What the stage and the detector that it is about read, by section of the configuration.

    It is what their keys are made of, so where a file lies is not among it.
    """
    detector = plan.detector_stage(stage.key)
    found = _sections(detector)
    if isinstance(stage, EvaluateStage):
        own = _sections(stage)
        found |= {"evaluate": own["evaluate"], "target": own["dataset"]}
    return found


def _sections(stage: Stage) -> dict[str, Any]:
    found = {name: stage.spec[key] for key, name in SECTIONS.items() if key in stage.spec}
    shown: dict[str, Any] = _without_folders(found)
    return shown


def _without_folders(value: Any) -> Any:
    """Options of a reader of somebody's own may be paths: their last part is shown.

    W&B keeps no empty mapping, so there is none.
    """
    if isinstance(value, Mapping):
        return {key: _without_folders(item) for key, item in value.items() if item != {}}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    return FOLDERS.sub("", value) if isinstance(value, str) else value


def _about(plan: Plan, stage: Stage) -> str:
    """One sentence about a stage."""
    detector = plan.detector_stage(stage.key)
    if isinstance(stage, EvaluateStage):
        use = "" if _role(plan, stage) == "target" else ", which calibrates distances"
        return f"The detector {run_name(plan, detector)} on {stage.data.title}{use}."
    trained = f"{detector.real_count} real images of {detector.data.title}, seed {detector.seed}"
    if isinstance(stage, PtlStage):
        return (
            f"PTL iteration {stage.t} of synthetic={stage.synthetic} over {trained}: adds images "
            f"of the pool {stage.pool.title}, translated by {stage.translator_name}, and trains."
        )
    return f"Detector of {trained}, without synthetic images."


def _notes(plan: Plan, about: str) -> str:
    """What the run is, and the command that planned it, without the folders of this machine."""
    command = " ".join(FOLDERS.sub("", word) for word in plan.command.split(" "))
    return f"{about}\n\n`{command}`"


def _inputs(plan: Plan, stage: Stage) -> dict[str, Any]:
    """The model that the stage starts from, by the digest of the store."""
    for parent in stage.parents:
        try:
            digest = plan.store.meta(parent)["sha256"].get(MODEL)
        except StoreError:  # not published
            continue
        return {"inputs": {"model": f"model-{parent}", "digest": digest}}
    return {}


def _model(stage: Stage) -> FiledFiles | None:
    """The trained detector, as `model-<key>`."""
    if stage.kind == StageKind.EVALUATE:
        return None
    return FiledFiles(
        name=f"model-{stage.key}", kind="model", files=(MODEL,), metadata={"key": stage.key}
    )


def run_name(plan: Plan, stage: Stage) -> str:
    """`n20 s0`, `n20 on t2 s0`, `n20 on t2 s0 -> field`; `n20 on, temperature=5 t2 s0`."""
    detector = plan.detector_stage(stage.key)
    parts, arm = [f"n{detector.real_count}"], _arm(plan, stage, _axes(plan, stage))
    if stage.kind != StageKind.TRAIN or arm != OFF:
        parts.append(arm)
    if detector.iteration:
        parts.append(f"t{detector.iteration}")
    parts.append(f"s{detector.seed}")
    if isinstance(stage, EvaluateStage):
        parts += ["->", stage.data.place.name]
    return " ".join(parts)


def _synthetic(detector: DetectorStage) -> str:
    """Nothing synthetic is in a detector of iteration 0, whichever cell asked for it first."""
    return detector.synthetic if isinstance(detector, PtlStage) else OFF


def _role(plan: Plan, stage: Stage) -> str | None:
    """What an evaluation is for: the target of a cell, or the validation that calibrates."""
    if stage.kind != StageKind.EVALUATE:
        return None
    readings = (reading for cell in plan.cells for reading in cell.readings)
    return "target" if any(r.evaluate == stage.key for r in readings) else "validation"


def reduce_run(plan: Plan, files: Sequence[str] = ()) -> RunInfo:
    """The run of the reducer, which files `files` of the sweep's folder."""
    evaluations = sum(stage.kind == StageKind.EVALUATE for stage in plan.stages.values())
    cells = [cell.id for cell in plan.cells]
    places = [cell.coordinates for cell in plan.cells]
    names = (*AXES, *plan.axes)
    axes = {name: _distinct([one[name] for one in places if name in one]) for name in names}
    return RunInfo(
        key=f"reduce-{plan.name}",
        name=f"reduce {plan.name}",
        job_type="reduce",
        notes=_notes(plan, f"Results of the sweep {plan.name}: {len(cells)} cells."),
        config={
            "sweep": plan.name,
            "kind": "reduce",
            "cells": len(cells),
            "axes": axes,
            "settings": {
                **_agreed([read_settings(plan, stage) for stage in plan.stages.values()]),
                "analysis": asdict(plan.settings.analysis),
            },
            "inputs": {"evaluations": evaluations},
            **_origin(plan.settings.launcher.name),
        },
        tags=_distinct(
            [
                plan.name,
                "reduce",
                *(name_before_axes(cell.dataset) for cell in cells),
                *(name_before_axes(cell.synthetic) for cell in cells),
            ]
        ),
        makes=FiledFiles(name=f"grid-results-{plan.name}", kind="results", files=tuple(files)),
    )


def _agreed(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The settings in which all that have them agree."""
    agreed: dict[str, Any] = {}
    for name in dict.fromkeys(name for one in found for name in one):
        first, *others = (one[name] for one in found if name in one)
        if isinstance(first, Mapping):
            agreed[name] = _agreed([first, *(o for o in others if isinstance(o, Mapping))])
        elif all(other == first for other in others):
            agreed[name] = first
    return agreed


def _origin(launcher: str) -> dict[str, Any]:
    """Which code computes, started by whom; ids of SLURM where it did."""
    job = slurm_job()
    found = {"commit": git_commit(), "launcher": launcher}
    if job["job"] is not None:
        found |= {"slurm_job": job["job"], "slurm_restart": job["restart"]}
        array = [os.environ.get(name) for name in SLURM_ARRAY]
        if all(array):
            found["slurm_array_task"] = "_".join(str(part) for part in array)
    return found


def _distinct(values: Sequence[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))
