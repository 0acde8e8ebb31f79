"""launcher=inline: every task in this process, for tests and for debugging."""

import logging

from ptl_sweep.launchers.base import Launcher
from ptl_sweep.store import StageClaimedError
from ptl_sweep.worker.running import StageFailedError, prepare_process, run_stage

log = logging.getLogger(__name__)


class InlineLauncher(Launcher):
    """Runs one stage after the other; a failed one blocks only what needs it."""

    def run(self) -> bool:
        """Every task, parents first."""
        from ptl_sweep.tracking import Companion

        plan = self.plan
        prepare_process(plan.num_threads)
        with Companion() as companion:
            for key in (key for task in self.missing_tasks() for key in task.stages):
                if not all(plan.store.is_published(parent) for parent in plan.stages[key].parents):
                    continue
                try:
                    if run_stage(plan, key, should_stop=lambda: False, companion=companion):
                        self.console.print(f"published {key}")
                except (StageFailedError, StageClaimedError) as error:
                    log.error("%s", error)  # noqa: TRY400
                except OSError as error:  # the claim cannot be written
                    log.error("%s: %s", key, plan.store.describe(error))  # noqa: TRY400
        return True
