"""Runs on this machine only: a stand-in for wandb's Run, and a process that writes a real one."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

from ptl_sweep.tracking import RunInfo, RunLog, read_log

ROWS = [{"train/step": step, "train/loss": 1 / (1 + step)} for step in range(6)]
INFO = RunInfo(
    key="train-miniature-n20-s0-0123456789ab",
    name="n20 on s0 -> okutama",
    job_type="train",
    config={"real_count": 20, "target": "okutama"},
    step_metrics=["train/step"],
)


class RecordingRun(SimpleNamespace):
    """Takes what a wandb Run takes; the server already has `starting_step` rows."""

    def __init__(self, starting_step: int = 0, *, offline: bool = False) -> None:
        super().__init__(starting_step=starting_step, offline=offline)
        self.logged: list[dict] = []
        self.exit_codes: list[int] = []
        self.summary: dict = {}
        self.used: list[str] = []
        self.settings = SimpleNamespace(finish_timeout=60)

    def log(self, row: dict) -> None:
        self.logged.append(row)

    def use_artifact(self, name: str) -> None:
        self.used.append(name)

    def finish(self, exit_code: int) -> None:
        self.exit_codes.append(exit_code)


def environment(home: Path) -> dict[str, str]:
    """Of a process that sees no W&B credentials or settings of this machine."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return own | {
        "HOME": str(home),
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CACHE_DIR": str(home / "cache"),
        "WANDB_CONFIG_DIR": str(home / "config"),
    }


def run_program(
    program: str, *arguments: str, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run Python source to its end, whatever that is."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=120
    )


def finished_log(path: Path) -> RunLog:
    """The log once complete: `finish()` offline returns before the file is."""
    deadline = time.monotonic() + 20
    while True:
        run = read_log(path)
        if run.exit_code is not None or time.monotonic() > deadline:
            return run
        time.sleep(0.1)
