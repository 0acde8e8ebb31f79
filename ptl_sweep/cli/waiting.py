"""`wait`: follow a sweep that runs elsewhere, and know when nothing more will come of it."""

import time
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live

from ptl_sweep.launchers.slurm.journal import JobBook
from ptl_sweep.launchers.slurm.queue import view_jobs
from ptl_sweep.pipeline import status, status_text
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.queue import QueueSnapshot
from ptl_sweep.pipeline.status import Reduction, StageState, States

LOOK_S = 1.0  # for the reducer's mark, in our own folder
ASK_S = 10.0  # between two looks at SLURM's queue and at the stages
LOOKS_BEFORE_GIVING_UP = 3  # a job that has just ended, or was not yet released, needs a moment


@dataclass(frozen=True, slots=True)
class WaitOutcome:
    """How a sweep ended."""

    is_ok: bool  # every cell has a result
    text: str


class Waiting:
    """Looks at the store and the queue until the reducer has run, or nothing can go on."""

    def __init__(self, plan: Plan, console: Console, *, is_quiet: bool) -> None:
        self.plan, self.console, self.is_quiet = plan, console, is_quiet
        self.submission = JobBook(plan.folder).last_submission()
        self.started = time.monotonic()
        self.fruitless_looks = 0
        self.shown = ""

    def run(self) -> WaitOutcome:
        """Until the end."""
        with Live(console=self.console, auto_refresh=False, transient=True) as live:
            asked = -ASK_S
            while True:
                ended = self._ended_outcome()
                if ended is not None:
                    return ended
                if time.monotonic() - asked >= ASK_S:
                    asked = time.monotonic()
                    given_up = self._look(live)
                    if given_up is not None:
                        return given_up
                time.sleep(LOOK_S)

    def _ended_outcome(self) -> WaitOutcome | None:
        """The reducer's word, when it is about the newest submission."""
        reduction = status.last_reduction(self.plan)
        if reduction is None or not (self._is_newest(reduction) or status.is_complete(self.plan)):
            return None
        return WaitOutcome(reduction.num_failed == 0, reduction.text)

    def _is_newest(self, reduction: Reduction) -> bool:
        if self.submission is not None:
            return reduction.submission == self.submission
        return reduction.time >= status.planned_at(self.plan)

    def _look(self, live: Live) -> WaitOutcome | None:
        """Show how far it is; an outcome when nothing will come any more."""
        jobs = view_jobs(self.plan, with_accounting=False)  # squeue alone, however long it takes
        states = status.stage_states(self.plan, jobs)
        self._show(live, jobs, states)
        if jobs is not None and jobs.error is not None:
            return None  # SLURM will answer again
        if StageState.RUNNING in states.values() or (jobs is not None and jobs.can_progress):
            self.fruitless_looks = 0
            return None
        self.fruitless_looks += 1
        if self.fruitless_looks < LOOKS_BEFORE_GIVING_UP:
            return None
        text = status_text.status_text(self.plan, view_jobs(self.plan))
        why = "no job of it can go on" if jobs and jobs.own else "nothing of it runs or is queued"
        return WaitOutcome(
            is_ok=False, text=f"{text}\n{self.plan.name}: {why}; the same command queues the rest"
        )

    def _show(self, live: Live, jobs: QueueSnapshot | None, states: States) -> None:
        if self.is_quiet:
            return
        if self.console.is_terminal:
            view = status_text.progress_view(
                self.plan, states, elapsed_s=time.monotonic() - self.started, num_workers=None
            )
            live.update(view, refresh=True)
            return
        counts = status.count_states(self.plan, states).values()
        total = {state: sum(count[state] for count in counts) for state in StageState}
        lines = [", ".join(f"{number} {state}" for state, number in total.items() if number)]
        lines += [line for line in status_text.queue_lines(jobs) if line.startswith("STUCK")]
        text = "\n".join(lines)
        if text != self.shown:
            self.shown = text
            self.console.print(text, markup=False, soft_wrap=True)
