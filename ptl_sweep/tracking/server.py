"""Asks W&B's server what it has of the runs that `sync` compares with the rows on disk."""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ptl_sweep.tracking.credentials import base_url
from ptl_sweep.tracking.wandb import bounded
from ptl_sweep.vocabulary import Value

TIMEOUT_S = 20  # of one question
START_S = (
    60  # of W&B's service and the first question together; W&B's own limits do not always hold
)
END_S = 5  # of W&B's service, which after questions has nothing left to bring up


class ServerError(RuntimeError):
    """The server gave no answer, or refused the key."""


@dataclass(frozen=True, slots=True)
class RemoteRunState:
    """What the server has of a run."""

    num_rows: int  # 0 when the server does not know the run
    state: str = ""  # such as running, finished, failed, crashed; empty when it is not there
    tags: frozenset[str] = frozenset()
    summary: Mapping[str, object] = field(default_factory=dict)


class Server:
    """One project of the W&B server that the environment names; may be shared by threads."""

    def __init__(self, *, project: str, entity: str | None) -> None:
        """Ask who the key belongs to, which is the entity unless one is given.

        Raises: ServerError.
        """
        import wandb

        self.project = project
        self._lock = threading.Lock()
        wandb.setup(wandb.Settings(silent=True))
        try:
            with bounded(limit=START_S):
                self._api = wandb.Api(timeout=TIMEOUT_S)
                found = entity or os.environ.get("WANDB_ENTITY") or self._api.default_entity
        except Exception as error:
            end_service()
            raise ServerError(f"no answer from {base_url()}: {_first_line(error)}") from error
        if not found:
            raise ServerError(f"{base_url()} names no default entity; add --entity")
        self.entity = found

    def state_of(self, run_id: str) -> RemoteRunState:
        """Ask what is there of a run now. Raises: ServerError."""
        with self._lock, _answered():
            run = self._run(run_id)
            if run is None:
                return RemoteRunState(0)
            num_rows = int(run.historyLineCount or 0)
            tags, summary = frozenset(run.tags), dict(run.summary_metrics)
            return RemoteRunState(num_rows, run.state, tags, summary)

    def amend(self, run_id: str, tag: str, summary: Mapping[str, Value]) -> None:
        """Add a tag and numbers to a run that has ended. Raises: ServerError."""
        with self._lock, _answered():
            run = self._run(run_id)
            if run is None:
                return
            if tag not in run.tags:
                run.tags = [*run.tags, tag]
                run.update()
            if not holds(run.summary_metrics, summary):
                run.summary.update(dict(summary))

    def _run(self, run_id: str) -> Any:
        """Ask for a run of W&B's API, which types few of its attributes; None: not there."""
        from wandb.errors import CommError

        self._api.flush()  # type: ignore[no-untyped-call]
        try:
            return self._api.run(f"{self.entity}/{self.project}/{run_id}")
        except CommError as error:
            if "Could not find run" in str(error):
                return None
            raise


def end_service() -> None:
    """End W&B's service now: at the interpreter's end it would wait for a server that is dead."""
    import wandb

    with bounded(limit=END_S), contextlib.suppress(Exception):
        wandb.teardown()


def holds(summary: Mapping[str, object], expected: Mapping[str, Value]) -> bool:
    """Whether a run's summary has these numbers; one that is missing counts as null."""
    return all(summary.get(name) == value for name, value in expected.items())


@contextlib.contextmanager
def _answered() -> Iterator[None]:
    """Turn whatever W&B raises into a ServerError."""
    try:
        yield
    except Exception as error:
        raise ServerError(f"no answer from {base_url()}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
