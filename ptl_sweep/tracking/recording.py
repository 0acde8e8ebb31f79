"""The process that mirrors the stages of another one, which therefore never loads W&B.

`python -m ptl_sweep.tracking.recording SPOOL LEVEL ...`: SPOOL is the file descriptor of the
messages, LEVEL that of logging, and the rest the arguments of the other process, which W&B shows.
Standard input wakes this one, and ends with the other; standard output takes a byte for each run
that has ended.
"""

import logging
import os
import signal
import sys
import threading
from collections.abc import Iterable

from ptl_sweep.tracking.mirror import Mirror, end_service, kill_service
from ptl_sweep.tracking.spool import CLOSE, FINISH, OPEN, Call, calls
from ptl_sweep.tracking.starting import open_mirror

DONE = b"."
# Meant for the stage, which decides what becomes of its run.
NOT_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def record(messages: Iterable[Call], answers: int) -> None:
    """Do as told until CLOSE; each FINISH is answered. Nothing that W&B raises gets out."""
    mirror = Mirror()
    for call in messages:
        if call.method == CLOSE:
            return
        if call.method == OPEN:
            mirror.finish(failed=True)  # the stage could not say so: nothing, where it did
            mirror = open_mirror(*call.arguments, **call.options)
            continue
        getattr(mirror, call.method)(*call.arguments, **call.options)
        if call.method == FINISH:
            os.write(answers, DONE)


def _listen(woken: threading.Event) -> None:
    """Wake the reader; when the stage's process has died, die as its W&B would have."""
    while os.read(sys.stdin.fileno(), 1 << 16):
        woken.set()
    kill_service()
    os._exit(1)


def main(spool: int, level: int) -> None:
    """Entry point of the process."""
    for number in NOT_OURS:
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    answers = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever W&B prints is no answer
    woken = threading.Event()
    threading.Thread(target=_listen, args=(woken,), daemon=True).start()
    record(calls(spool, woken), answers)
    end_service()  # waits until the files of offline runs are whole


if __name__ == "__main__":
    spool, level = (int(sys.argv.pop(1)) for _ in range(2))
    main(spool, level)
