"""Grids without a command line, sweeps without training, and one tiny sweep that really trains."""

import copy
import functools
import logging
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from ptl_sweep.__main__ import main
from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.config.schema import Config
from ptl_sweep.pipeline.plan import STAGES, Plan, load_plan, plan_sweep, save_plan
from ptl_sweep.stages.base import Stage

# The smallest sweep that still finds detections, fits Gaussians and trains a CycleGAN.
TINY = (
    "dataset.num_images=12",
    "target.num_images=4",
    "pool.num_images=12",
    "synthetic.num_iterations=1",
    "synthetic.images_per_iteration=4",
    "synthetic.scales=[48]",
    "train.num_steps=6",
    "train.batch_size=2",
    "translator.num_steps=3",
    "translator.batch_size=2",
    "gaussian.min_score=0.01",
    "gaussian.min_iou=0.05",
    "evaluate.max_detections=60",
    "launcher=inline",
    "tracking=off",
)
TINY_GRID = ("real_count=3", "synthetic=off,on", "target=field,karst", "seed=0")

# Long enough to be killed in the middle: a checkpoint after every step.
LONG = (*TINY, "train.num_steps=40", "translator.num_steps=30", "train.checkpoint_minutes=0")
LONG_GRID = ("real_count=2,3", "synthetic=off,on", "target=field", "seed=0")


class Outcome(NamedTuple):
    """How a command line ended."""

    code: int
    output: str  # standard output
    errors: str  # what would be on standard error


class Sweep(NamedTuple):
    """A finished sweep on disk."""

    root: Path
    plan: Plan
    arguments: list[str]  # the command line that made it, sweep.root included

    def file(self, name: str) -> bytes:
        """A file of the sweep's folder."""
        return (self.plan.folder / name).read_bytes()


NO_CALIBRATION = "analysis.calibration=none"  # plans without evaluations that no cell asks for


@functools.cache
def _composed(overrides: tuple[str, ...]) -> list[Config]:
    asked = any(o.startswith("analysis.calibration=") for o in overrides)
    return compose_grid(overrides if asked else (*overrides, NO_CALIBRATION))


@pytest.fixture(autouse=True)
def _torch_as_it_was() -> Iterator[None]:
    """A sweep in this process turns deterministic algorithms on; other tests choose themselves."""
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])


@pytest.fixture(autouse=True)
def _signals_as_they_were() -> Iterator[None]:
    """A worker in this process answers to signals in its own way.

    A suite that a shell started in the background ignores SIGINT, one under nohup SIGHUP, and so
    would its children.
    """
    answered = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in answered}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Overrides that make stages take a fraction of a second."""
    return list(TINY)


@pytest.fixture(scope="session")
def tiny_grid() -> list[str]:
    """The command line of `tiny_sweep` without its root: 4 cells, 6 stages."""
    return ["-m", *TINY_GRID, *TINY]


@pytest.fixture(scope="session")
def long_grid() -> list[str]:
    """A command line without its root: 4 cells, 8 stages of seconds each."""
    return ["-m", *LONG_GRID, *LONG]


@pytest.fixture(scope="session")
def cells() -> Callable[..., list[Config]]:
    """Composed cells, copied, so that a test may change them; calibration only where asked for."""
    return lambda *overrides: copy.deepcopy(_composed(overrides))


@pytest.fixture
def make_plan(cells: Callable[..., list[Config]], tmp_path: Path) -> Callable[..., Plan]:
    """A saved plan below tmp_path; nothing runs."""

    def make(*overrides: str) -> Plan:
        composed = cells(*overrides)
        for config in composed:
            config.sweep.root = str(tmp_path / "outputs")
            config.tracking.mode = "off"
        plan = plan_sweep(composed, "python -m ptl_sweep")
        save_plan(plan)
        return load_plan(plan.folder)

    return make


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> Any:
    """The command line in this process."""

    def call(*arguments: str) -> Outcome:
        capsys.readouterr()
        caplog.clear()
        code = main(list(arguments))
        captured = capsys.readouterr()
        logged = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
        return Outcome(code, captured.out, captured.err + "\n".join(logged))

    return call


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stages write one small file; returns the keys in the order in which they were computed.

    A stage raises when a file `fail-<key>` lies in the store.
    """
    computed: list[str] = []

    def pretend(stage: Stage, ctx: Any) -> dict[str, Any]:
        computed.append(stage.key)
        if (ctx.store.root / f"fail-{stage.key}").exists():
            raise ValueError(f"told to fail at {stage.label}")
        (ctx.folder / "result.txt").write_text(stage.key)
        ctx.log({"train/step": 1, "train/loss": 0.5})
        return {"AP": 0.5}

    for kind in STAGES.values():
        monkeypatch.setattr(kind, "run", pretend)
    return computed


@pytest.fixture(scope="session")
def tiny_sweep(tmp_path_factory: pytest.TempPathFactory, tiny_grid: list[str]) -> Sweep:
    """4 cells, trained for real; tests must not change it (`copy_of` gives a copy)."""
    root = tmp_path_factory.mktemp("tiny")
    arguments = [*tiny_grid, f"sweep.root={root}"]
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    assert main(arguments) == 0
    torch.use_deterministic_algorithms(before[0])
    torch.set_num_threads(before[1])
    (folder,) = (root / "sweeps").iterdir()
    return Sweep(root, load_plan(folder), arguments)


def command_line(arguments: list[str]) -> list[str]:
    """The same as a process of its own."""
    return [sys.executable, "-m", "ptl_sweep", *arguments]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, long_grid: list[str]) -> Sweep:
    """`long_grid`, run inline in a process of its own that nobody disturbed."""
    root = tmp_path_factory.mktemp("undisturbed")
    arguments = [*long_grid, f"sweep.root={root}"]
    subprocess.run(command_line(arguments), check=True, capture_output=True, cwd=root)
    (folder,) = (root / "sweeps").iterdir()
    return Sweep(root, load_plan(folder), arguments)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes in tmp_path, and ends those that a failed test has left."""
    started: list[subprocess.Popen[bytes]] = []

    def call(*command: str, **options: Any) -> subprocess.Popen[bytes]:
        with (tmp_path / f"process-{len(started)}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT, **options
            )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def wait_for() -> Callable[[Callable[[], bool]], None]:
    """Poll until something is true; fail after two minutes."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, "waited for two minutes"
            time.sleep(0.005)

    return wait


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Sweep], Sweep]:
    """A sweep that a test may damage."""

    def make(sweep: Sweep) -> Sweep:
        root = tmp_path / "copy"
        shutil.copytree(sweep.root, root)
        arguments = [a for a in sweep.arguments if not a.startswith("sweep.root=")]
        plan = load_plan(root / "sweeps" / sweep.plan.name)
        return Sweep(root, plan, [*arguments, f"sweep.root={root}"])

    return make


@pytest.fixture
def flip_byte() -> Callable[[Path], None]:
    """Damage a file as a bad disk does: one bit in its middle."""

    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    return flip
