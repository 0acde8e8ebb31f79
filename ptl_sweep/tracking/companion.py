"""The processes that talk to W&B, as seen from those who start them: a worker, or the reducer."""

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO, Self

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking.order import Order

log = logging.getLogger(__name__)

FOLLOW = [sys.executable, "-m", "ptl_sweep.tracking.follow"]
CLOSE_S = 300.0  # a worker that has published everything waits so long for what W&B still sends
ANSWER_S = 1800.0  # processes that bring up runs are given so long for their next answer; ours
LOST = "its process has ended, or gave no answer within {:.0f} s"
NOBODY_TO_WATCH = {"WANDB_X_DISABLE_STATS": "true"}  # system metrics of a stage that has ended


def mode_of(config: TrackingConfig) -> str | None:
    """Decide between `online`, `offline`, and None where nothing is shown in W&B.

    WANDB_MODE in the environment wins over the config, save for `tracking.mode=off`.
    """
    mode = os.environ.get("WANDB_MODE", config.mode)
    if config.mode == "off" or mode == "disabled":
        return None
    return "online" if mode in ("online", "shared") else "offline"


class Companion:
    """The process beside a worker that sends its stages while they run; used as a context.

    It starts with the first order, and again after its death. No method raises, or waits for
    anything but `close`.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._order: Order | None = None

    def follow(self, order: Order) -> None:
        """Have the folder of a stage followed, from now until `end`."""
        self._order = replace(order, is_live=True)
        self._tell(self._order.to_line())

    def end(self) -> None:
        """Say that the stage has ended; a process that has died meanwhile is replaced."""
        if self._order is None:
            return
        order, self._order = self._order, None
        is_there = self._process is not None and self._process.poll() is None
        self._tell("" if is_there else replace(order, is_live=False).to_line())

    def close(self) -> None:
        """Wait until everything is sent, for five minutes at most; then `sync` has to do it."""
        if self._process is None:
            return
        process, self._process = self._process, None
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            log.warning("W&B did not end within %.0f s; `sync` brings up what it lacks", CLOSE_S)
            _kill(process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell(self, line: str) -> None:
        try:
            process = self._started()
            assert process.stdin is not None
            os.write(process.stdin.fileno(), line.encode() + b"\n")
        except OSError as error:  # no memory, no process: the stage goes on
            log.warning("W&B is not told of a stage (%s); `sync` brings it up later", error)

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = _start(
                _about_this_process(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
            )
            assert self._process.stdin is not None
            os.set_blocking(self._process.stdin.fileno(), False)
        return self._process


def carry_out(
    orders: Sequence[Order], *, at_once: int = 1, on_done: Callable[[], None] = lambda: None
) -> dict[str, str | None]:
    """Have folders projected by `at_once` processes; return by run id what went wrong, or None.

    `on_done` is called after each. Nothing that happens to W&B raises; processes of which none
    answers for half an hour are killed.
    """
    found: dict[str, str | None] = {order.run_id: LOST.format(ANSWER_S) for order in orders}
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as answers:
        for start in range(min(at_once, len(orders))):
            process = stack.enter_context(_process_for(orders[start::at_once]))
            assert process.stdout is not None
            answers.register(process.stdout, selectors.EVENT_READ, process)
        while answers.get_map() and (ready := answers.select(ANSWER_S)):
            for key, _ in ready:
                line = key.data.stdout.readline()
                if not line:  # it has ended
                    answers.unregister(key.fileobj)
                    key.data.wait()
                    continue
                answer = json.loads(line)
                found[answer["run"]] = answer["problem"]
                on_done()
    return found


@contextlib.contextmanager
def _process_for(orders: Iterable[Order]) -> Iterator[subprocess.Popen[bytes]]:
    """Yield a process that carries out the orders; it is killed where it has not ended."""
    with tempfile.TemporaryFile("w+b") as lines:
        lines.write("".join(order.to_line() + "\n" for order in orders).encode())
        lines.seek(0)
        process = _start(NOBODY_TO_WATCH, stdin=lines, stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout:
        try:
            yield process
        finally:  # silent for too long, or Ctrl-C here
            if process.poll() is None:
                _kill(process)


def _start(
    environment: Mapping[str, str], *, stdin: int | IO[bytes], stdout: int
) -> subprocess.Popen[bytes]:
    """Start one in a session of its own: signals to a job's process group are the job's."""
    own = {name: value for name, value in os.environ.items() if name != "WANDB_MODE"}
    return subprocess.Popen(
        FOLLOW,
        env={**environment, **own},
        stdin=stdin,
        stdout=stdout,
        bufsize=0,
        start_new_session=True,
    )


def _about_this_process() -> dict[str, str]:
    """Make W&B monitor this process and show its command."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    program = f"-m {spec.name}" if spec else sys.argv[0]
    return {"WANDB_X_STATS_PID": str(os.getpid()), "WANDB_PROGRAM": program}


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End it, with the service that W&B has started there."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
