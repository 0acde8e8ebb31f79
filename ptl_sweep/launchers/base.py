"""What a launcher is: it makes sure that the tasks of a plan run, wherever that is."""

import logging
import sys
from abc import ABC, abstractmethod

from rich.console import Console

from ptl_sweep.config.schema import LauncherConfig
from ptl_sweep.pipeline.costs import measured_seconds
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.stages.base import KINDS
from ptl_sweep.terminal import duration

log = logging.getLogger(__name__)

NEEDS_GPU = "retinanet_r50"  # the architecture that a processor takes days for
RETRY_CLAIMED_S = 5.0  # a stage that another process computes is looked at again after this


class Launcher(ABC):
    """Runs the tasks of a plan, parents first; a stage that is published is left alone."""

    def __init__(self, plan: Plan, config: LauncherConfig, console: Console) -> None:
        self.plan, self.config, self.console = plan, config, console

    @abstractmethod
    def run(self) -> bool:
        """Whether every task has ended; False: jobs are queued, and the last of them reduces."""

    def missing_tasks(self) -> list[Task]:
        """Tasks with a stage that is not published, parents first."""
        store = self.plan.store
        missing = [t for t in self.plan.tasks if not all(map(store.is_published, t.stages))]
        return sorted(missing, key=lambda task: KINDS.index(task.kind))

    def warn_without_gpu(self) -> None:
        """Say once what a big detector asks of this machine, which has no GPU."""
        store = self.plan.store
        stages = [
            stage
            for key, stage in self.plan.stages.items()
            if stage.detector.architecture == NEEDS_GPU and not store.is_published(key)
        ]
        if not stages:
            return
        costs = measured_seconds(self.plan)
        seconds = sum(costs[stage.kind].seconds for stage in stages)
        is_measured = all(costs[stage.kind].is_measured for stage in stages)
        log.warning(
            "no GPU here for %s: the plan expects %s of work%s",
            NEEDS_GPU,
            duration(seconds),
            " (as measured)" if is_measured else " for one GPU; a processor takes many times that",
        )

    def command(self, task: Task) -> list[str]:
        """The worker process of a task; its exit codes are in `ptl_sweep.worker.running`."""
        return [sys.executable, "-m", "ptl_sweep.worker", str(self.plan.folder), task.name]
