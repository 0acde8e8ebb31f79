"""A plan's stages as SLURM sees them: whose job is queued, runs, or ended without a result."""

from collections import deque
from collections.abc import Mapping

from ptl_sweep.launchers.slurm import commands
from ptl_sweep.launchers.slurm.commands import SlurmError
from ptl_sweep.launchers.slurm.journal import REDUCE, Job, JobBook, all_books, slurm_log
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.queue import EndedJob, QueuedJob, QueueSnapshot

NAME = "SLURM"
LONGEST = 200  # letters of a line of SLURM's log
RAISE_KEYS = {"OUT_OF_MEMORY": "mem_gb", "TIMEOUT": "time_min or signal_delay_s"}  # of sacct


def relevant_jobs(plan: Plan) -> list[Job]:
    """Released jobs of this sweep, and of others that publish what it lacks; own ones last."""
    needed = {key for key in plan.stages if not plan.store.is_published(key)}
    own = JobBook(plan.folder)
    others = [
        job
        for book in all_books(plan.root)
        if book.folder.resolve() != plan.folder.resolve()
        for job in book.jobs()
        if not needed.isdisjoint(job.stages)
    ]
    return [job for job in [*others, *own.jobs()] if job.released]


def own_ids(plan: Plan) -> set[str]:
    """Every job that was ever submitted for this sweep."""
    return {job.id for job in JobBook(plan.folder).jobs()}


def view_jobs(plan: Plan, *, with_accounting: bool = True) -> QueueSnapshot | None:
    """Ask SLURM, in one call, about every job of the plan; None when none was ever submitted.

    `with_accounting` asks sacct, too, how jobs ended that left no result.
    """
    jobs = relevant_jobs(plan)
    if not jobs:
        return None
    own = own_ids(plan)
    try:
        queue = commands.read_queue(job.id for job in jobs)
    except SlurmError as error:
        return QueueSnapshot(scheduler=NAME, error=str(error))
    unpublished = {key for key in plan.stages if not plan.store.is_published(key)}
    last = {
        key: job
        for job in jobs
        for key in job.stages
        if key in unpublished and not failed_beside_others(plan, key, job, queue.get(job.id))
    }
    alive: dict[str, QueuedJob] = {
        key: queue[job.id] for key, job in last.items() if job.id in queue
    }
    gone = {key: job for key, job in last.items() if key not in alive and not job.cancelled}
    reducers = [job.id for job in jobs if job.kind == REDUCE.kind and job.id in own & queue.keys()]
    return QueueSnapshot(
        scheduler=NAME,
        queued=alive,
        ended=_ended(plan, gone, with_accounting=with_accounting),
        own=[job for id_, job in queue.items() if id_ in own],
        reducer=queue[reducers[-1]] if reducers else None,
    )


def failed_beside_others(plan: Plan, key: str, job: Job, queued: QueuedJob | None) -> bool:
    """Whether a job goes on for its other tasks: this stage is not what it computes any more."""
    is_active = queued is not None and queued.state in ("RUNNING", "COMPLETING")
    return job.side_by_side > 1 and is_active and plan.store.failure(key) is not None


def _ended(plan: Plan, gone: Mapping[str, Job], *, with_accounting: bool) -> dict[str, EndedJob]:
    ids = [job.id for job in gone.values()]
    states = commands.read_accounting(ids) if with_accounting else {}
    return {
        key: _ended_job(job.id, states.get(job.id), _last_words(plan, job.id))
        for key, job in gone.items()
    }


def _ended_job(job: str, state: str | None, last_words: str) -> EndedJob:
    """`state` of sacct: OUT_OF_MEMORY, TIMEOUT, CANCELLED by 1000, ...; None: not known."""
    raised = [keys for cause, keys in RAISE_KEYS.items() if (state or "").startswith(cause)]
    return EndedJob(job, state, raised[0] if raised else None, last_words)


def _last_words(plan: Plan, job: str) -> str:
    """Read the last line of SLURM's own log of a job; empty where there is none."""
    try:
        with slurm_log(plan.folder, job).open(errors="replace") as file:
            lines = [line.strip() for line in deque(file, maxlen=20) if line.strip()]
    except OSError:
        return ""
    return lines[-1][:LONGEST] if lines else ""
