"""Several tasks of one SLURM job: side by side, told of every signal, none lost to another."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ptl_sweep.launchers.slurm import group, job
from ptl_sweep.launchers.slurm.group import Group
from ptl_sweep.launchers.slurm.job import TaskFailedError, until_done
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.worker.running import STOP_SIGNALS

MakePlan = Callable[..., Plan]
PUBLISH = 'for key in {keys}; do mkdir -p "{root}/$key"; done'
STOPPABLE = (  # in its first life; publishes in its second
    'if [ -e {root}/life-{name} ]; then ' + PUBLISH + '; exit; fi; '
    "trap 'touch {root}/told-{name}; exit 75' USR2 TERM; touch {root}/life-{name}; "
    "while :; do sleep 0.05; done"
)  # fmt: skip


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "POLL_S", 0.02)
    monkeypatch.setattr(job, "RETRY_CLAIMED_S", 0.1)
    monkeypatch.setattr(job, "END_EXPECTED_S", 0.2)


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    """Three trainings and their evaluations."""
    plan = make_plan("real_count=2,3,4", "target=field", "synthetic=off")
    plan.store.root.mkdir(parents=True)
    return plan


@pytest.fixture
def trainings(plan: Plan) -> list[Task]:
    return [task for task in plan.tasks if task.kind == "train"]


class Workers:
    """Shell commands in place of workers."""

    def __init__(self) -> None:
        self.commands: dict[str, list[str]] = {}  # task -> what its lives do; the last one stays
        self.most_at_once = 0
        self.started: list[str] = []

    def spawn(self, running: Group, task: Task) -> subprocess.Popen[bytes]:
        self.started.append(task.name)
        self.most_at_once = max(self.most_at_once, len(running.running) + 1)
        lives = self.commands.get(task.name, [PUBLISH])
        command = lives.pop(0) if len(lives) > 1 else lives[0]
        root = running.plan.store.root
        text = command.format(keys=" ".join(task.stages), root=root, name=task.name)
        return subprocess.Popen(["sh", "-c", text])


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    made = Workers()

    def spawn(running: Group, task: Task) -> subprocess.Popen[bytes]:
        return made.spawn(running, task)

    monkeypatch.setattr(Group, "_spawn", spawn)
    return made


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


def run(plan: Plan, tasks: list[Task], since: float = math.inf) -> str:
    running = Group(plan, tasks, since)
    return until_done(plan, running.run, running.unfinished)


def signal_when(condition: Callable[[], bool], number: signal.Signals) -> threading.Thread:
    def wait() -> None:
        deadline = time.monotonic() + 20
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def alive(plan: Plan, count: int) -> Callable[[], bool]:
    return lambda: len(list(plan.store.root.glob("life-*"))) == count


def test_all_tasks_run_side_by_side(plan: Plan, trainings: list[Task], workers: Workers) -> None:
    for task in trainings:
        workers.commands[task.name] = ["sleep 0.2; " + PUBLISH]
    assert run(plan, trainings) == "done"
    assert workers.most_at_once == 3
    assert all(plan.store.is_published(key) for task in trainings for key in task.stages)


def test_a_task_that_fails_stops_no_other_and_fails_the_job(
    plan: Plan, trainings: list[Task], workers: Workers
) -> None:
    bad, *others = trainings
    workers.commands[bad.name] = ["exit 1"]
    for task in others:
        workers.commands[task.name] = ["sleep 0.2; " + PUBLISH]
    with pytest.raises(TaskFailedError, match=f"failed: {bad.name};"):
        run(plan, trainings)
    assert all(plan.store.is_published(key) for task in others for key in task.stages)
    assert plan.store.failure(bad.stages[0]) is None  # a worker that ends with 1 has said why


def test_a_worker_that_was_killed_is_recorded_with_what_helps(
    plan: Plan, trainings: list[Task], workers: Workers
) -> None:
    workers.commands[trainings[1].name] = ["kill -9 $$"]
    with pytest.raises(TaskFailedError):
        run(plan, trainings)
    failure = plan.store.failure(trainings[1].stages[0])
    assert failure is not None
    assert "signal SIGKILL; mostly a full memory: more launcher.mem_gb" in failure["what"]
    assert failure["log"] == str(plan.log_path(trainings[1]))


def test_a_worker_that_published_and_died_of_a_late_signal_has_not_failed(
    plan: Plan, trainings: list[Task], workers: Workers
) -> None:
    workers.commands[trainings[0].name] = [PUBLISH + "; kill -USR2 $$"]
    assert run(plan, trainings) == "done"


def test_a_warning_reaches_every_worker_and_puts_the_job_back_once_all_have_stopped(
    plan: Plan, trainings: list[Task], workers: Workers, requeued: list[int]
) -> None:
    for task in trainings[:2]:
        workers.commands[task.name] = [STOPPABLE]
    thread = signal_when(alive(plan, 2), signal.SIGUSR2)
    with pytest.raises(SystemExit):
        run(plan, trainings)
    thread.join()
    assert requeued == [signal.SIGUSR2]
    assert {path.name for path in plan.store.root.glob("told-*")} == {
        f"told-{task.name}" for task in trainings[:2]
    }
    assert run(plan, trainings) == "done"  # its next life


def test_the_job_goes_back_for_the_others_of_a_task_that_failed(
    plan: Plan, trainings: list[Task], workers: Workers, requeued: list[int]
) -> None:
    workers.commands[trainings[0].name] = ["exit 1"]
    workers.commands[trainings[1].name] = [STOPPABLE]
    thread = signal_when(alive(plan, 1), signal.SIGUSR2)
    with pytest.raises(SystemExit):
        run(plan, trainings)
    thread.join()
    assert requeued == [signal.SIGUSR2]
    with pytest.raises(TaskFailedError, match=f"failed: {trainings[0].name};"):
        run(plan, trainings)
    assert all(plan.store.is_published(key) for task in trainings[1:] for key in task.stages)


def test_after_sigterm_alone_the_tasks_go_on_when_no_end_comes(
    plan: Plan, trainings: list[Task], workers: Workers, requeued: list[int]
) -> None:
    for task in trainings:
        workers.commands[task.name] = [STOPPABLE]
    thread = signal_when(alive(plan, 3), signal.SIGTERM)
    assert run(plan, trainings) == "done"
    thread.join()
    assert len(list(plan.store.root.glob("told-*"))) == 3
    assert requeued == []


def test_a_job_that_may_not_go_back_again_says_so_of_the_unfinished_tasks_alone(
    plan: Plan, trainings: list[Task], workers: Workers
) -> None:
    def refuse(number: int, frame: Any) -> None:
        raise RuntimeError("Job not requeued because: timed-out too many times.")

    workers.commands[trainings[0].name] = ["exit 1"]
    workers.commands[trainings[1].name] = [STOPPABLE]
    before = signal.signal(signal.SIGUSR2, refuse)
    thread = signal_when(alive(plan, 1), signal.SIGUSR2)
    try:
        with pytest.raises(TaskFailedError, match="timed-out too many times"):
            run(plan, trainings)
    finally:
        signal.signal(signal.SIGUSR2, before)
        thread.join()
    failures = [plan.store.failure(task.stages[0]) for task in trainings]
    assert [failure is not None for failure in failures] == [False, True, False]


def test_a_claimed_stage_is_looked_at_again(
    plan: Plan, trainings: list[Task], workers: Workers
) -> None:
    name = trainings[0].name
    workers.commands[name] = ["exit 76", "exit 76", PUBLISH]
    assert run(plan, trainings) == "done"
    assert workers.started.count(name) == 3


def test_a_task_whose_parents_are_there_waits_for_no_other_s(
    plan: Plan, trainings: list[Task], workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "PARENTS_SEEN_S", 0.5)
    evaluations = [task for task in plan.tasks if task.kind == "evaluate"]
    ready = next(t for t in evaluations if plan.parents_of(t) & set(trainings[2].stages))
    for key in trainings[2].stages:
        (plan.store.root / key).mkdir()
    for task in evaluations:
        workers.commands[task.name] = [PUBLISH if task is ready else "exit 1"]
    before = time.monotonic()
    with pytest.raises(TaskFailedError) as caught:
        run(plan, evaluations)
    assert time.monotonic() - before > 0.5
    assert workers.started[0] == ready.name
    assert ready.name not in str(caught.value)
    assert all(map(plan.store.is_published, ready.stages))


def test_a_task_whose_parents_have_failed_waits_for_nothing(
    plan: Plan, trainings: list[Task], workers: Workers
) -> None:
    began = time.time()
    for training in trainings:
        plan.store.record_failure(training.stages[0], RuntimeError("full"), log_path=None)
    evaluations = [task for task in plan.tasks if task.kind == "evaluate"]
    for task in evaluations:
        workers.commands[task.name] = ["exit 1"]
    with pytest.raises(TaskFailedError):
        run(plan, evaluations, since=began)
    assert time.time() - began < job.PARENTS_SEEN_S / 2
    assert sorted(workers.started) == sorted(task.name for task in evaluations)


STARTING = """
import sys, time
from pathlib import Path
Path(sys.argv[1]).touch()
time.sleep(0.5)  # imports
from ptl_sweep.worker.running import StopOnSignal
stop = StopOnSignal()
print(stop.received.name)
"""


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_that_comes_while_a_worker_starts_is_kept_for_it(
    number: signal.Signals, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    with group._held_back():
        worker = subprocess.Popen(
            [sys.executable, "-c", STARTING, str(begun)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()).isdisjoint(STOP_SIGNALS)
    while not begun.exists():
        time.sleep(0.01)
    worker.send_signal(number)
    output, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    assert output.strip() == number.name
