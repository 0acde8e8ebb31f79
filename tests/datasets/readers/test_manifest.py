"""The manifest of a virtual pool: its rows, its masks, and how it is built from a folder."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.datasets.readers.archangel.build_manifest import build_manifest
from ptl_sweep.datasets.readers.archangel.manifest import COLUMNS, ManifestRow, read_manifest
from ptl_sweep.datasets.readers.archangel.masks import mask_box, read_mask, require_mask
from ptl_sweep.datasets.validation import DataError

SIZE = (100, 80)
HEADER = ",".join(COLUMNS)
ROW = "images/a.png,masks/a.png,10,20,30.5,40,anna,stand,10,5,-30,90"
PATTERN = (
    r"images/(?P<character>[a-z]+)_(?P<pose>[a-z]+)_(?P<altitude_m>\d+)_(?P<pitch_deg>-?[\d.]+)"
)

Write = Callable[..., Path]


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., list[ManifestRow]]:
    """Write a manifest of these lines and read it."""

    def read(*lines: str, name: str = "manifest.csv", end: str = "\n") -> list[ManifestRow]:
        path = tmp_path / name
        path.write_bytes(end.join([*lines, ""]).encode())
        return list(read_manifest(path))

    return read


def save_mask(path: Path, *boxes: tuple[int, int, int, int], value: int = 255) -> Path:
    """A mask of 100x80 that is `value` inside the boxes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coverage = np.zeros(SIZE[::-1], np.uint8)
    for left, top, right, bottom in boxes:
        coverage[top:bottom, left:right] = value
    Image.fromarray(coverage).save(path)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_row_gives_files_box_and_attributes(rows: Any, end: str) -> None:
    (row,) = rows(HEADER, "", ROW, end=end)
    assert row == ManifestRow(
        line=3,
        image="images/a.png",
        mask="masks/a.png",
        box=(10, 20, 30.5, 40),
        attributes={
            "character": "anna",
            "pose": "stand",
            "altitude_m": 10.0,
            "radius_m": 5.0,
            "pitch_deg": -30.0,
            "azimuth_deg": 90.0,
        },
    )


def test_columns_may_be_left_out_or_empty_and_stand_in_any_order(rows: Any) -> None:
    (row,) = rows("pose,mask,image", '"lie, on the back",m.png,./i.png')
    assert row[1:] == ("i.png", "m.png", (), {"pose": "lie, on the back"})
    (row,) = rows(HEADER, "i.png,m.png,,,,, ,,,,,")
    assert row[1:] == ("i.png", "m.png", (), {})


def test_json_lines_say_the_same_as_csv(rows: Any) -> None:
    fields: dict[str, Any] = dict(zip(COLUMNS, ROW.split(","), strict=True))
    for name in COLUMNS[2:6] + COLUMNS[8:]:
        fields[name] = float(fields[name])
    lines = [json.dumps(fields), "", json.dumps({"image": "i.png", "mask": "m.png", "x1": None})]
    first, second = rows(*lines, name="manifest.jsonl")
    assert first == rows(HEADER, ROW)[0]._replace(line=1)
    assert second == ManifestRow(3, "i.png", "m.png", (), {})


@pytest.mark.parametrize(
    ("header", "row", "line", "words"),
    [
        (HEADER, "a,b", 2, "has 2 fields, the header has 12"),
        (HEADER, f"{ROW},9", 2, "has 13 fields"),
        ("image,mask,altitude", "a,b,9", 1, "'altitude' is unknown; the nearest is 'altitude_m'"),
        ("image,mask,image", "a,b,a", 1, "column image is there twice"),
        ("image,x1", "a,1", 1, "has no column mask"),
        ("image,mask", 'a,"b', 2, "is not valid CSV"),
        ("image,mask", ",b", 2, "image is None, must be a path below"),
        ("image,mask", "a,../b", 2, "mask is '../b', must be a path below"),
        ("image,mask", "/etc/a,b", 2, "image is '/etc/a'"),
        ("image,mask", "a/b/../../../c,b", 2, "must be a path below"),
        ("image,mask", "a\x00,b", 2, r"image is 'a\x00'"),
        ("image,mask", ".,b", 2, "image is '.'"),
        ("image,mask,x1", "a,b,4", 2, "y1 and x2 and y2 are empty"),
        ("image,mask,x1,y1,x2,y2", "a,b,4,5,4,9", 2, "must be x1 < x2 and y1 < y2"),
        ("image,mask,x1,y1,x2,y2", "a,b,4,5,nan,9", 2, "x2 is 'nan', must be a number"),
        ("image,mask,x1,y1,x2,y2", "a,b,4,5,1e9,9", 2, "x2 is 1000000000.0, must be a number in"),
        ("image,mask,altitude_m", "a,b,10m", 2, "altitude_m is '10m', must be a number"),
        ("image,mask,pose", "a,b,\x07", 2, "pose is"),
    ],
)
def test_a_bad_row_names_file_line_and_column(
    rows: Any, tmp_path: Path, header: str, row: str, line: int, words: str
) -> None:
    with pytest.raises(DataError) as error:
        rows(header, row)
    text = str(error.value)
    assert text.startswith(f"{tmp_path / 'manifest.csv'}, line {line}: ")
    assert words in text
    assert "\n  fix: " in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ("[1]", "must be an object"),
        ("[" * 100_000, "is not valid JSON"),
        ('{"image": "a", "mask": 7}', "mask is 7"),
        ('{"image": "a", "mask": "b", "pose": 7}', "pose is 7, must be a text"),
        ('{"image": "a", "mask": "b", "altitude_m": true}', "altitude_m is True"),
        ('{"image": "a", "mask": "b", "altitude_m": NaN}', "altitude_m is nan"),
        ('{"image": "a", "mask": "b", "altitude_m": [1]}', "altitude_m is [1]"),
        ('{"image": "a", "mask": "b", "altitude_m": 1' + "0" * 400 + "}", "altitude_m is 1000"),
        ('{"image": "a", "mask": "b", "hight": 1}', "the nearest is"),
        ('{"mask": "b"}', "has no column image"),
    ],
)
def test_a_bad_object_names_file_line_and_column(rows: Any, text: str, words: str) -> None:
    good = '{"image": "a", "mask": "b"}'
    with pytest.raises(DataError, match=r"manifest\.jsonl, line 2: ") as error:
        rows(good, text, name="manifest.jsonl")
    assert words in str(error.value)


CELL = st.one_of(
    st.integers(-50, 200).map(str),
    st.sampled_from(["", " 7 ", "nan", "-inf", "1e400", "1_0", "1.5", "x", "0x1", '"7"', "\u0662"]),
    st.sampled_from(["../x", "/x", "a,b", '"a,b"', '"', "."]),
)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 11), CELL, st.sampled_from(["\n", "\r\n"]))
def test_a_mutated_row_is_read_right_or_named(rows: Any, column: int, cell: str, end: str) -> None:
    fields = ROW.split(",")
    fields[column] = cell
    line = ",".join(fields)
    refused = None
    try:
        first, second = rows(HEADER, ROW, line, end=end)
    except DataError as error:
        refused = str(error)
    if refused is not None:
        assert "manifest.csv, line 3: " in refused
        return
    assert first == rows(HEADER, ROW)[0]
    (cells,) = csv.reader(io.StringIO(line))
    assert (second.image, second.mask) == (cells[0].strip(), cells[1].strip())
    assert not any(name.startswith(("..", "/")) for name in cells[:2])
    assert list(second.box) == [float(cell) for cell in cells[2:6]]
    assert second.box[0] < second.box[2]
    assert second.box[1] < second.box[3]
    names = [name for name, cell in zip(COLUMNS[6:], cells[6:], strict=True) if cell.strip()]
    assert list(second.attributes) == names
    for name in names[2:]:
        assert second.attributes[name] == float(cells[COLUMNS.index(name)])


def test_the_box_of_a_mask_holds_exactly_its_pixels(tmp_path: Path) -> None:
    coverage = read_mask(save_mask(tmp_path / "m.png", (10, 20, 30, 40), value=7), SIZE)
    box = mask_box(coverage)
    assert box is not None
    assert box.tolist() == [10, 20, 30, 40]
    left, top, right, bottom = box.astype(int)
    assert (coverage[top:bottom, left:right] == 7).all()
    assert coverage.sum() == 7 * 20 * 20
    assert mask_box(np.zeros((4, 5), np.uint8)) is None
    corners = np.zeros((4, 5), np.uint8)
    corners[0, 4] = corners[3, 0] = 1
    everything = mask_box(corners)
    assert everything is not None
    assert everything.tolist() == [0, 0, 5, 4]


def test_a_mask_of_one_bit_covers_fully(tmp_path: Path) -> None:
    flags = np.zeros(SIZE[::-1], np.bool_)
    flags[5, 6] = True
    Image.fromarray(flags).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png", SIZE)[5, 6] == 255


def test_files_that_are_no_mask_are_refused(tmp_path: Path) -> None:
    grey = Image.fromarray(np.full(SIZE[::-1], 200, np.uint8))
    grey.save(tmp_path / "grey.jpg")
    grey.save(tmp_path / "grey.png")
    for mode in ("RGB", "RGBA", "LA", "P"):
        grey.convert(mode).save(tmp_path / f"{mode}.png")
    for name in ("grey.jpg", "RGB.png", "RGBA.png", "LA.png", "P.png"):
        with pytest.raises(DataError, match=rf"{name}: is not a greyscale PNG of 8 bits"):
            require_mask(tmp_path / name, SIZE)
    with pytest.raises(DataError, match="is 100x80, its image is 80x100"):
        require_mask(tmp_path / "grey.png", (80, 100))
    with pytest.raises(DataError, match="image not found"):
        require_mask(tmp_path / "none.png", SIZE)
    require_mask(tmp_path / "grey.png", SIZE)
    ones = save_mask(tmp_path / "ones.png", (1, 2, 3, 4), value=1)
    require_mask(ones, SIZE)
    with pytest.raises(DataError, match=r"has no value above 1.*\n.*multiply the mask by 255"):
        read_mask(ones, SIZE)


@pytest.fixture
def pool(tmp_path: Path, write_image: Write) -> Path:
    """Three images with masks, one without, one with an empty one, and a stray file."""
    for index, stem in enumerate(("anna_stand_10_-30", "anna_lie_10_-30", "bob_sit_20_-45.5")):
        write_image(tmp_path / "images" / f"{stem}.jpg", SIZE)
        save_mask(tmp_path / "masks" / f"{stem}.png", (10 + index, 20, 30, 40))
    write_image(tmp_path / "images/cid_sit_20_-60.jpg", SIZE)
    write_image(tmp_path / "images/dan_sit_20_-60.jpg", SIZE)
    save_mask(tmp_path / "masks/dan_sit_20_-60.png")
    write_image(tmp_path / "preview.jpg", SIZE)
    return tmp_path


def test_a_folder_becomes_a_manifest_that_reads_back(pool: Path) -> None:
    calls: list[tuple[int, int]] = []
    summary = build_manifest(
        pool,
        PATTERN,
        pool / "manifest.csv",
        progress=lambda done, total: calls.append((done, total)),
    )
    assert summary == (
        pool / "manifest.csv", 3, 1, 1, 1,
        ("preview.jpg", "images/cid_sit_20_-60.jpg", "images/dan_sit_20_-60.jpg"),
    )  # fmt: skip
    assert calls == [(done, 5) for done in range(1, 6)]
    assert (pool / "manifest.csv").read_text().splitlines() == [
        HEADER,
        "images/anna_lie_10_-30.jpg,masks/anna_lie_10_-30.png,11,20,30,40,anna,lie,10,,-30,",
        "images/anna_stand_10_-30.jpg,masks/anna_stand_10_-30.png,10,20,30,40,anna,stand,10,,-30,",
        "images/bob_sit_20_-45.5.jpg,masks/bob_sit_20_-45.5.png,12,20,30,40,bob,sit,20,,-45.5,",
    ]
    first, *_ = read_manifest(pool / "manifest.csv")
    assert first.box == (11, 20, 30, 40)
    assert first.attributes == {
        "character": "anna", "pose": "lie", "altitude_m": 10.0, "pitch_deg": -30.0,
    }  # fmt: skip


def test_a_manifest_above_the_folder_names_the_folder(pool: Path) -> None:
    build_manifest(pool, PATTERN, pool.parent / f"{pool.name}.csv")
    first, *_ = read_manifest(pool.parent / f"{pool.name}.csv")
    assert first.image == f"{pool.name}/images/anna_lie_10_-30.jpg"
    assert first.mask == f"{pool.name}/masks/anna_lie_10_-30.png"


def test_masks_beside_their_images_are_no_images(tmp_path: Path, write_image: Write) -> None:
    for name in ("anna", "bob"):
        write_image(tmp_path / "deep" / f"{name}.png", SIZE)
        save_mask(tmp_path / "deep" / f"{name}_mask.png", (1, 2, 30, 40))
    summary = build_manifest(
        tmp_path, r".*/(?P<character>.*)", tmp_path / "m.csv", masks="{parent}/{character}_mask.png"
    )
    assert summary[1:] == (2, 0, 0, 0, ())
    assert [row.image for row in read_manifest(tmp_path / "m.csv")] == [
        "deep/anna.png",
        "deep/bob.png",
    ]


def test_a_pattern_that_matches_nothing_shows_three_names(pool: Path) -> None:
    for path in (pool / "masks").iterdir():
        path.unlink()
    with pytest.raises(DataError) as error:
        build_manifest(pool, r"(?P<character>\d+)", pool / "manifest.csv")
    text = str(error.value)
    assert text.startswith(f"{pool}: none of 6 images matches '(?P<character>")
    assert "images/anna_lie_10_-30, images/anna_stand_10_-30, images/bob_sit_20_-45.5\n" in text
    assert not (pool / "manifest.csv").exists()


def test_masks_that_are_nowhere_are_an_error_that_names_one(pool: Path) -> None:
    with pytest.raises(
        DataError, match=r"5 have no mask, 0 an empty one; the first is images/anna_"
    ):
        build_manifest(pool, PATTERN, pool / "manifest.csv", masks="labels/{stem}.png")
    assert not (pool / "manifest.csv").exists()


@pytest.mark.parametrize(
    ("pattern", "masks", "words"),
    [
        ("(", "{stem}", "is not a regular expression"),
        ("images/(?P<altitude>.*)", "{stem}", "the nearest is 'altitude_m'"),
        (
            "images/(?P<altitude_m>.*)",
            "{stem}",
            "altitude_m of the pattern is 'anna_lie_10_-30' in",
        ),
        ("images/.*", "{name}.png", "cannot be filled in ('name'); it may hold {stem}, {parent}"),
        ("images/.*", "{}.png", "cannot be filled in"),
        ("images/.*", "{stem.x}.png", "cannot be filled in"),
        ("images/.*", "{stem", "cannot be filled in"),
        ("images/.*", "../{stem}.png", "leads out of the folder"),
        ("images/.*", "/{stem}.png", "leads out of the folder"),
    ],
)
def test_patterns_and_templates_that_cannot_be_used_are_refused(
    pool: Path, pattern: str, masks: str, words: str
) -> None:
    with pytest.raises(ConfigError) as error:
        build_manifest(pool, pattern, pool / "manifest.csv", masks=masks)
    assert words in str(error.value)


def test_an_output_that_cannot_be_used_is_refused_before_any_mask_is_read(pool: Path) -> None:
    (pool / "other").mkdir()
    (pool / "there.csv").write_text("kept")
    for output, words in (
        (pool / "there.csv", "is already there"),
        (pool / "other/manifest.csv", "does not lie directly in"),
        (pool / "none/manifest.csv", "does not lie directly in"),
        (pool / "manifest.json", "does not end in .csv"),
    ):
        with pytest.raises(DataError, match=words):
            build_manifest(pool, "(", output)
    with pytest.raises(DataError, match="is not a folder"):
        build_manifest(pool / "none", "(", pool / "manifest.csv")
    assert (pool / "there.csv").read_text() == "kept"
