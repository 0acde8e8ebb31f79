"""What a reader found, kept as one file until the files it read change.

`<index_root>/<reader>-<name>-<split>-<16 hex>.jsonl`; the hex covers

- the listing below the data set's root: relative path, size, mtime_ns and inode of every file,
  whatever its suffix, as a COCO file or a manifest may name any;
- every key of the config that decides the content, the split, and the root's own name;
- the sources of the readers. A version per reader could be forgotten, and stage keys would then be
  made of what an older reader found; after an edit everything is read anew, which takes seconds.

A file that changes while its size, mtime and inode stay is not noticed. An index that cannot be
used is named in a warning and the files are read anew. All or some indexes may be deleted at any
time; of those of one reader, name and split only the KEPT newest stay, and the log names what is
deleted. `contents.py` keeps the hashes of image files beside them.

Never indexed: image sets with pixels outside the root (VisDrone finds a split beside it too), and
files written less than SETTLED_NS before the listing, which may change within a tick of the clock.
"""

import hashlib
import json
import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, TypeVar

from ptl_sweep.config.schema import DatasetConfig, PoolConfig
from ptl_sweep.datasets.contents import SETTLED_NS
from ptl_sweep.datasets.index_file import NotIndexedError, Summary, decode, encode, peek
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.store import write_atomically

log = logging.getLogger(__name__)

Item = TypeVar("Item")

KEPT = 8  # indexes of one reader, name and split

# of a data set or pool: shown, or where it lies, or said otherwise (`split` by the caller)
NOT_CONTENT = {
    "name", "root", "index_root", "split", "validation_split", "licence", "citation",
}  # fmt: skip


class Listing(NamedTuple):
    """Every file and folder below a root."""

    lines: list[str]  # path, size, mtime_ns and inode of a file; path/ of a folder
    mtimes_ns: list[int]


class IndexPlace(NamedTuple):
    """Where the index of one image set is, and what it is an index of."""

    path: Path
    key: str  # the 16 hex digits
    root: Path  # of the data set
    listing: Listing
    time_ns: int  # before the listing


def read_indexed(
    config: DatasetConfig | PoolConfig, split: str, read: Callable[[], ImageSet]
) -> ImageSet:
    """Return what `read` returns, from the index where the files are those it was made of.

    Raises: whatever `read` raises; never for want of an index.
    """
    place = _place(config, split)
    if place is None:
        return read()
    found = _load(place, lambda: decode(place.path, place.root, place.key))
    if found is not None:
        return found
    image_set = read()
    _keep(image_set, place)
    return image_set


def look_up(config: DatasetConfig | PoolConfig, split: str) -> Summary | None:
    """Ask the index about an image set; None when it has to be read for that."""
    place = _place(config, split)
    return None if place is None else _load(place, lambda: peek(place.path, place.key))


def _keep(image_set: ImageSet, place: IndexPlace) -> None:
    """Write the index; a reason against it is said and no error."""
    try:
        _require_settled(place)
        data = encode(image_set, place.root, place.key)
        place.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(place.path, data)
        _delete_oldest(place)
    except OSError as error:
        log.warning(
            "%s: no index written to %s (%s); every command will read all files again: free some "
            "space, or set index_root to a folder that can be written to",
            *(image_set.name, place.path.parent, error.strerror or error),
        )
    except ValueError as error:
        log.info("%s, split %s: no index: %s", image_set.name, image_set.split, error)


def _place(config: DatasetConfig | PoolConfig, split: str) -> IndexPlace | None:
    """None when the config asks for no index, or there are no files to be listed."""
    if config.index_root is None or config.root is None:
        return None
    root = Path(config.root).expanduser().absolute()
    now = time.time_ns()
    try:
        listing = list_files(root)
    except OSError as error:
        log.info("%s: no index: %s", config.name, error)
        return None
    content = {key: value for key, value in asdict(config).items() if key not in NOT_CONTENT}
    decisive = json.dumps([SOURCES, content, split, root.name, listing.lines])
    key = hashlib.sha256(decisive.encode()).hexdigest()[:16]
    stem = re.sub(r"[^\w.-]", "_", f"{config.reader}-{config.name}-{split}", flags=re.ASCII)[:150]
    path = Path(config.index_root).expanduser() / f"{stem}-{key}.jsonl"
    return IndexPlace(path, key, root, listing, now)


def _sources() -> str:
    """Hex digest of the readers' code, and of what they are made of."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted([*folder.glob("*.py"), *folder.glob("readers/**/*.py")]):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


SOURCES = _sources()  # of the code that this process has loaded, not of an edit made later


def list_files(root: Path) -> Listing:
    """List everything below `root`, links followed, every folder once.

    Raises: OSError for a folder that cannot be listed.
    """
    listing = Listing([], [])
    seen: dict[tuple[int, int], str] = {}  # device and inode: links may lead in circles
    waiting = [("", str(root))]
    while waiting:
        prefix, folder = waiting.pop()
        status = os.stat(folder)  # noqa: PTH116 - paths as text: a Path each takes ten times longer
        first = seen.setdefault((status.st_dev, status.st_ino), prefix)
        if first != prefix:
            listing.lines.append(f"{prefix}\0{first}")
            continue
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.is_dir():
                    waiting.append((f"{prefix}{entry.name}/", entry.path))
                    listing.lines.append(f"{prefix}{entry.name}/")
                else:
                    _add_file(listing, prefix, entry)
    return listing


def _add_file(listing: Listing, prefix: str, entry: os.DirEntry[str]) -> None:
    try:
        status = entry.stat()
    except FileNotFoundError:  # a link to nowhere
        listing.lines.append(f"{prefix}{entry.name}\0nothing")
        return
    identity = f"{status.st_size}\0{status.st_mtime_ns}\0{status.st_ino}"
    listing.lines.append(f"{prefix}{entry.name}\0{identity}")
    listing.mtimes_ns.append(status.st_mtime_ns)


def _require_settled(place: IndexPlace) -> None:
    """Raise NotIndexedError when what was read may be something else than what was listed."""
    if any(abs(place.time_ns - mtime) < SETTLED_NS for mtime in place.listing.mtimes_ns):
        raise NotIndexedError("files were written a moment ago")
    if list_files(place.root) != place.listing:
        raise NotIndexedError("files changed while they were read")


def _delete_oldest(place: IndexPlace) -> None:
    """All but the KEPT newest indexes of this reader, name and split."""
    own = place.path.name.removesuffix(f"{place.key}.jsonl")
    pattern = re.compile(re.escape(own) + r"[0-9a-f]{16}\.jsonl")
    with os.scandir(place.path.parent) as entries:
        there = [
            (_mtime_ns(entry), entry.path) for entry in entries if pattern.fullmatch(entry.name)
        ]
    for _, path in sorted(there)[:-KEPT]:
        Path(path).unlink(missing_ok=True)
        log.warning("deleted the index %s: there are %d newer ones of that split", path, KEPT)


def _mtime_ns(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_mtime_ns
    except FileNotFoundError:  # another process has deleted it
        return 0


def _load(place: IndexPlace, read: Callable[[], Item]) -> Item | None:
    """None when there is no index, or none that can be used."""
    try:
        return read() if place.path.is_file() else None
    except Exception as error:  # a damaged file can raise anything
        log.warning(
            "index %s cannot be used, so the files are read anew (%s: %s)",
            *(place.path, type(error).__name__, error),
        )
        return None
