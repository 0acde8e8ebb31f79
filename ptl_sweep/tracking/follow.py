"""The process that makes W&B runs equal to folders, so that no stage ever loads W&B.

`python -m ptl_sweep.tracking.follow` reads an order per line from standard input. The folder of a
live order is followed until the next line, or the end of the input. Standard output gets a line of
JSON for each order that is done: the run's id, and what went wrong or null.
"""

import contextlib
import fcntl
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TextIO

from ptl_sweep.tracking import unreachable
from ptl_sweep.tracking.order import Order
from ptl_sweep.tracking.wandb import StartError, bounded, project, setting

log = logging.getLogger(__name__)

POLL_S = 0.5  # a live folder is looked at this often; ours
ATTEMPTS = 2  # the second one finds what the first left, as after a SIGTERM to W&B's own service
UNREACHABLE = "the server did not answer a short while ago; it is asked again later"
# Meant for the stage, which decides what becomes of its run.
NOT_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class OrderReader(threading.Thread):
    """Reads the input at once, so that whoever writes it never waits."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._lines: SimpleQueue[str] = SimpleQueue()  # the last one, without "\n", is the end
        self._next: str | None = None

    def run(self) -> None:
        """Read until the end of the input, which also comes when the worker dies."""
        for line in self._stream:
            self._lines.put(line)
        self._lines.put("")

    def has_more(self, timeout: float | None = None) -> bool:
        """Wait for the next line, or the end of the input; whether it is there."""
        if self._next is None:
            with contextlib.suppress(Empty):
                self._next = self._lines.get(timeout=timeout)
        return self._next is not None

    def __iter__(self) -> Iterator[Order]:
        """Yield the orders; an empty line only ends the one before it."""
        while self.has_more() and self._next:
            line, self._next = self._next.strip(), None
            if line:
                yield Order.from_line(line)


def carry_out(order: Order, has_ended: Callable[[], bool]) -> str | None:
    """Project one folder as the only process that writes its run; say what went wrong, or None."""
    if order.mode == "online" and unreachable.is_known(order.root):
        return UNREACHABLE
    problem = None
    with _alone(order.root, order.run_id):
        for _ in range(ATTEMPTS):
            problem, may_help = _attempt(order, has_ended)
            if problem is None or not may_help:
                break
    if problem is not None:
        log.warning("W&B: %s: %s; `sync` brings it up later", order.run.name, problem)
    return problem


def _attempt(order: Order, has_ended: Callable[[], bool]) -> tuple[str | None, bool]:
    """Try once; say what went wrong, and whether another attempt may help."""
    try:
        project(order, has_ended)
    except StartError as error:
        is_dead = order.mode == "online" and error.seconds >= setting("init_timeout")
        if is_dead:  # a refusal comes sooner, and is asked for anew
            unreachable.remember(order.root, error)
        _end_service()
        return str(error), not is_dead
    except Exception as error:  # the process goes on with the next run, whatever W&B raises
        _end_service()
        return repr(error), not isinstance(error, ValueError)
    if order.mode == "online":
        unreachable.forget(order.root)
    return None, False


def _end_service() -> None:
    """End W&B's service, and this process with it when that takes longer than a run's end may."""
    import wandb

    with bounded(partial(os.killpg, 0, signal.SIGKILL)), contextlib.suppress(Exception):
        wandb.teardown()


@contextlib.contextmanager
def _alone(root: Path, run_id: str) -> Iterator[None]:
    """Wait for another process that writes this run: rows would arrive twice."""
    folder = root / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / run_id).open("a") as lock:
        with contextlib.suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> None:
    """Carry out the orders on standard input."""
    for number in NOT_OURS:
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(
        sys.stderr.fileno(), sys.stdout.fileno()
    )  # what W&B prints must not be read as an answer
    orders = OrderReader(sys.stdin)
    orders.start()
    for order in orders:
        has_ended = partial(orders.has_more, POLL_S) if order.is_live else lambda: True
        problem = carry_out(order, has_ended)
        with contextlib.suppress(OSError):  # the worker is gone; the next run may still come up
            answers.write(json.dumps({"run": order.run_id, "problem": problem}) + "\n")
            answers.flush()
    _end_service()  # waits until the files of offline runs are whole


if __name__ == "__main__":
    main()
