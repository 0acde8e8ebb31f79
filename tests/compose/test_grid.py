"""The grid: what a sweep may vary, and mistakes that are caught before anything is queued."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import OmegaConf

from ptl_sweep.compose.cells.ids import cell_id
from ptl_sweep.compose.grid import all_keys, check_grid
from ptl_sweep.config.schema import Config, ConfigError
from ptl_sweep.terminal import close_match

Cells = Callable[..., list[Config]]


def changed(config: Config, **values: Any) -> Config:
    """A copy with `part__name=value` set."""
    twin = copy.deepcopy(config)
    for path, value in values.items():
        node: Any = twin
        *parts, name = path.split("__")
        for part in parts:
            node = getattr(node, part)
        setattr(node, name, value)
    return twin


@pytest.fixture
def cell(cells: Cells) -> Config:
    return cells("real_count=4", "synthetic=on", "target=field")[0]


def test_the_id_of_a_cell_is_what_the_result_columns_show(cell: Config) -> None:
    assert cell_id(cell) == ("miniature", 4, "on", "field", 0)
    assert cell_id(cell)._fields == ("dataset", "real_count", "synthetic", "target", "seed")


def test_every_leaf_and_every_group_of_the_config_is_a_known_key(cell: Config) -> None:
    def flat(node: Any, prefix: str = "") -> set[str]:
        found = set()
        for name, value in node.items():
            found.add(prefix + name)
            if isinstance(value, dict) and name != "categories":
                found |= flat(value, f"{prefix}{name}.")
        return found

    content = OmegaConf.to_container(OmegaConf.structured(cell))
    assert set(all_keys()) == flat(content)
    assert len(all_keys()) == len(set(all_keys()))


def test_equal_cells_are_refused(cell: Config) -> None:
    reason = "two cells of the grid are both dataset=miniature real_count=4"
    with pytest.raises(ConfigError, match=reason):
        check_grid([cell, changed(cell)], named=[])
    check_grid([cell, changed(cell, train__num_steps=9)], named=[])


def test_choices_with_names_of_their_own_are_different_cells(cell: Config) -> None:
    other = changed(cell, synthetic__temperature=9.0, synthetic__name="warm")
    check_grid([cell, other], named=[])


@pytest.mark.parametrize(
    ("part", "values"),
    [
        ("launcher", {"launcher__num_workers": 7}),
        ("tracking", {"tracking__mode": "online"}),
        ("sweep", {"sweep__name": "other"}),
    ],
)
def test_a_sweep_has_one_launcher_one_tracking_and_one_name(
    cell: Config, part: str, values: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=f"{part} must be the same in every cell"):
        check_grid([cell, changed(cell, seed=1, **values)], named=[])


def test_one_target_root_cannot_serve_several_targets(cells: Cells) -> None:
    several = cells("real_count=4", "target=field,karst")
    with pytest.raises(ConfigError, match=r"2 targets \(field, karst\); set data_root"):
        check_grid(several, named=["target.root"])
    check_grid(several, named=["target"])
    check_grid(cells("real_count=4", "target=field"), named=["target.root"])


def test_worlds_are_mixed_only_by_those_who_name_both(cell: Config) -> None:
    mixed = changed(cell, target__reader="yolo", target__name="mine")
    with pytest.raises(ConfigError, match="name both on the command line"):
        check_grid([mixed], named=["target"])
    with pytest.raises(ConfigError, match="dataset miniature and target mine"):
        check_grid([cell, changed(mixed, seed=1)], named=[])
    check_grid([mixed], named=["target", "dataset"])


def test_more_real_pictures_than_there_are_is_refused_with_their_number(cell: Config) -> None:
    check_grid([changed(cell, dataset__num_images=4)], named=[])
    with pytest.raises(ConfigError, match=r"real_count=4, but miniature \(train\) has 3 images"):
        check_grid([changed(cell, dataset__num_images=3)], named=[])


def test_real_counts_are_not_checked_while_the_data_is_not_there(cell: Config) -> None:
    absent = changed(cell, dataset__reader="visdrone", dataset__root="/nowhere", real_count=10**6)
    check_grid([absent], named=["dataset", "target"])


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("real_cuont", "real_count"),
        ("train.num_stepz", "train.num_steps"),
        ("syntetic.temperature", "synthetic.temperature"),
        ("xyzzy", None),
    ],
)
def test_the_nearest_key_is_offered_and_no_far_one(word: str, meant: str | None) -> None:
    assert close_match(word, all_keys()) == meant
