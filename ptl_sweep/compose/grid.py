"""From the command line to cells: Hydra composes and validates, nothing runs here."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import cast, get_origin

from ptl_sweep.compose.cells.axes import swept_axes
from ptl_sweep.config.schema import (
    Config,
    ConfigError,
    DatasetConfig,
    PoolConfig,
)
from ptl_sweep.datasets import registry


def check_grid(cells: Sequence[Config], named: Iterable[str]) -> None:
    """Refuse a grid that no reader of its results could interpret.

    `named` holds the keys that the command line set. Raises: ConfigError.
    """
    check_cells(cells, named)
    rising = sorted(cells, key=lambda config: config.real_count)
    by_object = {id(config.dataset): config for config in rising}  # cells share most of them
    rising = sorted(by_object.values(), key=lambda config: config.real_count)
    largest = {repr(config.dataset): config for config in rising}
    for config in largest.values():  # once for each data set: counting may read its files
        _check_real_count(config)


def check_cells(cells: Sequence[Config], named: Iterable[str]) -> None:
    """Refuse what can be refused before any file is read. Raises: ConfigError."""
    keys = set(named)
    _check_one_sweep(cells)
    swept_axes(cells)
    _check_validation(cells)
    if "target.root" in keys:
        _check_target_root(cells)
    if not {"dataset", "target"} <= keys:
        _check_worlds(cells)
    _check_drawn(cells)


def _check_validation(cells: Sequence[Config]) -> None:
    for config in cells:
        split = config.dataset.split
        if config.analysis.calibration == "validation" and config.dataset.validation_split == split:
            raise ConfigError(
                f"dataset.validation_split={split} is the split that training subsets are drawn "
                "from: set it to a part that no training sees, or analysis.calibration=crossfit"
            )


def _check_one_sweep(cells: Sequence[Config]) -> None:
    for part in ("launcher", "tracking", "sweep"):
        if any(getattr(config, part) != getattr(cells[0], part) for config in cells):
            raise ConfigError(
                f"{part} must be the same in every cell of a sweep (a comma that is part of a "
                "value needs quotes inside quotes: 'key=\"a,b\"')"
            )


def _check_target_root(cells: Sequence[Config]) -> None:
    names: dict[str | None, set[str]] = {}
    for config in cells:
        names.setdefault(config.target.root, set()).add(config.target.name)
    for targets in names.values():
        if len(targets) > 1:
            raise ConfigError(
                f"target.root is one folder, but the sweep has {len(targets)} targets "
                f"({', '.join(sorted(targets))}); set data_root to their common parent"
            )


def _check_worlds(cells: Sequence[Config]) -> None:
    """Refuse a toy target beside a real source, which is nearly always a forgotten override."""
    for config in cells:
        if (config.dataset.reader == "miniature") != (config.target.reader == "miniature"):
            raise ConfigError(
                f"dataset {config.dataset.name} and target {config.target.name}: one is the "
                "miniature world, the other is not; name both on the command line (dataset=... "
                "target=...) if you mean it"
            )


def _check_drawn(cells: Sequence[Config]) -> None:
    """Refuse a folder for the miniature world: its owner would read results of toy pictures."""
    for config in cells:
        parts: dict[str, DatasetConfig | PoolConfig] = {
            "dataset": config.dataset, "target": config.target, "pool": config.pool,
        }  # fmt: skip
        for role, data in parts.items():
            if data.reader == "miniature" and data.root is not None:
                choice = "archangel" if role == "pool" else "yolo (or coco, or voc)"
                raise ConfigError(
                    f"{role}.root={data.root}: {role}={data.name} is of the miniature world, which "
                    f"is drawn and reads no folder: add {role}={choice}, or leave root out"
                )


def _check_real_count(config: Config) -> None:
    available = registry.num_eligible(config.dataset, config.dataset.split)
    fault = None if available is None else real_count_fault(config, available)
    if fault is not None:
        raise ConfigError(fault)


def real_count_fault(config: Config, available: int) -> str | None:
    """Say that a cell asks for more real pictures than show a person; None when it does not."""
    if config.real_count <= available:
        return None
    return (
        f"real_count={config.real_count}, but {config.dataset.name} ({config.dataset.split}) "
        f"has {available} images with persons; use 1..{available}"
    )


def all_keys() -> list[str]:
    """List every config key in dotted form, group names included."""
    return list(declared_keys())


def declared_keys(node: type = Config, prefix: str = "") -> dict[str, object]:
    """Find the declared type of every config key, groups included, free names in a mapping not."""
    keys: dict[str, object] = {}
    for field in dataclasses.fields(node):
        keys[prefix + field.name] = field.type
        if is_group(field.type):
            keys |= declared_keys(cast("type", field.type), f"{prefix}{field.name}.")
    return keys


def is_group(declared: object) -> bool:
    """Whether a declared type is a group of keys."""
    return isinstance(declared, type) and dataclasses.is_dataclass(declared)


def mappings() -> list[str]:
    """List the keys that hold names of the user's own: classes of files, options of sbatch."""
    return [key for key, declared in declared_keys().items() if get_origin(declared) is dict]


def mapping_of(key: str) -> str | None:
    """Find the mapping in which `key` is a free name; None when it is not below one."""
    return next((name for name in mappings() if key.startswith(f"{name}.")), None)
