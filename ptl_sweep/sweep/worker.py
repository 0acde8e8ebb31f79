"""Runs stages of a plan: hit, resume or compute, then publish. One process per task.

``python -m ptl_sweep.sweep.worker SWEEP_FOLDER TASK``; exit codes are in `ExitCode`.
"""

import dataclasses
import enum
import importlib.metadata
import json
import logging
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from ptl_sweep import __version__
from ptl_sweep.config import THREAD_VARIABLES
from ptl_sweep.store import Stage, StageClaimedError, StoreError
from ptl_sweep.sweep.planner import Plan, Task, config_of, load_plan

log = logging.getLogger(__name__)

ATTEMPTS = "attempts.jsonl"


class ExitCode(enum.IntEnum):
    """How a task ended."""

    OK = 0
    FAILED = 1  # a stage raised; FAILED.json says why
    INTERRUPTED = 75  # told to stop; the checkpoint is written
    CLAIMED = 76  # another worker computes one of the stages


class StageFailedError(RuntimeError):
    """A stage raised; its FAILED.json holds the traceback."""


def run_stage(
    plan: Plan, key: str, *, should_stop: Callable[[], bool], log_path: Path | None = None
) -> bool:
    """Make sure that a stage is published; returns whether it had to be computed.

    Raises: StageFailedError, StageClaimedError, Interrupted (detection.training).
    """
    store, stage = plan.store, plan.stages[key]
    if store.is_published(key):
        log.info("hit %s", key)
        return False
    missing = [parent for parent in stage.parents if not store.is_published(parent)]
    if missing:
        raise StageFailedError(f"{key} needs {', '.join(missing)}, which are not published")
    with store.claim(key) as folder:
        if store.is_published(key):
            return False
        try:
            attempts = _count_attempt(folder)
            meta = _compute(plan, stage, folder, should_stop)
            store.publish(stage, {**meta, "attempts": attempts})
        except Exception as error:
            if _is_interruption(error):
                raise
            store.record_failure(key, error, log_path=log_path)
            raise StageFailedError(f"{key}: {store.describe(error)}") from error
    log.info("published %s after %.0f s", key, meta["seconds"])
    return True


def _is_interruption(error: Exception) -> bool:
    from ptl_sweep.detection.training import Interrupted

    return isinstance(error, Interrupted)


def _compute(
    plan: Plan, stage: Stage, folder: Path, should_stop: Callable[[], bool]
) -> dict[str, Any]:
    from ptl_sweep.sweep import stages
    from ptl_sweep.sweep.workspace import open_workspace

    config = config_of(plan, plan.stage_config[stage.key])
    started = time.time()
    with open_workspace(plan, stage, config, folder, should_stop) as workspace:
        summary = stages.RUN[stage.kind](workspace)
        workspace.finish(summary)
    return {
        "status": "ok",
        "summary": summary,
        "started": started,
        "seconds": time.time() - started,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "host": socket.gethostname(),
        **software(),
    }


def _count_attempt(folder: Path) -> int:
    """How often this stage was started; more than 1 after a kill or a requeue."""
    path = folder / ATTEMPTS
    with path.open("a") as file:
        row = {"time": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
        file.write(json.dumps(row) + "\n")
    return len(path.read_text().splitlines())


def software() -> dict[str, Any]:
    """Versions that a result was computed with."""
    names = ("torch", "torchvision", "numpy", "scipy", "pillow")
    return {
        "commit": git_commit(),
        "versions": {
            "ptl_sweep": __version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in names},
        },
    }


def git_commit() -> str | None:
    """Commit of the checkout that runs, with -dirty for uncommitted changes; None in a wheel."""
    try:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def prepare_process(num_threads: int) -> None:
    """Same numbers for the same command: fixed thread count, deterministic algorithms on CPU."""
    import torch

    torch.set_num_threads(num_threads)
    if not torch.cuda.is_available():
        torch.use_deterministic_algorithms(mode=True)


def run_task(plan: Plan, task: Task) -> ExitCode:
    """All stages of a task in this process, which stops at a checkpoint on SIGINT or SIGTERM."""
    from ptl_sweep.detection.training import Interrupted

    stop = StopOnSignal()
    for key in task.stages:
        prepare_process(config_of(plan, plan.stage_config[key]).train.num_threads)
        try:
            run_stage(plan, key, should_stop=stop.requested, log_path=plan.log_path(task))
        except StageClaimedError as error:
            log.warning("%s", error)
            return ExitCode.CLAIMED
        except Interrupted as error:
            log.warning("%s", error)
            return ExitCode.INTERRUPTED
        except (StageFailedError, StoreError, OSError):  # OSError: the claim cannot be written
            log.exception("stage failed")
            return ExitCode.FAILED
        if stop.requested():
            return ExitCode.INTERRUPTED
    return ExitCode.OK


def run_single(plan: Plan, key: str) -> ExitCode:
    """One stage in this process, logged to the terminal."""
    logging.getLogger().setLevel(logging.INFO)
    task = plan.task_of(key)
    return run_task(plan, dataclasses.replace(task, stages=(key,)))


class StopOnSignal:
    """Remembers that SIGINT or SIGTERM came; the stage stops at its next checkpoint."""

    def __init__(self) -> None:
        self._requested = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._requested = True

    def requested(self) -> bool:
        """Whether the stage should write its checkpoint and stop."""
        return self._requested


def worker_environment(num_threads: int) -> dict[str, str]:
    """Environment of a worker process: thread counts are read when libraries load."""
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(num_threads))}


def main(arguments: list[str]) -> int:
    """Entry point of a worker process: sweep folder, task name."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    plan = load_plan(Path(arguments[0]))
    task = next(task for task in plan.tasks if task.name == arguments[1])
    return int(run_task(plan, task))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
