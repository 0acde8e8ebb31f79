"""What SLURM says: its queue, its accounting, its limits. Advice; the truth is in the store.

Every question is one call of a SLURM command for all jobs. A cluster without accounting answers
nothing about jobs that have ended.
"""

import logging
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from ptl_sweep.pipeline.queue import QueuedJob

log = logging.getLogger(__name__)

TIMEOUT_S = 30.0  # a controller that answers later than this counts as down
DEFAULT_MAX_ARRAY_SIZE = 1001  # SLURM's own default
QUEUE_FORMAT = "%i|%T|%r|%N|%M|%L|%S"
NEVER = re.compile(  # pending reasons that time alone does not fix (squeue(1), job reason codes)
    r"PartitionConfig|PartitionNodeLimit|PartitionTimeLimit|PartitionInactive|BadConstraints|"
    r"DependencyNeverSatisfied|InvalidAccount|InvalidQOS|QOSNotAllowed|AccountNotAllowed|"
    r"JobHoldMaxRequeue|launch failed requeued held|"
    r"(Assoc|QOS)(Max|Grp)\w*(PerJob\w*|PerNode\w*|MinutesPerJob|WallDurationPerJobLimit)|"
    r"ReservationDeleted|FedJobLock"
)
# Said of jobs that fit no node now, after they were changed all the same (measured on 22.05).
HARMLESS = re.compile(r"Requested partition configuration not available now|: No error")


class SlurmError(RuntimeError):
    """A SLURM command is absent, refused, or did not answer."""


class SlurmJob(QueuedJob):
    """A job of squeue; reasons: Resources, Priority, Dependency, ..."""

    __slots__ = ()

    @property
    def is_pending(self) -> bool:
        """Whether it has not begun, or was put back into the queue."""
        return self.state == "PENDING"

    @property
    def waits_for_jobs(self) -> bool:
        """Whether it pends until other jobs have ended."""
        return self.reason == "Dependency"

    @property
    def can_never_start(self) -> bool:
        """Whether it must be submitted anew, with other resources or after a parent is fixed."""
        return self.is_pending and NEVER.search(self.reason) is not None

    @property
    def advice(self) -> str | None:
        """How to help a job that cannot start by itself."""
        if self.is_pending and self.reason in ("JobHeldUser", "JobHeldAdmin"):
            return f"scontrol release {self.id}"
        if not self.can_never_start:
            return None
        if self.reason == "DependencyNeverSatisfied":
            return "what it waits for failed: fix that stage, then rerun the command"
        return "give it launcher.* values that a node has, in the same command: it is queued anew"


def is_there() -> bool:
    """Whether jobs can be submitted from this machine."""
    return shutil.which("sbatch") is not None


def ask(*command: str, stdin: str | None = None) -> str:
    """Output of a SLURM command. Raises: SlurmError with what it said."""
    try:
        answer = subprocess.run(
            command,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise SlurmError(
            f"`{command[0]}` not found: SLURM is not installed on this machine; launcher=local "
            "runs everything here, and a login node of a cluster has SLURM"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise SlurmError(f"{command[0]} did not answer within {TIMEOUT_S:.0f} s") from error
    if answer.returncode != 0:
        said = (answer.stderr or answer.stdout).strip()
        raise SlurmError(f"{command[0]}: {said or f'exit code {answer.returncode}'}")
    return answer.stdout


def read_queue(jobs: Iterable[str]) -> dict[str, SlurmJob]:
    """Those of the jobs that SLURM still has, by id. Raises: SlurmError."""
    arrays = sorted({job.partition("_")[0] for job in jobs}, key=int)
    if not arrays:
        return {}
    try:
        lines = ask("squeue", "-h", "-r", "-j", ",".join(arrays), "-o", QUEUE_FORMAT).splitlines()
    except SlurmError as error:
        if "Invalid job id" in str(error):  # the answer when the only job asked for has ended
            return {}
        raise
    found = [SlurmJob(*line.split("|")) for line in lines]
    return {job.id: job for job in found}


def read_accounting(jobs: Iterable[str]) -> dict[str, str]:
    """State in which jobs ended, by id; empty where there is no accounting."""
    arrays = sorted({job.partition("_")[0] for job in jobs}, key=int)
    if not arrays or shutil.which("sacct") is None:
        return {}
    try:
        text = ask("sacct", "-n", "-P", "-X", "-j", ",".join(arrays), "-o", "JobID,State")
    except SlurmError as error:
        log.debug("no accounting: %s", error)
        return {}
    return dict(line.split("|")[:2] for line in text.splitlines())


def max_array_size() -> int:
    """Tasks that one array may have."""
    try:
        found = re.search(r"MaxArraySize\s*=\s*(\d+)", ask("scontrol", "show", "config"))
    except SlurmError:
        found = None
    return int(found.group(1)) if found else DEFAULT_MAX_ARRAY_SIZE


def sbatch_options() -> set[str]:
    """Long options of sbatch, without dashes, from its own help. Raises: SlurmError."""
    return set(re.findall(r"--([a-z][a-z0-9-]+)", ask("sbatch", "--help")))


def set_dependencies(dependencies: Iterable[tuple[str, str]]) -> None:
    """Say what jobs (`12_[0-3]`) wait for (`afterok:11_0`), in one call. Raises: SlurmError."""
    lines = [f"update jobid={jobs} dependency={wanted}\n" for jobs, wanted in dependencies]
    if lines:
        _change_jobs(stdin="".join(lines))


def release(jobs: Sequence[str]) -> None:
    """Let held jobs go. Raises: SlurmError."""
    _change_jobs("release", *jobs)


def _change_jobs(*words: str, stdin: str | None = None) -> None:
    try:
        ask("scontrol", *words, stdin=stdin)
    except SlurmError as error:
        serious = [line for line in str(error).splitlines() if not HARMLESS.search(line)]
        if serious:
            raise SlurmError("\n".join(serious)) from error
        log.warning("no node can run some of these jobs as they are asked for; see `status`")


def cancel(jobs: Sequence[str]) -> None:
    """End jobs; those that have ended are left alone. Raises: SlurmError."""
    if jobs:
        ask("scancel", "--quiet", *jobs)


def own_jobs_named(names: Iterable[str]) -> set[str]:
    """Ids of the user's jobs (arrays as one) of these names. Raises: SlurmError."""
    text = ask("squeue", "-h", "--me", "--name", ",".join(names), "-o", "%A|%F")
    return {line.split("|")[1] for line in text.splitlines()}
