"""Indexes that are damaged, that the disk has no place for, or that several processes write."""

import base64
import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets import index
from ptl_sweep.datasets.index import look_up, read_indexed
from ptl_sweep.datasets.readers.visdrone.images import read_visdrone
from ptl_sweep.datasets.records import ImageSet

KEY = "0123456789abcdef"
ROWS = "1,2,30,40,1,1,0,0\n5,5,9,9,0,0,0,0\n"


class Data:
    """A data set, and how often its reader was asked."""

    def __init__(self, root: Path) -> None:
        self.root, self.index = root, root.with_name(f"{root.name}-index")
        self.num_readings = 0
        for path in root.rglob("*.*"):
            os.utime(path, (10**9, 10**9))

    def config(self, **keys: Any) -> DatasetConfig:
        return DatasetConfig(
            name="mine", reader="visdrone", root=str(self.root), index_root=str(self.index), **keys
        )

    @property
    def indexes(self) -> list[Path]:
        return sorted(self.index.glob("*.jsonl"))

    def read(self, **keys: Any) -> ImageSet:
        """Through the index."""

        def count() -> ImageSet:
            self.num_readings += 1
            return read_visdrone(self.config(**keys), "train")

        return read_indexed(self.config(**keys), "train", count)

    def is_indexed(self) -> bool:
        """Whether another reading is without the reader; what is read is right in any case."""
        before = self.num_readings
        assert same(self.read(), read_visdrone(self.config(), "train"))
        return self.num_readings == before


def same(one: ImageSet, other: ImageSet) -> bool:
    """test_index_file.py looks closer."""
    boxes = [[(r.image_id, r.boxes.tolist()) for r in found.records] for found in (one, other)]
    return boxes[0] == boxes[1] and one.fingerprint == other.fingerprint


@pytest.fixture
def unread(visdrone: Callable[..., Any], tmp_path: Path) -> Data:
    """Four pictures, two of them with somebody."""
    visdrone({"1": ROWS, "2": "", "3": ROWS, "4": ""})
    return Data(tmp_path)


@pytest.fixture
def data(unread: Data) -> Data:
    """Read once."""
    unread.read()
    return unread


def warned(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.getMessage() for record in caplog.records if record.levelno >= 30)


def spoil_with_nothing(path: Path) -> None:
    path.write_bytes(b"")


def spoil_by_cutting(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def spoil_with_another_object(path: Path) -> None:
    path.write_text('{"a": [1, 2]}')


def spoil_with_words(path: Path) -> None:
    path.write_text("no JSON " * 100)


def spoil_with_another_index(path: Path) -> None:
    """Of another choice of the same images."""
    root = path.parent.with_name(path.parent.name.removesuffix("-index"))
    Data(root).read(num_images=1)
    (other,) = {*path.parent.glob("*.jsonl")} - {path}
    other.replace(path)


def spoil_the_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"drops"', b'"drips"'))


def spoil_a_box(path: Path) -> None:
    """A whole file with the header of the first one."""
    header, images = path.read_text().split("\n")
    content = json.loads(images)
    boxes = np.frombuffer(base64.b64decode(content["boxes"]), "<f4") + np.float32(1)
    content["boxes"] = base64.b64encode(boxes.tobytes()).decode()
    path.write_text(f"{header}\n{json.dumps(content)}")


SPOILERS = [
    spoil_with_nothing, spoil_by_cutting, spoil_with_another_object, spoil_with_words,
    spoil_with_another_index, spoil_the_header, spoil_a_box,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILERS)
def test_an_index_that_cannot_be_used_is_named_and_written_anew(
    spoil: Callable[[Path], None], data: Data, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = data.indexes
    spoil(path)
    assert not data.is_indexed()
    assert f"index {path} cannot be used, so the files are read anew" in warned(caplog)
    caplog.clear()
    assert data.is_indexed()
    assert not warned(caplog)


@pytest.mark.parametrize("spoil", [s for s in SPOILERS if s is not spoil_a_box])
def test_nothing_is_looked_up_in_an_index_that_cannot_be_used(
    spoil: Callable[[Path], None], data: Data
) -> None:
    spoil(data.indexes[0])
    assert look_up(data.config(), "train") is None


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_changes_no_image_set(share: float, bit: int, data: Data) -> None:
    (path,) = data.indexes
    whole, expected = path.read_bytes(), read_visdrone(data.config(), "train")
    damaged = bytearray(whole)
    damaged[int(share * len(whole))] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        assert same(data.read(), expected)
    finally:
        path.write_bytes(whole)


@pytest.fixture
def no_space() -> Iterator[None]:
    """The system refuses to let a file grow, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_only_warns(
    unread: Data, no_space: None, caplog: pytest.LogCaptureFixture
) -> None:
    assert not unread.is_indexed()
    assert unread.indexes == []  # nor anything half written
    text = warned(caplog)
    assert f"mine: no index written to {unread.index} ({os.strerror(errno.EFBIG)})" in text
    assert "free some space, or set index_root" in text


def test_a_place_that_is_no_folder_only_warns(
    unread: Data, caplog: pytest.LogCaptureFixture
) -> None:
    unread.index.write_text("a file")
    assert not unread.is_indexed()
    assert f"mine: no index written to {unread.index}" in warned(caplog)
    assert unread.index.read_text() == "a file"


READ = """
import sys
from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.registry import read_split
config = DatasetConfig(name="mine", reader="visdrone", root=sys.argv[1], index_root=sys.argv[2])
print(read_split(config, "train").fingerprint)
"""


def test_processes_at_once_write_one_whole_index(unread: Data) -> None:
    command = [sys.executable, "-W", "error", "-c", READ, str(unread.root), str(unread.index)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    answers = {process.communicate() for process in processes}
    fingerprint = read_visdrone(unread.config(), "train").fingerprint
    assert answers == {(f"{fingerprint}\n", "")}
    assert len(unread.indexes) == 1
    assert unread.is_indexed()


def test_the_newest_indexes_of_a_split_are_kept_and_the_log_names_the_others(
    data: Data, caplog: pytest.LogCaptureFixture
) -> None:
    (first,) = data.indexes
    strangers = [data.index / "notes.jsonl", data.index / f"visdrone-mine-val-{KEY}.jsonl"]
    for path in strangers:
        path.write_text("not ours")
    ours = [data.index / f"visdrone-mine-train-{number:016x}.jsonl" for number in range(7)]
    for path in ours:
        path.write_text("newer than the first")
    os.utime(first, (1, 1))
    data.read(num_images=2)
    assert first not in data.indexes
    assert {*ours, *strangers} < set(data.indexes)
    assert len(data.indexes) == index.KEPT + len(strangers)
    assert f"deleted the index {first}: there are 8 newer ones" in warned(caplog)
