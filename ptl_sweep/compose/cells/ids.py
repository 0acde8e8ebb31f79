"""The coordinates of a cell, and how users and result columns name them."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, TypeVar

from ptl_sweep.config.schema import SYNTHETIC_SPELLINGS, Config, ConfigError
from ptl_sweep.vocabulary import Value

V = TypeVar("V")
BETWEEN = ", "  # a name and the values of axes behind it; no name holds one


class CellId(NamedTuple):
    """The coordinates of a cell, as the result columns show them.

    In a sweep with axes, `dataset` and `synthetic` say their values: `on, temperature=5`.
    """

    dataset: str
    real_count: int
    synthetic: str
    target: str
    seed: int


def cell_id(config: Config) -> CellId:
    """Read the coordinates of a composed cell, without axes."""
    return CellId(
        config.dataset.name,
        config.real_count,
        config.synthetic.name,
        config.target.name,
        config.seed,
    )


def named_axes(wanted: Mapping[str, V], axes: Collection[str] = ()) -> dict[str, V | str]:
    """Coordinates as a user names them, `synthetic` as results spell it; `axes`: of the sweep.

    Raises: ConfigError.
    """
    known = [*CellId._fields, *axes]
    unknown = sorted(wanted.keys() - set(known))
    if unknown:
        raise ConfigError(f"{unknown[0]} is not an axis; a cell has {', '.join(known)}")
    return {
        axis: SYNTHETIC_SPELLINGS.get(str(value), value) if axis == "synthetic" else value
        for axis, value in wanted.items()
    }


def name_before_axes(label: str) -> str:
    """The data set of `miniature, train.num_steps=100`, or the `on` of `on, temperature=5`."""
    return label.partition(BETWEEN)[0]


def values_after_name(label: str) -> str:
    """What stands behind the name, `, temperature=5`; empty without axes."""
    return label.removeprefix(name_before_axes(label))


def coordinates(id_: CellId, axes: Mapping[str, Value]) -> dict[str, Value]:
    """As they are typed: names without axes, then the axes that have a value."""
    plain = id_._replace(
        dataset=name_before_axes(id_.dataset), synthetic=name_before_axes(id_.synthetic)
    )
    own = {axis: value for axis, value in axes.items() if value is not None}
    return {**plain._asdict(), **own}


def is_at(id_: CellId, axes: Mapping[str, Value], wanted: Mapping[str, Value]) -> bool:
    """Whether `wanted` are coordinates of a cell; its names with axes or without."""
    own, named = coordinates(id_, axes), id_._asdict()
    return all(
        value in {own[axis], named[axis]}
        if axis in named
        else axis in own and _as_number(value) == _as_number(own[axis])
        for axis, value in wanted.items()
    )


def _as_number(value: Value) -> Value:
    """The number that a word stands for, else its text."""
    try:
        return float(value)  # type: ignore[arg-type]  # None has no number either
    except (TypeError, ValueError):
        return value_text(value)


def value_text(value: Any) -> str:
    """A value as a user types it; 5.0 is 5."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
    return str(int(value) if is_whole else value)
