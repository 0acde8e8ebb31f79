"""The process that mirrors the stages of another one, which therefore never loads W&B.

`python -m ptl_sweep.tracking.recording LEVEL ...`: LEVEL is that of logging, and the rest the
arguments of the other process, which W&B shows. On standard input comes a line with the path of
each spool to record, an empty one when a spool has grown, and CLOSE; its end is the death of the
other process. On standard output goes a byte for each spool: DONE, or LOST where W&B gave up.
"""

import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from ptl_sweep.tracking.mirror import Mirror, end_service, kill_service
from ptl_sweep.tracking.spool import CLOSE, DONE, FINISH, LOST, OPEN, WAKE, Call, calls
from ptl_sweep.tracking.starting import open_mirror

# Meant for the stage, which decides what becomes of its run.
NOT_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def record(messages: Iterable[Call]) -> bool:
    """Do as told until FINISH; whether W&B took all of it. Nothing that it raises gets out."""
    mirror, is_on = Mirror(), False
    for call in messages:
        if call.method == OPEN:
            mirror = open_mirror(*call.arguments, **call.options)
            continue
        is_on = mirror.is_on
        getattr(mirror, call.method)(*call.arguments, **call.options)
        if call.method == FINISH:
            break
    return is_on


class Orders(threading.Thread):
    """Reads standard input; when the stage's process has died, this one dies as its W&B would."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(daemon=True)
        self.woken = threading.Event()
        self._stream = stream
        self._spools: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def run(self) -> None:
        """Until the end of the stream."""
        while line := self._stream.readline():
            if line == CLOSE:
                self._spools.put(None)
            elif line != WAKE:
                self._spools.put(os.fsdecode(line.removesuffix(b"\n")))
            self.woken.set()
        kill_service()
        os._exit(1)

    def spools(self) -> Iterator[str]:
        """Paths, until CLOSE."""
        while (path := self._spools.get()) is not None:
            yield path


def main(level: int) -> None:
    """Entry point of the process."""
    for number in NOT_OURS:
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever W&B prints is no answer
    orders = Orders(os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0))
    orders.start()
    for path in orders.spools():
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            answer = DONE if record(calls(file.fileno(), orders.woken)) else LOST
        os.write(answers, answer)
    end_service()  # waits until the files of offline runs are whole


if __name__ == "__main__":
    main(int(sys.argv.pop(1)))
