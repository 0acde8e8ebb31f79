"""Commands in a child that may be killed, calls that fail, damaged files, and a tally of them."""

import builtins
import csv
import errno
import io
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Self

import pytest

from ptl_sweep.__main__ import main
from ptl_sweep.store import Store

ERRNOS = [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ESTALE]
CALLS = ("replace", "rename", "link", "unlink", "mkdir", "fsync", "utime")
MAX_CALLS = 2000
KEY = ("dataset", "real_count", "synthetic", "target", "seed")  # of a row of results.csv


@dataclass
class Tally:
    """One row of the table that `make faults` ends with."""

    fault: str
    tries: int = 0
    lost: list[str] = field(default_factory=list)  # what went wrong, in words
    notes: dict[str, int] = field(default_factory=dict)  # for example kills by kind of stage

    def note(self, word: str) -> None:
        """Count something."""
        self.notes[word] = self.notes.get(word, 0) + 1


def start_child(arguments: list[str], log: Path) -> ForkServerProcess:
    """The command line in a process that is forked from one that has imported all and run nothing.

    Not from this process: thread pools of polars and torch do not survive a fork.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["helpers.fault_trials", "torch"])
    child = context.Process(target=_become, args=(arguments, log))
    child.start()
    return child


def in_child(
    arguments: list[str],
    log: Path,
    kill_after: float | None = None,
    moment: Callable[[], bool] = lambda: True,
) -> int | None:
    """The exit code of the command line, or None when it was killed first.

    That is `kill_after` seconds after `moment` has come.
    """
    child = start_child(arguments, log)
    while child.is_alive() and not moment():
        time.sleep(0.01)
    child.join(kill_after)
    is_killed = child.is_alive()
    if is_killed:
        child.kill()
        child.join()
    code = child.exitcode
    child.close()
    return None if is_killed else code


def _become(arguments: list[str], log: Path) -> None:
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os._exit(main(arguments))


class FailingCall:
    """A context in which the `number`-th call (from 0) that touches `root` or below fails."""

    def __init__(self, number: int, code: int, root: Path) -> None:
        self.what = ""  # name of the call and of its file, once it has failed
        self._left = number
        self._code = code
        self._root = str(root)
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Self:
        """From now on calls are counted."""
        for name in CALLS:
            self._patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
        opened = self._wrapped("open", io.open)
        self._patch.setattr(io, "open", opened)
        self._patch.setattr(builtins, "open", opened)
        return self

    def __exit__(self, *_: object) -> None:
        """From now on nothing fails any more."""
        self._patch.undo()

    def _wrapped(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(target: Any, *arguments: Any, **options: Any) -> Any:
            self._count(name, target)
            return real(target, *arguments, **options)

        return call

    def _count(self, name: str, target: object) -> None:
        if isinstance(target, int):
            with suppress(OSError):
                target = Path(f"/proc/self/fd/{target}").readlink()
        if not str(target).startswith(self._root):
            return
        if self._left == 0:
            self.what = f"{name} {Path(str(target)).name}"
        self._left -= 1
        if self._left == -1:
            raise OSError(self._code, os.strerror(self._code), str(target))


def failing_calls(tally: Tally, root: Path, codes: Sequence[int] = ERRNOS) -> Iterator[FailingCall]:
    """For each error every call, one after the other, until there is none left to fail."""
    for code in codes:
        for number in range(MAX_CALLS):
            failing = FailingCall(number, code, root)
            yield failing
            if not failing.what:
                break
            tally.tries += 1
            tally.note(failing.what.split()[0])
        else:
            raise AssertionError(f"more than {MAX_CALLS} calls below {root}")


def damages(content: bytes) -> dict[str, bytes | None]:
    """Five ways in which a file is damaged; None: it is gone."""
    middle = len(content) // 2
    flipped = bytearray(content or b"\x00")
    flipped[middle if content else 0] ^= 1
    return {
        "gone": None,
        "empty": b"",
        "torn": content[:middle],
        "one bit": bytes(flipped),
        "zeros": bytes(len(content)),
    }


def unexplained(expected: bytes, found: bytes) -> list[str]:
    """Rows of two results.csv that differ without a reason in the second one."""
    before, after = (
        {
            tuple(row[name] for name in KEY): row
            for row in csv.DictReader(io.StringIO(text.decode()))
        }
        for text in (expected, found)
    )
    return [
        str(key) for key, row in before.items() if after[key] != row and not after[key]["reason"]
    ]


def broken_stages(store: Store) -> list[str]:
    """Published stages of which a file is not what its meta.json says."""
    broken = []
    for folder in store.root.iterdir():
        if folder.is_dir() and "." not in folder.name:
            try:
                for name in store.meta(folder.name)["sha256"]:
                    store.artifact(folder.name, name)
            except Exception as error:
                broken.append(f"{folder.name}: {error}")
    return broken
