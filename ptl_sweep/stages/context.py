"""What a running stage may touch: its work folder, its parents' files, its history, its mirror."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ptl_sweep.config.schema import Config, DatasetConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.seeds import derive_seed
from ptl_sweep.stages.wandb_runs import STEP_METRICS, stage_run
from ptl_sweep.store import HISTORY, Stage, Store, write_atomically
from ptl_sweep.tracking import History, Recorder, StageMirror, Value


@dataclass(slots=True, kw_only=True)
class Workspace:
    """Handed to the function of a stage."""

    stage: Stage
    config: Config
    store: Store
    folder: Path  # <key>.wip: what is written here is published with the stage
    should_stop: Callable[[], bool]
    history: History
    mirror: StageMirror
    cache: ImageCache
    _logged: set[tuple[str, Value]] = field(default_factory=set)

    @property
    def device(self) -> torch.device:
        """CUDA where there is one."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def resize(self) -> tuple[int, int] | None:
        """(shorter, longer) side that the detector sees; None: native resolution."""
        detector = self.config.detector
        if detector.min_size is None or detector.max_size is None:
            return None
        return detector.min_size, detector.max_size

    def seed(self, *purpose: object) -> int:
        """Seed of one purpose within this cell."""
        return derive_seed(self.config.seed, *purpose)

    def rng(self, *purpose: object) -> np.random.Generator:
        """Generator of one purpose within this cell."""
        return np.random.default_rng(self.seed(*purpose))

    def log(self, row: Mapping[str, Value]) -> None:
        """Append to history.jsonl and mirror, unless a run before a kill has logged this step."""
        step = step_of(row)
        if step in self._logged:
            return
        self._logged.add(step)
        self.history.append(row)
        self.mirror.log(row)

    def write_json(self, name: str, content: object) -> None:
        """A file of the stage."""
        write_atomically(self.folder / name, json.dumps(content, indent=1).encode())

    def parent(self, name: str) -> Path:
        """A checked file of the (only) parent stage."""
        return self.store.artifact(self.stage.parents[0], name)

    def read_split(self, config: DatasetConfig, expected: Mapping[str, Any]) -> ImageSet:
        """A split whose content is still what the stage was planned with. Raises: DataError."""
        image_set = registry.read_split(config, expected["split"])
        _check_fingerprint(image_set, expected["fingerprint"])
        return image_set

    def read_pool(self) -> ImageSet:
        """The virtual pool, checked in the same way."""
        pool = registry.read_pool(self.config.pool)
        _check_fingerprint(pool, self.stage.spec["pool"]["fingerprint"])
        return pool

    def finish(self, summary: Mapping[str, Value]) -> None:
        """Hand the summary to the mirror."""
        self.mirror.summary(summary)


def _check_fingerprint(image_set: ImageSet, expected: str | None) -> None:
    if image_set.fingerprint != expected:
        raise DataError(
            f"{image_set.name} ({image_set.split}) has changed since the sweep was planned "
            f"(fingerprint {image_set.fingerprint}, planned {expected}); run the command again"
        )


def step_of(row: Mapping[str, Value]) -> tuple[str, Value]:
    """The step metric of a history row and its value."""
    for name in STEP_METRICS:
        if name in row:
            return name, row[name]
    raise ValueError(f"a history row needs one of {', '.join(STEP_METRICS)}, got {sorted(row)}")


@contextmanager
def open_workspace(
    plan: Plan,
    stage: Stage,
    config: Config,
    folder: Path,
    should_stop: Callable[[], bool],
    recorder: Recorder,
) -> Iterator[Workspace]:
    """The workspace of a claimed stage; rows of a killed attempt are kept and mirrored again."""
    history = History(folder / HISTORY)
    rows = history.rows()
    info = stage_run(plan, stage, config)
    with recorder.open_mirror(
        config.tracking, root=plan.root / "tracking", sweep=plan.name, run=info, rows=rows
    ) as mirror:
        yield Workspace(
            stage=stage,
            config=config,
            store=plan.store,
            folder=folder,
            should_stop=should_stop,
            history=history,
            mirror=mirror,
            cache=ImageCache(config.train.image_cache_mb * 2**20),
            _logged={step_of(row) for row in rows},
        )
