"""A folder of cut-outs and one of backgrounds, written by the tests."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ptl_sweep.config.schema import PoolConfig

COLOURS = {"red": (220, 30, 30), "blue": (30, 40, 220), "grey": (128, 128, 128)}


def cutout(colour: tuple[int, int, int], rows: int = 60, columns: int = 24) -> np.ndarray:
    """A figure of one colour with transparent margins whose colour is a bright green."""
    picture = np.zeros((rows + 10, columns + 6, 4), np.uint8)
    picture[..., 1] = 255
    picture[5 : 5 + rows, 3 : 3 + columns, :3] = colour
    picture[5 : 5 + rows, 3 : 3 + columns, 3] = 255
    return picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three cut-outs in two folders."""
    root = tmp_path / "cutouts"
    for name, colour in COLOURS.items():
        path = root / ("cold" if name == "blue" else "warm") / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(cutout(colour)).save(path)
    return root


@pytest.fixture
def backgrounds(tmp_path: Path) -> Path:
    """Two pictures without persons, one smaller than an image of the pool."""
    root = tmp_path / "ground"
    root.mkdir()
    Image.new("RGB", (300, 200), (200, 200, 200)).save(root / "large.png")
    Image.new("RGB", (40, 90), (200, 200, 200)).save(root / "small.jpg", quality=100)
    return root


@pytest.fixture
def config(folder: Path) -> Callable[..., PoolConfig]:
    """A pool of these cut-outs; options by name, keys of the pool with `pool_` before them."""

    def make(**values: Any) -> PoolConfig:
        keys = {"num_images": 12, "image_size": 96}
        keys |= {name[5:]: value for name, value in values.items() if name.startswith("pool_")}
        options = {name: value for name, value in values.items() if not name.startswith("pool_")}
        root = str(keys.pop("root", folder))
        return PoolConfig(name="mine", reader="cutouts", root=root, options=options, **keys)

    return make
