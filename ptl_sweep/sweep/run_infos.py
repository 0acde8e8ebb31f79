"""What the W&B runs of a sweep are called and filed under: one per stage, one for the reducer."""

import os
from collections.abc import Sequence
from typing import Any

from ptl_sweep.analysis.study import OFF
from ptl_sweep.config import Config
from ptl_sweep.store import Stage, slurm_job
from ptl_sweep.sweep.planner import Plan
from ptl_sweep.sweep.provenance import git_commit
from ptl_sweep.tracking import RunInfo

JOB_TYPES = {"train": "train", "ptl": "train", "evaluate": "evaluate"}
SLURM_ARRAY = ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID")


def stage_run(plan: Plan, stage: Stage, config: Config) -> RunInfo:
    """The run of a stage; a train stage serves every value of synthetic, so it has no such tag."""
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
            "synthetic": config.synthetic.name,
            "target": config.target.name if stage.kind == "evaluate" else None,
            "seed": config.seed,
            "translator": config.translator.name,
            "detector": config.detector.name,
            **_origin(config.launcher.name),
        },
        step_metric="train/step" if stage.kind != "evaluate" else None,
        tags=_distinct([*tags, config.synthetic.name] if stage.kind != "train" else tags),
    )


def run_name(plan: Plan, stage: Stage, config: Config) -> str:
    """`n20 s0`, `n20 on t2 s0`, `n20 on t2 s0 -> field`."""
    detector = plan.stages[stage.parents[0]] if stage.kind == "evaluate" else stage
    parts = [f"n{config.real_count}"]
    if detector.kind == "ptl":
        parts += [config.synthetic.name, f"t{detector.spec['synthetic']['iteration']}"]
    elif stage.kind == "evaluate":
        parts.append(OFF)  # whichever cell asked first: nothing synthetic is in this detector
    parts.append(f"s{config.seed}")
    if stage.kind == "evaluate":
        parts += ["->", config.target.name]
    return " ".join(parts)


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
