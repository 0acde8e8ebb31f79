"""A stage reads its own fields and its parents' files: there is no configuration in its reach."""

import dataclasses
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ptl_sweep.config.schema import Config, InferenceConfig, TilingConfig, TrainRecipe
from ptl_sweep.pipeline.plan import STAGES, plan_sweep
from ptl_sweep.stages.base import Execution, Stage, decode, encode
from ptl_sweep.stages.context import StageContext
from ptl_sweep.stages.inputs import NOT_IN_KEY, DataPlace, PoolPlace

Cells = Callable[..., list[Config]]

# What a field that is in no key may be: a place, a name, or how a worker carries the stage out.
OUTSIDE = {DataPlace, PoolPlace, Execution, str}


def parts_of(hint: Any) -> Iterator[type]:
    """The classes that a type is made of: those of unions, lists and fields of dataclasses."""
    for part in typing.get_args(hint):
        yield from parts_of(part)
    if isinstance(hint, type):
        yield hint
        if dataclasses.is_dataclass(hint):
            for part in typing.get_type_hints(hint).values():
                yield from parts_of(part)


def configs() -> set[type]:
    """Every dataclass below Config, but those that are wholly part of a key."""
    found = {c for c in parts_of(Config) if dataclasses.is_dataclass(c)}
    return found - {TilingConfig}


@pytest.mark.parametrize("kind", STAGES.values())
def test_no_configuration_is_in_the_reach_of_a_stage(kind: type[Stage]) -> None:
    assert Config in configs()
    assert len(configs()) > 12
    for reach in (kind, StageContext):
        assert not configs() & set(parts_of(reach)), reach


def test_a_class_that_held_a_configuration_would_be_found() -> None:
    @dataclasses.dataclass
    class Leak:
        config: Config | None

    assert configs() & set(parts_of(Leak))


@pytest.mark.parametrize("kind", STAGES.values())
def test_only_places_names_and_how_work_is_done_are_outside_the_key(kind: type[Stage]) -> None:
    seen: list[Any] = []
    for owner in {kind, *parts_of(kind)}:
        if not dataclasses.is_dataclass(owner):
            continue
        hints = typing.get_type_hints(owner)
        outside = [item for item in dataclasses.fields(owner) if item.metadata == NOT_IN_KEY]
        seen += [hints[item.name] for item in outside]
    assert set(seen) <= OUTSIDE
    assert Execution in seen


@pytest.mark.parametrize("base", [TrainRecipe, InferenceConfig])
def test_what_a_base_of_the_configuration_holds_is_all_in_the_key(base: type, cells: Cells) -> None:
    given = (  # in no key where they are 0 or null
        "train.rotate90_probability=0.5", "train.copy_paste=1", "train.subset_seed=7",
    )  # fmt: skip
    plan = plan_sweep(cells("real_count=3", "target=field", "synthetic=on", *given), "")
    first = next(iter(plan.stages.values()))
    content = first.spec["train" if base is TrainRecipe else "inference"]
    assert {item.name for item in dataclasses.fields(base)} <= set(content)


@pytest.mark.parametrize("temperature", ["5", "ess:0.3"])
def test_a_stage_that_went_through_json_is_the_same_stage(temperature: str, cells: Cells) -> None:
    grid = ("real_count=3", "target=field", "synthetic=off,on,random")
    plan = plan_sweep(cells(*grid, f"synthetic.temperature={temperature}"), "")
    for stage in plan.stages.values():
        again = decode(type(stage), encode(stage, keyed=False))
        assert again == stage
        assert again.key == stage.key


def test_where_the_files_lie_is_in_no_key(cells: Cells) -> None:
    (cell,) = cells("real_count=3", "target=field", "synthetic=on")
    here = plan_sweep([cell], "")
    cell.dataset.index_root = cell.target.index_root = cell.pool.index_root = "/elsewhere"
    there = plan_sweep([cell], "")
    assert list(here.stages) == list(there.stages)
    assert list(here.stages.values()) != list(there.stages.values())
