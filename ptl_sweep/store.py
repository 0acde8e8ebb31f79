"""Content-addressed store of stages: claim, work folder, atomic publish, record of a failure.

A stage is written in ``<key>.wip/`` and appears under ``<key>/`` by one rename, so a reader sees a
whole stage or none. ``<key>.claim`` keeps two workers off one stage; a dead worker's claim is
taken over.
"""

import errno
import hashlib
import json
import logging
import os
import socket
import time
import traceback
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptl_sweep.meta import META, read_meta, sealed
from ptl_sweep.ownership import owned, read_claim

log = logging.getLogger(__name__)

FAILED = "FAILED.json"
HISTORY = "history.jsonl"
TEMPORARY = ".tmp"  # suffix of a file that is being written


class StoreError(RuntimeError):
    """The store on disk does not hold what a stage needs; the message says how to fix it."""


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no white space: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def stage_key(
    kind: str, label: str, *, version: int, spec: Mapping[str, Any], parents: Sequence[str]
) -> str:
    """``<kind>-<label>-<12 hex>``; the digits are those of everything but the label."""
    content = {"kind": kind, "version": version, "spec": spec, "parents": sorted(parents)}
    digest = hashlib.sha256(canonical_json(content).encode()).hexdigest()[:12]
    return f"{kind}-{label}-{digest}"


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by `data` so that a reader, or a crash, sees the old or the new file."""
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say where
        raise
    finally:
        temporary.unlink(missing_ok=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, or what led to it, is a full disk or an exhausted quota."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if "No space left on device" in str(link):  # of libraries that write by themselves
            return True
        link = link.__cause__ or link.__context__
    return False


def sha256_of(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush_folder(folder: Path) -> None:
    """Have every file below a folder on the disk. Raises: OSError."""
    for path in folder.rglob("*"):
        if path.is_file():
            _fsync(path)
    _fsync(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Store:
    """The folder ``outputs/store``."""

    root: Path

    def path(self, key: str) -> Path:
        """Folder of a published stage."""
        return self.root / key

    def work_folder(self, key: str) -> Path:
        """Folder in which a stage is being computed; it survives a killed worker."""
        return self.root / f"{key}.wip"

    def claim_path(self, key: str) -> Path:
        """File that says who computes the stage."""
        return self.root / f"{key}.claim"

    def is_published(self, key: str) -> bool:
        """Whether the whole stage is there."""
        return self.path(key).is_dir()

    def meta(self, key: str) -> dict[str, Any]:
        """meta.json of a published stage. Raises: StoreError when it is not what was published."""
        path = self.path(key) / META
        try:
            return read_meta(path)
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{path} cannot be read ({error}); move {self.path(key)} away and run again"
            ) from error

    def damage(self, key: str) -> str | None:
        """Say what is wrong with the meta.json of a published stage; None when nothing is."""
        try:
            self.meta(key)
        except StoreError as error:
            return str(error)
        return None

    def failure(self, key: str) -> dict[str, Any] | None:
        """FAILED.json of a stage whose last attempt raised, else None."""
        try:
            return dict(json.loads((self.work_folder(key) / FAILED).read_text()))
        except (OSError, ValueError):
            return None

    def has_artifact(self, key: str, name: str) -> bool:
        """Whether a published stage made this file, be it there or not. Raises: StoreError."""
        return name in self.meta(key)["sha256"]

    def artifact(self, key: str, name: str) -> Path:
        """Path of a published stage's file, after its checksum was compared.

        Raises: StoreError for a stage that is not published or a file that changed since.
        """
        if not self.is_published(key):
            raise StoreError(f"{key} is not in {self.root}; run the sweep again to compute it")
        path = self.path(key) / name
        expected = self.meta(key)["sha256"].get(name)
        if expected is None or not path.is_file() or sha256_of(path) != expected:
            raise StoreError(
                f"{path} is not the file that was published (checksum differs); "
                f"move {self.path(key)} away and run again"
            )
        return path

    @contextmanager
    def claim(self, key: str) -> Iterator[Path]:
        """Own a stage while the block runs; yields its work folder.

        Raises: StageClaimedError when a live worker owns it.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        with owned(self.claim_path(key)):
            folder = self.work_folder(key)
            folder.mkdir(exist_ok=True)
            for left in [folder / FAILED, *folder.rglob(f"*{TEMPORARY}")]:
                left.unlink(missing_ok=True)
            yield folder

    def publish(self, key: str, meta: Mapping[str, Any]) -> Path:
        """Make the claimed work folder the published stage, in one rename.

        Raises: OSError when the disk refuses; the work folder then stays as it is.
        """
        folder = self.work_folder(key)
        files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != META)
        sums = {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}
        content = sealed({**meta, "sha256": sums})
        write_atomically(folder / META, json.dumps(content, indent=1, sort_keys=True).encode())
        return self.adopt(key, folder)

    def adopt(self, key: str, folder: Path) -> Path:
        """Make a folder with a whole stage, meta.json included, the published one, in one rename.

        The caller holds the stage's claim. Raises: as `publish`.
        """
        flush_folder(folder)
        folder.rename(self.path(key))
        _fsync(self.root)
        return self.path(key)

    def record_failure(self, key: str, error: BaseException, *, log_path: Path | None) -> None:
        """Leave FAILED.json in the work folder; the checkpoint beside it is kept."""
        record = {
            "what": self.describe(error),
            "where": _last_own_frame(error),
            "traceback": "".join(traceback.format_exception(error)),
            "log": str(log_path) if log_path else None,
            "host": socket.gethostname(),
            "time": time.time(),
        }
        try:
            self.work_folder(key).mkdir(parents=True, exist_ok=True)
            write_atomically(self.work_folder(key) / FAILED, json.dumps(record, indent=1).encode())
        except OSError as full:
            log.error("cannot write %s for %s: %s", FAILED, key, full)  # noqa: TRY400

    def describe(self, error: BaseException) -> str:
        """Type and message of a failure; what to do when the disk is full."""
        what = f"{type(error).__name__}: {error}"
        if not is_disk_full(error):
            return what
        return (
            f"no space left on device in {self.root}: free some and run the same command again; "
            f"what is published and the last checkpoint are kept ({what})"
        )

    def is_running(self, key: str) -> bool:
        """Whether a live worker owns the stage."""
        claim = read_claim(self.claim_path(key))
        return claim is not None and not claim.is_stale

    def progress(self, key: str) -> dict[str, Any]:
        """The last row of the history of a stage that is being computed; empty before the first."""
        try:
            with (self.work_folder(key) / HISTORY).open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
                lines = file.read().splitlines()
            return dict(json.loads(lines[-1])) if lines else {}
        except (OSError, ValueError):
            return {}


def _last_own_frame(error: BaseException) -> str:
    """File and line of this package where the error came from."""
    package = str(Path(__file__).resolve().parent)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(package)] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "unknown"
