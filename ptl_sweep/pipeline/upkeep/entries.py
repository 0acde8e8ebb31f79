"""What the names in a store mean, and the files below them; symbolic links are never followed."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ptl_sweep.ownership import CLAIMS_LOCK
from ptl_sweep.stages.base import KINDS
from ptl_sweep.store import TEMPORARY, Store

CHECKPOINT = ".pt"  # suffix of checkpoints; models are .safetensors
SET_ASIDE = ".damaged"  # as checkpoints.DAMAGED, whose module needs torch
UNFINISHED = (TEMPORARY, ".partial")  # of files and checkpoints that are being written
REMOVED = ".removed"  # suffix of a folder that was renamed in order to be removed
KEY = rf"(?P<key>(?:{'|'.join(KINDS)})-.+-[0-9a-f]{{12}})"


class Sort(StrEnum):
    """What something in the store is."""

    STAGE = "stage"
    WORK_FOLDER = "work folder"
    CLAIM = "claim"
    TWIN = "half-written claim"
    PROBE = "probe"  # of what the file system can do
    REMOVED = "half-removed folder"
    TEMPORARY = "temporary file"  # or folder
    OTHER = "other"


FOLDERS = {
    Sort.STAGE: KEY,
    Sort.WORK_FOLDER: rf"{KEY}\.wip",
    Sort.REMOVED: rf".+{REMOVED}",
    Sort.TEMPORARY: rf".+\{TEMPORARY}",  # of an archive that is being unpacked
}
FILES = {
    Sort.CLAIM: rf"{KEY}\.claim",
    Sort.TWIN: rf"{KEY}\.claim\.[0-9a-f]{{8}}",
    Sort.PROBE: r"\.probe\..+",
    Sort.TEMPORARY: rf".+\{TEMPORARY}",
}
REMAINS = (Sort.TWIN, Sort.PROBE, Sort.REMOVED, Sort.TEMPORARY)


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that lies in the store's folder itself."""

    path: Path
    sort: Sort
    key: str = ""  # of the stage that it belongs to


@dataclass(frozen=True, slots=True)
class File:
    """A file or a link below an entry, as it was when it was listed."""

    path: Path
    size: int
    written: float  # seconds since 1970, by the clock of the file system


def read_entries(store: Store) -> list[Entry]:
    """List the store by name; empty where there is none. Raises: OSError."""
    try:
        with os.scandir(store.root) as found:
            return sorted(
                (_entry(item) for item in found if item.name != CLAIMS_LOCK),
                key=lambda entry: entry.path,
            )
    except FileNotFoundError:
        return []


def _entry(item: os.DirEntry[str]) -> Entry:
    """Say what a name means; a link is OTHER, also one to a stage, whose key it then has."""
    patterns: dict[Sort, str] = {}
    if item.is_dir(follow_symlinks=False):
        patterns = FOLDERS
    elif item.is_file(follow_symlinks=False):
        patterns = FILES
    for sort, pattern in patterns.items():
        match = re.fullmatch(pattern, item.name)
        if match:
            return Entry(Path(item.path), sort, match.groupdict().get("key") or "")
    key = item.name if item.is_symlink() and re.fullmatch(KEY, item.name) else ""
    return Entry(Path(item.path), Sort.OTHER, key)


def files_of(entry: Entry) -> Iterator[File]:
    """Yield an entry that is a file, or every file below one that is a folder. Raises: OSError."""
    if entry.path.is_dir() and not entry.path.is_symlink():
        yield from files_below(entry.path)
        return
    try:
        stat = entry.path.lstat()
    except FileNotFoundError:
        return
    yield File(entry.path, stat.st_size, stat.st_mtime)


def files_below(folder: Path) -> Iterator[File]:
    """Yield every file below a folder by name; what vanishes meanwhile is left out.

    Raises: OSError.
    """
    try:
        with os.scandir(folder) as found:
            items = sorted(found, key=lambda item: item.name)
    except FileNotFoundError:
        return
    for item in items:
        if item.is_dir(follow_symlinks=False):
            yield from files_below(Path(item.path))
            continue
        try:
            stat = item.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield File(Path(item.path), stat.st_size, stat.st_mtime)


def is_unfinished(path: Path) -> bool:
    """Whether a file's name says that it is being written."""
    return path.name.endswith(UNFINISHED)
