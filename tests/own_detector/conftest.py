"""A folder of exported detections that a test may change."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.own_detections import write_lab


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lab(tmp_path_factory.mktemp("lab") / "detections")


@pytest.fixture
def lab(written: Path, tmp_path: Path) -> Path:
    return shutil.copytree(written, tmp_path / "lab")


@pytest.fixture
def measure(run: Any) -> Callable[..., dict[str, Any]]:
    """What --json says, its targets by name."""

    def call(*words: Path | str) -> dict[str, Any]:
        answer = run("measure", *map(str, words), "--json")
        assert answer.code == 0, answer.errors
        content = json.loads(answer.output)
        return content | {"targets": {one["target"]: one for one in content["targets"]}}

    return call
