"""Axes: keys that a sweep varies beside the coordinates of a cell."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptl_sweep.compose.cells.arms import AskedCell, name_cells
from ptl_sweep.compose.cells.axes import axis_values, swept_axes
from ptl_sweep.compose.cells.ids import CellId, value_text
from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.config.schema import Config, ConfigError
from ptl_sweep.pipeline.plan import plan_sweep

Cells = Callable[..., list[Config]]


@pytest.mark.parametrize(
    ("words", "axes"),
    [
        ((), {}),
        (("synthetic.temperature=10,1,5",), {"synthetic.temperature": [1.0, 5.0, 10.0]}),
        (("translator=identity,cyclegan",), {"translator": ["cyclegan", "identity"]}),
        (
            ("translator=identity,cyclegan", "translator.num_steps=9,7"),
            {"translator": ["cyclegan", "identity"], "translator.num_steps": [7, 9]},
        ),
        (("train.num_steps=7,9",), {"train.num_steps": [7, 9]}),
        (("synthetic.temperature=5,ess:0.5",), {"synthetic.temperature": ["5", "ess:0.5"]}),
        (("translator.warm_start=true,false",), {"translator.warm_start": ["false", "true"]}),
        (("synthetic.scales=[48],[48,72]",), {"synthetic.scales": ["[48, 72]", "[48]"]}),
        (("target.num_images=null,4",), {"target.num_images": [None, 4]}),
        (("target=source", "dataset.num_images=12,20"), {"dataset.num_images": [12, 20]}),
        (("detector=retinanet_tiny,retinanet_tiny_fine",),
         {"detector": ["retinanet_tiny", "retinanet_tiny_fine"]}),
    ],
)  # fmt: skip
def test_an_axis_has_the_name_and_the_type_of_what_is_swept(
    cells: Cells, words: tuple[str, ...], axes: dict[str, list[Any]]
) -> None:
    found = cells("real_count=3", "target=field", "synthetic=on", *words)
    assert swept_axes(found) == list(axes)
    for axis, values in axes.items():
        column = [own[axis] for own in axis_values(found, list(axes))]
        assert list(dict.fromkeys(column)) == values or sorted(set(column)) == values
        assert {type(one) for one in column} == {type(one) for one in values}


def test_the_order_of_the_words_changes_no_order_of_the_plan() -> None:
    words = ["real_count=3", "synthetic.temperature=10,9", "train.num_steps=6,50", "seed=0"]
    words += ["target=field", "synthetic=on"]
    one, other = (plan_sweep(compose_grid(own), "") for own in (words, words[::-1]))
    assert [cell.id for cell in one.cells] == [cell.id for cell in other.cells]
    assert list(one.stages) == list(other.stages)
    assert one.name == other.name
    values = [tuple(cell.axes.values()) for cell in one.cells]
    assert values == [(9.0, 6), (9.0, 50), (10.0, 6), (10.0, 50)]


@pytest.mark.parametrize(
    ("word", "way_out"),
    [
        ("analysis.calibration=none,crossfit", "run a sweep for each"),
        ("evaluate.score_thresholds=[0.1,0.2,0.3],[0.1,0.2,0.5]", "run a sweep for each"),
        ("evaluate.iterations=last,all", "run a sweep for each"),
        ("data_root=a,b", "name them"),
        ("pool.root=a,b", "name them"),
        ("sweep.name=a,b", "must be the same in every cell"),
        ("launcher.num_workers=1,2", "must be the same in every cell"),
        ("tracking=off,offline", "must be the same in every cell"),
        ("train=paper,miniature", "sweep fewer keys"),
        ("synthetic.temperature=5,5.0", "write each value once"),
    ],
)
def test_what_cannot_be_an_axis_is_refused_with_the_way_out(word: str, way_out: str) -> None:
    with pytest.raises(ConfigError, match=way_out):
        compose_grid(["real_count=3", "pool=archangel", "target=field", word])


def test_commands_that_only_look_take_what_is_no_sweep() -> None:
    words = ["real_count=3", "target=field", "synthetic=on", "pool=archangel", "pool.root=a,b"]
    assert [cell.pool.root for cell in compose_grid(words, as_sweep=False)] == ["a", "b"]


def test_every_data_set_of_an_axis_is_asked_for_enough_real_pictures() -> None:
    with pytest.raises(ConfigError, match="real_count=12, but miniature"):
        compose_grid(["real_count=3,12", "target=field", "dataset.num_images=40,10"])


def test_a_part_of_the_configuration_that_has_a_name_is_no_axis(cells: Cells) -> None:
    cell = cells("real_count=3", "synthetic=on", "target=field")[0]
    other = copy.deepcopy(cell)
    other.synthetic.temperature, other.synthetic.name = 9.0, "warm"
    assert swept_axes([cell, other]) == []


AXES = ("a", "b", "c")


@given(
    st.sets(st.sampled_from(AXES)),
    st.sets(st.sampled_from(AXES)),
    st.lists(st.integers(1, 3), min_size=3, max_size=3),
)
def test_cells_are_one_where_equal_and_off_is_paired_by_the_axes_that_change_it(
    of_off: set[str], of_on: set[str], sizes: list[int]
) -> None:
    """The names against what was put in: `off` reads `of_off`, `on` reads these and `of_on`."""
    asked, reads = [], {"off": of_off, "on": of_off | of_on}
    swept = {axis for axis, size in zip(AXES, sizes, strict=True) if size > 1}
    for name, axes in reads.items():
        for values in itertools.product(*map(range, sizes)):
            own = dict(zip(AXES, values, strict=True))
            result = (name, *(own[axis] for axis in sorted(axes)))
            without = ("off", *(own[axis] for axis in sorted(of_off)))
            asked.append(AskedCell(CellId("d", 3, name, "t", 0), own, result, without))
    if not set(AXES) <= of_off | of_on or swept != set(AXES):
        return  # an axis without effect is refused, one with one value is none
    named = name_cells(asked)
    for one, other in itertools.combinations(range(len(asked)), 2):
        assert (named[one].id == named[other].id) == (asked[one].result == asked[other].result)
    for cell, found in zip(asked, named, strict=True):
        reference = found.id._replace(synthetic="off")
        partner = {asked[i].result for i, one in enumerate(named) if one.id == reference}
        assert partner == {cell.without}
        assert {axis for axis, value in found.values.items() if value is not None} == reads[
            cell.id.synthetic
        ]


def test_an_axis_that_changes_nothing_is_refused() -> None:
    asked = [AskedCell(CellId("d", 3, "on", "t", 0), {"a": n}, "same", "off") for n in (1, 2)]
    with pytest.raises(ConfigError, match="a changes no result of this sweep"):
        name_cells(asked)


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_numbers_have_one_text_where_they_are_equal(one: float, other: float) -> None:
    assert (value_text(one) == value_text(other)) == (one == other or repr(one) == repr(other))
