"""A SLURM job's answer to signals, claims and changed code, without a SLURM."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.detection.training import Interrupted
from ptl_sweep.launchers.slurm import job
from ptl_sweep.launchers.slurm.job import (
    CodeChangedError,
    TaskFailedError,
    TaskJob,
    put_back,
    run_to_the_end,
)
from ptl_sweep.launchers.slurm.journal import JobBook
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.provenance import code_fingerprint
from ptl_sweep.stages.train import TrainStage
from ptl_sweep.tracking import Companion
from ptl_sweep.worker.running import StopOnSignal, run_stage

MakePlan = Callable[..., Plan]


@pytest.fixture
def plan(make_plan: MakePlan, no_training: list[str]) -> Plan:
    return make_plan("real_count=2", "target=field", "synthetic=off")


@pytest.fixture
def requeued() -> Iterator[list[int]]:
    """Stands where submitit's handler stands: it would requeue the job and end the process."""
    calls: list[int] = []

    def handler(number: int, frame: Any) -> None:
        calls.append(number)
        raise SystemExit(255)

    before = signal.signal(signal.SIGUSR2, handler)
    yield calls
    signal.signal(signal.SIGUSR2, before)


def task_job(plan: Plan, **more: str) -> TaskJob:
    return TaskJob(
        sweep=str(plan.folder),
        submission="s",
        **{"task": plan.tasks[0].name, "code": code_fingerprint(), "code_change": "warn", **more},
    )


def interrupted_by(*numbers: signal.Signals) -> Callable[[Any], dict[str, Any]]:
    """A stage that gets these signals while it trains, once, and stops at its checkpoint."""
    left = list(numbers)

    def stage(_stage: Any, work: Any) -> dict[str, Any]:
        if not left:
            return {"AP": 0.5}
        while left:
            signal.raise_signal(left.pop(0))
        assert work.should_stop()
        raise Interrupted("checkpoint written")

    return stage


def test_a_warning_of_the_time_limit_goes_to_submitit_after_the_checkpoint(
    plan: Plan, requeued: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainStage, "run", interrupted_by(signal.SIGUSR2))
    with pytest.raises(SystemExit):
        run_to_the_end(plan, plan.tasks[0])
    assert requeued == [signal.SIGUSR2]
    key = plan.tasks[0].stages[0]
    assert plan.store.failure(key) is None
    assert not plan.store.is_running(key)


def test_a_warning_outranks_the_sigterm_that_follows_it(
    plan: Plan, requeued: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainStage, "run", interrupted_by(signal.SIGUSR2, signal.SIGTERM))
    with pytest.raises(SystemExit):
        run_to_the_end(plan, plan.tasks[0])
    assert requeued == [signal.SIGUSR2]


def test_after_sigterm_alone_the_job_waits_for_its_end_and_goes_on_when_none_comes(
    plan: Plan, requeued: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "END_EXPECTED_S", 0.05)
    monkeypatch.setattr(job, "POLL_S", 0.01)
    monkeypatch.setattr(TrainStage, "run", interrupted_by(signal.SIGTERM))
    assert run_to_the_end(plan, plan.tasks[0]) == "done"
    assert requeued == []
    assert len(plan.store.meta(plan.tasks[0].stages[0])["attempts"]) == 2


def test_while_it_waits_for_its_end_a_warning_still_puts_it_back(
    plan: Plan, requeued: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "POLL_S", 0.01)
    monkeypatch.setattr(TrainStage, "run", interrupted_by(signal.SIGTERM))
    later = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR2))
    later.start()
    with pytest.raises(SystemExit):
        run_to_the_end(plan, plan.tasks[0])
    later.join()
    assert requeued == [signal.SIGUSR2]


def test_a_job_that_may_not_go_back_again_says_so_in_its_failure(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int, frame: Any) -> None:
        raise RuntimeError("Job not requeued because: timed-out too many times.")

    before = signal.signal(signal.SIGUSR2, refuse)
    try:
        with pytest.raises(TaskFailedError, match="timed-out too many times"):
            put_back(plan, plan.tasks[:1], StopOnSignal())
    finally:
        signal.signal(signal.SIGUSR2, before)
    failure = plan.store.failure(plan.tasks[0].stages[0])
    assert failure is not None
    assert "raise launcher.train.time_min or launcher.max_requeues" in failure["what"]


def test_a_claim_of_somebody_else_is_waited_for(
    plan: Plan, no_training: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "RETRY_CLAIMED_S", 0.05)
    monkeypatch.setattr(job, "POLL_S", 0.01)
    key = plan.tasks[0].stages[0]
    taken = threading.Event()

    def compute_elsewhere() -> None:
        with plan.store.claim(key):
            taken.set()
            time.sleep(0.3)

    other = threading.Thread(target=compute_elsewhere)
    other.start()
    taken.wait()
    assert run_to_the_end(plan, plan.tasks[0]) == "done"
    other.join()
    assert no_training == [key]


def test_what_another_node_has_just_published_is_waited_for(
    make_plan: MakePlan, no_training: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "POLL_S", 0.01)
    plan = make_plan("real_count=2", "target=field", "synthetic=off")
    (train, evaluate) = plan.tasks
    plan.store.root.mkdir(parents=True)
    later = threading.Timer(
        0.2,
        run_stage,
        (plan, train.stages[0]),
        {"should_stop": lambda: False, "companion": Companion()},
    )
    later.start()
    job.look_for_parents(plan, evaluate, since=0)
    assert plan.store.is_published(train.stages[0])
    later.join()


def test_parents_that_never_come_are_not_waited_for_for_ever(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "POLL_S", 0.01)
    monkeypatch.setattr(job, "PARENTS_SEEN_S", 0.05)
    plan.store.root.mkdir(parents=True)
    job.look_for_parents(plan, plan.tasks[1], since=0)
    with pytest.raises(TaskFailedError):
        run_to_the_end(plan, plan.tasks[1])


def test_a_parent_that_failed_in_this_submission_is_not_waited_for(plan: Plan) -> None:
    train, evaluate = plan.tasks[:2]
    began = time.time()
    assert not job.has_failed_parents(plan, evaluate, began)
    plan.store.record_failure(train.stages[0], RuntimeError("full"), log_path=None)
    assert job.has_failed_parents(plan, evaluate, began)
    assert not job.has_failed_parents(plan, evaluate, time.time() + 1), "an earlier submission's"
    started = time.monotonic()
    job.look_for_parents(plan, evaluate, began)
    assert time.monotonic() - started < job.PARENTS_SEEN_S / 2
    (plan.store.root / train.stages[0]).mkdir()
    assert not job.has_failed_parents(plan, evaluate, began), "it was tried again"


def test_a_submission_began_when_its_first_jobs_were_noted(tmp_path: Path) -> None:
    book = JobBook(tmp_path)
    before = time.time()
    assert book.began("a") >= before
    book.add_array("a", "1", [[]])
    middle = time.time()
    book.add_array("b", "2", [[]])
    book.add_released("a")
    assert before <= book.began("a") <= middle <= book.began("b") <= time.time()


def test_a_failed_stage_fails_the_job(plan: Plan) -> None:
    plan.store.root.mkdir(parents=True)
    (plan.store.root / f"fail-{plan.tasks[0].stages[0]}").touch()
    with pytest.raises(TaskFailedError, match=str(plan.log_path(plan.tasks[0]))):
        run_to_the_end(plan, plan.tasks[0])


def test_changed_code_is_noted_in_the_stage(plan: Plan) -> None:
    plan.code = "000000000000"
    key = plan.tasks[0].stages[0]
    run_stage(plan, key, should_stop=lambda: False, companion=Companion())
    meta = plan.store.meta(key)
    assert meta["code_changed"] is True
    assert meta["code"] == code_fingerprint()


def test_changed_code_is_refused_when_the_launcher_says_so(plan: Plan) -> None:
    changed = task_job(plan, code="000000000000", code_change="refuse")
    with pytest.raises(CodeChangedError, match=r"launcher\.code=snapshot"):
        changed._check_code(plan, plan.tasks[:1])
    failure = plan.store.failure(plan.tasks[0].stages[0])
    assert failure is not None
    assert "000000000000" in failure["what"]
    task_job(plan, code="000000000000")._check_code(plan, plan.tasks[:1])  # only warns
    task_job(plan, code_change="refuse")._check_code(plan, plan.tasks[:1])  # same code


def test_submitit_queues_the_same_call_again(plan: Plan) -> None:
    call = task_job(plan)
    assert call.checkpoint().function == call


def test_an_unknown_task_is_refused_and_reduces_nothing(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TaskJob, "_remove_half_written", lambda _: None)
    monkeypatch.setattr(job, "reduce", lambda *_: pytest.fail("the reducer ran"))
    with pytest.raises(ConfigError, match="has no task nobody"):
        task_job(plan, task="nobody")()


def test_a_warning_after_the_last_stage_neither_kills_the_job_nor_puts_it_back(
    plan: Plan, requeued: list[int]
) -> None:
    assert run_to_the_end(plan, plan.tasks[0]) == "done"
    os.kill(os.getpid(), signal.SIGUSR2)
    assert requeued == []
    # Python restores handlers of its own when it ends, and leaves alone what is ignored
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_IGN
