"""Stages as SLURM sees them: its word colours the store's, and never outranks it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ptl_sweep.launchers.slurm import commands
from ptl_sweep.launchers.slurm.commands import SlurmJob
from ptl_sweep.launchers.slurm.journal import REDUCE, JobBook, slurm_log
from ptl_sweep.launchers.slurm.queue import view_jobs
from ptl_sweep.launchers.slurm.submit import jobs_in_flight
from ptl_sweep.pipeline import status, status_text
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.queue import EndedJob, QueuedJob, QueueSnapshot
from ptl_sweep.pipeline.status import stage_states
from ptl_sweep.store import HISTORY

MakePlan = Callable[..., Plan]


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan("real_count=2", "target=field", "synthetic=off,on")


def queued(id_: str, state: str = "PENDING", reason: str = "Priority") -> QueuedJob:
    return SlurmJob(id_, state, reason, "", "0:00", "10:00", "N/A")


def of_kind(plan: Plan, kind: str) -> list[str]:
    return [key for key, stage in plan.stages.items() if stage.kind == kind]


def test_a_stage_whose_job_waits_for_its_turn_is_queued_and_its_children_wait(plan: Plan) -> None:
    view = QueueSnapshot(
        scheduler="SLURM", queued={key: queued(f"1_{i}") for i, key in enumerate(plan.stages)}
    )
    states = stage_states(plan, view)
    (train,) = of_kind(plan, "train")
    assert states.pop(train) == "queued"
    assert set(states.values()) == {"waiting"}


def test_a_job_that_runs_but_has_not_claimed_its_stage_yet_is_running(plan: Plan) -> None:
    (train,) = of_kind(plan, "train")
    view = QueueSnapshot(scheduler="SLURM", queued={train: queued("1", "RUNNING", "None")})
    assert stage_states(plan, view)[train] == "running"


def test_a_failed_stage_that_is_in_the_queue_again_is_no_longer_failed(plan: Plan) -> None:
    (train,) = of_kind(plan, "train")
    plan.store.root.mkdir(parents=True)
    plan.store.record_failure(train, ValueError("no"), log_path=None)
    assert stage_states(plan)[train] == "failed"
    states = stage_states(plan, QueueSnapshot(scheduler="SLURM", queued={train: queued("1")}))
    assert states.pop(train) == "queued"
    assert "blocked" not in states.values()


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("PartitionConfig", "blocked"),
        ("BadConstraints", "blocked"),
        ("DependencyNeverSatisfied", "blocked"),
        ("QOSMaxWallDurationPerJobLimit", "blocked"),
        ("PartitionTimeLimit", "blocked"),
        ("JobHeldUser", "blocked"),
        ("Priority", "queued"),
        ("Resources", "queued"),
        ("BeginTime", "queued"),
        ("QOSMaxJobsPerUserLimit", "queued"),
        ("AssocGrpGRES", "queued"),
        ("ReqNodeNotAvail, Reserved for maintenance", "queued"),
    ],
)
def test_only_a_job_that_needs_help_is_blocked(plan: Plan, reason: str, state: str) -> None:
    (train,) = of_kind(plan, "train")
    view = QueueSnapshot(scheduler="SLURM", queued={train: queued("1", reason=reason)})
    assert stage_states(plan, view)[train] == state


def test_a_job_that_ended_without_a_result_is_a_failure_with_its_fix(plan: Plan) -> None:
    (train,) = of_kind(plan, "train")
    view = QueueSnapshot(
        scheduler="SLURM", ended={train: EndedJob("4_0", "OUT_OF_MEMORY", "mem_gb")}
    )
    states = stage_states(plan, view)
    assert states.pop(train) == "failed"
    assert set(states.values()) == {"blocked"}
    text = status_text.status_text(plan, view)
    assert "SLURM job 4_0 ended without a result (OUT_OF_MEMORY)" in text
    assert "more launcher.train.mem_gb" in text


def test_a_job_that_died_before_our_code_shows_the_last_line_of_its_own_log(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    (train,) = of_kind(plan, "train")
    book = JobBook(plan.folder)
    book.add_array("one", "4", [[plan.task_of(train)]])
    book.add_released("one")
    log = slurm_log(plan.folder, "4")
    log.parent.mkdir(parents=True)
    log.write_text("a line before\nslurmstepd: error: execve(): python: No such file\n\n")
    monkeypatch.setattr(commands, "read_queue", lambda _: {})
    text = status_text.status_text(plan, view_jobs(plan, with_accounting=False))
    assert "its log ends with: slurmstepd: error: execve(): python: No such file" in text
    log.unlink()
    assert "its log" not in status_text.status_text(plan, view_jobs(plan, with_accounting=False))


def test_a_task_that_was_put_back_into_the_queue_shows_the_step_that_it_has_reached(
    plan: Plan,
) -> None:
    (train,) = of_kind(plan, "train")
    view = QueueSnapshot(scheduler="SLURM", queued={train: queued("1")})
    assert "requeued" not in status_text.status_text(plan, view)
    folder = plan.store.work_folder(train)
    folder.mkdir(parents=True)
    (folder / HISTORY).write_text('{"train/step": 80}\n')
    assert f"requeued {train}  train 80/360" in status_text.status_text(plan, view)


def test_a_running_task_says_how_often_its_job_was_put_back(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    (train,) = of_kind(plan, "train")
    plan.store.root.mkdir(parents=True)
    monkeypatch.setenv("SLURM_JOB_ID", "4")
    for count, told in (("0", False), ("2", True)):
        monkeypatch.setenv("SLURM_RESTART_COUNT", count)
        with plan.store.claim(train):
            note = status_text.progress_note(plan, train)
        assert ("requeued 2 times" in note) is told


def test_the_store_outranks_the_queue(plan: Plan) -> None:
    (train,) = of_kind(plan, "train")
    plan.store.path(train).mkdir(parents=True)
    view = QueueSnapshot(
        scheduler="SLURM", queued={train: queued("1")}, ended={train: EndedJob("1", "FAILED")}
    )
    assert stage_states(plan, view)[train] == "published"


@pytest.mark.parametrize(
    ("jobs", "expected"),
    [
        ([queued("1", "RUNNING", "None"), queued("2", reason="Dependency")], True),
        ([queued("1", reason="Resources"), queued("2", reason="Dependency")], True),
        ([queued("1", reason="PartitionConfig"), queued("2", reason="Dependency")], False),
        ([queued("1", reason="JobHeldUser")], False),
        ([queued("1", reason="DependencyNeverSatisfied")], False),
        ([], False),
    ],
)
def test_a_sweep_can_progress_while_a_job_waits_for_time_alone(
    jobs: list[QueuedJob], expected: bool
) -> None:
    assert QueueSnapshot(own=jobs).can_progress is expected


def test_jobs_that_need_help_are_named_with_their_fix(plan: Plan) -> None:
    view = QueueSnapshot(
        scheduler="SLURM",
        own=[queued("7_1", reason="BadConstraints"), queued("8", reason="JobHeldUser")],
    )
    text = status_text.status_text(plan, view)
    assert "STUCK   SLURM job 7_1 cannot start: BadConstraints" in text
    assert "scontrol release 8" in text


def test_a_sweep_without_jobs_asks_nobody(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "ask", lambda *command: pytest.fail(f"asked {command}"))
    assert view_jobs(plan) is None


def test_a_slurm_that_does_not_answer_leaves_the_states_to_the_store(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    book = JobBook(plan.folder)
    book.add_array("s", "1", [[task] for task in plan.tasks])
    book.add_array("s", "2", [[REDUCE]])
    book.add_released("s")
    view = view_jobs(plan)
    assert view is not None
    assert view.error is not None
    assert "`squeue` not found" in view.error
    assert set(stage_states(plan, view).values()) == {"waiting"}
    assert "the states are the store's: `squeue` not found" in status_text.status_text(plan, view)


@pytest.mark.parametrize(
    ("job_state", "expected"),
    [("RUNNING", "failed"), ("PENDING", "queued")],  # put back, it tries all its tasks again
)
def test_a_task_that_failed_beside_others_is_failed_while_its_job_goes_on_for_them(
    plan: Plan, job_state: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    squeue = tmp_path / "squeue"
    squeue.write_text(f"#!/bin/sh\necho '1|{job_state}|None|node|0:10|1:00|N/A'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    (train,) = of_kind(plan, "train")
    other = Task(name="other", kind="train", stages=("train-other",))
    book = JobBook(plan.folder)
    book.add_array("s", "1", [[plan.task_of(train), other]])
    book.add_released("s")
    plan.store.root.mkdir(parents=True)
    plan.store.record_failure(train, ValueError("no"), log_path=None)
    view = view_jobs(plan)
    assert view is not None
    assert [job.id for job in view.own] == ["1"]
    assert stage_states(plan, view)[train] == expected
    assert (train in jobs_in_flight(plan).stages) == (expected == "queued")


def test_the_mark_of_the_reducer_is_read_back(plan: Plan) -> None:
    assert status.last_reduction(plan) is None
    reduction = status.Reduction(
        time=1.5, num_cells=2, num_failed=1, text="table", settings="x", submission="s"
    )
    status.record_reduction(plan, reduction)
    assert status.last_reduction(plan) == reduction
    assert not status.is_complete(plan)


def test_other_thresholds_need_another_reduction_and_another_launcher_does_not(
    make_plan: MakePlan,
) -> None:
    grid = ("real_count=2", "target=field", "synthetic=off")
    first = status.reducer_settings(make_plan(*grid))
    assert status.reducer_settings(make_plan(*grid, "launcher=inline")) == first
    other = make_plan(*grid, "evaluate.score_thresholds=[0.01,0.2,0.5]")
    assert status.reducer_settings(other) != first
