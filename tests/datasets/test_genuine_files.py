"""Genuine files of four data sets hold as many persons as a parser of few lines counts in them."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.registry import read_split

SAMPLES = Path(os.environ.get("PTL_SAMPLE_DATA", "/nowhere"))
PERSON_DROPS = ("person at least half in ignored regions", "person of score 0", "under 1 px")

pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="PTL_SAMPLE_DATA is not set")


def _read(folder: str, reader: str, split: str, **keys: Any) -> ImageSet:
    root = str(SAMPLES / folder)
    return read_split(DatasetConfig(name="genuine", reader=reader, root=root, **keys), split)


def _accounted(image_set: ImageSet) -> int:
    """Persons that are there, and those that are left out and counted."""
    dropped = sum(
        count for reason, count in image_set.drops.items() if reason.startswith(PERSON_DROPS)
    )
    return image_set.num_persons + dropped


def _rows(files: Iterable[Path], separator: str | None) -> list[list[str]]:
    lines = (line for path in files for line in path.read_text().splitlines())
    return [line.split(separator) for line in lines if line.strip()]


@pytest.mark.parametrize("split", ["train", "val"])
def test_visdrone(split: str) -> None:
    files = (SAMPLES / "visdrone_small").glob(f"*-DET-{split}/annotations/*.txt")
    counted = sum(row[5] in ("1", "2") for row in _rows(files, ","))
    assert counted > 1000
    assert _accounted(_read("visdrone_small", "visdrone", split)) == counted


@pytest.mark.parametrize(
    ("folder", "person", "categories"),
    [
        ("seadronessee_small", "swimmer", {"swimmer": "person", "ignored": "ignore", "*": "other"}),
        ("hituav_small", "Person", {"Person": "person", "DontCare": "ignore", "*": "other"}),
    ],
)
def test_coco(folder: str, person: str, categories: dict[str, str]) -> None:
    content = json.loads((SAMPLES / folder / "annotations/instances_test.json").read_text())
    (number,) = [one["id"] for one in content["categories"] if one["name"] == person]
    counted = sum(one["category_id"] == number for one in content["annotations"])
    assert counted > 50
    image_set = _read(folder, "coco", "test", categories=categories)
    assert _accounted(image_set) == counted
    assert len(image_set.records) == len(content["images"])


@pytest.mark.parametrize("place", ["beaches", "mountains"])
def test_yolo(place: str) -> None:
    counted = len(_rows((SAMPLES / "aerial_people" / place / "labels").rglob("*.txt"), None))
    assert counted > 30
    assert _accounted(_read(f"aerial_people/{place}", "yolo", "all")) == counted
