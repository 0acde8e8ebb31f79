"""Messages from a stage to the process that mirrors it, in a file that both have open.

A pipe would block the stage while the mirror waits for a server; a file takes all that comes. It
has no name, so no other process can write to it: what is unpickled is the stage's own.
"""

import os
import pickle
import struct
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

OPEN, FINISH, CLOSE = "open", "finish", "close"  # a run, that run, and the process
LENGTH = struct.Struct("<Q")  # bytes of the pickle that follows


class Call(NamedTuple):
    """A method of the mirror, or OPEN or CLOSE, and what it is called with."""

    method: str
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = {}  # noqa: RUF012 - never changed


def append(spool: int, call: Call) -> None:
    """Write one message to the file descriptor `spool`. Raises: OSError, PicklingError."""
    content = pickle.dumps(call, protocol=pickle.HIGHEST_PROTOCOL)
    left = memoryview(LENGTH.pack(len(content)) + content)
    while left:
        left = left[os.write(spool, left) :]


def calls(spool: int, woken: threading.Event) -> Iterator[Call]:
    """Messages in their order, without end; waits for `woken` where there is no whole one."""
    position = 0
    while True:
        woken.clear()
        while (found := _read(spool, position)) is not None:
            call, position = found
            yield call
        woken.wait()


def _read(spool: int, position: int) -> tuple[Call, int] | None:
    """The message at this byte and the byte after it; None while it is not all there."""
    head = os.pread(spool, LENGTH.size, position)
    if len(head) < LENGTH.size:
        return None
    start, (size,) = position + LENGTH.size, LENGTH.unpack(head)
    if os.fstat(spool).st_size < start + size:
        return None
    content = bytearray()
    while len(content) < size:
        content += os.pread(spool, size - len(content), start + len(content))
    return pickle.loads(content), start + size
