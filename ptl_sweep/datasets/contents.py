"""A hash of the bytes of image files, read once: what makes a fingerprint follow the pixels.

Hashes are kept in `<index_root>/contents-<16 hex of the folder>.json`, by path, with the size,
mtime_ns and inode that the file had; a file that has others is read again. The cache may be deleted
at any time. Without an `index_root` every process reads every file.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ptl_sweep.config.schema import DatasetConfig, PoolConfig
from ptl_sweep.datasets.validation import data_error
from ptl_sweep.store import write_atomically

log = logging.getLogger(__name__)

SETTLED_NS = 2 * 10**9  # the coarsest clock of a file system in use (FAT)
NUM_THREADS = 16  # a network disk answers late, not slowly
NUM_DIGEST_BYTES = 16
WORTH_A_WORD = 2**30  # bytes; reading them may take minutes, so the terminal says what goes on


class Identity(NamedTuple):
    """What changes when a file does; never the device, whose number a network disk may change."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "Identity":
        """Take it from a stat."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


class Content(NamedTuple):
    """A file as it was read."""

    identity: Identity
    digest: str  # 32 hex digits over all bytes


def hash_files(paths: Iterable[Path], config: DatasetConfig | PoolConfig) -> dict[Path, str]:
    """Hash each file of a data set, or look its hash up while the file is the same.

    Raises: DataError for a file that cannot be read.
    """
    wanted = list(dict.fromkeys(paths))
    cache = _Cache.of(config)
    now = {path: _identity(path) for path in wanted}
    unread = [path for path in wanted if cache.digest(path, now[path]) is None]
    if unread:
        _announce(config.name, [now[path].size for path in unread])
        started = time.time_ns()
        try:
            _read(unread, cache)
        finally:  # an interrupted reading goes on where it was
            cache.save(started)
    return {path: cache.contents[str(path)].digest for path in wanted}


def _identity(path: Path) -> Identity:
    try:
        return Identity.of(path.stat())
    except OSError as error:
        raise data_error(
            path, f"cannot be read: {error.strerror}", "check the path and its permissions"
        ) from error


def _announce(name: str, sizes: Sequence[int]) -> None:
    if sum(sizes) >= WORTH_A_WORD:
        log.warning(
            "%s: reading %d images for their checksums (%.1f GB); the next command need not",
            *(name, len(sizes), sum(sizes) / 1e9),
        )


def _read(paths: Sequence[Path], cache: "_Cache") -> None:
    """Hash files side by side. Raises: DataError."""
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        try:
            for path, content in zip(paths, pool.map(_hash, paths), strict=True):
                cache.contents[str(path)] = content
        except BaseException:  # Ctrl-C must not wait for thousands of files
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _hash(path: Path) -> Content:
    try:
        with path.open("rb", buffering=0) as file:
            identity = Identity.of(os.fstat(file.fileno()))  # before: a change while read is seen
            digest = hashlib.file_digest(
                file, lambda: hashlib.blake2b(digest_size=NUM_DIGEST_BYTES)
            )
    except OSError as error:
        raise data_error(
            path, f"cannot be read: {error.strerror}", "check its permissions"
        ) from error
    return Content(identity, digest.hexdigest())


@dataclass(slots=True)
class _Cache:
    """The hashes of the files below one folder."""

    path: Path | None  # None: nothing is kept
    contents: dict[str, Content] = field(default_factory=dict)  # by path of the file

    @classmethod
    def of(cls, config: DatasetConfig | PoolConfig) -> "_Cache":
        """Read what an earlier process has kept."""
        if config.index_root is None or config.root is None:
            return cls(None)
        folder = str(Path(config.root).expanduser().absolute())
        name = f"contents-{hashlib.sha256(folder.encode()).hexdigest()[:16]}.json"
        path = Path(config.index_root).expanduser() / name
        return cls(path, _load(path))

    def digest(self, path: Path, now: Identity) -> str | None:
        """Look up the hash of a file; None when it was another one, or is not known."""
        known = self.contents.get(str(path))
        return known.digest if known is not None and known.identity == now else None

    def save(self, started: int) -> None:
        """Keep the hashes, save those of files that could still change within a tick of the clock.

        `started`: when the reading began, ns since 1970.
        """
        if self.path is None:
            return
        settled = {
            name: content
            for name, content in self.contents.items()
            if abs(started - content.identity.mtime_ns) >= SETTLED_NS
        }
        kept = _load(self.path) | settled  # another process may have read other splits meanwhile
        text = json.dumps({name: [*one.identity, one.digest] for name, one in kept.items()})
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, f"{_checksum(text)}\n{text}".encode())
        except OSError as error:
            log.warning(
                "no checksums of images written to %s (%s); every command will read all images "
                "again: free some space, or set index_root to a folder that can be written to",
                *(self.path.parent, error.strerror or error),
            )


def _load(path: Path) -> dict[str, Content]:
    """What the cache holds; nothing when it is not there or damaged."""
    if not path.is_file():
        return {}
    try:
        return dict(_contents(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        log.warning("%s cannot be used, so images are read anew (%s)", path, error)
        return {}


def _contents(text: str) -> Iterator[tuple[str, Content]]:
    checksum, _, content = text.partition("\n")
    if checksum != _checksum(content):
        raise ValueError("it is not what was written there")
    for name, (*identity, digest) in json.loads(content).items():
        yield name, Content(Identity(*identity), digest)


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
