"""Asks the command line something hostile, and says what is wrong with the answer."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from helpers.sweeps import Outcome

HANGS_AFTER_S = 120  # of the clock, which goes on in a blocked read; no load is that heavy


class Hung(BaseException):
    """A command gave no answer; no handler of the command catches it."""


def complaint(
    run: Callable[..., Outcome], arguments: list[str], *, codes: tuple[int, ...], limit_s: float
) -> tuple[Outcome, str]:
    """How the command ended, and in words what it should not have done; `limit_s` of the processor.

    Never more than a line is quoted, since arguments and answers may be long.
    """
    started = time.process_time()
    try:
        with _alarm():
            outcome = _ended(run, arguments)
    except (Exception, Hung) as error:
        where = _last_place(error)
        return Outcome(-1, "", ""), f"{type(error).__name__}: {str(error)[:150]} at {where}"
    took = time.process_time() - started
    if "Traceback" in outcome.output + outcome.errors:
        return outcome, f"prints a traceback: {outcome.errors[-300:]}"
    if outcome.code not in codes:
        return outcome, f"exit {outcome.code}: {outcome.errors[:300]}"
    return outcome, f"takes {took:.0f} s" if took > limit_s else ""


def _ended(run: Callable[..., Outcome], arguments: list[str]) -> Outcome:
    """A flag that the parser refuses ends the process, with a message that names it."""
    try:
        return run(*arguments)
    except SystemExit as end:
        return Outcome(int(end.code or 0), "", " ".join(arguments))


def _last_place(error: BaseException) -> str:
    """File and line of ours that the exception went through last."""
    link, place = error.__traceback__, ""
    while link is not None:
        path = Path(link.tb_frame.f_code.co_filename)
        if "ptl_sweep" in path.parts or not place:
            place = f"{path.name}:{link.tb_lineno}"
        link = link.tb_next
    return place


@contextmanager
def _alarm() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> Any:
        raise Hung(f"no answer after {HANGS_AFTER_S} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(HANGS_AFTER_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
