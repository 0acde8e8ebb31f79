"""The pictures of a target as files, and the stages that were evaluated on it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers.sweeps import Sweep

from ptl_sweep.datasets import registry
from ptl_sweep.datasets.images import write_png
from ptl_sweep.pipeline.graph import CellIteration
from ptl_sweep.pipeline.plan import Plan


class Target(NamedTuple):
    """A target of the tiny sweep."""

    pictures: Path
    readings: list[CellIteration]  # one for each detector


def readings_on(plan: Plan, target: str) -> list[CellIteration]:
    """What the cells of a target read last."""
    return [cell.readings[-1] for cell in plan.cells if cell.id.target == target]


@pytest.fixture(scope="session")
def target(tiny_sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """Tests must not change its pictures."""
    folder = tmp_path_factory.mktemp("target") / "field"
    readings = readings_on(tiny_sweep.plan, "field")
    data = tiny_sweep.plan.evaluate_stage(readings[0].evaluate).data
    folder.mkdir()
    for record in registry.read_split(data.config(), data.split).records:
        write_png(folder / f"{record.image_id}.png", record.pixels.read())
    return Target(folder, readings)


@pytest.fixture
def predict(run: Any, tiny_sweep: Sweep, tmp_path: Path) -> Callable[..., Any]:
    """The command on the tiny sweep's store, into `tmp_path / "out"`."""
    places = [f"sweep.root={tiny_sweep.root}", "--out", str(tmp_path / "out")]
    return lambda *words: run("predict", *map(str, words), *places)


@pytest.fixture
def document(tmp_path: Path) -> Callable[[], Any]:
    """What detections.json holds."""
    return lambda: json.loads((tmp_path / "out" / "detections.json").read_text())
