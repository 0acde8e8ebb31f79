"""Launchers: the order of a plan, what a dead worker leaves, and Ctrl-C."""

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ptl_sweep.config.schema import ConfigError, LauncherConfig
from ptl_sweep.detection.architectures.retinanet_r50 import ResNet50RetinaNet
from ptl_sweep.launchers import local
from ptl_sweep.launchers.inline import InlineLauncher
from ptl_sweep.launchers.local import LocalLauncher, SweepInterrupted
from ptl_sweep.ownership import read_claim
from ptl_sweep.pipeline import status
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.terminal import duration

MakePlan = Callable[..., Plan]
GRID = ("real_count=2,3", "target=field", "synthetic=off,on")
PUBLISH = 'for key in {keys}; do mkdir -p "{root}/$key"; done'  # a worker that has nothing to do


@pytest.fixture(autouse=True)
def _fast_polling_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "POLL_S", 0.01)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def keys_of(plan: Plan, kind: str) -> list[str]:
    return [key for key, stage in plan.stages.items() if stage.kind == kind]


class Workers:
    """Shell commands in place of workers; remembers when each was started."""

    def __init__(self) -> None:
        self.commands: dict[str, list[str]] = {}  # task -> what its tries do; last one stays
        self.started: list[str] = []
        self.published_at_start: list[set[str]] = []
        self.most_at_once = 0
        self.cards: list[str | None] = []  # of the tasks, as they started
        self.fullest: Counter[str | None] = Counter()  # card -> most tasks at once

    def spawn(
        self, launcher: LocalLauncher, task: Task, card: str | None
    ) -> subprocess.Popen[bytes]:
        self.started.append(task.name)
        self.cards.append(card)
        self.fullest |= Counter([card, *(running.card for running in launcher.running)])
        self.most_at_once = max(self.most_at_once, len(launcher.running) + 1)
        store = launcher.plan.store
        self.published_at_start.append(
            {key for key in launcher.plan.stages if store.is_published(key)}
        )
        tries = self.commands.get(task.name, [PUBLISH])
        command = tries.pop(0) if len(tries) > 1 else tries[0]
        text = command.format(keys=" ".join(task.stages), root=store.root)
        return subprocess.Popen(["sh", "-c", text], start_new_session=True)


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    made = Workers()

    def spawn(launcher: LocalLauncher, task: Task, card: str | None) -> subprocess.Popen[bytes]:
        return made.spawn(launcher, task, card)

    monkeypatch.setattr(LocalLauncher, "_spawn", spawn)
    return made


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan(*GRID)


class Shown:
    """A console that is no terminal, and what was printed on it."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        self.console = Console(file=self.file, width=100)

    @property
    def text(self) -> str:
        return self.file.getvalue()


def launch(plan: Plan, num_workers: int | None = 2, tasks_per_gpu: int = 1) -> str:
    shown = Shown()
    config = LauncherConfig(name="local", num_workers=num_workers, tasks_per_gpu=tasks_per_gpu)
    LocalLauncher(plan, config, shown.console).run()
    return shown.text


# --- inline


def test_inline_runs_parents_first_and_says_what_it_published(
    plan: Plan, no_training: list[str]
) -> None:
    shown = Shown()
    InlineLauncher(plan, LauncherConfig(name="inline"), shown.console).run()
    assert sorted(no_training) == sorted(plan.stages)
    for position, key in enumerate(no_training):
        assert set(plan.stages[key].parents) <= set(no_training[:position])
    assert [line.split()[1] for line in shown.text.splitlines()] == no_training


def test_inline_a_failed_stage_blocks_only_what_needs_it(
    plan: Plan, no_training: list[str]
) -> None:
    broken = keys_of(plan, "ptl")[0]
    plan.store.root.mkdir(parents=True)
    (plan.store.root / f"fail-{broken}").touch()
    InlineLauncher(plan, LauncherConfig(name="inline"), Shown().console).run()
    states = status.stage_states(plan)
    assert [key for key, state in states.items() if state == "failed"] == [broken]
    blocked = {key for key, state in states.items() if state == "blocked"}
    assert {plan.stages[key].label.split("-")[1] for key in blocked} == {"n2"}
    assert len(blocked) == 2  # the next iteration and its evaluation
    assert list(states.values()).count("published") == len(states) - 3


def test_inline_a_second_run_computes_what_failed_and_nothing_else(
    plan: Plan, no_training: list[str]
) -> None:
    broken = keys_of(plan, "ptl")[0]
    plan.store.root.mkdir(parents=True)
    told = plan.store.root / f"fail-{broken}"
    told.touch()
    InlineLauncher(plan, LauncherConfig(name="inline"), Shown().console).run()
    before = len(no_training)
    told.unlink()
    InlineLauncher(plan, LauncherConfig(name="inline"), Shown().console).run()
    assert no_training[before] == broken
    assert len(no_training) - before == 3
    InlineLauncher(plan, LauncherConfig(name="inline"), Shown().console).run()
    assert len(no_training) - before == 3


def test_inline_waits_for_a_stage_that_another_process_computes(
    plan: Plan, no_training: list[str], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The owner publishes it meanwhile; what needs it is computed then, and nothing twice."""
    key = keys_of(plan, "train")[0]
    claim = plan.store.claim(key)
    claim.__enter__()

    def the_owner_ends(seconds: float) -> None:
        plan.store.publish(key, plan.stages[key].identity())
        claim.__exit__(None, None, None)

    monkeypatch.setattr("ptl_sweep.launchers.inline.sleep", the_owner_ends)
    InlineLauncher(plan, LauncherConfig(name="inline"), Shown().console).run()
    assert key not in no_training
    assert all(map(plan.store.is_published, plan.stages))
    assert f"{key} is being computed by process {os.getpid()}" in caplog.text


# --- local


def test_local_starts_a_task_when_its_parents_are_published_and_not_before(
    plan: Plan, workers: Workers
) -> None:
    launch(plan)
    assert all(plan.store.is_published(key) for key in plan.stages)
    assert sorted(workers.started) == sorted(task.name for task in plan.tasks)
    tasks = {task.name: task for task in plan.tasks}
    for name, published in zip(workers.started, workers.published_at_start, strict=True):
        assert plan.parents_of(tasks[name]) <= published


@pytest.mark.parametrize("num_workers", [1, 3])
def test_local_runs_as_many_workers_as_it_was_given(
    plan: Plan, workers: Workers, num_workers: int
) -> None:
    for task in plan.tasks:
        workers.commands[task.name] = ["sleep 0.05; " + PUBLISH]
    launch(plan, num_workers)
    assert workers.most_at_once == min(num_workers, 3)


def test_local_runs_two_workers_where_there_is_no_gpu_and_nothing_is_said(
    plan: Plan, workers: Workers
) -> None:
    for task in plan.tasks:
        workers.commands[task.name] = ["sleep 0.05; " + PUBLISH]
    shown = launch(plan, None, tasks_per_gpu=4)
    assert workers.most_at_once == 2
    assert set(workers.cards) == {None}
    assert "GPU" not in shown


@pytest.fixture
def wide(make_plan: MakePlan) -> Plan:
    """Eight trainings that need nothing of each other."""
    return make_plan("real_count=2,3", "target=field", "synthetic=off", "seed=0,1,2,3")


@pytest.mark.parametrize(
    ("num_gpus", "tasks_per_gpu", "num_workers", "at_once"),
    [(2, 1, None, 2), (2, 3, None, 6), (3, 2, 4, 4), (1, 2, 8, 2), (4, 2, 1, 1)],
)
def test_local_fills_every_gpu_evenly_up_to_what_one_takes(
    wide: Plan, workers: Workers, gpus: Any, num_gpus: int, tasks_per_gpu: int,
    num_workers: int | None, at_once: int,
) -> None:  # fmt: skip
    names = gpus(num_gpus)
    for task in wide.tasks:
        workers.commands[task.name] = ["sleep 0.3; " + PUBLISH]
    shown = launch(wide, num_workers, tasks_per_gpu)
    assert all(map(wide.store.is_published, wide.stages))
    assert workers.most_at_once == at_once
    assert set(workers.cards) == set(names[:at_once])
    assert max(workers.fullest.values()) == -(-at_once // num_gpus)
    assert f"{num_gpus} GPU" in shown
    assert f"up to {at_once} task" in shown


def test_local_says_which_key_lets_as_many_tasks_run_as_were_asked_for(
    plan: Plan, workers: Workers, gpus: Any
) -> None:
    gpus(2)
    assert "launcher.num_workers=5 needs launcher.tasks_per_gpu=3" in launch(plan, 5)
    assert "needs" not in launch(plan, 2)


def test_local_keeps_to_the_gpus_that_the_user_has_left_visible(
    wide: Plan, workers: Workers, gpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    launch(wide, None)
    assert set(workers.cards) == {"3", "1"}
    assert workers.most_at_once == 2


@pytest.mark.parametrize("launcher", [InlineLauncher, LocalLauncher])
def test_a_precision_that_only_gpus_have_is_refused_before_anything_starts(
    launcher: type[InlineLauncher | LocalLauncher], make_plan: MakePlan, workers: Workers,
    no_training: list[str], gpus: Any,
) -> None:  # fmt: skip
    overrides = ["real_count=2,3", "target=field", "synthetic=off", "train=paper"]
    plan = make_plan(*overrides, "train.precision=tf32")
    config = LauncherConfig(name="local")
    with pytest.raises(ConfigError, match=r"tf32 needs a CUDA GPU.* train\.precision=float32"):
        launcher(plan, config, Shown().console).run()
    assert not any(map(plan.store.is_published, plan.stages))
    gpus(1)
    launcher(plan, config, Shown().console).run()
    assert all(map(plan.store.is_published, plan.stages))


@pytest.mark.parametrize("launcher", [InlineLauncher, LocalLauncher])
def test_a_big_detector_without_a_gpu_is_told_once_with_the_hours_of_the_plan(
    launcher: type[InlineLauncher | LocalLauncher], make_plan: MakePlan, workers: Workers,
    no_training: list[str], gpus: Any, caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    plan = make_plan("real_count=2,3", "target=field", "synthetic=off", "detector=retinanet_r50",
                     "detector.weights=none")  # fmt: skip
    guess = ResNet50RetinaNet.default_seconds
    expected = duration(2 * guess.train + 2 * guess.evaluate)
    config = LauncherConfig(name="local")
    launcher(plan, config, Shown().console).run()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"no GPU here for retinanet_r50: the plan expects {expected} of work")
    caplog.clear()
    launcher(plan, config, Shown().console).run()  # all is published
    gpus(1)
    launcher(make_plan("real_count=4", *GRID[1:], "detector=retinanet_r50",
                       "detector.weights=none"), config, Shown().console).run()  # fmt: skip
    assert not caplog.records


def test_a_small_detector_without_a_gpu_is_no_matter(
    plan: Plan, workers: Workers, caplog: pytest.LogCaptureFixture
) -> None:
    launch(plan)
    assert not caplog.records


def test_local_starts_no_worker_when_everything_is_published(plan: Plan, workers: Workers) -> None:
    launch(plan)
    before = len(workers.started)
    assert launch(plan) == ""
    assert len(workers.started) == before


def test_local_computes_only_what_more_cells_add(
    plan: Plan, make_plan: MakePlan, workers: Workers
) -> None:
    launch(plan)
    before = len(workers.started)
    more = make_plan("real_count=2,3,4", "target=field", "synthetic=off,on")
    launch(more)
    assert all("-n4-" in name for name in workers.started[before:])
    assert len(workers.started) - before == 4  # training, chain, two evaluations


def test_local_a_killed_worker_is_recorded_by_its_signal_while_others_go_on(
    plan: Plan, workers: Workers
) -> None:
    task = next(task for task in plan.tasks if task.kind == "ptl")
    workers.commands[task.name] = ["kill -9 $$"]
    shown = launch(plan)
    failure = plan.store.failure(task.stages[0])
    assert failure is not None
    assert "ended with signal SIGKILL" in failure["what"]
    assert "full memory" in failure["what"]
    assert failure["log"] == str(plan.log_path(task))
    assert re.search(rf"FAILED +{task.name}", shown)
    states = status.stage_states(plan)
    assert list(states.values()).count("published") == len(states) - 3


def test_local_a_worker_that_died_without_a_word_is_recorded(plan: Plan, workers: Workers) -> None:
    task = plan.tasks[0]
    workers.commands[task.name] = ["exit 1"]
    launch(plan)
    failure = plan.store.failure(task.stages[0])
    assert failure is not None
    assert "ended with exit code 1; its log may say why" in failure["what"]


def test_local_what_a_worker_recorded_itself_is_kept(plan: Plan, workers: Workers) -> None:
    task = plan.tasks[0]
    key = task.stages[0]
    plan.store.root.mkdir(parents=True)
    plan.store.record_failure(key, ValueError("loss is NaN"), log_path=None)
    workers.commands[task.name] = ["exit 1"]
    launch(plan)
    failure = plan.store.failure(key)
    assert failure is not None
    assert failure["what"] == "ValueError: loss is NaN"


def test_local_a_stage_that_another_sweep_computes_is_looked_at_again(
    plan: Plan, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "RETRY_CLAIMED_S", 0.1)
    task = plan.tasks[0]
    workers.commands[task.name] = ["exit 76", "exit 76", PUBLISH]
    shown = launch(plan)
    assert workers.started.count(task.name) == 3
    assert all(plan.store.is_published(key) for key in plan.stages)
    assert "FAILED" not in shown
    assert plan.store.failure(task.stages[0]) is None


# no `sleep & wait`: a signal that comes between the two is seen when the sleep has ended
STOPPABLE = (
    "trap 'touch {root}/checkpoint-$$; exit 75' TERM; touch {root}/ready-$$; "
    "while :; do sleep 0.05; done"
)
STUBBORN = "trap '' TERM; touch {root}/stubborn; while :; do sleep 0.1; done"


def interrupt_when(condition: Callable[[], bool], number: signal.Signals) -> threading.Thread:
    def wait() -> None:
        deadline = time.monotonic() + 20
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_local_told_to_stop_lets_workers_write_their_checkpoints(
    plan: Plan, workers: Workers, number: signal.Signals
) -> None:
    plan.store.root.mkdir(parents=True)
    answered = (signal.SIGTERM, signal.SIGHUP)
    handlers = [signal.getsignal(one) for one in answered]
    for task in plan.tasks:
        workers.commands[task.name] = [STOPPABLE]
    ready = plan.store.root.glob
    thread = interrupt_when(lambda: len(list(ready("ready-*"))) == 2, number)
    with pytest.raises(SweepInterrupted):
        launch(plan)
    thread.join()
    assert len(list(plan.store.root.glob("checkpoint-*"))) == 2
    assert [signal.getsignal(one) for one in answered] == handlers
    assert "failed" not in status.stage_states(plan).values()


@pytest.fixture
def under_nohup() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("under_nohup")
def test_local_goes_on_under_nohup_when_its_terminal_is_closed(
    plan: Plan, workers: Workers
) -> None:
    thread = interrupt_when(lambda: bool(workers.started), signal.SIGHUP)
    launch(plan)
    thread.join()
    assert all(plan.store.is_published(key) for key in plan.stages)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_local_a_worker_that_does_not_stop_is_killed_in_the_end(
    plan: Plan, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "STOP_PATIENCE_S", 0.2)
    plan.store.root.mkdir(parents=True)
    workers.commands[plan.tasks[0].name] = [STUBBORN]
    thread = interrupt_when((plan.store.root / "stubborn").exists, signal.SIGINT)
    started = time.monotonic()
    with pytest.raises(SweepInterrupted):
        launch(plan, num_workers=1)
    thread.join()
    assert time.monotonic() - started < 20


# --- real workers


@pytest.fixture
def local_grid(long_grid: list[str], tmp_path: Path) -> list[str]:
    """The long grid with worker processes; its root is tmp_path/outputs."""
    words = ["launcher=local" if word == "launcher=inline" else word for word in long_grid]
    return [sys.executable, "-m", "ptl_sweep", *words, "sweep.root=outputs"]


def results(folder: Path) -> bytes:
    (path,) = folder.glob("sweeps/*/results.csv")
    return path.read_bytes()


def live_claims(root: Path) -> Iterator[tuple[str, int]]:
    """Stages that a live process computes, with its id."""
    for path in (root / "store").glob("*.claim"):
        claim = read_claim(path)
        if claim is not None and not claim.is_stale:
            yield path.stem, claim.pid


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ctrl_c_keeps_checkpoints_and_the_same_command_goes_on(
    local_grid: list[str], undisturbed: Any, tmp_path: Path, start: Any, wait_for: Any
) -> None:
    store = tmp_path / "outputs" / "store"
    running = start(*local_grid, start_new_session=True)
    wait_for(lambda: len(list(store.glob("train-*.wip/checkpoint.pt"))) == 2)
    workers = [pid for _, pid in live_claims(tmp_path / "outputs")]
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does; workers are in groups of their own
    assert running.wait(90) == 130
    assert len(workers) == 2
    assert not any(is_alive(pid) for pid in workers)
    assert list(live_claims(tmp_path / "outputs")) == []
    assert not list(store.glob("*.wip/FAILED.json"))
    assert len(list(store.glob("train-*.wip/checkpoint.pt"))) == 2
    done = subprocess.run(local_grid, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "outputs") == undisturbed.file("results.csv")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_on_two_gpus_see_one_each_and_give_the_results_of_inline_byte_for_byte(
    local_grid: list[str], undisturbed: Any, tmp_path: Path, start: Any, wait_for: Any, gpus: Any
) -> None:
    """The GPUs are listed and not there, so the workers compute on the processor."""
    names = gpus(2)
    root = tmp_path / "outputs"
    running = start(*local_grid, "launcher.num_workers=null")
    wait_for(lambda: len(list((root / "store").glob("train-*.wip/checkpoint.pt"))) == 2)
    seen = [environment_of(pid)["CUDA_VISIBLE_DEVICES"] for _, pid in live_claims(root)]
    assert sorted(seen) == names
    assert running.wait(600) == 0
    assert results(root) == undisturbed.file("results.csv")
    assert "2 GPUs: up to 2 tasks at once" in (tmp_path / "process-0.log").read_text()


def environment_of(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_killed_from_outside_fails_its_cells_and_the_same_command_mends_them(
    local_grid: list[str], undisturbed: Any, tmp_path: Path, start: Any, wait_for: Any
) -> None:
    root = tmp_path / "outputs"
    running = start(*local_grid)
    wait_for(lambda: any((root / "store").glob("train-*-n2-*.wip/checkpoint.pt")))
    ((key, pid),) = [found for found in live_claims(root) if "-n2-" in found[0]]
    os.kill(pid, signal.SIGKILL)
    assert running.wait(600) == 1
    failure = json.loads((root / "store" / f"{key}.wip" / "FAILED.json").read_text())
    assert "signal SIGKILL" in failure["what"]
    rows = list(csv.DictReader(io.StringIO(results(root).decode())))
    assert [(row["real_count"], row["status"]) for row in rows] == [
        ("2", "failed"), ("2", "failed"), ("3", "ok"), ("3", "ok"),
    ]  # fmt: skip
    assert all(key in row["reason"] for row in rows[:2])
    done = subprocess.run(local_grid, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert results(root) == undisturbed.file("results.csv")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_local_sweeps_side_by_side_give_the_results_of_inline_byte_for_byte(
    local_grid: list[str], undisturbed: Any, tmp_path: Path, start: Any
) -> None:
    """The second finds the first one's claims, waits for its stages and computes none twice."""
    first = start(*local_grid)
    second = start(*local_grid, "sweep.name=twin")
    assert (first.wait(600), second.wait(600)) == (0, 0)
    assert b"\x1b" not in b"".join(path.read_bytes() for path in tmp_path.glob("process-*.log"))
    found = {path.read_bytes() for path in (tmp_path / "outputs").glob("sweeps/*/results.csv")}
    assert found == {undisturbed.file("results.csv")}
    for meta in (tmp_path / "outputs").glob("store/*/meta.json"):
        assert len(json.loads(meta.read_text())["attempts"]) == 1
