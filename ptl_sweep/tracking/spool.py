"""What a stage tells its mirror, in a file: it takes all that comes, whatever W&B is doing.

A spool lies in `tracking/spool`, locked while its stage lives. Who finds one without a lock may
record it; what is unpickled there was written by a stage of the same user.
"""

import fcntl
import os
import pickle
import struct
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

OPEN, FINISH = "open", "finish"  # the first message and the last
CLOSE, WAKE = b".\n", b"\n"  # to who records: the end; a spool has grown
DONE, LOST = b"+", b"-"  # from who records: the run is written; W&B gave up
LENGTH = struct.Struct("<Q")  # bytes of the pickle that follows
SUFFIX = ".spool"
FAILED = ".failed"  # suffix of one that could not be recorded


class Call(NamedTuple):
    """A method of the mirror, or OPEN, and what it is called with."""

    method: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed


class Spool:
    """One stage's messages; made by `create` and `leftovers`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def create(cls, root: Path, run_id: str) -> Self:
        """A new one, in place of those that killed attempts at the run left. Raises: OSError."""
        folder = root.absolute() / "spool"
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"{run_id}.*{SUFFIX}"):
            if (old := cls._adopt(path)) is not None:
                old.delete()
        descriptor, name = tempfile.mkstemp(SUFFIX, f"{run_id}.", folder)
        _lock(descriptor)
        return cls(Path(name), descriptor)

    @classmethod
    def _adopt(cls, path: Path) -> Self | None:
        """The spool of a stage that has ended; None while it lives, or when another was faster."""
        try:
            descriptor = os.open(path, os.O_RDWR)
        except OSError:
            return None
        if _lock(descriptor) and path.exists():
            return cls(path, descriptor)
        os.close(descriptor)
        return None

    def append(self, call: Call) -> None:
        """Write one message. Raises: OSError, PicklingError."""
        content = pickle.dumps(call, protocol=pickle.HIGHEST_PROTOCOL)
        left = memoryview(LENGTH.pack(len(content)) + content)
        os.lseek(self._descriptor, 0, os.SEEK_END)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def seal(self) -> None:
        """End what a killed stage has left: cut a torn message, and say that the run failed."""
        position, last = 0, None
        while (found := read_call(self._descriptor, position)) is not None:
            last, position = found
        os.ftruncate(self._descriptor, position)
        if last is None or last.method != FINISH:
            self.append(Call(FINISH, options={"failed": True}))

    def delete(self) -> None:
        """Remove it: recorded, or of no more use."""
        self.path.unlink(missing_ok=True)
        self.close()

    def set_aside(self) -> None:
        """Keep it, but from being recorded again."""
        with suppress(OSError):
            self.path.rename(self.path.with_suffix(FAILED))
        self.close()

    def close(self) -> None:
        """Leave it to others."""
        os.close(self._descriptor)


def leftovers(root: Path) -> Iterator[Spool]:
    """Spools of stages that have ended, the oldest first."""
    paths = [(path.stat().st_mtime, path) for path in (root / "spool").glob(f"*{SUFFIX}")]
    for _, path in sorted(paths):
        if (spool := Spool._adopt(path.absolute())) is not None:  # noqa: SLF001
            yield spool


def calls(descriptor: int, woken: threading.Event) -> Iterator[Call]:
    """Messages in their order, without end; waits for `woken` where there is no whole one."""
    position = 0
    while True:
        woken.clear()
        while (found := read_call(descriptor, position)) is not None:
            call, position = found
            yield call
        woken.wait()


def read_call(descriptor: int, position: int) -> tuple[Call, int] | None:
    """The message at this byte and the byte after it; None while it is not all there."""
    head = os.pread(descriptor, LENGTH.size, position)
    if len(head) < LENGTH.size:
        return None
    start, (size,) = position + LENGTH.size, LENGTH.unpack(head)
    if os.fstat(descriptor).st_size < start + size:
        return None
    content = bytearray()
    while len(content) < size:
        content += os.pread(descriptor, size - len(content), start + len(content))
    return pickle.loads(content), start + size


def _lock(descriptor: int) -> bool:
    """Whether nobody else has it; a file system without locks counts as free."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
