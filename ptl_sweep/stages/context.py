"""What a running stage may touch: its work folder, its parents' files, its history.

Nothing of the configuration is here: what a stage reads stands in its own fields.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ptl_sweep.datasets import registry
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.stages.inputs import WEIGHTS_FOLDER, DataSpec, PoolSpec
from ptl_sweep.stages.train import STEP_METRICS
from ptl_sweep.store import Store, write_atomically
from ptl_sweep.tracking import History, Value


@dataclass(slots=True, kw_only=True)
class StageContext:
    """Handed to `Stage.run`."""

    key: str
    parents: tuple[str, ...]
    store: Store
    folder: Path  # <key>.wip: what is written here is published with the stage
    should_stop: Callable[[], bool]
    history: History
    cache: ImageCache
    drops: dict[str, dict[str, int]] = field(default_factory=dict)  # data set -> reason -> boxes
    _logged: set[tuple[str, Value]] = field(default_factory=set)

    def resume(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """Log no step again that a killed attempt has logged."""
        self._logged |= {step_of(row) for row in rows}

    @property
    def device(self) -> torch.device:
        """CUDA where there is one."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    @property
    def weights_folder(self) -> Path:
        """Where files of published initial weights are expected."""
        return self.store.root.parent / WEIGHTS_FOLDER

    def log(self, row: Mapping[str, Value]) -> None:
        """Append to history.jsonl, unless a run before a kill has logged this step."""
        step = step_of(row)
        if step in self._logged:
            return
        self._logged.add(step)
        self.history.append(row)

    def gpu_memory(self, name: str) -> dict[str, float]:
        """Largest GPU memory that tensors held since the last call, MB, as `name`; else empty.

        Waits for no kernel: the allocator counts on the host.
        """
        if self.device.type != "cuda":
            return {}
        largest = torch.cuda.max_memory_allocated(self.device) / 2**20
        torch.cuda.reset_peak_memory_stats(self.device)
        return {name: largest}

    def write_json(self, name: str, content: object) -> None:
        """Write a file of the stage."""
        write_atomically(self.folder / name, json.dumps(content, indent=1).encode())

    def parent(self, name: str) -> Path:
        """A checked file of the (only) parent stage. Raises: StoreError."""
        return self.store.artifact(self.parents[0], name)

    def optional_parent(self, name: str) -> Path | None:
        """The same of a file that not every stage makes; None when the parent made none.

        Its meta.json decides: a file that was made and is missing now is damage.
        Raises: StoreError.
        """
        return self.parent(name) if self.store.has_artifact(self.parents[0], name) else None

    def read_split(self, data: DataSpec) -> ImageSet:
        """A split whose content is still what the stage was planned with. Raises: DataError."""
        return self._read(data, registry.read_split(data.config(), data.split))

    def read_pool(self, pool: PoolSpec) -> ImageSet:
        """The virtual pool, checked in the same way. Raises: DataError."""
        return self._read(pool, registry.read_pool(pool.config()))

    def _read(self, data: DataSpec | PoolSpec, image_set: ImageSet) -> ImageSet:
        _check_fingerprint(image_set, data.fingerprint)
        if image_set.drops:
            self.drops[data.title] = dict(image_set.drops)
        return image_set


def _check_fingerprint(image_set: ImageSet, expected: str | None) -> None:
    if image_set.fingerprint != expected:
        raise DataError(
            f"{image_set.name} ({image_set.split}) has changed since the sweep was planned "
            f"(fingerprint {image_set.fingerprint}, planned {expected}); run the command again"
        )


def step_of(row: Mapping[str, Value]) -> tuple[str, Value]:
    """The step metric of a history row and its value. Raises: ValueError without one."""
    for name in STEP_METRICS:
        if name in row:
            return name, row[name]
    raise ValueError(f"a history row needs one of {', '.join(STEP_METRICS)}, got {sorted(row)}")
