"""The plan as SLURM arrays, through submitit: held, dependencies set, then released at once."""

import fcntl
import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ptl_sweep.config.schema import ConfigError, LauncherConfig
from ptl_sweep.launchers.slurm import commands
from ptl_sweep.launchers.slurm.arrays import TaskArray, plan_arrays
from ptl_sweep.launchers.slurm.commands import SlurmError, SlurmJob
from ptl_sweep.launchers.slurm.group import GroupJob
from ptl_sweep.launchers.slurm.job import TaskJob
from ptl_sweep.launchers.slurm.journal import REDUCE, Job, JobBook
from ptl_sweep.launchers.slurm.log_folder import check_log_folder, make_log_folder, private_files
from ptl_sweep.launchers.slurm.queue import failed_beside_others, relevant_jobs
from ptl_sweep.launchers.slurm.sbatch import (
    check_additional_parameters,
    job_name,
    refusal,
    sbatch_parameters,
    submission_environment,
)
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.provenance import code_fingerprint, snapshot_code
from ptl_sweep.stages.base import KINDS

log = logging.getLogger(__name__)

LOCK = ".submit.lock"  # below sweeps/: two submissions at once would queue shared stages twice


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """What a submission has put into the queue."""

    arrays: list[TaskArray]
    ids: list[str]  # of the arrays, in their order
    reducer: str | None
    cancelled: int  # jobs of this sweep that could never have started


@dataclass(frozen=True, slots=True)
class InFlight:
    """Jobs that were in the queue before this submission."""

    stages: dict[str, str]  # unpublished stage -> job that will publish it
    hopeless: list[str]  # jobs of this sweep that can never start, with what waits for them
    reducer: SlurmJob | None  # of this sweep
    shared: frozenset[str]  # jobs that run several tasks


def submit(plan: Plan, config: LauncherConfig) -> Submitted:
    """Queue what is neither published nor in the queue, and a reducer that waits for all of it.

    Raises: ConfigError when SLURM refuses; then nothing of this call stays in the queue.
    """
    with _translated_errors(), _one_at_a_time(plan.root):
        check_log_folder(plan)
        check_additional_parameters(config)
        _cancel_leftovers(plan)
        before = jobs_in_flight(plan)
        commands.cancel(before.hopeless)
        arrays = plan_arrays(plan, before.stages, commands.max_array_size(), config.tasks_of_job)
        if not arrays and before.reducer is not None:
            return Submitted(arrays=[], ids=[], reducer=None, cancelled=len(before.hopeless))
        if before.reducer is not None and before.reducer.is_pending:
            commands.cancel([before.reducer.id])
        submission = _Submission(plan, config, before.shared)
        try:
            ids = [submission.add_array(array) for array in arrays]
            reducer = submission.add_reducer(before.stages.values())
            submission.release()
        except BaseException:  # Ctrl-C too: no held job stays behind
            with suppress(SlurmError):
                commands.cancel(submission.arrays)
            raise
    return Submitted(arrays=arrays, ids=ids, reducer=reducer, cancelled=len(before.hopeless))


class _Submission:
    """Arrays of one call, each written into the book as soon as SLURM has accepted it."""

    def __init__(self, plan: Plan, config: LauncherConfig, shared: Iterable[str]) -> None:
        self.plan, self.config = plan, config
        self.shared = set(shared)  # jobs that run several tasks, those of this call included
        self.name = uuid.uuid4().hex[:8]
        self.book = JobBook(plan.folder)
        self.arrays: list[str] = []
        self.job_ids: list[list[str]] = []  # of each array's jobs
        self.python_path: Path | None = None
        self.code = code_fingerprint()
        if config.code == "snapshot":
            self.python_path = snapshot_code(plan.folder / "code")
            self.code = self.python_path.name

    def add_array(self, array: TaskArray) -> str:
        """Submit an array, held, and set what its jobs wait for."""
        at_once, later = self._dependencies(array)
        job = self._submit(array.kind, array.groups, self._with_foreign(at_once))
        commands.set_dependencies(
            (_indexed(job, indices, is_array=len(array.groups) > 1), self._with_foreign(dependency))
            for dependency, indices in later
        )
        return job

    def add_reducer(self, before: Iterable[str]) -> str:
        """The reducer runs when everything has ended, well or not."""
        waits = sorted({*self.arrays, *before})
        return self._submit("reduce", [[REDUCE]], f"afterany:{':'.join(waits)}" if waits else None)

    def release(self) -> None:
        """Let everything go at once. The book is written last: what it lacks is a left-over."""
        commands.release(self.arrays)
        self.book.add_released(self.name)

    def _dependencies(self, array: TaskArray) -> tuple[str | None, list[tuple[str, list[int]]]]:
        """What sbatch is told, and what `scontrol update` says later about single jobs."""
        twins = self.job_ids[array.twin] if array.twin is not None else []
        if array.twin is not None and self.shared.isdisjoint(twins):
            if len(array.groups) > 1:
                return f"aftercorr:{self.arrays[array.twin]}", []
            return f"afterok:{twins[0]}", []
        found: defaultdict[str, list[int]] = defaultdict(list)
        for index, (members, jobs) in enumerate(zip(array.members, array.jobs, strict=True)):
            ids = {self.job_ids[m.array][m.index] for m in members} | jobs
            if ids:
                found[self._after(ids)].append(index)
        if len(found) == 1 and len(next(iter(found.values()))) == len(array.groups):
            return next(iter(found)), []
        return None, list(found.items())

    def _with_foreign(self, dependency: str | None) -> str:
        """Add launcher.dependency; a comma means `and`."""
        return ",".join(filter(None, (self.config.dependency, dependency)))

    def _after(self, ids: set[str]) -> str:
        """After the good end of jobs, or any end where a job fails for one of several tasks.

        The other tasks' results are wanted then; who lacks the one's looks for it and fails.
        """
        parts = {"afterok": ids - self.shared, "afterany": ids & self.shared}
        return ",".join(f"{kind}:{':'.join(sorted(some))}" for kind, some in parts.items() if some)

    def _submit(self, kind: str, groups: Sequence[Sequence[Task]], dependency: str | None) -> str:
        import submitit

        executor = submitit.SlurmExecutor(
            folder=make_log_folder(self.plan),
            max_num_timeout=self.config.max_requeues,
            python=self.config.python,
        )
        most = max(map(len, groups))
        with submission_environment(self.config), private_files():
            executor.update_parameters(
                **sbatch_parameters(
                    self.plan, self.config, kind, dependency, self.python_path, most
                )
            )
            jobs = executor.submit_array([self._call(group) for group in groups])
        array = str(jobs[0].job_id).partition("_")[0]
        self.arrays.append(array)
        ids = self.book.add_array(self.name, array, groups)
        self.shared |= {job for job, group in zip(ids, groups, strict=True) if len(group) > 1}
        self.job_ids.append(ids)
        return array

    def _call(self, group: Sequence[Task]) -> TaskJob:
        common = {
            "sweep": str(self.plan.folder.resolve()),
            "task": group[0].name,
            "submission": self.name,
            "code": self.code,
            "code_change": self.config.code_change,
        }
        if len(group) == 1:
            return TaskJob(**common)
        return GroupJob(**common, tasks=tuple(task.name for task in group))


def _indexed(job: str, indices: Sequence[int], *, is_array: bool) -> str:
    return f"{job}_[{','.join(map(str, indices))}]" if is_array else job


def jobs_in_flight(plan: Plan) -> InFlight:
    """What the queue holds of this plan, whichever sweep submitted it. Raises: SlurmError."""
    jobs = relevant_jobs(plan)
    queue = commands.read_queue(job.id for job in jobs)
    own_ids = {job.id for job in JobBook(plan.folder).jobs()} & queue.keys()
    hopeless = _hopeless(plan, [job for job in jobs if job.id in own_ids], queue)
    lost = {job.id for job in hopeless}
    stages = {
        key: job.id
        for job in jobs
        if job.id in queue and job.id not in lost and not queue[job.id].can_never_start
        for key in job.stages
        if key in plan.stages and not plan.store.is_published(key)
        if not failed_beside_others(plan, key, job, queue[job.id])
    }
    reducers = [queue[j.id] for j in jobs if j.kind == REDUCE.kind and j.id in own_ids]
    shared = frozenset(job.id for job in jobs if job.side_by_side > 1)
    return InFlight(stages, sorted(lost), reducers[-1] if reducers else None, shared)


def _hopeless(plan: Plan, jobs: Sequence[Job], queue: Mapping[str, SlurmJob]) -> list[Job]:
    """Jobs that can never start, and those that wait for one of them."""
    by_task = {job.task: job for job in jobs}
    found: list[Job] = []
    stages: set[str] = set()
    for task in sorted(plan.tasks, key=lambda task: KINDS.index(task.kind)):
        job = by_task.get(task.name)
        if job is None:
            continue
        if queue[job.id].can_never_start or not stages.isdisjoint(plan.parents_of(task)):
            found.append(job)
            stages.update(task.stages)
    return found


def _cancel_leftovers(plan: Plan) -> None:
    """End held jobs of a submission that was killed before it could release them."""
    jobs = JobBook(plan.folder).jobs()
    known = {job.array for job in jobs if job.released}
    names = [job_name(plan, kind) for kind in (*KINDS, REDUCE.kind)]
    leftovers = sorted(commands.own_jobs_named(names) - known, key=int)
    if leftovers:
        log.warning("cancelled %s: left by a submission that was killed", ", ".join(leftovers))
        commands.cancel(leftovers)


@contextmanager
def _one_at_a_time(root: Path) -> Iterator[None]:
    path = root / "sweeps" / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ends with the block, and with the process
        yield


@contextmanager
def _translated_errors() -> Iterator[None]:
    """What sbatch refuses is mostly a value of launcher.*: say which. Raises: ConfigError."""
    import submitit

    try:
        yield
    except submitit.core.utils.UncompletedJobError as error:
        raise ConfigError(refusal(str(error))) from error
