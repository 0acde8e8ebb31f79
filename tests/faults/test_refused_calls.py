"""The k-th call to the operating system fails, for every k: nothing is lost, and a retry works."""

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.fault_trials import (
    ERRNOS,
    FailingCall,
    Tally,
    broken_stages,
    failing_calls,
    unexplained,
)
from helpers.sweeps import Sweep

from ptl_sweep.checkpoints import read_checkpoint, save_checkpoint
from ptl_sweep.pipeline.plan import Plan, load_plan, save_plan
from ptl_sweep.reduce.run import reduce_sweep
from ptl_sweep.tracking import Companion
from ptl_sweep.worker.running import StageFailedError, run_stage

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]


@pytest.fixture
def plan(make_plan: Callable[..., Plan], no_training: list[str]) -> Plan:
    del no_training
    return make_plan("real_count=2", "target=field", "synthetic=off")


def test_claiming_and_publishing_a_stage(plan: Plan, tally: Tally) -> None:
    tally.fault = "a call fails while a stage is claimed and published"
    key = next(key for key in plan.stages if key.startswith("train-"))

    def run() -> None:
        run_stage(plan, key, should_stop=lambda: False, companion=Companion())

    for failing in failing_calls(tally, plan.store.root):
        shutil.rmtree(plan.store.root, ignore_errors=True)
        with failing, suppress(OSError, StageFailedError):
            run()
        run()  # without the fault
        broken = broken_stages(plan.store)
        if broken or not plan.store.is_published(key) or plan.store.is_running(key):
            tally.lost.append(f"{failing.what}: {broken}")
    assert tally.lost == []


def test_writing_the_plan(plan: Plan, tally: Tally) -> None:
    tally.fault = "a call fails while plan.json is written"
    before = (plan.folder / "plan.json").read_bytes()
    for failing in failing_calls(tally, plan.folder):
        with failing, suppress(OSError):
            save_plan(plan)
        if load_plan(plan.folder).stages != plan.stages:
            tally.lost.append(failing.what)
    assert (plan.folder / "plan.json").read_bytes() == before
    assert tally.lost == []


def test_saving_a_checkpoint(tmp_path: Path, tally: Tally) -> None:
    tally.fault = "a call fails while a checkpoint is saved"
    path = tmp_path / "checkpoint.pt"
    state = {"step": 0, "weights": torch.zeros(3)}
    save_checkpoint(path, state)
    for failing in failing_calls(tally, tmp_path):
        before = state["step"]
        with failing, suppress(OSError):
            save_checkpoint(path, {**state, "step": before + 1})
        state = read_checkpoint(path, state, torch.device("cpu")) or state | {"step": -1}
        if state["step"] not in (before, before + 1):
            tally.lost.append(failing.what)
    assert tally.lost == []


@pytest.mark.usefixtures("blank_figures")
def test_reducing_a_sweep(tiny_sweep: Sweep, copy_of: Any, tally: Tally, share: float) -> None:
    tally.fault = "a call fails while tables and report are written"
    sweep = copy_of(tiny_sweep)
    expected = sweep.file("results.csv")
    number = 0
    while True:
        failing = FailingCall(number, ERRNOS[number % len(ERRNOS)], sweep.root)
        with failing, suppress(OSError):
            reduce_sweep(sweep.plan, sweep.plan.settings.tracking, jobs=None)
        if not failing.what:
            break
        tally.tries += 1
        tally.note(failing.what.split()[0])
        lost = [*unexplained(expected, sweep.file("results.csv")), *broken_stages(sweep.plan.store)]
        tally.lost += [f"{failing.what}: {one}" for one in lost]
        number += round(5 / share)  # no multiple of six: every error comes
    assert sweep.file("results.csv") == expected  # the last attempt met no fault
    assert tally.lost == []
