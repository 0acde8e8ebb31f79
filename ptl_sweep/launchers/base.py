"""What a launcher is: it makes sure that the tasks of a plan run, wherever that is."""

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence

from rich.console import Console

from ptl_sweep.config.schema import LauncherConfig
from ptl_sweep.detection.architectures import architecture_of
from ptl_sweep.pipeline.costs import measured_seconds
from ptl_sweep.pipeline.graph import Task
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.stages.base import KINDS, Stage
from ptl_sweep.stages.train import DetectorStage
from ptl_sweep.terminal import duration

log = logging.getLogger(__name__)

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

    def check_without_gpu(self) -> None:
        """Refuse what this machine, which has no GPU, cannot train; say what it trains slowly.

        Raises: ConfigError.
        """
        from ptl_sweep.detection.arithmetic import check_precision  # torch: only where it is asked

        store = self.plan.store
        missing = [one for key, one in self.plan.stages.items() if not store.is_published(key)]
        for stage in missing:
            if isinstance(stage, DetectorStage) and stage.train.precision != "float32":
                check_precision(stage.train.precision, "cpu")
        slow = [one for one in missing if architecture_of(one.detector.config()).needs_gpu]
        if slow:
            self._warn_of(slow)

    def _warn_of(self, stages: Sequence[Stage]) -> None:
        costs = measured_seconds(self.plan)
        seconds = sum(costs[stage.kind].seconds for stage in stages)
        is_measured = all(costs[stage.kind].is_measured for stage in stages)
        log.warning(
            "no GPU here for %s: the plan expects %s of work%s",
            ", ".join(sorted({stage.detector.architecture for stage in stages})),
            duration(seconds),
            " (as measured)" if is_measured else " for one GPU; a processor takes many times that",
        )

    def command(self, task: Task) -> list[str]:
        """The worker process of a task; its exit codes are in `ptl_sweep.worker.running`."""
        return [sys.executable, "-m", "ptl_sweep.worker", str(self.plan.folder), task.name]
