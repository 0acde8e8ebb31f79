"""`check`: every data set of a grid is read once, and one that is unusable hides no other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptl_sweep.config import Config
from ptl_sweep.datasets import registry
from ptl_sweep.sweep.checking import check_data

Cells = Callable[..., list[Config]]
SMALL = ("dataset.num_images=3", "target.num_images=2", "pool.num_images=4")


@pytest.fixture
def grid(cells: Cells) -> list[Config]:
    return cells("real_count=2", "target=field,karst", *SMALL)


def test_each_set_of_a_grid_is_read_once(
    grid: list[Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real = registry.read_split

    def counted(config: Any, split: str) -> Any:
        read.append(config.name)
        return real(config, split)

    monkeypatch.setattr(registry, "read_split", counted)
    checked = check_data(grid, named=[], sheet=None)
    assert sorted(read) == ["field", "karst", "miniature"]
    assert [(c.role, c.name) for c in checked.sets] == [
        ("dataset", "miniature"), ("target", "field"), ("pool", "miniature"), ("target", "karst"),
    ]  # fmt: skip
    assert [c.summary.num_images for c in checked.sets if c.summary] == [3, 2, 4, 2]
    assert checked.exit_code(strict=False) == 0


def test_only_the_roles_that_were_named_are_read(grid: list[Config]) -> None:
    checked = check_data(grid, named=["target=field,karst", "seed=0"], sheet=None)
    assert {c.role for c in checked.sets} == {"target"}
    checked = check_data(grid, named=["dataset.root=/x"], sheet=None)
    assert {c.role for c in checked.sets} == {"dataset"}


def test_an_unusable_set_is_an_error_that_hides_no_other(grid: list[Config]) -> None:
    grid[0].target.reader, grid[0].target.root = "yolo", "/nowhere"
    checked = check_data(grid, named=[], sheet=None)
    assert checked.exit_code(strict=False) == 1
    (bad,) = [c for c in checked.sets if c.error]
    assert bad.name == grid[0].target.name
    assert "/nowhere is not a folder" in str(bad.error)
    assert len([c for c in checked.sets if c.summary]) == 3
    assert f"ERROR   target {bad.name}: " in checked.text()


def test_json_holds_every_set_and_nothing_that_json_lacks(grid: list[Config]) -> None:
    grid[0].target.reader, grid[0].target.root = "yolo", "/nowhere"
    content = json.loads(json.dumps(check_data(grid, named=[], sheet=None).as_json()))
    assert len(content) == 4
    assert {entry["name"] for entry in content} == {"miniature", "field", "karst"}
    good = [entry for entry in content if entry["error"] is None]
    assert all(entry["num_images"] > 0 for entry in good)


def test_a_sheet_of_example_pictures_is_drawn_for_each_set(
    grid: list[Config], tmp_path: Path
) -> None:
    check_data(grid, named=[], sheet=str(tmp_path / "sheets"))
    names = sorted(path.name for path in (tmp_path / "sheets").iterdir())
    assert names == [
        "dataset-miniature-train.png",
        "pool-miniature-pool.png",
        "target-field-test.png",
        "target-karst-test.png",
    ]


def test_strict_makes_warnings_errors(grid: list[Config]) -> None:
    checked = check_data(grid, named=[], sheet=None)
    summary = checked.sets[0].summary
    assert summary is not None
    assert checked.exit_code(strict=True) == int(
        any(c.summary and (c.summary.warnings or c.summary.drops) for c in checked.sets)
    )
    summary.drops["boxes of no area"] = 2
    assert (checked.exit_code(strict=False), checked.exit_code(strict=True)) == (0, 1)
    assert "dropped miniature: 2 boxes of no area" in checked.text()
