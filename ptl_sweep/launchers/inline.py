"""launcher=inline: every task in this process, for tests and for debugging."""

import logging
from time import sleep
from typing import TYPE_CHECKING

from ptl_sweep.launchers.base import RETRY_CLAIMED_S, Launcher
from ptl_sweep.ownership import StageClaimedError
from ptl_sweep.worker.cards import visible_cards
from ptl_sweep.worker.running import StageFailedError, prepare_process, run_stage

if TYPE_CHECKING:
    from ptl_sweep.tracking import Companion

log = logging.getLogger(__name__)


class InlineLauncher(Launcher):
    """Runs one stage after the other; a failed one blocks only what needs it.

    A stage that another process computes is waited for: its children need it.
    """

    def run(self) -> bool:
        """Every task, parents first."""
        from ptl_sweep.tracking import Companion

        waiting = [key for task in self.missing_tasks() for key in task.stages]
        if waiting and not visible_cards():
            self.check_without_gpu()
        prepare_process(self.plan.num_threads)
        told: set[str] = set()  # of stages that are claimed
        with Companion() as companion:
            while waiting:
                claimed: list[str] = []
                for key in waiting:
                    parents = self.plan.stages[key].parents
                    if any(parent in claimed for parent in parents):
                        claimed.append(key)
                    elif all(map(self.plan.store.is_published, parents)):
                        claimed += self._run_one(key, companion, told)
                if claimed:
                    sleep(RETRY_CLAIMED_S)
                waiting = claimed
        return True

    def _run_one(self, key: str, companion: "Companion", told: set[str]) -> list[str]:
        """Run a stage; it is returned when another process computes it, to be looked at again."""
        try:
            if run_stage(self.plan, key, should_stop=lambda: False, companion=companion):
                self.console.print(f"published {key}")
        except StageClaimedError as error:
            if key not in told:
                log.warning("%s; waiting for it", error)
            told.add(key)
            return [key]
        except StageFailedError as error:
            log.error("%s", error)  # noqa: TRY400
        except OSError as error:  # the claim cannot be written
            log.error("%s: %s", key, self.plan.store.describe(error))  # noqa: TRY400
        return []
