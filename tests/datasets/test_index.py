"""The index: nothing that may be stale is looked up, and what cannot be used is read anew."""

import dataclasses
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ptl_sweep.config.schema import Config, DatasetConfig, PoolConfig, SweepConfig
from ptl_sweep.datasets import index
from ptl_sweep.datasets.index import list_files, look_up, read_indexed
from ptl_sweep.datasets.readers.visdrone.images import read_visdrone
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.validation import DataError

LONG_AGO_NS = 1_500_000_000 * 10**9
ANNOTATION = "VisDrone2019-DET-train/annotations/0000000_00000_d_0000000.txt"
PICTURE = "VisDrone2019-DET-train/images/0000000_00000_d_0000000.jpg"


class Data:
    """A small VisDrone, long settled, and how often its reader was asked."""

    def __init__(self, folder: Path, **keys: Any) -> None:
        self.root, self.index, self.keys = folder / "data", folder / "index", keys
        self.num_readings = 0
        for number in range(5):
            name = f"000000{number // 3}_0000{number}_d_000000{number}"
            picture = (self.root / PICTURE).with_stem(name)
            picture.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (100, 80)).save(picture)
            rows = "1,2,30,40,1,1,0,0\n5,5,9,9,0,0,0,0\n50,60,99,99,1,2,0,0\n" * (number % 2)
            text((self.root / ANNOTATION).with_stem(name), rows)
        settle(self.root)

    def config(self, **keys: Any) -> DatasetConfig:
        values = {"name": "mine", "reader": "visdrone", "root": str(self.root)}
        return DatasetConfig(**values | {"index_root": str(self.index)} | self.keys | keys)

    @property
    def indexes(self) -> list[Path]:
        return sorted(self.index.glob("*.jsonl"))

    def fresh(self, **keys: Any) -> ImageSet:
        """As the reader reads it."""
        return read_visdrone(self.config(**keys), "train")

    def read(self, **keys: Any) -> ImageSet:
        """Through the index."""

        def count() -> ImageSet:
            self.num_readings += 1
            return self.fresh(**keys)

        return read_indexed(self.config(**keys), "train", count)

    def is_indexed(self, **keys: Any) -> bool:
        """Whether another reading is without the reader; both give the same."""
        before = self.num_readings
        assert plain(self.read(**keys)) == plain(self.fresh(**keys))
        return self.num_readings == before


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def plain(image_set: ImageSet) -> dict[str, Any]:
    """To be compared; test_index_file.py looks closer."""
    values = {field.name: getattr(image_set, field.name) for field in dataclasses.fields(ImageSet)}
    values["records"] = [
        (r.image_id, r.width, r.height, r.boxes.tolist(), r.ignored.tolist(), r.scene, r.pixels)
        for r in image_set.records
    ]
    return values


def settle(root: Path) -> None:
    """As if every file had been written long ago."""
    for path in root.rglob("*"):
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS), follow_symlinks=False)


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Read once."""
    found = Data(tmp_path)
    found.read()
    return found


# --- What makes a reading new


def touch(path: Path) -> None:
    os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS + 1))


def append(path: Path) -> None:
    path.write_text(path.read_text() + "1,1,9,9,1,1,0,0\n")
    os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))


def remove_both(root: Path) -> None:
    (root / ANNOTATION).unlink()
    (root / PICTURE).unlink()


def copy_both(root: Path) -> None:
    for name in (ANNOTATION, PICTURE):
        shutil.copy2(root / name, (root / name).with_stem("0000009_00009_d_0000009"))


CHANGES: dict[str, Callable[[Path], object]] = {
    "an annotation file grew": lambda root: append(root / ANNOTATION),
    "an annotation file was touched": lambda root: touch(root / ANNOTATION),
    "a picture was touched": lambda root: touch(root / PICTURE),
    "a picture is gone": lambda root: (root / PICTURE).unlink(),
    "an annotation file is gone": lambda root: (root / ANNOTATION).unlink(),
    "both are gone": remove_both,
    "both are new": copy_both,
    "a picture has another name": lambda root: (root / PICTURE).rename(root / "other.jpg"),
    "another file is there": lambda root: text(root / "readme", "of no meaning"),
    "another folder is there": lambda root: (root / "VisDrone2020-DET-train").mkdir(),
    "a link to nowhere": lambda root: (root / "lost.txt").symlink_to("nothing"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_any_change_of_the_files_is_read_anew(change: Callable[[Path], object], data: Data) -> None:
    assert data.is_indexed()
    change(data.root)
    assert not data.is_indexed()


CONTENT: dict[str, Any] = {  # of both configs: another value of every key
    "reader": "coco",
    "scene_fractions": [0.5, 0.25, 0.25],
    "resplit": True,
    "categories": {"car": "person"},
    "num_images": 2,
    "frame_stride": 2,
    "domain": "town",
    "world_seed": 1,
    "image_size": 64,
    "altitude_m": [1.0, 2.0],
}
OTHERWISE = {
    "root": "where: the test of a moved folder",
    "index_root": "where: the test of a deleted index",
    "name": "in the file name",
    "split": "an argument of its own",
    "backgrounds": "of reader=cutouts, which no index holds",
    "options": "of reader=cutouts, which no index holds",
}
SHOWN = {"licence": "MIT", "citation": "somebody", "validation_split": "val"}


@pytest.mark.parametrize("config", [DatasetConfig, PoolConfig])
def test_the_tables_name_every_key_of_the_configs(config: type) -> None:
    keys = {field.name for field in dataclasses.fields(config)}
    assert keys <= {*CONTENT, *OTHERWISE, *SHOWN}


@pytest.mark.parametrize("is_pool", [False, True])
def test_keys_that_decide_the_content_are_in_the_name_and_no_others(
    is_pool: bool, tmp_path: Path
) -> None:
    config = PoolConfig if is_pool else DatasetConfig
    own = {field.name for field in dataclasses.fields(config)}
    keys = {"name": "a", "reader": "yolo", "root": str(tmp_path), "index_root": str(tmp_path / "i")}

    def key(split: str = "train", **changed: Any) -> str:
        place = index._place(config(**keys | changed), split)
        assert place is not None
        return place.key

    refused = {"domain"} if is_pool else set()  # a pool of files has none
    decide = CONTENT.keys() & own - refused
    assert all(key(**{name: CONTENT[name]}) != key() for name in decide)
    assert all(key(**{name: value}) == key() for name, value in SHOWN.items() if name in own)
    assert key(name="b") == key() != key("test")


@pytest.mark.parametrize("split", ["../../up", "a/b", "a" * 300, "été"])
def test_a_split_never_leads_out_of_the_folder(split: str, data: Data) -> None:
    place = index._place(data.config(), split)
    assert place is not None
    assert place.path.parent == data.index
    assert len(place.path.name.encode()) < 255


def test_another_name_has_an_index_of_its_own(data: Data) -> None:
    assert data.read(name="other").name == "other"
    assert data.num_readings == 2
    assert data.is_indexed(name="other")
    assert data.is_indexed()


def test_a_moved_data_set_is_found_at_its_new_place(data: Data, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    data.root = data.root.rename(tmp_path / "disk" / "data")
    assert data.is_indexed()
    assert all(str(r.pixels.path).startswith(f"{data.root}/") for r in data.read().records)


def test_another_version_of_the_readers_reads_anew(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "SOURCES", "of an older version")
    assert not data.is_indexed()
    monkeypatch.undo()
    assert index._sources() == index.SOURCES
    assert data.is_indexed()


def test_a_linked_folder_is_looked_into_and_a_circle_ends(data: Data, tmp_path: Path) -> None:
    images = data.root / "VisDrone2019-DET-train" / "images"
    elsewhere = images.rename(tmp_path / "elsewhere")
    images.symlink_to(elsewhere)
    (data.root / "circle").symlink_to(data.root)
    data.read()
    assert data.is_indexed()
    touch(elsewhere / Path(PICTURE).name)
    assert not data.is_indexed()


@pytest.mark.parametrize("name", ["0_link", "z_link"])  # listed before and after what it links to
def test_a_link_that_leads_elsewhere_is_another_listing(name: str, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        text(tmp_path / folder / "a.txt", folder)
    (tmp_path / name).symlink_to("one")
    before = list_files(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("two")
    assert list_files(tmp_path).lines != before.lines


# --- What is not indexed


def test_files_written_a_moment_ago_are_not_trusted(tmp_path: Path) -> None:
    data = Data(tmp_path)
    (data.root / ANNOTATION).touch()
    assert not data.is_indexed()
    assert not data.is_indexed()
    assert data.indexes == []


def test_files_that_change_while_they_are_read_are_not_indexed(tmp_path: Path) -> None:
    data = Data(tmp_path)

    def read() -> ImageSet:
        found = data.fresh()
        touch(data.root / ANNOTATION)
        return found

    read_indexed(data.config(), "train", read)
    assert data.indexes == []


def test_a_split_from_beside_the_root_is_read_every_time(tmp_path: Path) -> None:
    data = Data(tmp_path)
    validation = data.root / "VisDrone2019-DET-val"
    validation.mkdir()
    data.root = validation
    assert len(data.read().records) == 5
    assert not data.is_indexed()
    assert data.indexes == []


def test_an_error_is_raised_every_time_until_the_data_is_fixed(tmp_path: Path) -> None:
    data = Data(tmp_path)
    whole = (data.root / ANNOTATION).read_text()
    for _ in range(2):
        (data.root / ANNOTATION).write_text("1,2,3\n")
        settle(data.root)
        with pytest.raises(DataError, match="has 3 columns"):
            data.read()
    assert data.indexes == []
    (data.root / ANNOTATION).write_text(whole)
    settle(data.root)
    data.read()
    assert data.is_indexed()


def test_without_a_folder_for_it_there_is_no_index(tmp_path: Path) -> None:
    data = Data(tmp_path, index_root=None)
    assert not data.is_indexed()
    assert look_up(data.config(), "train") is None
    assert data.indexes == []


def test_deleting_the_indexes_loses_nothing(data: Data) -> None:
    shutil.rmtree(data.index)
    assert not data.is_indexed()
    assert data.is_indexed()


# --- Where it is


def test_the_index_lies_below_the_root_of_the_sweep_unless_said_otherwise() -> None:
    source = DatasetConfig(name="a", reader="yolo")
    held_out = DatasetConfig(name="b", reader="source")
    config = partial(Config, real_count=1, dataset=source, sweep=SweepConfig(root="/scratch/out"))
    whole = config(target=held_out, pool=PoolConfig(name="p", index_root="/elsewhere"))
    assert whole.dataset.index_root == whole.target.index_root == "/scratch/out/index"
    assert whole.pool.index_root == "/elsewhere"
    assert source.index_root is None  # cells may share it
    assert config(sweep=SweepConfig()).dataset.index_root == "outputs/index"


def test_reading_data_sets_loads_no_pyarrow() -> None:
    code = "import sys, ptl_sweep.datasets.registry; sys.exit('pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_reason_against_an_index_is_in_the_log(
    data: Data, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        (data.root / ANNOTATION).touch()
        data.read()
    assert "mine, split train: no index: files were written a moment ago" in caplog.text
