"""A plan's stages as SLURM sees them: whose job is queued, runs, or ended without a result."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ptl_sweep.sweep import cluster
from ptl_sweep.sweep.cluster import QueuedJob, SlurmError
from ptl_sweep.sweep.job_book import REDUCE, Job, JobBook, all_books
from ptl_sweep.sweep.planner import Plan


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that SLURM no longer has and whose stage is not published."""

    id: str
    state: str | None  # of sacct: OUT_OF_MEMORY, TIMEOUT, CANCELLED by 1000, ...; None: not known

    def __str__(self) -> str:
        """`SLURM job 12_3 ended without a result (OUT_OF_MEMORY)`."""
        state = self.state or "no accounting says why"
        return f"SLURM job {self.id} ended without a result ({state})"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """One look at SLURM."""

    queued: dict[str, QueuedJob] = field(default_factory=dict)  # unpublished stage -> its job
    ended: dict[str, EndedJob] = field(default_factory=dict)  # unpublished stage -> its last job
    own: list[QueuedJob] = field(default_factory=list)  # every job of this sweep in the queue
    reducer: QueuedJob | None = None
    error: str | None = None  # why SLURM could not be asked

    @property
    def never(self) -> list[QueuedJob]:
        """Jobs of this sweep that need somebody's help before they can start."""
        return [job for job in self.own if job.can_never_start or job.is_held]

    @property
    def may_go_on(self) -> bool:
        """Whether time alone still changes something: a job runs, or waits for its turn."""
        waiting = [job for job in self.own if job.is_pending and job.reason == "Dependency"]
        return len(self.own) > len(waiting) + len(self.never) or any(
            job not in self.own and not (job.can_never_start or job.is_held)
            for job in self.queued.values()
        )


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


def view_jobs(plan: Plan, *, with_accounting: bool = True) -> JobView | None:
    """Ask SLURM, in one call, about every job of the plan; None when none was ever submitted.

    `with_accounting` asks sacct, too, how jobs ended that left no result.
    """
    jobs = relevant_jobs(plan)
    if not jobs:
        return None
    own = own_ids(plan)
    try:
        queue = cluster.read_queue(job.id for job in jobs)
    except SlurmError as error:
        return JobView(error=str(error))
    unpublished = {key for key in plan.stages if not plan.store.is_published(key)}
    last = {key: job for job in jobs for key in job.stages if key in unpublished}
    alive = {key: queue[job.id] for key, job in last.items() if job.id in queue}
    gone = {key: job for key, job in last.items() if key not in alive and not job.cancelled}
    reducers = [job.id for job in jobs if job.kind == REDUCE.kind and job.id in own & queue.keys()]
    return JobView(
        queued=alive,
        ended=_ended(gone, with_accounting=with_accounting),
        own=[job for id_, job in queue.items() if id_ in own],
        reducer=queue[reducers[-1]] if reducers else None,
    )


def _ended(gone: Mapping[str, Job], *, with_accounting: bool) -> dict[str, EndedJob]:
    ids = [job.id for job in gone.values()]
    states = cluster.read_accounting(ids) if with_accounting else {}
    return {key: EndedJob(job.id, states.get(job.id)) for key, job in gone.items()}
