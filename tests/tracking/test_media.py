"""media.json says what a folder shows, and after which row; nobody needs W&B to read it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from ptl_sweep.tracking.media import (
    MediaEntry,
    ShownBox,
    ShownImage,
    add_entry,
    is_kept,
    read_media,
    write_picture,
    write_rows,
)

BOX = [1.0, 2.0, 5.0, 6.0]


def test_entries_come_back_as_they_were_written(tmp_path: Path) -> None:
    image = ShownImage("media/a-0.png", [ShownBox(BOX, "person")], [ShownBox(BOX, "0.75", 0.75)])
    entries = [
        MediaEntry(name="ptl/transformed", row=3, images=(image, ShownImage("b.png"))),
        MediaEntry(name="best", row=4, table="media/best.parquet"),
        MediaEntry(name="report", row=4, page="report.html"),
    ]
    for entry in entries:
        add_entry(tmp_path, entry)
    found = read_media(tmp_path)
    assert [replace(entry, images=tuple(entry.images)) for entry in found] == entries


def test_the_file_reads_without_this_package(tmp_path: Path) -> None:
    image = ShownImage("media/a-0.png", [], [ShownBox(BOX, "0.75", 0.75)])
    add_entry(tmp_path, MediaEntry(name="a", row=3, images=[image]))
    box = {"corners": BOX, "caption": "0.75", "score": 0.75}
    shown = {"file": "media/a-0.png", "ground_truth": [], "detections": [box]}
    assert json.loads((tmp_path / "media.json").read_text()) == [
        {"name": "a", "row": 3, "images": [shown]}
    ]


def test_a_name_is_shown_once_and_the_last_attempt_counts(tmp_path: Path) -> None:
    for row in (0, 5):
        add_entry(tmp_path, MediaEntry(name="a", row=row, page=f"{row}.html"))
    assert [entry.page for entry in read_media(tmp_path)] == ["5.html"]


def test_what_a_row_has_followed_is_kept(tmp_path: Path) -> None:
    add_entry(tmp_path, MediaEntry(name="a", row=2, page="a.html"))
    assert not is_kept(tmp_path, "a", 2)  # a kill came before its row
    assert is_kept(tmp_path, "a", 3)
    assert not is_kept(tmp_path, "b", 3)


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"name": "a"}]', '[{"row": 1, "x": 2}]'])
def test_a_damaged_file_shows_nothing_and_says_so(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "media.json").write_text(content)
    assert read_media(tmp_path) == []
    assert "media.json cannot be read" in caplog.text


def test_pictures_and_tables_lie_in_the_folder_and_are_the_same_bytes_each_time(
    tmp_path: Path,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 24, 3), np.uint8)
    columns = {"name": ["a", "b"], "score": np.array([0.5, np.nan])}
    contents = []
    for _ in range(2):
        files = [write_picture(tmp_path, "ptl/x", 1, pixels, suffix) for suffix in (".png", ".jpg")]
        files.append(write_rows(tmp_path, "ptl/t", columns))
        contents.append([(tmp_path / file).read_bytes() for file in files])
    assert files == ["media/ptl-x-1.png", "media/ptl-x-1.jpg", "media/ptl-t.parquet"]
    assert contents[0] == contents[1]
    with Image.open(tmp_path / files[0]) as image:
        assert np.array_equal(np.asarray(image), pixels)
    with Image.open(tmp_path / files[1]) as image:
        assert image.size == (24, 16)
    assert parquet.read_table(tmp_path / files[2])["name"].to_pylist() == ["a", "b"]
