"""Runs stages of a plan: hit, resume or compute, then publish. One process per task.

``python -m ptl_sweep.stages.worker SWEEP_FOLDER TASK``; exit codes are in `ExitCode`.
"""

import dataclasses
import enum
import json
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ptl_sweep.config.schema import THREAD_VARIABLES
from ptl_sweep.pipeline.plan import Plan, Task, config_of, load_plan
from ptl_sweep.pipeline.provenance import code_fingerprint, software
from ptl_sweep.store import Stage, StageClaimedError, StoreError, slurm_job

if TYPE_CHECKING:
    from ptl_sweep.tracking import Recorder

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
    plan: Plan,
    key: str,
    *,
    should_stop: Callable[[], bool],
    recorder: "Recorder",
    log_path: Path | None = None,
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
            attempts = _record_attempt(folder)
            meta = _compute(plan, stage, folder, should_stop, recorder)
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
    plan: Plan,
    stage: Stage,
    folder: Path,
    should_stop: Callable[[], bool],
    recorder: "Recorder",
) -> dict[str, Any]:
    from ptl_sweep.stages import evaluate
    from ptl_sweep.stages.context import open_workspace

    config = config_of(plan, plan.stage_config[stage.key])
    started = time.time()
    with open_workspace(plan, stage, config, folder, should_stop, recorder) as workspace:
        summary = evaluate.RUN[stage.kind](workspace)
        workspace.finish(summary)
    return {
        "status": "ok",
        "summary": summary,
        "started": started,
        "seconds": time.time() - started,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "host": socket.gethostname(),
        "code_changed": plan.code not in (None, code_fingerprint()),  # since it was planned
        **software(),
    }


def _record_attempt(folder: Path) -> list[dict[str, Any]]:
    """Every start of this stage so far, this one included; more than 1 after a kill or requeue."""
    path = folder / ATTEMPTS
    row = {"time": time.time(), "host": socket.gethostname(), "pid": os.getpid(), **slurm_job()}
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    return [json.loads(line) for line in path.read_text().splitlines()]


def prepare_process(num_threads: int) -> None:
    """Same numbers for the same command: fixed thread count, deterministic algorithms on CPU."""
    import torch

    torch.set_num_threads(num_threads)
    if not torch.cuda.is_available():
        torch.use_deterministic_algorithms(mode=True)


def run_task(plan: Plan, task: Task, stop: "StopOnSignal | None" = None) -> ExitCode:
    """All stages of a task in this process, which stops at a checkpoint when a signal asks."""
    from ptl_sweep.tracking import Recorder

    with Recorder() as recorder:
        return _run_stages(plan, task, stop or StopOnSignal(), recorder)


def _run_stages(plan: Plan, task: Task, stop: "StopOnSignal", recorder: "Recorder") -> ExitCode:
    from ptl_sweep.detection.training import Interrupted

    for key in task.stages:
        prepare_process(config_of(plan, plan.stage_config[key]).train.num_threads)
        try:
            run_stage(
                plan,
                key,
                should_stop=stop.requested,
                recorder=recorder,
                log_path=plan.log_path(task),
            )
        except StageClaimedError as error:
            log.warning("%s", error)
            return ExitCode.CLAIMED
        except Interrupted as error:
            log.warning("%s", error)
            return ExitCode.INTERRUPTED
        except (StageFailedError, StoreError, OSError):  # OSError: the claim cannot be written
            log.exception("stage failed")
            return ExitCode.FAILED
        if stop.requested() and key != task.stages[-1]:
            return ExitCode.INTERRUPTED
    return ExitCode.OK


def run_single(plan: Plan, key: str) -> ExitCode:
    """One stage in this process, logged to the terminal."""
    logging.getLogger().setLevel(logging.INFO)
    task = plan.task_of(key)
    return run_task(plan, dataclasses.replace(task, stages=(key,)))


class StopOnSignal:
    """Remembers that SIGINT, SIGTERM or SIGUSR2 came; the stage stops at its next checkpoint."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
        self._previous = {number: signal.signal(number, self._remember) for number in numbers}

    def _remember(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.received != signal.SIGUSR2:  # SLURM's warning outranks what follows it
            self.received = signal.Signals(number)

    def requested(self) -> bool:
        """Whether the stage should write its checkpoint and stop."""
        return self.received is not None

    def restore(self) -> None:
        """Give the signals back to whoever answered to them before."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)


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
