"""The process beside this one, as seen from here: how it is started, told and waited for."""

import contextlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from logging import getLogger
from pathlib import Path

from ptl_sweep.tracking.mirror import GRACE
from ptl_sweep.tracking.spool import CLOSE, DONE, WAKE
from ptl_sweep.tracking.starting import setting

MODULE = "ptl_sweep.tracking.recording"
START_S = 60.0  # to load W&B and end it again, on a busy machine; ours


class RecordingError(RuntimeError):
    """The process has ended, or does not answer."""


class RecordingProcess:
    """One process that runs `tracking.recording`, in a session of its own."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Start it, with more in its environment. Raises: OSError."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(getLogger().getEffectiveLevel()), *sys.argv[1:]],
            env={**_about_this_process(), **os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,  # signals to a job's process group are the job's
        )
        os.set_blocking(self._orders, False)

    @property
    def is_alive(self) -> bool:
        """Whether it can be told anything."""
        return self._process.poll() is None

    def record(self, spool: Path) -> None:
        """Have a spool recorded, from its first message on. Raises: OSError."""
        os.write(self._orders, os.fsencode(spool) + b"\n")

    def wake(self) -> None:
        """Say that the spool has grown. Raises: BrokenPipeError when it has ended."""
        with contextlib.suppress(BlockingIOError):  # enough is in the pipe to wake it
            os.write(self._orders, WAKE)

    def wait_for_answer(self) -> bool:
        """Wait until a spool was gone through; whether W&B took all of it.

        Raises: RecordingError when the process is dead or stuck.
        """
        assert self._process.stdout is not None
        answers, patience = self._process.stdout.fileno(), _patience()
        if not select.select([answers], [], [], patience)[0]:
            self._kill()
            raise RecordingError(f"W&B did not end the run within {patience:.0f} s")
        if not (answer := os.read(answers, 1)):
            raise RecordingError(f"its process has ended ({self._process.wait()})")
        return answer == DONE

    def close(self) -> None:
        """Let it end, else kill it; raises nothing."""
        with contextlib.suppress(OSError):
            os.write(self._orders, CLOSE)
        try:
            self._process.wait(START_S + GRACE)
        except subprocess.TimeoutExpired:
            self._kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()

    @property
    def _orders(self) -> int:
        assert self._process.stdin is not None
        return self._process.stdin.fileno()

    def _kill(self) -> None:
        """With the service that W&B has started there."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _about_this_process() -> dict[str, str]:
    """Whose memory and GPU W&B shall watch, and which command it shall show."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = f"-m {spec.name}" if spec else sys.argv[0]
    return {"WANDB_X_STATS_PID": str(os.getpid()), "WANDB_PROGRAM": program}


def _patience() -> float | None:
    """Seconds until the last run must have started and ended; None where the user wants no limit.

    W&B keeps the limits itself; this one is for the day when it does not.
    """
    if setting("finish_timeout") <= 0:
        return None
    return START_S + setting("init_timeout") + setting("finish_timeout") + 2 * GRACE
