"""Whether published stages are what was published: every file against its checksum."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from ptl_sweep.meta import META, parse_meta
from ptl_sweep.pipeline.upkeep.entries import files_below, is_unfinished, read_entries
from ptl_sweep.pipeline.upkeep.used_stages import parents_of
from ptl_sweep.store import Store, sha256_of

NUM_THREADS = min(8, os.cpu_count() or 1)  # hashing is done outside of Python's lock
BATCH = 4 * NUM_THREADS  # stages at once, so that a large store is not queued as a whole
Progress = Callable[[int, int], None]  # stages that were read, of how many


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a stage that is not as it was published."""

    key: str
    path: str
    problem: str
    fix: str
    is_damage: bool = True  # a file too many costs no number


@dataclass(slots=True)
class Verification:
    """What was read, and what was found."""

    stages: int = 0
    files: int = 0
    size: int = 0  # bytes that were compared
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_damaged(self) -> bool:
        """Whether something that a sweep may need is wrong or missing."""
        return any(finding.is_damage for finding in self.findings)

    def add(self, other: "Verification") -> None:
        """Take in what was found elsewhere."""
        self.stages += other.stages
        self.files += other.files
        self.size += other.size
        self.findings += other.findings


def verify_store(
    store: Store, *, only: Collection[str] | None = None, progress: Progress = lambda *_: None
) -> Verification:
    """Read every published stage, or those of `only`, in a few threads. Raises: OSError."""
    there = [e.key for e in read_entries(store) if e.key == e.path.name]  # links to stages, too
    keys = [key for key in there if store.is_published(key) and (only is None or key in only)]
    result = Verification()
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        for start in range(0, len(keys), BATCH):
            for found in threads.map(
                lambda key: verify_stage(store, key), keys[start : start + BATCH]
            ):
                result.add(found)
                progress(result.stages, len(keys))
    return result


def verify_stage(store: Store, key: str) -> Verification:
    """Compare the files of one published stage with its meta.json, and look for its parents."""
    result = verify_files(store, key)
    result.findings += _orphaned(store, key, parents_of(store, key))
    if not store.is_published(key):  # it was moved away while we read
        return Verification()
    return result


def verify_files(store: Store, key: str) -> Verification:
    """Compare the files of one published stage with its meta.json alone."""
    result = Verification(stages=1)
    try:
        sums = _sums_of(parse_meta(store.path(key) / META))
    except (OSError, ValueError) as error:
        problem = f"is not what was published: {getattr(error, 'strerror', None) or error}"
        result.findings = [_damage(store, key, META, problem)]
        return result
    for name, expected in sums.items():
        _compare(store, key, name, expected, result)
    result.findings += _unnamed(store, key, sums)
    return result


def _sums_of(meta: Mapping[str, Any]) -> dict[str, str]:
    """Checksums by name. Raises: ValueError for names that lie elsewhere, or no checksums."""
    sums = meta.get("sha256")
    if not isinstance(sums, dict):
        raise ValueError("it has no checksums")  # noqa: TRY004 of a file, not of an argument
    for name in sums:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\0" in name:
            raise ValueError(f"it names a file outside of its folder: {name!r}")
    return sums


def _compare(store: Store, key: str, name: str, expected: str, result: Verification) -> None:
    """Hash one file in small pieces, and note what is wrong with it."""
    path = store.path(key) / name
    try:
        size = path.stat().st_size
        problem = "" if path.is_file() else "is no file"
        if not problem and sha256_of(path) != expected:
            problem = "is not the file that was published: its checksum differs"
    except FileNotFoundError:
        size, problem = 0, "is gone"
    except OSError as error:
        size, problem = 0, f"cannot be read: {error.strerror}"
    result.files += 1
    result.size += size
    if problem:
        result.findings.append(_damage(store, key, name, problem))


def _unnamed(store: Store, key: str, sums: Mapping[str, str]) -> Iterator[Finding]:
    """Yield files that were not published; a link is one of them, wherever it leads."""
    folder = store.path(key)
    for file in files_below(folder):
        name = file.path.relative_to(folder).as_posix()
        if name in sums or name == META:
            continue
        problem = f"is not named in {META}: it was not published"
        fix = "delete it; no result was made from it"
        if is_unfinished(file.path):
            fix = "python -m ptl_sweep store clean removes it"
        yield Finding(key, str(file.path), problem, fix, is_damage=False)


def _orphaned(store: Store, key: str, parents: Iterable[str]) -> Iterator[Finding]:
    """Yield parents that are not published any more."""
    for parent in parents:
        if not store.is_published(parent):
            fix = "run again the sweep that needs it, which computes it anew with the same numbers"
            problem = f"is not published, but {key} was made from it"
            yield Finding(key, str(store.path(parent)), problem, fix)


def _damage(store: Store, key: str, name: str, problem: str) -> Finding:
    fix = f"move {store.path(key)} away and run again"
    return Finding(key, str(store.path(key) / name), problem, fix)
