"""Runs stages of a plan: hit, resume or compute, then publish."""

import dataclasses
import enum
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from ptl_sweep.config.schema import THREAD_VARIABLES, ConfigError
from ptl_sweep.ownership import StageClaimedError
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import PLAN, Plan
from ptl_sweep.pipeline.provenance import code_fingerprint, software
from ptl_sweep.pipeline.wandb_runs import follow_stage
from ptl_sweep.stages.base import Stage
from ptl_sweep.store import HISTORY, StoreError
from ptl_sweep.worker.attempts import Attempts
from ptl_sweep.worker.peak_memory import peak_mb, restart_peak

if TYPE_CHECKING:
    from ptl_sweep.stages.context import StageContext
    from ptl_sweep.tracking import Companion

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)


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
    companion: "Companion",
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
            attempts = Attempts.begin(folder)
            follow_stage(plan, stage, companion)
            try:
                meta = _compute(plan, stage, folder, should_stop)
            finally:
                attempts.end()
            meta |= {"seconds": attempts.seconds, "attempts": attempts.rows}
            store.publish(key, meta | stage.identity())
        except Exception as error:
            if _is_interruption(error):
                raise
            if store.is_published(key):  # our claim had gone to another while we stood still
                log.warning("%s was published by another worker meanwhile: %s", key, error)
                return False
            store.record_failure(key, error, log_path=log_path)
            raise StageFailedError(f"{key}: {store.describe(error)}") from error
        finally:
            companion.end()
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
) -> dict[str, Any]:
    started = time.time()
    restart_peak()
    ctx = open_context(plan, stage, folder, should_stop)
    summary = stage.run(ctx)
    return {
        "status": "ok",
        "summary": summary,
        "drops": ctx.drops,  # boxes that the validator left out of what was read
        "started": started,
        "peak_memory_mb": peak_mb(),
        "host": socket.gethostname(),
        "code_changed": plan.code not in (None, code_fingerprint()),  # since it was planned
        **software(),
    }


def open_context(
    plan: Plan, stage: Stage, folder: Path, should_stop: Callable[[], bool]
) -> "StageContext":
    """The context of a claimed stage; rows of a killed attempt are kept."""
    from ptl_sweep.datasets.images import ImageCache
    from ptl_sweep.stages.context import StageContext
    from ptl_sweep.tracking import History

    ctx = StageContext(
        key=stage.key,
        parents=stage.parents,
        store=plan.store,
        folder=folder,
        should_stop=should_stop,
        history=History(folder / HISTORY),
        cache=ImageCache(stage.execution.image_cache_mb * 2**20),
    )
    ctx.resume(ctx.history.rows())
    return ctx


def prepare_process(num_threads: int) -> None:
    """Same numbers for the same command: fixed thread count, deterministic algorithms on CPU."""
    import torch

    torch.set_num_threads(num_threads)
    if not torch.cuda.is_available():
        # as use_deterministic_algorithms does, which imports the compiler for it: two seconds
        torch.set_deterministic_debug_mode("error")


def run_task(plan: Plan, task: Task, stop: "StopOnSignal | None" = None) -> ExitCode:
    """All stages of a task in this process, which stops at a checkpoint when a signal asks."""
    from ptl_sweep.tracking import Companion

    with Companion() as companion:
        return _run_stages(plan, task, stop or StopOnSignal(), companion)


def _run_stages(plan: Plan, task: Task, stop: "StopOnSignal", companion: "Companion") -> ExitCode:
    from ptl_sweep.detection.training import Interrupted

    for key in task.stages:
        prepare_process(plan.stages[key].num_threads)
        try:
            run_stage(
                plan,
                key,
                should_stop=stop.requested,
                companion=companion,
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


def task_named(plan: Plan, name: str) -> Task:
    """The task of that name. Raises: ConfigError for one that the plan does not have."""
    for task in plan.tasks:
        if task.name == name:
            return task
    raise ConfigError(f"{plan.name} has no task {name}; {plan.folder / PLAN} names them all")


def run_single(plan: Plan, key: str) -> ExitCode:
    """One stage in this process, logged to the terminal."""
    logging.getLogger().setLevel(logging.INFO)
    task = plan.task_of(key)
    return run_task(plan, dataclasses.replace(task, stages=(key,)))


class StopOnSignal:
    """Remembers that a signal to stop came; the stage stops at its next checkpoint.

    They are SIGINT, SIGTERM, SIGUSR2, and SIGHUP of a closed terminal unless nohup ignores it.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        numbers = [*STOP_SIGNALS]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        self._previous = {number: signal.signal(number, self._remember) for number in numbers}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)  # blocked by who starts us in a group

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
