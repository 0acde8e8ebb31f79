"""What in a store is certainly of no use: what killed writers left, and stages that none needs."""

import time
import uuid
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass
from pathlib import Path

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.ownership import read_claim
from ptl_sweep.pipeline.upkeep.entries import (
    REMAINS,
    Entry,
    Sort,
    files_below,
    files_of,
    is_unfinished,
    read_entries,
)
from ptl_sweep.pipeline.upkeep.used_stages import UsedStages, parents_of
from ptl_sweep.store import Store, StoreError

MIN_AGE_S = 3600.0  # whoever has not touched a file for so long does not write it any more
UNUSED = "no sweep's plan needs it"


@dataclass(frozen=True, slots=True)
class Leftover:
    """A file or folder that may go."""

    path: Path
    sort: Sort
    key: str  # of the stage whose claim has to be held meanwhile; empty: of none
    reason: str
    size: int
    written: float = 0.0  # of a file: when, by the file system's clock

    @property
    def is_unused(self) -> bool:
        """Whether it is whole, and only without use."""
        return self.reason == UNUSED


def clock_of(folder: Path) -> float:
    """Ask the file system for its time, by a file that is made and removed. Raises: OSError.

    Ages of files on a server are compared with the server's clock: ours may be hours ahead.
    """
    probe = folder / f".probe.{uuid.uuid4().hex[:8]}"
    probe.touch()
    try:
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def find_leftovers(
    store: Store, *, now: float | None = None, used: UsedStages | None = None
) -> list[Leftover]:
    """List what may go; with `used`, stages and work folders that no plan needs as well.

    Stages come last, each before its parents, so that none ever lacks one. `now` is the time of
    the file system, by default that of this machine. Raises: OSError, ConfigError.
    """
    entries = read_entries(store)
    needed = None if used is None else used.needed()
    if needed is not None:
        _refuse_foreign_work(store, entries, needed)
    before = (time.time() if now is None else now) - MIN_AGE_S
    found = [item for entry in entries for item in _of_entry(store, entry, before, needed)]
    stages = [item for item in found if item.sort == Sort.STAGE]
    generations = _generations(store, (item.key for item in stages))
    stages.sort(key=lambda item: (-generations[item.key], item.key))
    return [item for item in found if item.sort != Sort.STAGE] + stages


def _refuse_foreign_work(store: Store, entries: Iterable[Entry], needed: Set[str]) -> None:
    """Refuse while a stage of an unknown plan is computed: what it rests on would look unused.

    Raises: ConfigError.
    """
    for entry in entries:
        if entry.sort == Sort.CLAIM and entry.key not in needed and store.is_running(entry.key):
            raise ConfigError(
                f"{entry.key} is being computed, but no plan.json below {store.root.parent} names "
                "it, so that nobody knows which stages are unused\n"
                "  fix: wait for its end, or bring back the folder of its sweep"
            )


def _of_entry(
    store: Store, entry: Entry, before: float, needed: Set[str] | None
) -> Iterator[Leftover]:
    """Yield the entry itself, or those of its files that were left unfinished."""
    if entry.sort in (Sort.STAGE, Sort.WORK_FOLDER):
        if store.is_running(entry.key):
            return
        reason = _reason(store, entry, needed)
        if reason:
            size = sum(file.size for file in files_below(entry.path))
            yield Leftover(entry.path, entry.sort, entry.key, reason, size)
        else:
            yield from _unfinished(store, entry, before)
    elif entry.sort == Sort.CLAIM:
        reason = _claim_reason(store, entry)
        if reason:
            yield Leftover(entry.path, entry.sort, entry.key, reason, _size(entry))
    elif entry.sort in REMAINS:
        written = max((file.written for file in files_of(entry)), default=0.0)
        if written < before or entry.sort == Sort.REMOVED:  # nobody reads or writes that any more
            yield Leftover(entry.path, entry.sort, "", f"{entry.sort} left behind", _size(entry))


def _size(entry: Entry) -> int:
    return sum(file.size for file in files_of(entry))


def _reason(store: Store, entry: Entry, needed: Set[str] | None) -> str:
    """Say why a whole folder may go; empty when it may not."""
    if entry.sort == Sort.WORK_FOLDER and store.is_published(entry.key):
        return "its stage is published"
    return UNUSED if needed is not None and entry.key not in needed else ""


def _claim_reason(store: Store, entry: Entry) -> str:
    claim = read_claim(entry.path)
    if claim is None:
        return ""
    if claim.is_dead:
        return "its owner is dead"
    silent = claim.is_doubtful and store.is_published(entry.key)
    return "its stage is published, and nobody touches it" if silent else ""


def _unfinished(store: Store, entry: Entry, before: float) -> Iterator[Leftover]:
    """Yield old temporary files; in a published stage those that it does not name."""
    named: Set[str] = set()
    if entry.sort == Sort.STAGE:
        try:
            named = set(store.meta(entry.key).get("sha256", ()))
        except StoreError:  # what was published is not known
            return
    for file in files_below(entry.path):
        if not is_unfinished(file.path) or file.written >= before:
            continue
        if file.path.relative_to(entry.path).as_posix() not in named:
            reason = f"{Sort.TEMPORARY} left behind"
            yield Leftover(file.path, Sort.TEMPORARY, entry.key, reason, file.size, file.written)


def _generations(store: Store, keys: Iterable[str]) -> dict[str, int]:
    """How many stages lie between each stage and the first that it rests on."""
    found: dict[str, int] = {}

    def generation(key: str) -> int:
        if key not in found:
            found[key] = 0  # ends a circle, which only a forged meta.json can have
            found[key] = 1 + max(map(generation, parents_of(store, key)), default=0)
        return found[key]

    return {key: generation(key) for key in keys}
