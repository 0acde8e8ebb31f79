"""`wait`, `cancel` and `logs` for a sweep without a SLURM, and what they answer to mistakes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptl_sweep.cli import waiting
from ptl_sweep.cli.cluster import find_task, last_lines
from ptl_sweep.launchers.slurm.journal import REDUCE
from ptl_sweep.pipeline.plan import Plan

MakePlan = Callable[..., Plan]


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan("real_count=2,3", "target=field,karst", "synthetic=off,on")


def root_of(plan: Plan) -> str:
    return f"sweep.root={plan.root}"


def test_a_key_a_name_and_a_cell_lead_to_the_same_task(plan: Plan) -> None:
    key = next(k for k in plan.stages if k.startswith("evaluate-") and k.count("-n3-s0-field"))
    task = plan.task_of(key)
    assert find_task(plan, [key]) == task
    assert find_task(plan, [task.name]) == task
    assert find_task(plan, ["reduce"]) is REDUCE


def test_the_log_of_a_cell_is_that_of_what_it_waits_for(plan: Plan) -> None:
    words = ["real_count=3", "synthetic=on", "target=karst"]
    assert find_task(plan, words).kind == "train"
    assert find_task(plan, ["real_count=3", "synthetic=ptl", "target=karst"]).kind == "train"
    train = next(k for k in plan.stages if k.startswith("train-") and "-n3-" in k)
    plan.store.path(train).mkdir(parents=True)
    chain = next(k for k in plan.stages if k.startswith("ptl-") and "-n3-" in k)
    plan.store.record_failure(chain, ValueError("no"), log_path=None)
    assert find_task(plan, words) == plan.task_of(chain)
    assert find_task(plan, []) == plan.task_of(chain)  # what failed first


def test_a_word_that_fits_several_or_none_is_answered_with_names(plan: Plan, run: Any) -> None:
    several = run("logs", "evaluate-miniature-n2", root_of(plan))
    assert several.code == 2
    assert "did you mean evaluate-" in several.errors
    nobody = run("logs", "train-miniature-n22-s0", root_of(plan))
    assert nobody.code == 2
    assert "did you mean train-miniature-n2-s0-" in nobody.errors
    axis = run("logs", "count=3", root_of(plan))
    assert axis.code == 2
    assert "count is not an axis; a cell has dataset, real_count" in axis.errors
    cells = run("logs", "real_count=3", root_of(plan))
    assert cells.code == 2
    assert "4 cells are real_count=3" in cells.errors


def test_a_task_that_has_not_begun_has_no_log(plan: Plan, run: Any) -> None:
    answer = run("logs", plan.tasks[0].name, root_of(plan))
    assert answer.code == 2
    assert "has not begun" in answer.errors


def test_the_last_lines_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "task.log"
    path.write_bytes(b"\n".join(b"line %d" % i for i in range(100)) + b"\n\xff broken\n")
    assert last_lines(path, 2) == ["line 99", "\ufffd broken"]
    assert len(last_lines(path, 0)) == 101


def test_logs_prints_the_task_s_log(plan: Plan, run: Any) -> None:
    path = plan.log_path(plan.tasks[0])
    path.write_text("one\ntwo\nthree\n")
    shown = run("logs", plan.tasks[0].name, "--lines", "2", root_of(plan))
    assert shown.code == 0
    assert shown.output.splitlines() == [f"==> {path}", "two", "three"]


def test_wait_ends_at_once_when_the_reducer_has_run(tiny_sweep: Any, run: Any) -> None:
    waited = run("wait", f"sweep.root={tiny_sweep.root}")
    assert waited.code == 0
    assert "report.html" in waited.output


def test_wait_gives_up_on_a_sweep_of_which_nothing_runs(
    plan: Plan, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "ASK_S", 0.02)
    monkeypatch.setattr(waiting, "LOOK_S", 0.01)
    waited = run("wait", root_of(plan))
    assert waited.code == 1
    assert "nothing of it runs or is queued; the same command queues the rest" in waited.output


def test_cancel_of_a_sweep_without_jobs_says_so(plan: Plan, run: Any) -> None:
    answer = run("cancel", root_of(plan))
    assert answer.code == 0
    assert "has no job in the queue" in answer.output


@pytest.mark.parametrize("lines", ["-1", "two", "1.5", "9" * 5000, "-0.5"])
def test_lines_must_be_a_whole_number(plan: Plan, run: Any, lines: str) -> None:
    outcome = run("logs", f"--lines={lines}", root_of(plan))
    assert outcome.code == 2
    assert "argument --lines: must be a whole number, 0 or more" in outcome.errors


def test_more_lines_than_anybody_has_are_all(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("one\ntwo\n")
    assert last_lines(path, 10**30) == ["one", "two"]
