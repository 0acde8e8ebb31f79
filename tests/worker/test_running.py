"""The worker: hit, resume or compute; killed at any moment, the same result in the end."""

import errno
import json
import mmap
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptl_sweep import ownership
from ptl_sweep import store as store_module
from ptl_sweep.detection.training import Interrupted
from ptl_sweep.ownership import StageClaimedError
from ptl_sweep.pipeline.plan import Plan, load_plan, save_plan
from ptl_sweep.stages.ptl import PtlStage
from ptl_sweep.stages.train import TrainStage
from ptl_sweep.tracking import Companion
from ptl_sweep.worker import running
from ptl_sweep.worker.__main__ import main
from ptl_sweep.worker.attempts import Attempts
from ptl_sweep.worker.peak_memory import peak_mb, restart_peak
from ptl_sweep.worker.running import (
    ExitCode,
    StageFailedError,
    StopOnSignal,
    run_single,
    run_stage,
    run_task,
    worker_environment,
)

MakePlan = Callable[..., Plan]
Start = Callable[..., subprocess.Popen[bytes]]
WaitFor = Callable[[Callable[[], bool]], None]
GRID = ("real_count=2", "target=field,karst", "synthetic=off,on")

# Files of a stage that tell of its making, not of its result.
STORY = {"history.jsonl", "attempts.jsonl"}


@pytest.fixture
def plan(make_plan: MakePlan, no_training: list[str]) -> Plan:
    return make_plan(*GRID)


def never() -> bool:
    return False


def keys_of(plan: Plan, kind: str) -> list[str]:
    return [key for key, stage in plan.stages.items() if stage.kind == kind]


def test_a_stage_is_computed_once_and_found_from_then_on(
    plan: Plan, no_training: list[str]
) -> None:
    (key,) = keys_of(plan, "train")
    assert run_stage(plan, key, should_stop=never, companion=Companion()) is True
    assert run_stage(plan, key, should_stop=never, companion=Companion()) is False
    assert no_training == [key]


def test_meta_tells_when_where_and_with_what_a_stage_was_made(plan: Plan) -> None:
    (key,) = keys_of(plan, "train")
    run_stage(plan, key, should_stop=never, companion=Companion())
    meta = plan.store.meta(key)
    assert meta["status"] == "ok"
    assert meta["summary"] == {"AP": 0.5}
    assert [a["pid"] for a in meta["attempts"]] == [os.getpid()]
    assert meta["seconds"] >= 0
    assert {"python", "torch", "numpy", "ptl_sweep"} <= set(meta["versions"])
    assert set(meta["sha256"]) == {"result.txt", "history.jsonl", "attempts.jsonl"}


def test_a_stage_without_its_parent_is_refused_by_the_parents_name(plan: Plan) -> None:
    (train,) = keys_of(plan, "train")
    first, _ = keys_of(plan, "ptl")
    with pytest.raises(StageFailedError, match=f"{first} needs {train}"):
        run_stage(plan, first, should_stop=never, companion=Companion())


def test_a_stage_that_another_worker_computes_is_left_to_it(
    plan: Plan, no_training: list[str]
) -> None:
    (key,) = keys_of(plan, "train")
    with plan.store.claim(key):
        with pytest.raises(StageClaimedError):
            run_stage(plan, key, should_stop=never, companion=Companion())
        assert run_task(plan, plan.task_of(key)) == ExitCode.CLAIMED
    assert no_training == []
    assert run_task(plan, plan.task_of(key)) == ExitCode.OK


def test_a_failure_is_recorded_with_its_traceback_and_the_next_attempt_counts(plan: Plan) -> None:
    (key,) = keys_of(plan, "train")
    plan.store.root.mkdir(parents=True)
    told = plan.store.root / f"fail-{key}"
    told.touch()
    task = plan.task_of(key)
    assert run_task(plan, task) == ExitCode.FAILED
    failure = plan.store.failure(key)
    assert failure is not None
    assert failure["what"] == "ValueError: told to fail at miniature-n2-s0"
    assert "in pretend" in failure["traceback"]
    assert failure["log"] == str(plan.log_path(task))
    assert not plan.store.is_running(key)
    told.unlink()
    assert run_task(plan, task) == ExitCode.OK
    assert len(plan.store.meta(key)["attempts"]) == 2
    assert plan.store.failure(key) is None


def test_a_chain_publishes_each_iteration_on_its_own(plan: Plan, no_training: list[str]) -> None:
    (train,) = keys_of(plan, "train")
    first, second = keys_of(plan, "ptl")
    run_stage(plan, train, should_stop=never, companion=Companion())
    (plan.store.root / f"fail-{second}").touch()
    assert run_task(plan, plan.task_of(first)) == ExitCode.FAILED
    assert (plan.store.is_published(first), plan.store.is_published(second)) == (True, False)
    (plan.store.root / f"fail-{second}").unlink()
    assert run_task(plan, plan.task_of(first)) == ExitCode.OK
    assert no_training == [train, first, second, second]


def test_an_interruption_is_no_failure(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    (key,) = keys_of(plan, "train")

    def interrupted(_stage: Any, work: Any) -> dict[str, Any]:
        (work.folder / "checkpoint.pt").write_bytes(b"step 7")
        raise Interrupted("stopped after step 7")

    monkeypatch.setattr(TrainStage, "run", interrupted)
    assert run_task(plan, plan.task_of(key)) == ExitCode.INTERRUPTED
    assert plan.store.failure(key) is None
    assert not plan.store.is_running(key)
    assert (plan.store.work_folder(key) / "checkpoint.pt").read_bytes() == b"step 7"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_worker_that_is_told_to_stop_starts_no_further_stage(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, no_training: list[str]
) -> None:
    train, *_ = keys_of(plan, "train")
    first, second = keys_of(plan, "ptl")
    run_stage(plan, train, should_stop=never, companion=Companion())
    pretend = PtlStage.run

    def told(stage: Any, work: Any) -> dict[str, Any]:
        assert not work.should_stop()
        os.kill(os.getpid(), number)
        assert work.should_stop()
        return pretend(stage, work)

    monkeypatch.setattr(PtlStage, "run", told)
    assert run_task(plan, plan.task_of(first)) == ExitCode.INTERRUPTED
    assert plan.store.is_published(first)
    assert not plan.store.is_published(second)


def test_a_full_disk_is_a_failure_that_says_where_and_what_to_do(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key,) = keys_of(plan, "train")
    real = store_module.write_atomically

    def full(path: Path, data: bytes) -> None:
        if path.name == "meta.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        real(path, data)

    monkeypatch.setattr(store_module, "write_atomically", full)
    with pytest.raises(StageFailedError, match=r"free some and run the same command again"):
        run_stage(plan, key, should_stop=never, companion=Companion())
    failure = plan.store.failure(key)
    assert failure is not None
    assert str(plan.store.root) in failure["what"]
    assert not plan.store.is_published(key)
    assert (plan.store.work_folder(key) / "result.txt").exists()
    monkeypatch.undo()


def test_a_claim_that_cannot_be_written_fails_the_task_alone(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    (key,) = keys_of(plan, "train")

    def full(path: Path) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(ownership, "take_claim", full)
    assert run_task(plan, plan.task_of(key)) == ExitCode.FAILED


def test_one_stage_can_be_repeated_by_itself(plan: Plan, no_training: list[str]) -> None:
    (train,) = keys_of(plan, "train")
    first, _ = keys_of(plan, "ptl")
    run_stage(plan, train, should_stop=never, companion=Companion())
    assert run_single(plan, first) == ExitCode.OK
    assert no_training == [train, first]


def test_threads_of_a_worker_are_those_of_the_config() -> None:
    environment = worker_environment(3)
    assert {environment[name] for name in running.THREAD_VARIABLES} == {"3"}
    assert environment["PATH"] == os.environ["PATH"]


# --- real workers, killed


def worker_command(plan: Plan, key: str) -> list[str]:
    module = "ptl_sweep.worker"
    return [sys.executable, "-m", module, str(plan.folder), plan.task_of(key).name]


def result_of(plan: Plan, key: str) -> dict[str, str]:
    """Checksums of what a stage has computed."""
    sums = plan.store.meta(key)["sha256"]
    return {name: digest for name, digest in sums.items() if name not in STORY}


@pytest.fixture
def ready_for(undisturbed: Any, tmp_path: Path) -> Callable[[str], tuple[Plan, str]]:
    """The undisturbed sweep without one stage and what comes after it; and the stage's key."""

    def make(kind: str) -> tuple[Plan, str]:
        plan = undisturbed.plan
        key = keys_of(plan, kind)[0]
        moved = load_plan(plan.folder)
        moved.root = tmp_path / "outputs"
        save_plan(moved)
        parents = plan.stages[key].parents
        moved.store.root.mkdir()
        for parent in parents:
            shutil.copytree(plan.store.path(parent), moved.store.path(parent))
        return moved, key

    return make


def test_a_worker_under_nohup_goes_on_when_its_terminal_is_closed() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        stop = StopOnSignal()
        os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.requested()
        stop.restore()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


MOMENTS = [
    pytest.param("train", "checkpoint.pt", id="training on real pictures"),
    pytest.param("ptl", "translator.pt", id="CycleGAN"),
    pytest.param("ptl", "checkpoint.pt", id="training on transformed pictures"),
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(("kind", "checkpoint"), MOMENTS)
def test_a_stage_that_was_killed_ends_with_the_same_files_as_one_that_was_not(
    kind: str,
    checkpoint: str,
    number: signal.Signals,
    undisturbed: Any,
    ready_for: Callable[[str], tuple[Plan, str]],
    start: Start,
    wait_for: WaitFor,
) -> None:
    plan, key = ready_for(kind)
    path = plan.store.work_folder(key) / checkpoint
    running = start(*worker_command(plan, key), env=worker_environment(1))
    wait_for(path.exists)
    running.send_signal(number)
    expected = ExitCode.INTERRUPTED if number == signal.SIGTERM else -signal.SIGKILL
    assert running.wait(60) == expected
    assert not plan.store.is_published(key)
    assert not plan.store.is_running(key)
    assert plan.store.failure(key) is None
    assert path.exists()
    assert start(*worker_command(plan, key), env=worker_environment(1)).wait(120) == ExitCode.OK
    assert result_of(plan, key) == result_of(undisturbed.plan, key)
    assert len(plan.store.meta(key)["attempts"]) == 2
    steps = [
        json.loads(line).get("train/step")
        for line in (plan.store.path(key) / "history.jsonl").read_text().splitlines()
    ]
    logged = [step for step in steps if step is not None]
    assert logged == sorted(set(logged))
    assert logged[-1] == 40


def test_a_worker_refuses_a_task_that_its_plan_does_not_have(plan: Plan) -> None:
    assert main(str(plan.folder), "nobody") == 2


def test_seconds_are_those_of_all_attempts(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    (key,) = keys_of(plan, "train")
    folder = plan.store.work_folder(key)
    folder.mkdir(parents=True)
    began = time.time() - 1000
    (folder / "attempts.jsonl").write_text(json.dumps({"time": began, "host": "a"}) + "\n")
    (folder / "history.jsonl").write_text("")
    os.utime(folder / "history.jsonl", (began + 300, began + 300))  # then it was killed
    run_stage(plan, key, should_stop=never, companion=Companion())
    meta = plan.store.meta(key)
    assert [round(row["seconds"]) for row in meta["attempts"]] == [300, 0]
    assert round(meta["seconds"]) == 300


def test_peak_memory_is_that_of_the_stage_not_of_the_process() -> None:
    if not restart_peak():
        pytest.skip("this system does not forget a process's peak")
    # Pages of its own: malloc may hand out ones that earlier tests left to the process.
    with mmap.mmap(-1, 300 * 2**20) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
        high = peak_mb()
    restart_peak()
    assert peak_mb() < high - 200


@pytest.mark.parametrize(
    "damage", [b"\0" * 40, b'{"time": 17', b"[]\n", b'{"host": "a"}\n', b"\xff\n"]
)
def test_damaged_attempts_stop_no_stage(tmp_path: Path, damage: bytes) -> None:
    """What a power cut leaves of attempts.jsonl costs the time of that attempt only."""
    whole = json.dumps({"time": 100.0, "host": "a", "seconds": 7.0}).encode() + b"\n"
    (tmp_path / "attempts.jsonl").write_bytes(whole + damage)
    attempts = Attempts.begin(tmp_path)
    attempts.end()
    assert len(attempts.rows) == 2
    assert 7 <= attempts.seconds < 60
    lines = (tmp_path / "attempts.jsonl").read_text().splitlines()
    assert next(json.loads(line)["host"] for line in lines) == "a"
