"""Reading by configuration: the table of readers, the memo, and planning without data."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptl_sweep.config.schema import ConfigError, DatasetConfig, PoolConfig
from ptl_sweep.datasets.registry import (
    POOL_READERS,
    READERS,
    fingerprint,
    num_eligible,
    pool_fingerprint,
    read_pool,
    read_split,
)
from ptl_sweep.datasets.validation import DataError

ROW = "0 0.5 0.5 0.2 0.5"
TOWN = DatasetConfig(name="town", reader="miniature", domain="town", num_images=3)
POOL = PoolConfig(name="pool", reader="miniature", num_images=3)


def test_the_readers_are_those_the_documentation_names() -> None:
    assert sorted(READERS) == [
        "coco", "heridal", "icg", "miniature", "okutama", "sard", "visdrone",
        "visdrone_vid", "voc", "yolo",
    ]  # fmt: skip
    assert sorted(POOL_READERS) == ["archangel", "cutouts", "miniature"]


def test_equal_configurations_are_read_once(yolo: Callable[..., Any], tmp_path: Path) -> None:
    yolo({"1": ROW, "2": ""})
    keys = {"name": "mine", "reader": "yolo", "root": str(tmp_path)}
    first = read_split(DatasetConfig(**keys), "all")
    assert read_split(DatasetConfig(**keys), "all") is first
    assert read_split(DatasetConfig(**keys, num_images=1), "all") is not first


def test_files_have_a_fingerprint_and_a_number_of_eligible_images(
    yolo: Callable[..., Any], tmp_path: Path
) -> None:
    expected = yolo({"1": ROW, "2": "", "3": ROW}).fingerprint
    config = DatasetConfig(name="mine", reader="yolo", root=str(tmp_path))
    assert fingerprint(config, "all") == expected
    assert num_eligible(config, "all") == 2


@pytest.mark.parametrize(
    ("reader", "root"), [("yolo", None), ("coco", "/no/such/folder"), ("okutama", None)]
)
def test_planning_works_without_the_files(reader: str, root: str | None) -> None:
    config = DatasetConfig(name="later", reader=reader, root=root)
    assert fingerprint(config, "test") is None
    assert num_eligible(config, "test") is None


def test_a_plan_asks_the_index_and_opens_no_file(
    visdrone: Callable[..., Any], tmp_path: Path
) -> None:
    """The pictures are damaged in a way that their sizes and times do not tell."""
    expected = visdrone({"1": "1,2,9,9,1,1,0,0", "2": ""})
    keys = {"name": "drone", "reader": "visdrone", "root": str(tmp_path)}
    keys |= {"index_root": str(tmp_path.with_name(f"{tmp_path.name}-index"))}
    for path in tmp_path.rglob("*.*"):
        os.utime(path, (10**9, 10**9))
    assert read_split(DatasetConfig(**keys), "train").fingerprint == expected.fingerprint
    for path in tmp_path.rglob("*.jpg"):
        path.write_bytes(bytes(path.stat().st_size))
        os.utime(path, (10**9, 10**9))
    again = DatasetConfig(**keys, licence="read as another data set, indexed as the same")
    assert fingerprint(again, "train") == expected.fingerprint
    assert num_eligible(again, "train") == 1
    assert len(read_split(again, "train").records) == 2
    with pytest.raises(DataError, match="not a complete JPEG"):
        fingerprint(DatasetConfig(**{**keys, "index_root": None}), "train")


def test_a_reader_of_another_version_is_named_with_the_way_out() -> None:
    config = DatasetConfig(name="stanford", reader="stanford", root="/data/stanford")
    with pytest.raises(ConfigError) as error:
        read_split(config, "test")
    text = str(error.value)
    assert text.startswith("stanford.reader=stanford is not in this version")
    assert "miniature, visdrone, coco, yolo" in text
    assert "reader=coco or reader=yolo" in text
    pool = PoolConfig(name="renders", reader="renders")
    assert pool_fingerprint(pool) is None
    with pytest.raises(ConfigError, match=r"pool.reader=renders .*set pool=miniature"):
        read_pool(pool)


def test_the_miniature_world_is_known_before_it_is_drawn() -> None:
    image_set = read_split(TOWN, "train")
    assert fingerprint(TOWN, "train") == image_set.fingerprint
    assert num_eligible(TOWN, "train") == len(image_set.records) == 3
    assert all(len(record.boxes) for record in image_set.records)


def test_the_pool_is_read_once_and_known_before_it_is_drawn() -> None:
    pool = read_pool(POOL)
    assert read_pool(PoolConfig(name="pool", reader="miniature", num_images=3)) is pool
    assert pool_fingerprint(POOL) == pool.fingerprint
    assert len(pool.records) == 3
