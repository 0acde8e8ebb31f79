"""What a SLURM job runs that has several tasks: a worker process for each, side by side on its GPU.

Every signal that the job gets is passed on to every worker; the job goes back into the queue when
all of them have written their checkpoints. A task that fails stops none of the others, but the job
fails in the end. In its next life the job tries that task again: it may have failed for want of
memory beside the others.
"""

import logging
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ptl_sweep.launchers.slurm import job
from ptl_sweep.launchers.slurm.job import TaskFailedError, TaskJob
from ptl_sweep.launchers.slurm.journal import JobBook
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan, load_plan
from ptl_sweep.worker.running import (
    STOP_SIGNALS,
    ExitCode,
    StopOnSignal,
    task_named,
    worker_environment,
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupJob(TaskJob):
    """As `TaskJob`, for several tasks; `task` names the first. Its own words are in SLURM's log."""

    tasks: tuple[str, ...]

    def __call__(self) -> str:
        """Run the tasks. Raises: TaskFailedError, ConfigError; SystemExit when put back."""
        self._remove_half_written()
        plan = load_plan(Path(self.sweep))
        plan.code = self.code
        tasks = [task_named(plan, name) for name in self.tasks]
        self._begin_log()
        self._check_code(plan, tasks)
        group = Group(plan, tasks, JobBook(plan.folder).began(self.submission))
        return job.until_done(plan, group.run, group.unfinished)


class Group:
    """The tasks of a job and how far they are; they go on where a signal has stopped them."""

    def __init__(self, plan: Plan, tasks: Sequence[Task], since: float) -> None:
        self.plan = plan
        self.since = since  # begin of the submission: parents that failed later do not come
        self.waiting = list(tasks)
        self.running: dict[str, subprocess.Popen[bytes]] = {}  # name of the task -> its worker
        self.tasks = {task.name: task for task in tasks}
        self.failed: list[str] = []
        self.parents_by = time.monotonic() + job.PARENTS_SEEN_S  # NFS shows them by then
        self.not_before: dict[str, float] = {}  # task whose stage is claimed -> its next try

    def unfinished(self) -> list[Task]:
        """Tasks that have neither ended well nor failed."""
        return self.waiting + [self.tasks[name] for name in self.running]

    def run(self, stop: StopOnSignal) -> ExitCode:
        """Until every task has ended, or has stopped for a signal. Raises: TaskFailedError."""
        told: set[tuple[str, signal.Signals]] = set()
        while self.running or (self.waiting and not stop.requested()):
            if stop.received is None:
                self._start_ready()
            else:
                told |= self._pass_on(stop.received, told)
            time.sleep(job.POLL_S)
            for name in [n for n, worker in self.running.items() if worker.poll() is not None]:
                self._settle(self.tasks[name], self.running.pop(name).returncode, stop)
        if self.waiting:
            return ExitCode.INTERRUPTED
        if self.failed:
            raise TaskFailedError(f"failed: {', '.join(self.failed)}; each has a log of its own")
        return ExitCode.OK

    def _start_ready(self) -> None:
        if not self.waiting:
            return
        store = self.plan.store
        list(store.root.glob("*"))  # listing makes NFS look anew
        now = time.monotonic()
        for task in list(self.waiting):
            has_parents = all(map(store.is_published, self.plan.parents_of(task)))
            is_due = now >= self.not_before.get(task.name, 0)
            if is_due and (has_parents or self._waits_in_vain(task, now)):  # it says so, and fails
                self.waiting.remove(task)
                self.running[task.name] = self._spawn(task)

    def _waits_in_vain(self, task: Task, now: float) -> bool:
        """Whether the parents that the task lacks will not come any more."""
        return now >= self.parents_by or job.has_failed_parents(self.plan, task, self.since)

    def _spawn(self, task: Task) -> subprocess.Popen[bytes]:
        """A worker, which sees a signal that comes while it starts as soon as it can answer."""
        path = self.plan.log_path(task)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file, _held_back():
            file.write(f"{job.announcement(task.name)}\n".encode())
            file.flush()
            return subprocess.Popen(
                [sys.executable, "-m", "ptl_sweep.worker", str(self.plan.folder), task.name],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=worker_environment(self.plan.stages[task.stages[0]].num_threads),
            )

    def _pass_on(
        self, number: signal.Signals, told: set[tuple[str, signal.Signals]]
    ) -> set[tuple[str, signal.Signals]]:
        """Tell each worker once of each signal; SLURM may have told it, too, which does no harm."""
        new = {(name, number) for name in self.running} - told
        for name, _ in new:
            self.running[name].send_signal(number)
        return new

    def _settle(self, task: Task, code: int, stop: StopOnSignal) -> None:
        """What has become of a task whose worker ended: the store knows better than its code."""
        log.info("%s: its worker ended with %d", task.name, code)
        if all(map(self.plan.store.is_published, task.stages)):
            return
        if code == ExitCode.CLAIMED:
            self.not_before[task.name] = time.monotonic() + job.RETRY_CLAIMED_S
        if code in (ExitCode.CLAIMED, ExitCode.INTERRUPTED) or (stop.requested() and code < 0):
            self.waiting.append(task)
            return
        self.failed.append(task.name)
        if code != ExitCode.FAILED:
            name = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            hint = "; mostly a full memory: more launcher.mem_gb" if code == -signal.SIGKILL else ""
            job.record_unless_published(
                self.plan, task, RuntimeError(f"the worker process ended with {name}{hint}")
            )


@contextmanager
def _held_back() -> Iterator[None]:
    """A process that starts in the block has these signals blocked until it has handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
