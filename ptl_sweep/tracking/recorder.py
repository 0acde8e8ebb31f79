"""What stages see of tracking: a recorder, and from it the mirror of each stage.

W&B runs in a process beside the stages of this one: its start, its waiting and its faults cost
them next to nothing, and a signal for them does not reach it. Offline, a stage shorter than
`tracking.live_after` starts no process at all: it leaves its spool to the reducer, or to `sync`.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking.history import Row, Value, plain_row
from ptl_sweep.tracking.media import MAX_IMAGES, ShownImage
from ptl_sweep.tracking.recording_process import RecordingError, RecordingProcess
from ptl_sweep.tracking.run_info import RunInfo, run_id
from ptl_sweep.tracking.spool import FINISH, OPEN, Call, Spool, leftovers
from ptl_sweep.tracking.starting import mode_of

log = logging.getLogger(__name__)

# Of a process that records stages which have ended: there is nothing left to watch.
OF_OTHERS = {"WANDB_MODE": "offline", "WANDB_X_DISABLE_STATS": "true"}


class Recorder:
    """Mirrors the stages of this process, one after the other; used as a context.

    The process beside this one starts with the first stage that needs it, and again after its
    death; a stage of a killed process takes it along.
    """

    def __init__(self) -> None:
        self._process: RecordingProcess | None = None

    def open_mirror(
        self,
        config: TrackingConfig,
        *,
        root: Path,
        sweep: str,
        run: RunInfo,
        rows: Sequence[Row] = (),
    ) -> "StageMirror":
        """The mirror of one stage, with the `rows` of its history sent; see `starting.open_mirror`.

        Returns at once; never raises on account of W&B.
        """
        mode = mode_of(config)
        if mode is None:
            return StageMirror()
        options = {"root": root, "sweep": sweep, "run": run, "rows": list(rows)}
        delay = 0.0 if mode == "online" else config.live_after
        try:
            channel = Channel(Spool.create(root, run_id(run.key)), self.process, delay)
            channel.send(Call(OPEN, (config,), options))
        except Exception as error:  # no mirror must fail a stage: no memory, no process, no disk
            log.warning("W&B mirror: none for %s (%r); history.jsonl goes on", run.name, error)
            return StageMirror()
        return StageMirror(channel, was_there=bool(rows))

    def record_leftovers(self, root: Path) -> Iterator[Path]:
        """Write the offline runs of stages that ended without; each spool's path when it is done.

        `root` is that of `open_mirror`. What cannot be recorded is a warning, and set aside;
        nothing raises.
        """
        for spool in leftovers(root):
            try:
                self._record(spool)
            except Exception as error:  # whatever W&B or the disk does
                log.warning("W&B mirror: %s was not recorded (%s)", spool.path, error)
                spool.set_aside()
            yield spool.path

    def _record(self, spool: Spool) -> None:
        spool.seal()
        process = self.process(OF_OTHERS)
        process.record(spool.path)
        if not process.wait_for_answer():
            raise RecordingError("W&B took no run; see above")
        spool.delete()

    def process(self, environment: Mapping[str, str] | None = None) -> RecordingProcess:
        """The process beside this one, started where there is none. Raises: OSError."""
        if self._process is None or not self._process.is_alive:
            self._process = RecordingProcess(environment or {})
        return self._process

    def close(self) -> None:
        """End the process, after the files of its offline runs are whole."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Channel:
    """A stage's spool and, once its run is live, the process that records it."""

    def __init__(self, spool: Spool, start: Callable[[], RecordingProcess], delay: float) -> None:
        """`start` gives the process when `delay` seconds have passed."""
        self._spool, self._start = spool, start
        self._live_at = time.monotonic() + delay
        self._process: RecordingProcess | None = None

    def send(self, call: Call) -> None:
        """Tell the mirror, without waiting. Raises: OSError, PicklingError."""
        self._spool.append(call)
        if self._process is not None:
            self._process.wake()
        elif time.monotonic() >= self._live_at:
            self._process = self._start()
            self._process.record(self._spool.path)

    def finish(self, *, failed: bool) -> None:
        """End the run; wait for that where it is live. Raises: OSError, RecordingError."""
        self._spool.append(Call(FINISH, options={"failed": failed}))
        if self._process is None:
            self._spool.close()
            return
        self._process.wake()
        if self._process.wait_for_answer():
            self._spool.delete()
        else:  # what W&B gave up online is written offline, by the reducer or `sync`
            self._spool.close()


class StageMirror:
    """The mirror of one stage: history row i is step i of its W&B run; used as a context.

    No method raises or waits for a server, but for `finish`; files that are named must stay as
    they are until the run is recorded. The first failure is a warning and turns the mirror off.
    """

    def __init__(self, channel: Channel | None = None, *, was_there: bool = False) -> None:
        """Mirror by `channel`, or nowhere; `was_there`: an attempt before this one was killed."""
        self._channel = channel
        self._was_there = was_there

    @property
    def is_on(self) -> bool:
        """Whether anything is made of what is shown here."""
        return self._channel is not None

    def log(self, row: Mapping[str, Value]) -> None:
        """Send the next row of the history, unless the server has it from before a restart."""
        self._send("log", plain_row(row), time=time.time())

    def log_images(
        self, name: str, images: Sequence[ShownImage], *, repeated: bool = False
    ) -> None:
        """Show at most 8 images with their boxes, with the next row.

        `repeated`: an earlier attempt showed them; they are left out where they are not lost.
        """
        if not repeated or self._was_there:
            self._send("log_images", name, list(images[:MAX_IMAGES]), repeated=repeated)

    def log_figure(self, name: str, path_png: Path) -> None:
        """Show a drawn figure, with the next row."""
        self._send("log_figure", name, path_png)

    def log_html(self, name: str, path: Path) -> None:
        """Show a page (`*.html`), with the next row."""
        self._send("log_html", name, path)

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
        """Log a table, with the next row; each is an artifact, so two or three a run."""
        self._send("table", name, list(columns), [list(row) for row in rows])

    def summary(self, values: Mapping[str, Value]) -> None:
        """Set the numbers that the table of runs shows."""
        self._send("summary", plain_row(values))

    def update_config(self, values: Mapping[str, Any]) -> None:
        """Add to what the run was started with, or change it."""
        self._send("update_config", dict(values))

    def artifact(
        self,
        name: str,
        kind: str,
        paths: Sequence[Path],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """File `paths`, which offline are read at the time of the sync, as one artifact."""
        self._send("artifact", name, kind, list(paths), dict(metadata or {}))

    def use_artifact(self, name: str) -> None:
        """Draw the edge from an artifact, the latest unless `name:alias` says else; online only."""
        self._send("use_artifact", name)

    def finish(self, *, failed: bool = False) -> None:
        """End the run and wait for that, for W&B's finish_timeout at most once it has started."""
        self._guarded("the end", lambda channel: channel.finish(failed=failed))
        self._channel = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish(failed=error is not None)

    def _send(self, method: str, *arguments: Any, **options: Any) -> None:
        call = Call(method, arguments, options)
        self._guarded(method, lambda channel: channel.send(call))

    def _guarded(self, what: str, tell: Callable[[Channel], None]) -> None:
        if self._channel is None:
            return
        try:
            tell(self._channel)
        except Exception as error:  # the mirror must not fail a stage: no disk, no process
            self._channel = None
            log.warning(
                "W&B mirror off at %s: %s; history.jsonl goes on", what, error or repr(error)
            )
