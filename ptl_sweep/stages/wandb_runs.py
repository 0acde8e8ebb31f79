"""What the W&B runs of a sweep are called and filed under: one per stage, one for the reducer."""

import os
from collections.abc import Sequence
from typing import Any

from ptl_sweep.config.schema import Config
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.provenance import git_commit
from ptl_sweep.store import Stage, slurm_job
from ptl_sweep.tracking import RunInfo
from ptl_sweep.vocabulary import OFF

JOB_TYPES = {"train": "train", "ptl": "train", "evaluate": "evaluate"}
STEP_METRICS = ("translate/step", "train/step", "ptl/iteration")  # one of them in every row
SLURM_ARRAY = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")


def stage_run(plan: Plan, stage: Stage, config: Config) -> RunInfo:
    """The run of a stage; `config` is that of whichever cell asked for it first.

    A train stage serves every value of synthetic, so it has no such tag.
    """
    iteration, synthetic = _iteration(plan, stage), _synthetic(plan, stage, config)
    tags = [plan.name, stage.kind, config.dataset.name]
    return RunInfo(
        key=stage.key,
        name=run_name(plan, stage, config),
        job_type=JOB_TYPES[stage.kind],
        config={
            "sweep": plan.name,
            "key": stage.key,
            "kind": stage.kind,
            "dataset": config.dataset.name,
            "real_count": config.real_count,
            "synthetic": synthetic,
            "iteration": iteration,
            "target": config.target.name if stage.kind == "evaluate" else None,
            "role": _role(plan, stage),
            "seed": config.seed,
            "translator": config.translator.name if iteration else None,
            "detector": config.detector.name,
            **_origin(config.launcher.name),
        },
        step_metrics=STEP_METRICS if stage.kind != "evaluate" else (),
        tags=_distinct([*tags, synthetic] if stage.kind != "train" else tags),
    )


def run_name(plan: Plan, stage: Stage, config: Config) -> str:
    """`n20 s0`, `n20 on t2 s0`, `n20 on t2 s0 -> field`."""
    parts = [f"n{config.real_count}"]
    if stage.kind != "train":
        parts.append(_synthetic(plan, stage, config))
    if iteration := _iteration(plan, stage):
        parts.append(f"t{iteration}")
    parts.append(f"s{config.seed}")
    if stage.kind == "evaluate":
        parts += ["->", config.target.name]
    return " ".join(parts)


def _iteration(plan: Plan, stage: Stage) -> int:
    """PTL iteration of the detector that a stage makes or evaluates; 0: real images alone."""
    detector = plan.stages[stage.parents[0]] if stage.kind == "evaluate" else stage
    return int(detector.spec["synthetic"]["iteration"]) if detector.kind == "ptl" else 0


def _synthetic(plan: Plan, stage: Stage, config: Config) -> str:
    """Whichever cell asked first, nothing synthetic is in a detector of iteration 0."""
    return config.synthetic.name if _iteration(plan, stage) else OFF


def _role(plan: Plan, stage: Stage) -> str | None:
    """What an evaluation is for: the target of a cell, or the validation that calibrates."""
    if stage.kind != "evaluate":
        return None
    readings = (reading for cell in plan.cells for reading in cell.readings)
    return "target" if any(r.evaluate == stage.key for r in readings) else "validation"


def reduce_run(plan: Plan) -> RunInfo:
    """The run of the reducer."""
    evaluations = sum(stage.kind == "evaluate" for stage in plan.stages.values())
    cells = [cell.id for cell in plan.cells]
    return RunInfo(
        key=f"reduce-{plan.name}",
        name=f"reduce {plan.name}",
        job_type="reduce",
        config={
            "sweep": plan.name,
            "kind": "reduce",
            "cells": len(cells),
            "inputs": {"evaluations": evaluations},
            **_origin(plan.configs[0]["launcher"]["name"]),
        },
        tags=_distinct(
            [plan.name, "reduce", *(c.dataset for c in cells), *(c.synthetic for c in cells)]
        ),
    )


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


def _distinct(tags: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))
