"""Keys that a sweep varies beside dataset, real_count, synthetic, target and seed: its axes.

An axis is a key (`train.num_steps`), or a group whose choices have names (`translator`).
"""

import dataclasses
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ptl_sweep.compose.cells.ids import CellId, cell_id, value_text
from ptl_sweep.config.schema import Config, ConfigError
from ptl_sweep.vocabulary import Value

NAMED_GROUPS = ("pool", "translator", "detector")  # whose choice no coordinate says
MAX_AXES = 4
OTHER_SWEEP = "; run a sweep for each (sweep.name=...): they share their trainings"
OTHER_NAME = "; folders with other files are other data: name them (dataset.name=, target.name=)"
REFUSED = {  # what a whole sweep has one value of, and what to do
    "analysis": OTHER_SWEEP,
    "evaluate.score_thresholds": OTHER_SWEEP,
    "evaluate.iterations": OTHER_SWEEP,
    "data_root": OTHER_NAME,
    **{f"{part}.root": OTHER_NAME for part in ("dataset", "target", "pool")},
}


def swept_axes(cells: Sequence[Config]) -> list[str]:
    """Find what tells cells of equal coordinates apart, in the order of the configuration.

    Raises: ConfigError for equal cells, and for keys that cannot be an axis.
    """
    groups = [name for name in NAMED_GROUPS if _differ(cells, f"{name}.name")]
    keys = _swept_keys(cells, groups)
    _refuse(keys)
    axes = [*groups, *keys]
    places = {key: place for place, key in enumerate(_keys(cells[0]))} if axes else {}
    axes.sort(key=lambda axis: places.get(f"{axis}.name", places.get(axis, len(places))))
    if len(axes) > MAX_AXES:
        raise ConfigError(
            f"cells with equal coordinates differ in {', '.join(axes)}: a sweep has at most "
            f"{MAX_AXES} axes; sweep fewer keys, or give each choice a name (synthetic.name=...)"
        )
    for twins in _alike(cells, axes):
        raise ConfigError(
            f"two cells of the grid are both {_readable(twins[0], axes)}: write each value once, "
            "and sweep no key of hydra"
        )
    return axes


def axis_values(cells: Sequence[Config], axes: Sequence[str]) -> list[dict[str, Value]]:
    """The values of each cell; those of one axis are all integers, all numbers or all texts."""
    columns = [_uniform([_named_value(config, axis) for config in cells]) for axis in axes]
    return [
        dict(zip(axes, values, strict=True)) for values in zip(*columns, strict=True)
    ] or [{} for _ in cells]  # fmt: skip


def in_axis_order(cells: Sequence[Config], axes: Sequence[str]) -> list[Config]:
    """Sort cells by coordinates, then by the values of axes; null is the smallest."""
    places = [
        (cell_id(config), [(value is not None, value) for value in values.values()])
        for config, values in zip(cells, axis_values(cells, axes), strict=True)
    ]
    return [cells[place] for place in sorted(range(len(cells)), key=places.__getitem__)]


def _differ(cells: Sequence[Config], key: str) -> bool:
    """Whether cells of equal coordinates have several values of a key."""
    found: dict[CellId, Any] = {}
    return any(found.setdefault(cell_id(c), _value(c, key)) != _value(c, key) for c in cells)


def _swept_keys(cells: Sequence[Config], groups: Sequence[str]) -> list[str]:
    """Keys that differ where the choices of `groups` are the same.

    A target that is a part of the source has the source's keys: one of two is enough.
    """
    differ: dict[str, None] = {}
    for first, *others in _alike(cells, groups):
        for other in others:
            differ |= dict.fromkeys(_differences(first, other))
    mirrored = {
        key for key in differ if key.replace("target.", "dataset.", 1) in differ.keys() - {key}
    }
    fewer = [key for key in differ if key not in mirrored]
    return list(differ) if any(_alike(cells, [*groups, *fewer])) else fewer


def _alike(cells: Sequence[Config], axes: Sequence[str]) -> list[list[Config]]:
    """Cells that coordinates and `axes` do not tell apart, two or more together."""
    found: defaultdict[Hashable, list[Config]] = defaultdict(list)
    for config in cells:
        values = tuple(value_text(_named_value(config, axis)) for axis in axes)
        found[cell_id(config), values].append(config)
    return [together for together in found.values() if len(together) > 1]


def _refuse(keys: Iterable[str]) -> None:
    for key in keys:
        advice = REFUSED.get(key) or REFUSED.get(key.split(".")[0])
        if advice:
            raise ConfigError(f"{key} must be the same in every cell of a sweep{advice}")


def _differences(one: Any, other: Any, prefix: str = "") -> Iterator[str]:
    """Name the keys whose values differ, those in a mapping as well."""
    for name in _names(one) or ():
        values = _get(one, name), _get(other, name)
        if values[0] is values[1]:
            continue
        if _names(values[0]) is not None and _names(values[1]) == _names(values[0]):
            yield from _differences(*values, f"{prefix}{name}.")
        elif values[0] != values[1]:
            yield prefix + name


def _keys(part: Any, prefix: str = "") -> Iterator[str]:
    """Every key below a part, in the order of the configuration."""
    for name in _names(part) or ():
        yield prefix + name
        yield from _keys(_get(part, name), f"{prefix}{name}.")


def _names(part: Any) -> list[str] | None:
    """The names in a part of the configuration; None for a value."""
    if dataclasses.is_dataclass(part):
        return [field.name for field in dataclasses.fields(part)]
    return list(part) if isinstance(part, Mapping) else None


def _get(part: Any, name: str) -> Any:
    return part[name] if isinstance(part, Mapping) else getattr(part, name)


def _value(config: Config, key: str) -> Any:
    value: Any = config
    for name in key.split("."):
        value = _get(value, name)
    return value


def _named_value(config: Config, axis: str) -> Any:
    return _value(config, f"{axis}.name" if axis in NAMED_GROUPS else axis)


def _uniform(values: Sequence[Any]) -> list[Value]:
    """Numbers as they are, all as floats where one is; everything else as text."""
    known = [value for value in values if value is not None]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in known):
        return [value_text(value) for value in values]
    if all(isinstance(value, int) for value in known):
        return list(values)
    return [None if value is None else float(value) for value in values]


def _readable(config: Config, axes: Sequence[str]) -> str:
    own = {axis: value_text(_named_value(config, axis)) for axis in axes}
    return " ".join(f"{name}={value}" for name, value in (cell_id(config)._asdict() | own).items())
