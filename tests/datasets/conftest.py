"""Tiny data sets in the official layouts, written by the tests themselves."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.readers.visdrone.images import read_visdrone
from ptl_sweep.datasets.readers.yolo.reader import read_yolo
from ptl_sweep.datasets.records import ImageRecord

SIZE = (100, 80)  # width, height of every fixture image


def _write_image(path: Path, size: tuple[int, int] = SIZE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    ramp = np.linspace(0, 255, width, dtype=np.uint8)
    pixels = np.stack(np.broadcast_arrays(ramp, ramp[::-1], np.uint8(9)), axis=1)
    Image.fromarray(np.tile(pixels, (height, 1, 1))).save(path)
    return path


@pytest.fixture
def write_image() -> Callable[..., Path]:
    return _write_image


@pytest.fixture
def visdrone(tmp_path: Path) -> Callable[..., Any]:
    """write({stem: annotation text, or None for no file}) and read it: an ImageSet."""

    def read(annotations: dict[str, str | None], **keys: Any) -> Any:
        folder = tmp_path / "VisDrone2019-DET-train"
        (folder / "annotations").mkdir(parents=True, exist_ok=True)
        for stem, text in annotations.items():
            _write_image(folder / "images" / f"{stem}.jpg")
            if text is not None:
                (folder / "annotations" / f"{stem}.txt").write_bytes(text.encode())
        config = DatasetConfig(name="drone", reader="visdrone", root=str(tmp_path), **keys)
        return read_visdrone(config, "train")

    return read


@pytest.fixture
def yolo(tmp_path: Path) -> Callable[..., Any]:
    """write({image name: label text, or None for no file}) and read it: an ImageSet."""

    def read(
        labels: dict[str, str | None],
        split: str = "all",
        data: str = "names: {0: person, 1: dog}",
        **keys: Any,
    ) -> Any:
        tmp_path.joinpath("data.yaml").write_text(data)
        (tmp_path / "labels").mkdir(exist_ok=True)
        for name, text in labels.items():
            _write_image(tmp_path / "images" / f"{name}.png")
            if text is not None:
                path = tmp_path / "labels" / f"{name}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(text.encode())
        return read_yolo(
            DatasetConfig(name="mine", reader="yolo", root=str(tmp_path), **keys), split
        )

    return read


@pytest.fixture
def coco_content() -> dict[str, Any]:
    """Two images, a person and a dog in the first, a crowd in the second."""
    return {
        "images": [
            {"id": 7, "file_name": "a_1.png", "width": 100, "height": 80},
            {"id": 3, "file_name": "a_2.png", "width": 100, "height": 80},
        ],
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 20, 30.5, 40], "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 18, "bbox": [1, 2, 3, 4], "iscrowd": 0},
            {"id": 3, "image_id": 3, "category_id": 1, "bbox": [0, 0, 50, 50], "iscrowd": 1},
        ],
    }


@pytest.fixture
def coco_root(tmp_path: Path) -> Callable[[dict[str, Any]], Path]:
    """Write the images and annotations/instances_train.json; the root."""

    def write(content: dict[str, Any]) -> Path:
        for entry in content["images"]:
            _write_image(tmp_path / "images" / entry["file_name"])
        (tmp_path / "annotations").mkdir(exist_ok=True)
        path = tmp_path / "annotations" / "instances_train.json"
        path.write_text(json.dumps(content))
        return tmp_path

    return write


class NoPixels:
    """The source of a record whose pixels no test reads."""

    def read(self) -> Any:
        raise AssertionError("pixels were read")

    def read_masks(self) -> Any:
        raise AssertionError("masks were read")


@pytest.fixture
def make_record() -> Callable[..., ImageRecord]:
    def make(image_id: str, scene: str = "s", num_persons: int = 1) -> ImageRecord:
        return ImageRecord(
            image_id=image_id,
            width=SIZE[0],
            height=SIZE[1],
            boxes=np.tile(np.float32([1, 2, 11, 22]), (num_persons, 1)),
            ignored=np.zeros((0, 4), np.float32),
            scene=scene,
            pixels=NoPixels(),
        )

    return make
