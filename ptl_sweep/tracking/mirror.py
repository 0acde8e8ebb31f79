"""The mirror of one stage's history in Weights & Biases."""

import contextlib
import logging
import os
import re
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ptl_sweep.tracking import media
from ptl_sweep.tracking.history import Value, plain_row

if TYPE_CHECKING:
    from wandb import Run

log = logging.getLogger(__name__)

Result = TypeVar("Result")

GRACE = 30.0  # seconds beyond finish_timeout that a service has which answers nothing; ours


class Mirror:
    """One W&B run, in which history row i is step i; made by `open_mirror`, used as a context.

    No method raises: the first failure is logged as a warning and turns the mirror off.
    """

    def __init__(self, run: "Run | None" = None) -> None:
        """Mirror into `run`, or nowhere."""
        self._run = run
        self._num_rows = 0  # rows given so far, sent or not
        self._media: dict[str, Any] = {}  # sent with the next row, so that steps stay rows
        self._lost_media = False  # those of a killed attempt went with its offline folder

    @property
    def is_on(self) -> bool:
        """Whether rows still reach W&B."""
        return self._run is not None

    @property
    def is_online(self) -> bool:
        """Whether they reach a server while the stage runs."""
        return self._run is not None and not self._run.offline

    def log(self, row: Mapping[str, Value], time: float | None = None) -> None:
        """Send the next row of the history, unless the server has it from before a restart.

        `time` is when the stage logged it, seconds since 1970; None: now.
        """
        stamp = {} if time is None else {"_timestamp": time}

        def send(run: "Run") -> None:
            if self._num_rows >= run.starting_step:
                run.log(plain_row(row) | self._media | stamp)
                self._media = {}
            self._num_rows += 1

        self._guarded("a row", send)

    def replay(self, rows: Iterable[Mapping[str, Value]]) -> None:
        """Send the rows of earlier attempts; offline, their media may then be shown again."""
        for row in rows:
            self.log(row)
        self._lost_media = self.is_on and not self.is_online and self._num_rows > 0

    def log_images(
        self, name: str, images: Sequence[media.ShownImage], *, repeated: bool = False
    ) -> None:
        """Show at most 8 images with their boxes, with the next row.

        `repeated`: an earlier attempt showed them; they are left out where they are not lost.
        """
        if not repeated or self._lost_media:
            self._show(name, "images", lambda: media.pictures(images))

    def log_figure(self, name: str, path_png: Path) -> None:
        """Show a drawn figure, with the next row."""
        self._show(name, "a figure", lambda: media.figure(path_png))

    def log_html(self, name: str, path: Path) -> None:
        """Show a page (`*.html`), with the next row."""
        self._show(name, "a page", lambda: media.page(path))

    def table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
        """Log a table, with the next row; each is an artifact, so two or three a run."""
        self._show(name, "a table", lambda: media.table(columns, rows))

    def summary(self, values: Mapping[str, Value]) -> None:
        """Set the numbers that the table of runs shows."""
        self._guarded("the summary", lambda run: run.summary.update(plain_row(values)))

    def update_config(self, values: Mapping[str, Any]) -> None:
        """Add to what the run was started with, or change it."""

        def send(run: "Run") -> None:
            run.config.update(dict(values), allow_val_change=True)  # type: ignore[no-untyped-call]

        self._guarded("the configuration", send)

    def artifact(
        self,
        name: str,
        kind: str,
        paths: Sequence[Path],
        metadata: Mapping[str, Any] | None = None,
    ) -> str | None:
        """File `paths` (never changed afterwards: they are not copied) as one artifact.

        Returns W&B's digest of the contents, the same online and offline; None when off.
        """

        def send(run: "Run") -> str:
            import wandb

            made = wandb.Artifact(artifact_name(name), kind, metadata=dict(metadata or {}))
            for path in paths:
                made.add_file(str(path), policy="immutable", skip_cache=True)
            digest: str = made.digest
            run.log_artifact(made)
            return digest

        return self._guarded("an artifact", send)

    def use_artifact(self, name: str) -> None:
        """Draw the edge from an artifact, the latest unless `name:alias` says else; online only."""
        if not self.is_online:
            return
        name, _, alias = name.partition(":")

        def send(run: "Run") -> None:
            # The run that made it may lie unsynced on its node: no reason to stop mirroring.
            try:
                run.use_artifact(f"{artifact_name(name)}:{alias or 'latest'}")
            except Exception as error:  # W&B says by many types that it has no such artifact
                log.info("W&B mirror: no edge from artifact %s (%r)", name, error)

        self._guarded("an edge", send)

    def finish(self, *, failed: bool = False) -> None:
        """End the run; media that no row followed make a last step, unless the stage failed."""

        def send(run: "Run") -> None:
            with _bounded(run.settings.finish_timeout):
                if self._media and not failed:
                    run.log(self._media)
                run.finish(exit_code=int(failed))

        self._guarded("the end", send)
        self._run = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish(failed=error is not None)

    def _show(self, name: str, what: str, build: Callable[[], Any]) -> None:
        def send(_run: "Run") -> None:
            self._media[name] = build()

        self._guarded(what, send)

    def _guarded(self, what: str, send: "Callable[[Run], Result]") -> Result | None:
        if self._run is None:
            return None
        run = self._run
        try:
            return send(run)
        except Exception as error:  # the mirror must not fail a stage, whatever W&B raises
            self._run = None
            _end(run)
            log.warning(
                "W&B mirror off: could not send %s (%r); history.jsonl goes on", what, error
            )
            return None


def artifact_name(name: str) -> str:
    """The name with what W&B does not accept replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)


def end_service() -> None:
    """End W&B's service, dead or stuck in a start that timed out; the next run gets one."""
    with contextlib.suppress(Exception):
        import wandb

        wandb.teardown()


def _end(run: "Run") -> None:
    try:
        with _bounded(run.settings.finish_timeout):
            run.finish(exit_code=1)
    except Exception:  # W&B's service itself may be what died
        end_service()


@contextlib.contextmanager
def _bounded(finish_timeout: float) -> Iterator[None]:
    """Give W&B its time-out (seconds; 0 is no limit) and a grace, then kill its service.

    The service keeps the time-out against a server; nothing in W&B keeps it against the service.
    """
    timer = threading.Timer(finish_timeout + GRACE, kill_service)
    timer.daemon = True
    if finish_timeout > 0:
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def kill_service() -> None:
    """Kill the wandb-core of this process (Linux only): who waits for it then gets an error."""
    with contextlib.suppress(OSError):
        for children in Path("/proc/self/task").glob("*/children"):
            for child in children.read_text().split():
                if Path("/proc", child, "comm").read_text().strip() == "wandb-core":
                    os.kill(int(child), signal.SIGKILL)
