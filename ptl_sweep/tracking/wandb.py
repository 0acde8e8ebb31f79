"""A W&B run made equal to a folder: rows, media, artifact and summary, by the public SDK alone.

Row i of history.jsonl is step i of the run. What the server has is not sent again, so the same
call starts a run, resumes it after a kill, repairs it and brings it up.
"""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ptl_sweep.meta import META, read_meta
from ptl_sweep.store import HISTORY
from ptl_sweep.tracking.history import HistoryReader, Row, plain_row
from ptl_sweep.tracking.media import MediaEntry, read_media
from ptl_sweep.tracking.offline import DATA, data_folder, delete_offline_runs
from ptl_sweep.tracking.order import MAX_TAG, MAX_TITLE, FiledFiles, Order, artifact_name
from ptl_sweep.tracking.wandb_media import wandb_media

if TYPE_CHECKING:
    from wandb import Artifact, Run

log = logging.getLogger(__name__)

GRACE_S = 10.0  # beyond W&B's own limit of a run's end; ours
SETTINGS: dict[str, float | str | bool] = {
    "init_timeout": 120,
    "x_service_wait": 120,
    "finish_timeout": 60,
    "x_stats_sampling_interval": 30,
    "disable_git": True,
    "disable_code": True,
    "x_save_requirements": False,
    "console": "off",
    "silent": True,
}


class StartError(RuntimeError):
    """W&B began no run; `seconds` is how long it took to say so."""

    def __init__(self, error: Exception, seconds: float) -> None:
        super().__init__(f"no run: {error!r}")
        self.seconds = seconds


def project(order: Order, has_ended: Callable[[], bool] = lambda: True) -> None:
    """Make the run equal to the folder, and follow the folder until `has_ended`.

    Raises: StartError without a run; ValueError for a damaged history; else whatever W&B raises.
    """
    run = _start(order)
    projection = _Projection(run, order)
    try:
        while not has_ended():
            projection.send_rows()
        projection.send_rows()
        if order.is_finished:
            with bounded():
                projection.complete()
        if run.offline:  # last, for W&B writes the whole of it again with each picture
            run.config.update(dict(order.run.config))  # type: ignore[no-untyped-call]
    except Exception:
        _give_up(run)
        raise
    with bounded():
        run.finish(exit_code=0 if order.is_finished else 1)


def kill_children() -> None:
    """Kill the processes that this one has started: W&B's service."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            for pid in (task / "children").read_text().split():
                os.kill(int(pid), signal.SIGKILL)


@contextlib.contextmanager
def bounded(kill: Callable[[], None] = kill_children, limit: float | None = None) -> Iterator[None]:
    """Kill W&B's service when the block takes longer than `limit` seconds; None: than a run's end.

    W&B's own limits do not hold against a server that dies in the middle: its service tries on.
    """
    if limit is None:
        limit = setting("finish_timeout")
    timer = threading.Timer(limit + GRACE_S, kill)
    timer.daemon = True
    if limit > 0:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def setting(name: str) -> float:
    """Read a setting in seconds from the user's environment, else from ours."""
    try:
        return float(os.environ[f"WANDB_{name.upper()}"])
    except (KeyError, ValueError):  # W&B refuses what is not a number, which costs no time
        return float(SETTINGS[name])


class _Projection:
    """A run that has begun, and how far it equals its folder."""

    def __init__(self, run: "Run", order: Order) -> None:
        self._run = run
        self._order = order
        self._history = HistoryReader(order.source / HISTORY)
        self._has_sent = False  # anything that the server did not have

    def send_rows(self) -> None:
        """Send the new rows, each with the media that belong to it."""
        first = self._history.num_rows
        rows = self._history.new_rows(self._order.source / HISTORY)
        if not rows:
            return
        entries = read_media(self._order.source)  # written before the row that it is shown with
        for step, row in enumerate(rows, first):
            self._send(step, row, (entry for entry in entries if entry.row == step))

    def complete(self) -> None:
        """Send what only a finished folder has: media after the last row, artifact, summary."""
        last = self._history.num_rows
        rest = [entry for entry in read_media(self._order.source) if entry.row >= last]
        if rest:
            self._send(last, {}, rest)
        if self._order.run.makes is not None:
            self._file(self._order.run.makes)
        self._run.summary.update(plain_row(self._order.full_summary()))
        alert = self._order.run.alert
        if alert is not None and self._has_sent and not self._run.offline:
            level = "WARN" if alert.is_warning else "INFO"
            self._run.alert(alert.title[:MAX_TITLE], alert.text, level)

    def _send(self, step: int, row: Row, entries: Iterable[MediaEntry]) -> None:
        if step < self._run.starting_step:
            return
        self._has_sent = True
        self._run.log(plain_row(row) | self._built(entries))

    def _built(self, entries: Iterable[MediaEntry]) -> dict[str, object]:
        """Build what W&B shows of the entries; one that cannot be read is a warning."""
        built = {}
        for entry in entries:
            try:
                built[entry.name] = wandb_media(self._order.source, entry)
            except (OSError, ValueError, TypeError) as error:
                log.warning("W&B: %s of %s is not shown (%s)", entry.name, self._run.name, error)
        return built

    def _file(self, filed: FiledFiles) -> None:
        """File an artifact; one that the server refuses is a warning."""
        try:
            self._run.log_artifact(made := _artifact(self._order.folder, filed))
            if not self._run.offline:
                made.wait(int(setting("finish_timeout")) or None)
        except Exception as error:  # W&B says it by many types
            log.warning("W&B: %s was not filed (%r)", filed.name, error)


def _start(order: Order) -> "Run":
    """Start the run, or resume it. Raises: StartError."""
    import wandb

    info = order.run
    _prepare(order)
    begun = time.monotonic()
    try:
        run = wandb.init(
            entity=order.entity,
            project=order.project,
            group=order.sweep,
            job_type=info.job_type,
            id=order.run_id,
            name=info.name,
            notes=info.notes or None,
            tags=[tag[:MAX_TAG] for tag in info.tags if tag],
            config=dict(info.config) if order.mode == "online" else None,
            dir=str(order.root),
            resume="allow",
            settings={"mode": order.mode, **_settings()},
        )
    except Exception as error:  # W&B says it by many types
        raise StartError(error, time.monotonic() - begun) from error
    for step in info.step_metrics:
        run.define_metric(step, hidden=True)
        run.define_metric(f"{step.partition('/')[0]}/*", step_metric=step)
    if not run.offline:
        _draw_edges(run, info.uses)
    return run


def _prepare(order: Order) -> None:
    """Make W&B's folders; offline, earlier folders of the run go: the new one has every row."""
    data = order.root / DATA  # of artifacts: missing, W&B does nothing
    if order.mode != "online":
        delete_offline_runs(order.root, order.run_id)
        data = data_folder(order.root, order.run_id)
    data.mkdir(parents=True, exist_ok=True)
    os.environ["WANDB_DIR"], os.environ["WANDB_DATA_DIR"] = str(order.root), str(data)


def _draw_edges(run: "Run", names: Iterable[str]) -> None:
    """Say which artifacts the run starts from; one that the server lacks has no edge."""
    for name in names:
        try:
            run.use_artifact(f"{artifact_name(name)}:latest")
        except Exception as error:
            log.info("W&B: no edge from artifact %s (%r)", name, error)


def _settings() -> dict[str, object]:
    """Choose our settings, save for those of the user's environment, such as WANDB_INIT_TIMEOUT.

    The API key is never among them: W&B reads it from the environment or from netrc.
    """
    return {
        name: value for name, value in SETTINGS.items() if f"WANDB_{name.upper()}" not in os.environ
    }


def _give_up(run: "Run") -> None:
    """End a run whose projection failed, with what W&B still takes."""
    try:
        with bounded():
            run.finish(exit_code=1)
    except Exception as error:  # W&B's service itself may be what died
        log.info("W&B: the run did not end (%r)", error)


def _artifact(folder: Path, filed: FiledFiles) -> "Artifact":
    """Make an artifact of files that are linked, not copied: a finished folder does not change."""
    import wandb

    meta = folder / META
    digests = read_meta(meta)["sha256"] if meta.is_file() else {}
    known = {"sha256": {name: digests[name] for name in filed.files if name in digests}}
    made = wandb.Artifact(
        artifact_name(filed.name), filed.kind, metadata={**filed.metadata, **known}
    )
    for name in filed.files:
        made.add_file(str(folder / name), policy="immutable", skip_cache=True)
    return made
