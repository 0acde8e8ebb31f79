"""What a SLURM job runs: one task of a plan, or the reducer. All state is on disk.

Signals, as measured on SLURM 22.05:

- SIGUSR2 comes before the time limit, and before preemption where the cluster is set up for it:
  the stage writes its checkpoint, then submitit puts the job back into the queue.
- SIGTERM alone comes with ``scontrol requeue``, ``scancel`` and preemption: the stage writes its
  checkpoint and this process waits for its end. A job that ends by itself within a preemption's
  grace time counts as failed and is not put back.
- SIGKILL: the next attempt goes on from the last checkpoint.
"""

import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ptl_sweep.launchers.slurm.journal import REDUCE, JobBook
from ptl_sweep.launchers.slurm.log_folder import private_files
from ptl_sweep.launchers.slurm.queue import view_jobs
from ptl_sweep.ownership import slurm_job
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan, load_plan
from ptl_sweep.pipeline.provenance import PACKAGE, code_fingerprint
from ptl_sweep.worker.running import ExitCode, StopOnSignal, run_task, task_named

if TYPE_CHECKING:
    from submitit.helpers import DelayedSubmission

log = logging.getLogger(__name__)

POLL_S = 1.0
RETRY_CLAIMED_S = 5.0  # a stage that somebody else computes is looked at again after this
PARENTS_SEEN_S = 90.0  # NFS shows another node's rename within a minute (acdirmax)
END_EXPECTED_S = 120.0  # after a SIGTERM; then the task goes on: it was not meant


class TaskFailedError(RuntimeError):
    """A stage failed; the job must fail too, so that what waits for it is cancelled."""


class CodeChangedError(RuntimeError):
    """The package is not the one that was submitted, and launcher.code_change says refuse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskJob:
    """Names of what to do; submitit pickles nothing else."""

    sweep: str  # folder
    task: str
    submission: str  # of which this job is a part
    code: str  # fingerprint of the package at submission
    code_change: str  # warn | refuse

    def __call__(self) -> str:
        """Run the task. Raises: TaskFailedError, ConfigError; SystemExit when put back."""
        self._remove_half_written()
        plan = load_plan(Path(self.sweep))
        plan.code = self.code
        task = REDUCE if self.task == REDUCE.name else task_named(plan, self.task)
        self._log_to(plan.log_path(task))
        self._begin_log()
        log.info("%s", announcement(self.task))
        if task is REDUCE:
            return reduce(plan, self.submission)
        self._check_code(plan, [task])
        look_for_parents(plan, task, JobBook(plan.folder).began(self.submission))
        return run_to_the_end(plan, task)

    def checkpoint(self) -> "DelayedSubmission":
        """What submitit queues again: the same call."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    def _remove_half_written(self) -> None:
        """A result that an earlier life of this job was killed in would make submitit refuse."""
        import submitit

        paths = submitit.JobEnvironment().paths
        for path in (paths.result_pickle, paths.submitted_pickle):
            path.with_suffix(f"{path.suffix}.save_tmp").unlink(missing_ok=True)

    def _log_to(self, path: Path) -> None:
        """One log per task, whatever the number of jobs; SLURM's own words stay in logs/slurm."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(descriptor, stream.fileno())
        os.close(descriptor)

    def _begin_log(self) -> None:
        logging.basicConfig(
            level=logging.INFO,
            format="%(asctime)s %(levelname)s %(name)s: %(message)s",
            force=True,
        )
        logging.getLogger("submitit").propagate = False  # it has handlers of its own

    def _check_code(self, plan: Plan, tasks: Sequence[Task]) -> None:
        found = code_fingerprint()
        if found == self.code:
            return
        what = f"the package has changed since submission ({self.code}, now {found})"
        if self.code_change == "warn":
            log.warning("%s; meta.json says so", what)
            return
        error = CodeChangedError(
            f"{what} and launcher.code_change=refuse; run the same command again, or submit with "
            "launcher.code=snapshot"
        )
        for task in tasks:
            record_unless_published(plan, task, error)
        raise error


def announcement(name: str) -> str:
    """Say which job runs a task, in which of its lives, and where: the first line of its log."""
    job = slurm_job()
    return (
        f"{name}: SLURM job {job['job']}, restart {job['restart']}, on {socket.gethostname()}, "
        f"package {PACKAGE.parent}"
    )


def reduce(plan: Plan, submission: str) -> str:
    """Tables and report of what there is, gaps included."""
    from ptl_sweep.reduce.run import reduce_sweep

    result = reduce_sweep(plan, plan.settings.tracking, jobs=view_jobs(plan), submission=submission)
    sys.stdout.write(f"{result.text}\n")
    sys.stdout.flush()
    return f"{result.num_failed} cells without a result"


def look_for_parents(plan: Plan, task: Task, since: float) -> None:
    """Give a shared file system time to show what another node has just published.

    Nothing is awaited where a parent has failed `since` then, the begin of the submission.
    """
    deadline = time.monotonic() + PARENTS_SEEN_S
    parents = plan.parents_of(task)
    while time.monotonic() < deadline:
        there = {path.name for path in plan.store.root.glob("*")}  # listing makes NFS look anew
        if parents <= there:
            return
        if has_failed_parents(plan, task, since):
            break
        time.sleep(POLL_S)
    log.warning("%s: its parents are not in %s", task.name, plan.store.root)


def has_failed_parents(plan: Plan, task: Task, since: float) -> bool:
    """Whether a stage that the task needs, near or far, has failed after this time."""

    def failed(key: str) -> bool:
        if plan.store.is_published(key):
            return False
        failure = plan.store.failure(key)
        if failure is not None and failure.get("time", 0) >= since:
            return True
        return any(map(failed, plan.stages[key].parents))

    return any(map(failed, plan.parents_of(task)))


def run_to_the_end(plan: Plan, task: Task) -> str:
    """Until the task is done, put back into the queue, or killed. Raises: TaskFailedError."""

    def run(stop: StopOnSignal) -> ExitCode:
        code = run_task(plan, task, stop)
        if code == ExitCode.FAILED:
            raise TaskFailedError(f"{task.name} failed; see {plan.log_path(task)}")
        return code

    return until_done(plan, run, lambda: [task])


def until_done(
    plan: Plan, run: Callable[[StopOnSignal], ExitCode], unfinished: Callable[[], list[Task]]
) -> str:
    """Run again until all is done, or put the job back with what is unfinished then.

    Raises: SystemExit when put back; TaskFailedError.
    """
    while True:
        stop = StopOnSignal()
        code = run(stop)
        if code == ExitCode.OK:
            # A warning that comes from here on must not kill the interpreter while it ends: the
            # job would count as failed, and what waits for it would be cancelled.
            signal.signal(signal.SIGUSR2, signal.SIG_IGN)
            return "done"
        if code == ExitCode.CLAIMED:
            wait(RETRY_CLAIMED_S, stop)
        if stop.received in (signal.SIGTERM, signal.SIGINT):
            log.info("%s: checkpoint written, waiting for the end", stop.received.name)
            wait(END_EXPECTED_S, stop, until=signal.SIGUSR2)
        if stop.received == signal.SIGUSR2:
            put_back(plan, unfinished(), stop)
        stop.restore()


def wait(seconds: float, stop: StopOnSignal, until: signal.Signals | None = None) -> None:
    """Sleep, but not past a signal (past any but `until`, when given)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if stop.received is not None and until in (None, stop.received):
            return
        time.sleep(POLL_S)


def put_back(plan: Plan, tasks: Sequence[Task], stop: StopOnSignal) -> None:
    """Let submitit's own handler put this job back into the queue, and end this process.

    Raises: SystemExit; TaskFailedError after launcher.max_requeues time limits.
    """
    stop.restore()
    try:
        with private_files():  # submitit writes the pickle of the call anew
            signal.raise_signal(signal.SIGUSR2)
            time.sleep(POLL_S)  # the handler runs before the next bytecode
    except Exception as error:
        failures = [_not_put_back(task, error) for task in tasks]
        for task, failure in zip(tasks, failures, strict=True):
            record_unless_published(plan, task, failure)
        raise failures[0] from error
    raise TaskFailedError("SIGUSR2 had no handler; submitit should have set one")


def _not_put_back(task: Task, error: Exception) -> TaskFailedError:
    return TaskFailedError(
        f"{task.name} could not go back into the queue ({error}); its checkpoint is kept: "
        f"raise launcher.{task.kind}.time_min or launcher.max_requeues and run again"
    )


def record_unless_published(plan: Plan, task: Task, error: Exception) -> None:
    """FAILED.json for the stage that the task could not go on with."""
    missing = [key for key in task.stages if not plan.store.is_published(key)]
    if missing:
        plan.store.record_failure(missing[0], error, log_path=plan.log_path(task))
