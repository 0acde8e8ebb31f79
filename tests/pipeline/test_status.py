"""Status: the state of every stage from the store alone, what work costs, and why it is due."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ptl_sweep.config.schema import Config, LauncherConfig
from ptl_sweep.detection.architectures.retinanet_tiny import TinyRetinaNet
from ptl_sweep.launchers.inline import InlineLauncher
from ptl_sweep.meta import META, sealed
from ptl_sweep.pipeline import costs, plan_text, status, status_text
from ptl_sweep.pipeline.plan import Plan, plan_sweep
from ptl_sweep.pipeline.store_listing import StoreListing

MakePlan = Callable[..., Plan]
GRID = ("real_count=2", "target=field,karst", "synthetic=off,on")


@pytest.fixture
def plan(make_plan: MakePlan, no_training: list[str]) -> Plan:
    return make_plan(*GRID)


def compute(plan: Plan) -> None:
    InlineLauncher(plan, LauncherConfig(name="inline"), Console(quiet=True)).run()


def reads_of_metas(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every meta.json whose text is read from now on."""
    found: list[Path] = []
    read_text = Path.read_text

    def counted(path: Path, *args: Any, **options: Any) -> str:
        if path.name == META:
            found.append(path)
        return read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", counted)
    return found


def keys_of(plan: Plan, kind: str) -> list[str]:
    return [key for key, stage in plan.stages.items() if stage.kind == kind]


def test_before_anything_ran_everything_waits(plan: Plan) -> None:
    assert set(status.stage_states(plan).values()) == {"waiting"}


def test_after_a_run_everything_is_published(plan: Plan) -> None:
    compute(plan)
    assert set(status.stage_states(plan).values()) == {"published"}


def test_a_claimed_stage_runs(plan: Plan) -> None:
    (key,) = keys_of(plan, "train")
    with plan.store.claim(key):
        states = status.stage_states(plan)
    assert states.pop(key) == "running"
    assert set(states.values()) == {"waiting"}


def test_a_failure_blocks_what_needs_it_and_nothing_else(plan: Plan) -> None:
    first, second = keys_of(plan, "ptl")
    (train,) = keys_of(plan, "train")
    plan.store.root.mkdir(parents=True)
    (plan.store.root / f"fail-{first}").touch()
    compute(plan)
    states = status.stage_states(plan)
    assert (states[train], states[first], states[second]) == ("published", "failed", "blocked")
    for key in keys_of(plan, "evaluate"):
        on = plan.stages[key].parents == (second,)
        assert states[key] == ("blocked" if on else "published")


def test_a_stage_that_is_tried_again_is_no_longer_failed(plan: Plan) -> None:
    (key,) = keys_of(plan, "train")
    plan.store.record_failure(key, ValueError("loss is NaN"), log_path=None)
    assert status.stage_states(plan)[key] == "failed"
    with plan.store.claim(key):
        assert status.stage_states(plan)[key] == "running"


def test_counts_are_by_kind_and_leave_out_kinds_that_a_sweep_lacks(plan: Plan) -> None:
    counts = status.count_states(plan, status.stage_states(plan))
    assert {kind: dict(count) for kind, count in counts.items()} == {
        "train": {"waiting": 1},
        "ptl": {"waiting": 2},
        "evaluate": {"waiting": 4},
    }


def test_the_table_of_a_plan_counts_naive_unique_cached_and_to_run(plan: Plan) -> None:
    before = {line.kind: line for line in plan_text.kind_counts(plan)}
    compute(plan)
    after = {line.kind: line for line in plan_text.kind_counts(plan)}
    for kind, naive, unique in (("train", 4, 1), ("ptl", 4, 2), ("evaluate", 4, 4)):
        assert (before[kind].naive, before[kind].unique) == (naive, unique)
        assert (before[kind].cached, before[kind].to_run) == (0, unique)
        assert (after[kind].cached, after[kind].to_run) == (unique, 0)


def test_costs_are_guessed_by_architecture_until_they_are_measured(plan: Plan) -> None:
    guess = TinyRetinaNet.default_seconds._asdict()
    for kind, cost in costs.measured_seconds(plan).items():
        assert (cost.seconds, cost.is_measured) == (guess[kind], False)
    compute(plan)
    for kind, cost in costs.measured_seconds(plan).items():
        assert cost.is_measured
        assert cost.seconds < guess[kind]


def test_stages_of_other_sweeps_of_the_same_data_are_the_next_best_estimate(
    plan: Plan, make_plan: MakePlan
) -> None:
    compute(plan)
    other = make_plan(*GRID, "seed=1")
    assert not set(other.stages) & set(plan.stages)
    assert all(cost.is_measured for cost in costs.measured_seconds(other).values())


def test_reasons_name_the_key_that_changed(plan: Plan, cells: Callable[..., list[Config]]) -> None:
    assert plan_text.reasons_to_run(plan) == "7 never computed"
    compute(plan)
    assert plan_text.reasons_to_run(plan) == ""
    configs = cells(*GRID)
    for config in configs:
        config.sweep.root = str(plan.root)
        config.translator.lambda_cycle = 3.0
    changed = plan_sweep(configs, "")
    reasons = plan_text.reasons_to_run(changed)
    assert reasons == "4 changed: parents, translator.lambda_cycle"


def test_a_new_version_of_a_stage_is_a_reason(plan: Plan) -> None:
    compute(plan)
    (key,) = keys_of(plan, "train")
    path = plan.store.path(key) / META
    meta = json.loads(path.read_text())
    path.write_text(json.dumps(sealed({**meta, "version": 0})))
    assert plan_text.changed_fields(StoreListing(plan.store), plan.stages[key]) == {"stage version"}


def test_looking_at_a_sweep_loads_neither_torch_nor_wandb(plan: Plan) -> None:
    program = (
        "import sys\nfrom ptl_sweep.__main__ import main\n"
        f"main(['status', {str(plan.folder)!r}])\n"
        "print(sorted({'torch', 'wandb', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env=dict(os.environ),
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == "[]"
    assert plan.name in done.stdout


def test_the_state_of_a_cell_is_that_of_the_first_stage_it_lacks(plan: Plan) -> None:
    first, _ = keys_of(plan, "ptl")
    plan.store.root.mkdir(parents=True)
    (plan.store.root / f"fail-{first}").touch()
    compute(plan)
    states = status.stage_states(plan)
    by_cell = status.cell_states(plan, states)
    assert {cell.synthetic: state for cell, state in by_cell.items()} == {
        "off": "published",
        "on": "failed",
    }
    lacking = {status.first_unpublished(plan, states, cell) for cell in plan.cells}
    assert lacking == {None, first}


def test_a_dry_run_of_a_submission_needs_neither_torch_nor_wandb_nor_a_slurm_and_writes_nothing(
    tmp_path: Path,
) -> None:
    arguments = [
        "-m", "real_count=10,20", "launcher=slurm", "launcher.dry_run=true",
        f"sweep.root={tmp_path / 'outputs'}",
    ]  # fmt: skip
    program = (
        "import sys\nfrom ptl_sweep.__main__ import main\n"
        f"code = main({arguments!r})\n"
        "print(code, sorted({'torch', 'wandb', 'matplotlib'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True,
        env={**os.environ, "PATH": "/nonexistent"},
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == "0 []"
    assert "would queue 8 tasks in 4 arrays and a reducer after them" in done.stdout
    assert "SLURM does not answer, so the queue counts as empty: `sbatch` not found" in done.stdout
    hours = 2 * 2 * TinyRetinaNet.default_seconds.ptl / 3600
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("ptl ") and "#" in line]
    assert row.split()[-1] == f"{hours:.1f}"
    assert not (tmp_path / "outputs").exists()


def test_a_data_set_whose_name_starts_alike_is_no_measurement(
    plan: Plan, make_plan: MakePlan, cells: Callable[..., list[Config]]
) -> None:
    compute(plan)
    configs = cells(*GRID)
    for config in configs:
        config.sweep.root = str(plan.root)
        config.dataset.name, config.dataset.world_seed = "miniature-hills", 5
        config.target.world_seed = 6
    other = plan_sweep(configs, "")
    assert not any(cost.is_measured for cost in costs.measured_seconds(other).values())


def test_a_plan_tells_its_own_earlier_work_from_that_of_other_sweeps(
    plan: Plan, make_plan: MakePlan
) -> None:
    compute(plan)
    (train,) = keys_of(plan, "train")
    path = plan.store.path(train) / META
    meta = json.loads(path.read_text()) | {"started": 1.0}  # by others
    path.write_text(json.dumps(sealed(meta)))
    again = make_plan(*GRID)
    lines = {line.kind: line for line in plan_text.kind_counts(again)}
    assert {kind: (line.cached, line.resumed) for kind, line in lines.items()} == {
        "train": (1, 0), "ptl": (2, 2), "evaluate": (4, 4),
    }  # fmt: skip
    assert "cached  6 resumed: this sweep's own work; 1 of other sweeps" in plan_text.plan_text(
        again
    )
    other = make_plan(*GRID, "seed=0,1")
    assert "resumed" not in plan_text.plan_text(other)


@pytest.mark.parametrize("text", [plan_text.plan_text, status_text.status_text])
def test_looking_at_a_sweep_lists_the_store_once_and_reads_no_meta_twice(
    plan: Plan, cells: Callable[..., list[Config]], monkeypatch: pytest.MonkeyPatch, text: Any
) -> None:
    compute(plan)
    configs = cells(*GRID, "seed=0,1")
    for config in configs:
        config.sweep.root = str(plan.root)
        config.translator.lambda_cycle = 3.0
    changed = plan_sweep(configs, "")
    metas, listed = reads_of_metas(monkeypatch), []
    scandir = os.scandir

    def counted_scandir(path: Any = ".") -> Any:
        listed.append(os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", counted_scandir)
    text(changed)
    assert listed.count(str(plan.store.root)) == 1
    assert len(metas) == len(set(metas)) <= len(plan.stages)
