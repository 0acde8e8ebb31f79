"""Which axes a cell has: those that change its result; and what the results call it.

An axis that changes the detector of real images alone, or its evaluation, makes another source of
every value: effects are within it. Any other one makes another value of `synthetic`, to be compared
with the one `off`.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ptl_sweep.compose.cells.ids import BETWEEN, CellId, value_text
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.vocabulary import Value

Values: TypeAlias = Mapping[str, Value]
Result: TypeAlias = tuple[CellId, Values, Hashable]  # equal results: equal last parts


class AskedCell(NamedTuple):
    """A cell of the command line, by coordinates without axes."""

    id: CellId
    values: Values  # of every axis
    result: Hashable  # what is evaluated
    without: Hashable  # the same with real images alone


class NamedCell(NamedTuple):
    """A cell as results show it; several that were asked for may be the same one."""

    id: CellId
    values: Values  # None: of an axis that does not change this cell


def name_cells(asked: Sequence[AskedCell]) -> list[NamedCell]:
    """Name every cell by the axes that reach it, in the order of `asked`.

    Raises: ConfigError for an axis that reaches none.
    """
    arms: defaultdict[tuple[str, str], list[AskedCell]] = defaultdict(list)
    for cell in asked:
        arms[cell.id.dataset, cell.id.synthetic].append(cell)
    shared: defaultdict[str, set[str]] = defaultdict(set)
    for (dataset, _), own in arms.items():
        shared[dataset] |= reaching([(one.id, one.values, one.without) for one in own])
    reached = {
        arm: shared[arm[0]] | reaching([(one.id, one.values, one.result) for one in own])
        for arm, own in arms.items()
    }
    for axis in asked[0].values.keys() - set().union(*reached.values()):
        raise ConfigError(
            f"{axis} changes no result of this sweep, so there is nothing to compare: give it one "
            "value"
        )
    return [
        _named(cell, shared[cell.id.dataset], reached[cell.id.dataset, cell.id.synthetic])
        for cell in asked
    ]


def reaching(results: Sequence[Result]) -> set[str]:
    """Axes that some result depends on: without them, unequal results would be one cell."""
    kept = list(results[0][1])
    for left_out in (kept, *([axis] for axis in kept)):
        rest = [axis for axis in kept if axis not in left_out]
        if len(rest) < len(kept) and _is_same(results, kept, rest):
            kept = rest
    return set(kept)


def _is_same(results: Sequence[Result], kept: Sequence[str], rest: Sequence[str]) -> bool:
    """Whether fewer axes bring together cells, and none that differ."""
    found: defaultdict[Hashable, set[Hashable]] = defaultdict(set)
    before = set()
    for id_, values, result in results:
        found[id_, _texts(values, rest)].add(result)
        before.add((id_, _texts(values, kept)))
    return len(found) < len(before) and all(len(one) == 1 for one in found.values())


def _texts(values: Values, axes: Iterable[str]) -> tuple[str, ...]:
    return tuple(value_text(values[axis]) for axis in axes)


def _named(cell: AskedCell, shared: set[str], reached: set[str]) -> NamedCell:
    texts = {axis: f"{axis}={value_text(value)}" for axis, value in cell.values.items()}
    source = [texts[axis] for axis in texts if axis in shared]
    arm = [text.removeprefix("synthetic.") for axis, text in texts.items()
           if axis in reached - shared]  # fmt: skip
    return NamedCell(
        cell.id._replace(
            dataset=BETWEEN.join([cell.id.dataset, *source]),
            synthetic=BETWEEN.join([cell.id.synthetic, *arm]),
        ),
        {axis: value if axis in reached else None for axis, value in cell.values.items()},
    )
