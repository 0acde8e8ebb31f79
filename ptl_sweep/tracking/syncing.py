"""Bring the runs of a sweep to the server: from W&B's files, else from history.jsonl.

Every question is decided by the number of rows that the server has, because `wandb sync` ends
with 0 and marks a run as synced even when the server refused its rows.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking.history import Row, Value
from ptl_sweep.tracking.rebuilding import order
from ptl_sweep.tracking.run_info import MAX_TAG, RunInfo, run_id
from ptl_sweep.tracking.segments import Segment, find_segments, next_segment
from ptl_sweep.tracking.server import Server, ServerError, Standing
from ptl_sweep.tracking.trimming import write_remainder

PAUSES_S = (2.0, 6.0, 18.0)  # before each further attempt at a run; ours
UPLOAD_TIMEOUT_S = 1800.0  # of one `wandb sync`; ours
LOST = "Fatal error while uploading data"  # what W&B prints, and then ends with 0
STATES = ("uploaded", "already there", "skipped", "failed")
UPLOADED, THERE, SKIPPED, FAILED = STATES


class SyncError(RuntimeError):
    """An upload that did not bring up what it should have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRun:
    """What a stage has on disk of its run."""

    info: RunInfo
    rows: Sequence[Row] = ()  # of history.jsonl
    summary: Mapping[str, Value] = field(default_factory=dict)  # of a published stage
    is_running: bool = False  # a live worker still writes it

    @property
    def id(self) -> str:
        """W&B's name of it."""
        return run_id(self.info.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a run."""

    run: str  # id
    name: str
    rows: int  # on disk
    before: int | None = None  # rows on the server; None: it did not say
    after: int | None = None
    state: str = SKIPPED
    why: str = ""
    unreadable: tuple[str, ...] = ()  # a line for each W&B folder that was passed over


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploader:
    """Where the runs lie and where they go."""

    root: Path  # holds wandb/
    sweep: str
    server: Server
    pauses: Sequence[float] = PAUSES_S  # seconds
    timeout: float = UPLOAD_TIMEOUT_S  # seconds

    def sync(self, run: LocalRun) -> Outcome | None:
        """Bring one run up; None when it has nothing on disk. No fault of the server raises."""
        segments, unreadable = find_segments(self.root, run.id)
        num_rows = max([len(run.rows), *(segment.span.end for segment in segments)])
        outcome = Outcome(
            run=run.id, name=run.info.name, rows=num_rows, unreadable=tuple(unreadable)
        )
        if run.is_running:
            return replace(outcome, why="it runs now; sync again when it has ended")
        if not (num_rows or segments):
            why = "no file of it can be read, and history.jsonl has no rows"
            return replace(outcome, why=why) if unreadable else None
        try:
            before = self.server.standing(run.id)
        except ServerError as error:
            return replace(outcome, state=FAILED, why=str(error))
        is_there = next_segment(segments, before) is None and before.num_rows >= num_rows
        state = THERE if is_there else UPLOADED
        outcome = replace(outcome, before=before.num_rows, state=state)
        return self._with_retries(run, segments, outcome)

    def _with_retries(
        self, run: LocalRun, segments: Sequence[Segment], outcome: Outcome
    ) -> Outcome:
        """The outcome with `after`, and with `why` when it failed."""
        why = ""
        for pause in (0.0, *self.pauses):
            time.sleep(pause)
            try:
                outcome = self._sent(run, segments, outcome)
            except (SyncError, ServerError, OSError) as error:
                why = str(error)
                continue
            more = (outcome.after or 0) - outcome.rows
            why = f"the server has {more} rows more than this machine" if more > 0 else ""
            return replace(outcome, why=why)
        with suppress(ServerError):
            outcome = replace(outcome, after=self.server.standing(run.id).num_rows)
        return replace(outcome, state=FAILED, why=why)

    def _sent(self, run: LocalRun, segments: Sequence[Segment], outcome: Outcome) -> Outcome:
        """One attempt at all that the server lacks. Raises: SyncError, ServerError, OSError."""
        now = self._send_segments(run, segments, self.server.standing(run.id))
        if now.num_rows < len(run.rows):
            now = self._send_segments(run, segments, self._send_history(run))
        if now.num_rows < outcome.rows:
            raise SyncError(f"row {now.num_rows} is in no file here")
        if (tag := self.sweep[:MAX_TAG]) not in now.tags:  # another sweep made the run
            self.server.add_tag(run.id, tag)
        return replace(outcome, after=now.num_rows)

    def _send_segments(self, run: LocalRun, segments: Sequence[Segment], now: Standing) -> Standing:
        """One after the other, as far as they reach. Raises: SyncError, ServerError, OSError."""
        while (segment := next_segment(segments, now)) is not None:
            now = self._send_segment(run, segment, now)
        return now

    def _send_segment(self, run: LocalRun, segment: Segment, now: Standing) -> Standing:
        """Upload what the server lacks of a segment. Raises: SyncError, ServerError, OSError."""
        with tempfile.TemporaryDirectory(prefix="sync-", dir=self.root) as place:
            folder = Path(place).absolute() / segment.path.parent.name
            copy = write_remainder(
                segment.path,
                folder,
                now.num_rows,
                entity=self.server.entity,
                project=self.server.project,
            )
            output = self._wandb_sync(folder)
            has_marker = copy.with_name(segment.marker.name).exists()
        if LOST in output or not has_marker:
            raise SyncError(f"wandb sync of {segment.path.parent}: {_last_line(output)}")
        return self._arrived(run, segment.span.end, then_mark=segment)

    def _arrived(self, run: LocalRun, num_rows: int, then_mark: Segment | None = None) -> Standing:
        """Ask whether the rows are there. Raises: SyncError, ServerError, OSError."""
        now = self.server.standing(run.id)
        if now.num_rows < num_rows:
            raise SyncError(f"the server has {now.num_rows} of {num_rows} rows after the upload")
        if then_mark is not None:
            then_mark.marker.touch()  # a `wandb sync` by hand would send every row once more
        return now

    def _wandb_sync(self, folder: Path) -> str:
        where = ["-p", self.server.project, "-e", self.server.entity]
        arguments = ["wandb", "sync", "--include-online", *where, str(folder)]
        return run_module(arguments, folder=folder, timeout=self.timeout)

    def _send_history(self, run: LocalRun) -> Standing:
        """Send rows that no segment holds. Raises: SyncError, ServerError, OSError."""
        config = TrackingConfig(
            mode="online", project=self.server.project, entity=self.server.entity
        )
        text = order(config, sweep=self.sweep, run=run.info, rows=run.rows, summary=run.summary)
        with tempfile.TemporaryDirectory(prefix="sync-", dir=self.root) as folder:
            module = "ptl_sweep.tracking.rebuilding"
            output = run_module([module], folder=Path(folder), timeout=self.timeout, text=text)
        try:
            return self._arrived(run, len(run.rows))
        except SyncError as error:
            raise SyncError(f"{error}; {_last_line(output)}") from error


def run_module(arguments: Sequence[str], *, folder: Path, timeout: float, text: str = "") -> str:
    """Output of ``python -m`` in a process of its own that W&B may break; how it ends says nothing.

    Raises: SyncError after `timeout` seconds.
    """
    environment = {k: v for k, v in os.environ.items() if k not in ("WANDB_MODE", "WANDB_SILENT")}
    with subprocess.Popen(
        [sys.executable, "-m", *arguments],
        env=environment | {"WANDB_DIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            return process.communicate(text, timeout=timeout)[0]
        except subprocess.TimeoutExpired as error:
            raise SyncError(f"no end after {timeout:.0f} s; sync again goes on there") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def _last_line(output: str) -> str:
    lines = [line.removeprefix("wandb: ").strip() for line in output.splitlines()]
    told = [line for line in lines if LOST in line or "ERROR" in line] or [x for x in lines if x]
    return told[-1] if told else "it said nothing"
