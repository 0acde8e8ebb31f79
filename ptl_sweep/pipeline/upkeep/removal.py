"""Removes what may go, beside running workers: under the stage's claim, and renamed first.

Conditions are looked at once more under the claim, since hours may lie between list and removal.
"""

import logging
import shutil
import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from ptl_sweep.ownership import StageClaimedError, owned, read_claim, remove_claim
from ptl_sweep.pipeline.upkeep.entries import REMOVED, Sort
from ptl_sweep.pipeline.upkeep.leftovers import Leftover
from ptl_sweep.pipeline.upkeep.used_stages import UsedStages
from ptl_sweep.store import Store

logger = logging.getLogger(__name__)

NUM_THREADS = 16  # that wait together: a silent claim is watched for most of a minute


def remove_leftovers(
    store: Store,
    leftovers: Sequence[Leftover],
    *,
    used: UsedStages | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[Leftover]:
    """Remove what still may go, stages last and in their order; returns what is gone.

    What a live worker owns, or a new plan needs, stays. Raises: OSError, ConfigError.
    """
    gone: list[Leftover] = []
    remove = partial(_remove_all, store, used)
    with ThreadPoolExecutor(NUM_THREADS) as threads:
        for removed in threads.map(remove, _by_claim(leftovers)):
            gone += removed
            progress(len(gone), len(leftovers))
    worker = _foreign_worker(store, leftovers, used)
    if worker:
        logger.warning("%s is computed, but no plan names it: stages were left as they are", worker)
        return gone
    for stage in (item for item in leftovers if item.sort == Sort.STAGE):
        gone += remove([stage])
        progress(len(gone), len(leftovers))
    return gone


def _remove_all(store: Store, used: UsedStages | None, items: Sequence[Leftover]) -> list[Leftover]:
    return [item for item in items if _remove(store, item, used)]


def _by_claim(leftovers: Sequence[Leftover]) -> list[list[Leftover]]:
    """Group all but stages by the claim that they need, which threads would take from each other.

    The claim itself comes first: who owns it to remove something else removes it as well.
    """
    groups: dict[str, list[Leftover]] = defaultdict(list)
    for item in sorted(leftovers, key=lambda item: item.sort != Sort.CLAIM):
        if item.sort != Sort.STAGE:
            groups[item.key or item.path.name].append(item)
    return list(groups.values())


def _foreign_worker(
    store: Store, leftovers: Sequence[Leftover], used: UsedStages | None
) -> str | None:
    """Find a stage that no plan needs and a worker does not let go; it may rest on others."""
    for item in leftovers:
        if item.sort == Sort.WORK_FOLDER and item.is_unused and used is not None:
            claimed = read_claim(store.claim_path(item.key)) is not None
            if claimed and item.key not in used.needed():
                return item.key
    return None


def _remove(store: Store, item: Leftover, used: UsedStages | None) -> bool:
    """Remove one thing, and say whether it was there and might go. Raises: OSError."""
    if item.sort == Sort.CLAIM:
        return _release(item.path)
    if not item.key:
        return _delete(item.path)
    try:
        with owned(store.claim_path(item.key)):
            if not _may_go(store, item, used):
                return False
            if item.sort == Sort.TEMPORARY:
                return _delete(item.path)
            aside = _set_aside(item.path)
    except StageClaimedError:
        return False
    return aside is not None and _delete(aside)


def _release(path: Path) -> bool:
    """Remove the claim of a dead owner, or one that stays silent while we watch."""
    claim = read_claim(path)
    if claim is None:
        return False
    if claim.is_dead:  # without taking it over, so that no worker finds it taken
        remove_claim(path, claim.token)
        return True
    try:
        with owned(path):
            return True
    except StageClaimedError:
        return False


def _may_go(store: Store, item: Leftover, used: UsedStages | None) -> bool:
    """Whether it is as it was when it was listed, and still of no use. Raises: ConfigError."""
    if item.is_unused:
        return used is not None and item.key not in used.needed()
    if item.sort == Sort.WORK_FOLDER:
        return store.is_published(item.key)
    try:
        return item.path.lstat().st_mtime == item.written
    except OSError:
        return False


def _set_aside(path: Path) -> Path | None:
    """Rename a folder, so that a reader sees all of it or nothing; None when it is gone."""
    aside = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{REMOVED}")
    try:
        return path.rename(aside)
    except FileNotFoundError:
        return None


def _delete(path: Path) -> bool:
    """Delete a file, or a folder without following links out of it. Raises: OSError."""
    if path.is_symlink() or not path.is_dir():
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        return True
    with suppress(FileNotFoundError):  # another `clean` is at it, and finishes it
        shutil.rmtree(path)
    return True
