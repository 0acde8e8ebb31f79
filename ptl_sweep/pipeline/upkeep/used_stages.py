"""Which stages of a store the sweeps need: those that their plans name, and what these rest on."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.meta import parents_in
from ptl_sweep.pipeline.plan import PLAN, load_plan
from ptl_sweep.store import Store, StoreError

PlanState = tuple[Path, int, int]  # where it lies, when it was written, its size


@dataclass(slots=True)
class UsedStages:
    """Reads each plan below `root` once, and again when it has changed."""

    root: Path
    _texts: dict[PlanState, set[str]] = field(default_factory=dict)
    _keys: set[str] = field(default_factory=set)

    def needed(self) -> set[str]:
        """What the plans name as they are now, and the parents of it that are published.

        Raises: ConfigError for a plan.json that cannot be read.
        """
        texts: dict[PlanState, set[str]] = {}
        for path in plan_files(self.root):
            try:
                stat = path.stat()
                state = path, stat.st_mtime_ns, stat.st_size
                texts[state] = self._texts.get(state) or _texts_of(path)
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise ConfigError(_unreadable(path, error)) from error
        if not self._keys or texts.keys() != self._texts.keys():
            self._keys = with_parents(Store(self.root / "store"), set().union(*texts.values()))
        self._texts = texts
        return self._keys


def with_parents(store: Store, keys: Iterable[str]) -> set[str]:
    """Add the parents of published stages, their parents, and so on."""
    needed: set[str] = set()
    todo = list(keys)
    while todo:
        key = todo.pop()
        if key not in needed:
            needed.add(key)
            todo.extend(parents_of(store, key))
    return needed


def parents_of(store: Store, key: str) -> list[str]:
    """Parents of a published stage; none where meta.json does not say."""
    try:
        return parents_in(store.meta(key))
    except StoreError:
        return []


def plan_files(root: Path) -> list[Path]:
    """Every plan.json of a sweep of this root: below sweeps/, and where folders were moved to.

    Raises: ConfigError for a folder that cannot be looked into.
    """
    store = root / "store"
    moved = {path for path in root.glob(f"*/*/{PLAN}") if store not in path.parents}
    return sorted(moved.union(_walk(root / "sweeps")))


def _walk(folder: Path) -> Iterator[Path]:
    """Find plan.json at any depth, behind links too, each folder once."""
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise ConfigError(_unreadable(Path(error.filename), error)) from error

    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:  # links that go round in a circle
            folders.clear()
            continue
        seen.add(real)
        if PLAN in names:
            folders.clear()  # a sweep's own folder, with thousands of files
            yield Path(place) / PLAN


def _texts_of(path: Path) -> set[str]:
    """Keys as the plan has them, and as this version of the package would call them."""
    plan = load_plan(path.parent)
    keys = set(plan.stages)
    keys.update(parent for stage in plan.stages.values() for parent in stage.parents)
    return keys | set(_texts(json.loads(path.read_text())))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


def _unreadable(path: Path, error: Exception) -> str:
    return (
        f"{path} cannot be read ({type(error).__name__}: {error}), so that nobody knows which "
        "stages are unused\n"
        "  fix: run that sweep's command again, which writes it anew, or move its folder away"
    )
