"""Who computes a stage right now: a claim file, its heartbeat, and when its owner is dead.

A claim is created whole or not at all, and touched every few seconds. It is taken over from an
owner that is dead for certain, or whose claim was silent for long *and* stays so while we watch:
clocks of two hosts may differ by hours, so an old or a future time alone proves nothing.
"""

import errno
import fcntl
import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

HEARTBEAT_S = 15.0  # a live worker touches its claim this often
STALE_AFTER_S = 120.0  # a claim untouched for so long may belong to a dead worker ...
WATCH_S = 45.0  # ... and does, when it misses three heartbeats before our eyes
WATCH_EVERY_S = 0.5
CLAIMS_LOCK = ".claims.lock"  # held while a claim that exists is taken away

# What file systems answer that have no such thing: Lustre without flock, NFS without lockd, FAT.
UNSUPPORTED = frozenset(
    {
        errno.ENOLCK,
        errno.ENOSYS,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.EPERM,
        errno.EINVAL,
        errno.EMLINK,
    }
)


_held: set[str] = set()  # tokens of this process; a claim of its own without one was left behind


class StageClaimedError(RuntimeError):
    """Another live worker computes this stage right now."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who computes a stage, and when it was last seen alive."""

    host: str
    pid: int
    token: str
    age_s: float  # by the clock of who asks; below 0 when the owner's clock is ahead
    touched_ns: int
    job: str | None = None  # of SLURM
    restart: int = 0  # how often SLURM had put that job back into its queue
    life: str | None = None  # of the process: host, boot, process namespace, start

    @property
    def is_dead(self) -> bool:
        """For certain: such a process lived here and is gone, or SLURM has started its job anew."""
        own = slurm_job()
        if self.job is not None and self.job == own["job"] and self.restart < own["restart"]:
            return True
        if self.life is None:  # of a version before
            return self.host == socket.gethostname() and not _is_alive(self.pid)
        if self.pid == os.getpid() and self.life == process_life():
            return self.token not in _held
        place, _, start = self.life.rpartition(" ")
        if place != process_place():
            return False  # its process number means nothing here
        return not _is_alive(self.pid) or _start_of(self.pid) != start

    @property
    def is_doubtful(self) -> bool:
        """Its time is so old, or so far ahead, that either owner or clocks are out of order."""
        return not -HEARTBEAT_S <= self.age_s <= STALE_AFTER_S

    @property
    def is_stale(self) -> bool:
        """Dead for certain, or silent for too long if clocks agree: good enough to show."""
        return self.is_dead or self.age_s > STALE_AFTER_S


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Hold the claim at `path` while the block runs. Raises: StageClaimedError, OSError."""
    token = take_claim(path)
    stop = threading.Event()
    heartbeat = threading.Thread(
        target=_beat, args=(path, token, stop), daemon=True, name=f"heartbeat {path.stem}"
    )
    heartbeat.start()
    try:
        yield
    finally:
        stop.set()
        heartbeat.join()
        _held.discard(token)  # first: where the removal fails, the claim counts as dead
        remove_claim(path, token)


def take_claim(path: Path) -> str:
    """Create the claim, or take over that of a dead owner; returns its token.

    Watches a doubtful claim for up to WATCH_S. Raises: StageClaimedError when it is live.
    """
    token = uuid.uuid4().hex
    content = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "token": token,
        "life": process_life(),
        **slurm_job(),
    }
    for _ in range(10):
        if _create(path, json.dumps(content)):
            _held.add(token)
            return token
        claim = read_claim(path)
        if claim is None:
            continue
        if not (claim.is_dead or (claim.is_doubtful and _stays_silent(path, claim))):
            raise StageClaimedError(
                f"{path.stem} is being computed by process {claim.pid} on {claim.host or '?'} "
                f"(seen {claim.age_s:.0f} s ago); wait for it, or end it and run again"
            )
        remove_claim(path, claim.token)
    raise StageClaimedError(f"{path} changes hands too fast; run again")


def read_claim(path: Path) -> Claim | None:
    """The claim on disk; None when there is none."""
    try:
        touched = path.stat().st_mtime_ns
        text = path.read_text(errors="replace")
    except FileNotFoundError:
        return None
    age = time.time() - touched / 1e9
    try:
        return Claim(age_s=age, touched_ns=touched, **json.loads(text))
    except (ValueError, TypeError):  # created, not yet written
        return Claim("", 0, "", age, touched)


def slurm_job() -> dict[str, Any]:
    """`job` and `restart` of the SLURM job that this process belongs to; job None outside one."""
    return {
        "job": os.environ.get("SLURM_JOB_ID"),
        "restart": int(os.environ.get("SLURM_RESTART_COUNT") or 0),
    }


@cache
def process_place() -> str | None:
    """Where a process number means one process: host, boot and namespace; None if not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (no path: pid:[4026531836])
    except OSError:  # no Linux
        return None
    return f"{socket.gethostname()} {boot} {namespace}"


def process_life() -> str | None:
    """Tell this process from every later one with its number; None if not known."""
    place, start = process_place(), _start_of(os.getpid())
    return f"{place} {start}" if place and start else None


def missing_abilities(folder: Path) -> list[str]:
    """Name what the file system of `folder` lacks of what claims use. Raises: OSError."""
    probe = folder / f".probe.{uuid.uuid4().hex[:8]}"
    probe.touch()
    twin = probe.with_name(f"{probe.name}.twin")  # of this process alone
    missing = []
    try:
        if not _linked(probe, twin):
            missing.append("hard links")
        with probe.open("a") as file:
            if not _locked(file.fileno()):
                missing.append("flock")
    finally:
        twin.unlink(missing_ok=True)
        probe.unlink(missing_ok=True)
    return missing


def _stays_silent(path: Path, claim: Claim) -> bool:
    """Whether nobody touches the claim for WATCH_S."""
    logger.info("%s was touched %.0f s ago; watching for a heartbeat", path.stem, claim.age_s)
    end = time.monotonic() + WATCH_S
    while time.monotonic() < end:
        time.sleep(WATCH_EVERY_S)
        now = read_claim(path)
        if now is None or (now.token, now.touched_ns) != (claim.token, claim.touched_ns):
            return now is None
    return True


def _create(path: Path, content: str) -> bool:
    """Write the claim under another name first, so that it is never seen half written."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        temporary.write_text(content)
        return _linked(temporary, path) or _created(path, content)
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)


def _linked(source: Path, target: Path) -> bool:
    """False where the file system has no hard links. Raises: FileExistsError, OSError."""
    try:
        target.hardlink_to(source)
    except OSError as error:
        if isinstance(error, FileExistsError) or error.errno not in UNSUPPORTED:
            raise
        return False
    return True


def _created(path: Path, content: str) -> bool:
    """Without hard links: exclusive as well, but for a moment it is seen empty."""
    with path.open("x") as file:
        file.write(content)
    return True


def _locked(descriptor: int) -> bool:
    """Wait for the lock; False where the file system has none. Raises: OSError."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # ends with the file, and with the process
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return False
    return True


def remove_claim(path: Path, token: str) -> None:
    """Remove this very claim; one that has become somebody else's meanwhile stays.

    Without flock two that take over one dead claim in the same microseconds can both own it: they
    compute the same numbers, and the second finds the stage published.
    """
    with (path.parent / CLAIMS_LOCK).open("a") as lock:
        _locked(lock.fileno())
        now = read_claim(path)
        if now is not None and now.token == token:
            path.unlink()


def _beat(path: Path, token: str, stop: threading.Event) -> None:
    while not stop.wait(HEARTBEAT_S):
        with suppress(OSError):  # a server that does not answer once must not end the heartbeat
            claim = read_claim(path)
            if claim is not None and claim.token == token:
                os.utime(path)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_of(pid: int) -> str | None:
    """When a process began, in ticks since boot (field 22 of /proc/PID/stat); None if not known."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
