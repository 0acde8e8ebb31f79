"""A sweep's jobs as their scheduler sees them, in words that no scheduler owns.

A launcher fills a `QueueSnapshot`; `status` and the reducer read it and ask no scheduler.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class QueuedJob(ABC):
    """A job that a scheduler still has: pending, running or completing."""

    id: str
    state: str  # the scheduler's word
    reason: str  # why it pends, the scheduler's word
    node: str
    elapsed: str  # [days-]hours:minutes:seconds
    left: str  # to its time limit
    start: str  # expected, or N/A

    @property
    @abstractmethod
    def is_pending(self) -> bool:
        """Whether it has not begun, or was put back into the queue."""

    @property
    @abstractmethod
    def waits_for_jobs(self) -> bool:
        """Whether it pends until other jobs have ended."""

    @property
    @abstractmethod
    def advice(self) -> str | None:
        """What a user must do before it can start; None for a job that only waits its turn."""

    @property
    def is_stuck(self) -> bool:
        """Whether it cannot start without user action."""
        return self.advice is not None


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that its scheduler no longer has and whose stage is not published."""

    id: str
    cause: str | None = None  # the scheduler's word; None: not known
    raise_keys: str | None = None  # launcher keys of which it had too little, e.g. `mem_gb`
    last_words: str = ""  # of its log at the scheduler: mostly what kept our code from starting

    def __str__(self) -> str:
        """`job 12_3 ended without a result (OUT_OF_MEMORY); its log ends with: ...`."""
        said = f"; its log ends with: {self.last_words}" if self.last_words else ""
        cause = self.cause or "no accounting says why"
        return f"job {self.id} ended without a result ({cause}){said}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSnapshot:
    """One look at a scheduler."""

    scheduler: str = ""  # SLURM
    queued: dict[str, QueuedJob] = field(default_factory=dict)  # unpublished stage -> its job
    ended: dict[str, EndedJob] = field(default_factory=dict)  # unpublished stage -> its last job
    own: list[QueuedJob] = field(default_factory=list)  # every job of this sweep in the queue
    reducer: QueuedJob | None = None
    error: str | None = None  # why the scheduler could not be asked

    @property
    def stuck_jobs(self) -> list[QueuedJob]:
        """Jobs of this sweep that cannot start without user action."""
        return [job for job in self.own if job.is_stuck]

    @property
    def can_progress(self) -> bool:
        """Whether time alone still changes something: a job runs, or waits for its turn."""
        waiting = [job for job in self.own if job.is_pending and job.waits_for_jobs]
        return len(self.own) > len(waiting) + len(self.stuck_jobs) or any(
            job not in self.own and not job.is_stuck for job in self.queued.values()
        )
