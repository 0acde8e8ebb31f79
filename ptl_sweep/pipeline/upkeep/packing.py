"""A sweep as one tar archive for another machine: the folder of its plan, its finished stages.

Members are `sweep/...`, `store/<key>/...`, a stage after those that it was made from, and last
`pack.json`, which says what there must be: an archive without it was cut off.
"""

import hashlib
import io
import json
import os
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.meta import META, parents_in
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.upkeep.entries import files_below, is_unfinished
from ptl_sweep.store import TEMPORARY, Store, StoreError

FORMAT = "ptl_sweep.pack/1"
CONTENTS = "pack.json"
SWEEP, STORE = "sweep", "store"  # folders of the archive
# Of a sweep's folder, what is about one cluster: its jobs, their code, and pickles.
NOT_PACKED = ("jobs.jsonl", "code", "logs/slurm")
Progress = Callable[[int, int], None]  # stages that are done, of how many


@dataclass(slots=True, kw_only=True)
class Packed:
    """What an archive holds."""

    sweep: str
    files: dict[str, str] = field(default_factory=dict)  # of the sweep's folder -> SHA-256
    stages: list[str] = field(default_factory=list)  # each after its parents
    num_missing: int = 0  # stages of the plan that are not finished
    num_files: int = 0
    size: int = 0  # bytes of the archive


def pack_sweep(plan: Plan, path: Path, progress: Progress = lambda *_: None) -> Packed:
    """Write the archive, whole or not at all; each file of a stage is compared with its checksum.

    Raises: ConfigError for a place that will not do, StoreError for damage, OSError.
    """
    _refuse_place(plan, path)
    stages = _finished(plan)
    packed = Packed(sweep=plan.name, num_missing=sum(key not in stages for key in plan.stages))
    with _new_file(path) as file, tarfile.open(fileobj=file, mode="w") as archive:
        for name in _files_of_sweep(plan.folder):
            content = (plan.folder / name).read_bytes()  # at once: a report may replace it
            packed.files[name] = hashlib.sha256(content).hexdigest()
            _add(archive, packed, f"{SWEEP}/{name}", io.BytesIO(content))
        for key in stages:
            _add_stage(archive, packed, plan.store, key)
            packed.stages.append(key)
            progress(len(packed.stages), len(stages))
        content = json.dumps(
            {
                "format": FORMAT,
                "sweep": packed.sweep,
                "files": packed.files,
                "stages": packed.stages,
            }
        ).encode()
        _add(archive, packed, CONTENTS, io.BytesIO(content))
    packed.size = path.stat().st_size
    return packed


def _refuse_place(plan: Plan, path: Path) -> None:
    """Refuse a file that is there, and one that would be packed itself. Raises: ConfigError."""
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} is there already; name another file, or move that one away")
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent} is no folder; make it, or name another place")
    for folder in (plan.store.root, plan.folder):
        if path.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(f"{path} lies in {folder}; name a place outside of it")


def _finished(plan: Plan) -> list[str]:
    """Published stages of the plan and what they were made from, parents first.

    Raises: StoreError.
    """
    found: dict[str, None] = {}

    def add(key: str) -> None:
        for parent in parents_in(plan.store.meta(key)):
            if parent not in found and not plan.store.is_published(parent):
                raise StoreError(
                    f"{plan.store.path(parent)} is gone, and {key} was made from it; run the "
                    "sweep's command again, which computes it anew, and then pack"
                )
            if parent not in found:
                add(parent)
        found[key] = None

    for key in plan.stages:
        if plan.store.is_published(key) and key not in found:
            add(key)
    return list(found)


def _files_of_sweep(folder: Path) -> Iterator[str]:
    """Yield names of the files of a sweep's folder; links are left out."""
    for file in files_below(folder):
        name = file.path.relative_to(folder).as_posix()
        kept = not any(name == other or name.startswith(f"{other}/") for other in NOT_PACKED)
        if kept and not file.path.is_symlink() and not is_unfinished(file.path):
            yield name


def _add_stage(archive: tarfile.TarFile, packed: Packed, store: Store, key: str) -> None:
    """Add what was published and nothing else. Raises: StoreError for a file that changed."""
    for name in [META, *store.meta(key)["sha256"]]:
        path = store.path(key) / META if name == META else store.artifact(key, name)
        with path.open("rb") as file:
            _add(archive, packed, f"{STORE}/{key}/{name}", file)


def _add(archive: tarfile.TarFile, packed: Packed, name: str, file: IO[bytes]) -> None:
    """Add a member that says nothing of user, machine or time."""
    member = tarfile.TarInfo(name)
    member.size = file.seek(0, os.SEEK_END)
    file.seek(0)
    archive.addfile(member, file)
    packed.num_files += 1


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears at `path`, flushed, when the block ends well. Raises: OSError."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a full disk does not say where
        raise
    finally:
        temporary.unlink(missing_ok=True)
