"""What a launcher is: it makes sure that the tasks of a plan run, wherever that is."""

import sys
from abc import ABC, abstractmethod

from rich.console import Console

from ptl_sweep.config.schema import LauncherConfig
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.stages.base import KINDS

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

    def command(self, task: Task) -> list[str]:
        """The worker process of a task; its exit codes are in `ptl_sweep.worker.running`."""
        return [sys.executable, "-m", "ptl_sweep.worker", str(self.plan.folder), task.name]
