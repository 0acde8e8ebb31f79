"""Bring runs to the server from their folders, and count there what has arrived.

Every question is decided by what the server says that it has, because W&B ends a run without an
error even when its rows were refused.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from ptl_sweep.tracking import unreachable
from ptl_sweep.tracking.companion import carry_out
from ptl_sweep.tracking.history import plain_row
from ptl_sweep.tracking.order import MAX_TAG, Order
from ptl_sweep.tracking.server import RemoteRunState, Server, ServerError, holds

AT_ONCE = 4  # runs that upload at the same time; ours
PAUSE_S = 3.0  # before the second attempt at the runs that the first did not bring up; ours
FINISHED, FAILED_RUN = "finished", "failed"  # states of a run that ended, as W&B names them
STATES = ("uploaded", "already there", "skipped", "failed")
UPLOADED, THERE, SKIPPED, FAILED = STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRun:
    """What a folder has of its run."""

    order: Order
    num_steps: int  # of the run, when it equals the folder
    depth: int = 0  # runs of smaller depth make the artifacts that this one starts from
    is_running: bool = False  # a live worker still writes it

    @property
    def id(self) -> str:
        """W&B's name of it."""
        return self.order.run_id

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it is on disk."""
        return not (self.num_steps or self.order.is_finished)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOutcome:
    """What became of a run."""

    run: str  # id
    name: str
    rows: int  # on disk; a last one may be of media alone
    before: int | None = None  # rows on the server; None: it did not say
    after: int | None = None
    state: str = SKIPPED
    why: str = ""


def sync_runs(
    runs: Sequence[LocalRun], server: Server, on_done: Callable[[], None] = lambda: None
) -> list[SyncOutcome]:
    """Bring up what the server lacks; return an outcome for each run with anything on disk."""
    for root in {run.order.root for run in runs}:
        unreachable.forget(root)  # the server has answered
    found = {run.id: _asked(run, server) for run in runs if not run.is_empty}
    todo = [run for run in runs if run.id in found and found[run.id].state == UPLOADED]
    for wave in _waves(todo):
        found |= _brought_up(wave, found, server, on_done)
    there = [run for run in runs if run.id in found and found[run.id].state in (UPLOADED, THERE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found |= {o.run: o for o in pool.map(lambda r: _amended(r, found[r.id], server), there)}
    return [found[run.id] for run in runs if run.id in found]


def unsent(run: LocalRun, why: str) -> SyncOutcome:
    """Make the outcome of a run that the server was not asked for."""
    return SyncOutcome(
        run=run.id, name=run.order.run.name, rows=run.num_steps, state=FAILED, why=why
    )


def _asked(run: LocalRun, server: Server) -> SyncOutcome:
    """Say what is to be done: `uploaded` where the server lacks more than a tag or numbers."""
    outcome = SyncOutcome(run=run.id, name=run.order.run.name, rows=run.num_steps)
    if run.is_running:
        return replace(outcome, why="it runs now; sync again when it has ended")
    try:
        now = server.state_of(run.id)
    except ServerError as error:
        return replace(outcome, state=FAILED, why=str(error))
    state = THERE if _is_whole(run, now) else UPLOADED
    return replace(outcome, before=now.num_rows, after=now.num_rows, state=state)


def _is_whole(run: LocalRun, now: RemoteRunState) -> bool:
    """Whether the rows are there, and the run ended as its folder did."""
    end = (FINISHED,) if run.order.is_finished else (FINISHED, FAILED_RUN)
    return now.num_rows >= run.num_steps and now.state in end and _has_summary(run, now)


def _has_summary(run: LocalRun, now: RemoteRunState) -> bool:
    """Whether the stage's own summary is there, which is sent after everything else."""
    own = replace(run.order, summary={}).full_summary() if run.order.is_finished else {}
    return holds(now.summary, plain_row(own))


def _waves(runs: Iterable[LocalRun]) -> Iterator[list[LocalRun]]:
    """Yield runs of one depth after the other, so that an edge finds its artifact."""
    by_depth: dict[int, list[LocalRun]] = {}
    for run in runs:
        by_depth.setdefault(run.depth, []).append(run)
    yield from (by_depth[depth] for depth in sorted(by_depth))


def _brought_up(
    wave: Sequence[LocalRun],
    outcomes: Mapping[str, SyncOutcome],
    server: Server,
    on_done: Callable[[], None],
) -> dict[str, SyncOutcome]:
    """Upload these runs, those that did not arrive a second time."""
    found: dict[str, SyncOutcome] = {}
    left = list(wave)
    for pause in (0.0, PAUSE_S):
        time.sleep(pause if left else 0.0)
        problems = carry_out([run.order for run in left], at_once=AT_ONCE, on_done=on_done)
        for run in left:
            found[run.id] = _arrived(run, outcomes[run.id], server, problems[run.id])
        left = [run for run in left if found[run.id].state == FAILED]
    return found


def _arrived(
    run: LocalRun, outcome: SyncOutcome, server: Server, problem: str | None
) -> SyncOutcome:
    try:
        now = server.state_of(run.id)
    except ServerError as error:
        return replace(outcome, state=FAILED, why=str(error))
    outcome = replace(outcome, after=now.num_rows)
    if problem is None and _is_whole(run, now):
        return outcome
    lacking = f"the server has {now.num_rows} of {run.num_steps} rows, state {now.state or 'none'}"
    return replace(outcome, state=FAILED, why=problem or lacking)


def _amended(run: LocalRun, outcome: SyncOutcome, server: Server) -> SyncOutcome:
    """Add the sweep's tag and the reducer's numbers; `uploaded` where any was missing."""
    tag, summary = run.order.sweep[:MAX_TAG], plain_row(run.order.summary)
    try:
        now = server.state_of(run.id)
        if tag not in now.tags or not holds(now.summary, summary):
            server.amend(run.id, tag, summary)
            outcome = replace(outcome, state=UPLOADED)
    except ServerError as error:
        return replace(outcome, state=FAILED, why=str(error))
    more = now.num_rows - run.num_steps
    why = f"the server has {more} rows more than this machine" if more > 0 else ""
    return replace(outcome, why=why)
