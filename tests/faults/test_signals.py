"""A sweep that a signal ends: no process and no live claim is left, and it goes on to its end."""

import math
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.fault_trials import Tally, broken_stages
from helpers.sweeps import command_line

from ptl_sweep.ownership import read_claim
from ptl_sweep.store import Store

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL)
GRID = ("-m", "real_count=3", "synthetic=off", "target=field", "seed=0")
TRIALS = 12  # of the twenty pairs of a signal and a moment, for each launcher
PATIENCE_S = 180  # orphans finish the stage that they compute, of seconds on an idle machine
MARK = "PTL_FAULTS_TRIAL"  # in the environment of every process of a trial, whatever its session


def _claimed(kind: str) -> Callable[[Path], bool]:
    return lambda root: any(root.glob(f"store/{kind}-*.claim"))


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "starting": Path.is_dir,
    "training": _claimed("train"),
    "evaluating": _claimed("evaluate"),
    "reducing": lambda root: (
        len(list(root.glob("store/evaluate-*/meta.json"))) == 2
        and not any(root.glob("store/*.claim"))
    ),
}


@pytest.fixture(scope="module")
def command(tiny: list[str]) -> list[str]:
    """A checkpoint after every step, so that any of them may be taken up again."""
    return [*GRID, *tiny, "train.num_steps=12", "train.checkpoint_minutes=0"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, command: list[str]) -> bytes:
    """results.csv of a sweep that nobody disturbed."""
    root = tmp_path_factory.mktemp("expected")
    assert start([*command, f"sweep.root={root}"], root).wait(900) == 0
    return results(root)


def results(root: Path) -> bytes:
    (path,) = root.glob("sweeps/*/results.csv")
    return path.read_bytes()


def start(arguments: list[str], root: Path) -> subprocess.Popen[bytes]:
    with (root / "log").open("ab") as log:
        return subprocess.Popen(
            command_line(arguments), cwd=root, stdin=subprocess.DEVNULL, stdout=log,
            stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, MARK: str(root)},
        )  # fmt: skip


def processes_of(root: Path) -> list[int]:
    """Processes of a trial that have not ended."""
    found, mark = [], f"{MARK}={root}\x00".encode()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (path / "environ").read_bytes():
                found.append(int(path.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def wait_until(is_true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("launcher", ["inline", "local"])
def test_a_signal_leaves_no_process_and_the_same_command_goes_on(
    launcher: str, command: list[str], expected: bytes, tmp_path: Path, tally: Tally, share: float
) -> None:
    tally.fault = f"a signal ends a sweep of launcher={launcher}"
    rng = np.random.default_rng(0)
    trials = [(number, moment) for number in SIGNALS for moment in MOMENTS]
    rng.shuffle(trials)
    for index, (number, moment) in enumerate(trials[: math.ceil(share * TRIALS)]):
        root = tmp_path / str(index)
        root.mkdir()
        words = [*command, f"launcher={launcher}", f"sweep.root={root}"]
        wrong = disturbed(words, root, signal.Signals(int(number)), str(moment), rng.uniform())
        tally.tries += 1
        tally.note(str(moment))
        if not wrong:
            wrong = finished(words, root, expected)
        tally.lost += [f"{signal.Signals(int(number)).name} while {moment}: {one}" for one in wrong]
    assert tally.lost == []


def disturbed(
    words: list[str], root: Path, number: signal.Signals, moment: str, delay_s: float
) -> list[str]:
    """What is left when the signal has ended the sweep, and should not be."""
    process = start(words, root)
    try:
        wait_until(lambda: MOMENTS[moment](root) or process.poll() is not None)
        time.sleep(delay_s * (3 if moment == "starting" else 0.3))
        process.send_signal(number)
        process.wait(PATIENCE_S)
        if not wait_until(lambda: not processes_of(root)):
            return [f"processes {processes_of(root)} are left"]
    finally:
        for left in processes_of(root):
            os.kill(left, signal.SIGKILL)
    wrong = [] if process.returncode in (0, 130, -number) else [f"exit {process.returncode}"]
    for path in root.glob("store/*.claim"):
        claim = read_claim(path)
        wrong += [f"{path.name} is alive"] if claim is not None and not claim.is_stale else []
    text = (root / "log").read_text()
    is_ours = "Traceback" in text and "/ptl_sweep/" in text  # Python itself has one while it starts
    return wrong + ([f"prints {text[-400:]}"] if is_ours else [])


def finished(words: list[str], root: Path, expected: bytes) -> list[str]:
    """What is wrong with the end that the same command comes to."""
    code = start(words, root).wait(900)
    if code != 0:
        return [f"the second time it ends with {code}: {(root / 'log').read_text()[-400:]}"]
    wrong = broken_stages(Store(root / "store"))
    wrong += [f"{path.name} is left" for path in root.glob("store/*.claim")]
    return wrong + ([] if results(root) == expected else ["results.csv differs"])
