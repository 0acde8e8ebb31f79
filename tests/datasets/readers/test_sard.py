"""SARD as its owner ships it (Pascal VOC) and as a YOLO re-pack."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.sard import read_sard
from ptl_sweep.datasets.validation import DataError

Read = Callable[..., Any]

POSTURES = ("Standing", "Walking", "Running", "Sitting", "Lying", "Not Defined")
NAMES = ["Running", "Walking", "laying_down", "not_defined", "seated", "stands"]
SIDES = ("10", "20", "40", "60")
ROW = "2 0.25 0.5 0.3 0.5\n"  # of 100 x 80: 10, 20, 40, 60


def annotation(*objects: tuple[str, ...]) -> str:
    """As LabelImg writes it: class and sides of each object."""
    rows = "".join(
        f"\t<object>\n\t\t<name>{name}</name>\n\t\t<difficult>0</difficult>\n\t\t<bndbox>\n"
        f"\t\t\t<xmin>{xmin}</xmin>\n\t\t\t<ymin>{ymin}</ymin>\n"
        f"\t\t\t<xmax>{xmax}</xmax>\n\t\t\t<ymax>{ymax}</ymax>\n\t\t</bndbox>\n\t</object>\n"
        for name, xmin, ymin, xmax, ymax in objects
    )
    size = "\t<size>\n\t\t<width>100</width>\n\t\t<height>80</height>\n\t</size>\n"
    return f"<annotation>\n\t<filename>gss1.jpg</filename>\n{size}{rows}</annotation>\n"


STANDING = annotation(("Standing", *SIDES))


def _read(root: Path, split: str, **keys: Any) -> Any:
    return read_sard(DatasetConfig(name="rescue", reader="sard", root=str(root), **keys), split)


@pytest.fixture
def original(tmp_path: Path, write_image: Callable[..., Path]) -> Read:
    """read({stem: XML text, or None for no file}), frames and files in one folder."""

    def read(annotations: dict[str, str | None], split: str = "all", **keys: Any) -> Any:
        for stem, text in annotations.items():
            write_image(tmp_path / f"{stem}.jpg")
            if text is not None:
                (tmp_path / f"{stem}.xml").write_bytes(text.encode())
        return _read(tmp_path, split, **keys)

    return read


def _roboflow(frame: int) -> str:
    return f"gss{frame}_jpg.rf.{frame:032x}"


@pytest.fixture
def repack(tmp_path: Path, write_image: Callable[..., Path]) -> Callable[..., Path]:
    """write({split: frame numbers}): the folder of a re-pack, one person in each frame."""

    def write(splits: dict[str, list[int]], names: list[str] = NAMES, row: str = ROW) -> Path:
        folder = tmp_path / "search-and-rescue"
        for split, frames in splits.items():
            (folder / split / "labels").mkdir(parents=True, exist_ok=True)
            for frame in frames:
                stem = _roboflow(frame)
                write_image(folder / split / "images" / f"{stem}.jpg")
                (folder / split / "labels" / f"{stem}.txt").write_text(row)
        (folder / "data.yaml").write_text(f"nc: {len(names)}\nnames: {names}\n")
        return folder

    return write


def test_every_posture_is_a_person(original: Read) -> None:
    objects = [
        (name, str(10 + index), "20", "40", "60")
        for index, name in enumerate((*POSTURES, "not defined", "NOT_DEFINED", "standing"))
    ]
    image_set = original({"gss1": annotation(*objects)})
    (record,) = image_set.records
    assert record.boxes[:, 0].tolist() == [10, 11, 12, 13, 14, 15, 16, 17, 18]
    assert record.boxes[0].tolist() == [10, 20, 40, 60]
    assert (image_set.drops, image_set.warnings, image_set.split) == ({}, (), "all")


def test_an_unknown_class_is_an_error_until_it_has_a_meaning(
    original: Read, tmp_path: Path
) -> None:
    rows = {"gss1": annotation(("Standing", *SIDES), ("Siting", "1", "2", "9", "9"))}
    with pytest.raises(DataError, match=r"class 'Siting' .*nearest is 'Sitting'") as error:
        original(rows)
    assert str(error.value).startswith(f"{tmp_path / 'gss1.xml'}, line 18: ")
    assert "\n  fix: correct it, or add it to categories" in str(error.value)
    image_set = original(rows, categories={"siting": "other"})
    assert (image_set.num_persons, image_set.drops) == (1, {"other category": 1})
    record = original(rows, categories={"siting": "ignore", "standing": "other"}).records[0]
    assert (len(record.boxes), len(record.ignored)) == (0, 1)


def test_scenes_are_runs_of_frame_numbers(original: Read) -> None:
    frames = (1, 2, 9, 10, 11, 13)
    rows: dict[str, str | None] = {f"gss{frame}": STANDING for frame in frames}
    image_set = original(rows | {"gss12": None})
    assert {record.image_id: record.scene for record in image_set.records} == {
        "gss1": "gss1",
        "gss2": "gss1",
        "gss9": "gss9",
        "gss10": "gss9",
        "gss11": "gss9",
        "gss13": "gss9",  # frame 12 is there, if without a file
    }
    assert image_set.drops == {"image without annotation file": 1}


def test_frame_stride_takes_every_kth_frame_of_each_scene(original: Read) -> None:
    rows = {f"gss{frame}": STANDING for frame in (7, 8, 9, 10, 11, 20, 21, 30)}
    kept = {record.image_id for record in original(rows, frame_stride=2).records}
    assert kept == {"gss7", "gss9", "gss11", "gss20", "gss30"}
    assert len(original({}, frame_stride=2, num_images=2).records) == 2


@pytest.mark.parametrize(
    ("images", "files"),
    [("images", "annotations"), ("Images", "Annotations"), ("SARD/images", "SARD/annotations")],
)
def test_frames_and_files_may_lie_in_two_folders(
    tmp_path: Path, write_image: Callable[..., Path], images: str, files: str
) -> None:
    (tmp_path / files).mkdir(parents=True)
    for stem in ("a/gss1", "b/gss1"):
        write_image(tmp_path / images / f"{stem}.jpg")
        path = tmp_path / files / f"{stem}.xml"
        path.parent.mkdir()
        path.write_text(STANDING)
    (tmp_path / files / "gss5.xml").write_text(STANDING)
    image_set = _read(tmp_path, "all")
    assert [record.image_id for record in image_set.records] == ["a/gss1", "b/gss1"]
    assert image_set.warnings == ("annotation files without image: 1 (files: 1, first: gss5.xml)",)


def test_the_original_has_no_split_and_says_what_to_set(original: Read) -> None:
    for split in ("test", "train"):
        with pytest.raises(DataError, match=rf"no split '{split}'\n  fix: set split=all"):
            original({"gss1": STANDING}, split)


def test_a_folder_without_the_data_set_says_what_it_must_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds frames with their XML files .*or train/, valid/"):
        _read(tmp_path, "all")


def test_keys_that_do_not_fit_are_refused(original: Read) -> None:
    with pytest.raises(ConfigError, match=r"rescue.scene_fractions .*set it to null"):
        original({"gss1": STANDING}, scene_fractions=[0.5, 0.25, 0.25])


def test_the_repack_is_read_by_split_wherever_root_points(
    repack: Callable[..., Path], tmp_path: Path
) -> None:
    folder = repack({"train": [1, 2], "valid": [3], "test": [5]})
    for root in (folder, tmp_path):
        test = _read(root, "test")
        assert [record.image_id for record in test.records] == [_roboflow(5)]
        assert np.allclose(test.records[0].boxes, [[10, 20, 40, 60]], atol=1e-4)
        assert _read(root, "validation").num_persons == _read(root, "valid").num_persons == 1
        assert _read(root, "all").num_persons == 4
        assert (test.drops, test.warnings) == ({}, ())
    with pytest.raises(DataError, match=r"no split 'other'; it has train, validation, test"):
        _read(folder, "other")
    shutil.copytree(folder, tmp_path / "search-and-rescue-2")
    with pytest.raises(DataError, match="holds the data set 2 times: search-and-rescue, search-an"):
        _read(tmp_path, "test")


def test_scenes_of_the_repack_go_through_all_its_splits(repack: Callable[..., Path]) -> None:
    folder = repack({"train": [1, 3, 4], "valid": [2, 20], "test": [5, 7, 21]})
    scenes = {record.image_id: record.scene for record in _read(folder, "test").records}
    assert scenes == {_roboflow(5): "gss1", _roboflow(7): "gss7", _roboflow(21): "gss20"}
    assert {record.scene for record in _read(folder, "all").records} == {"gss1", "gss7", "gss20"}


def test_frame_stride_takes_or_leaves_all_copies_of_a_frame(original: Read) -> None:
    copies = ("GNSaptniQRRWmG0fIgl1", "0NSaptniQRRWmG0fIgl2")
    rows = {f"gss{frame}_jpg.rf.{copy}": STANDING for frame in range(1, 5) for copy in copies}
    records = original(rows, frame_stride=2).records
    assert sorted({record.image_id.split("_")[0] for record in records}) == ["gss1", "gss3"]
    assert len(records) == 4
    assert {record.scene for record in records} == {"gss1"}


def test_frame_stride_thins_the_repack_out_and_shows_in_the_fingerprint(
    repack: Callable[..., Path],
) -> None:
    folder = repack({"test": [8, 9, 10, 11, 30]})
    every, second = _read(folder, "test"), _read(folder, "test", frame_stride=2)
    kept = [record.image_id for record in second.records]
    assert sorted(kept) == sorted(map(_roboflow, (8, 10, 30)))
    assert len({every.fingerprint, second.fingerprint}) == 2
    assert second.fingerprint == _read(folder, "test", frame_stride=2).fingerprint
    three = _read(folder, "test", frame_stride=2, num_images=3)
    assert [record.image_id for record in three.records] == kept
    two = _read(folder, "test", frame_stride=2, num_images=2)
    assert len(two.records) == 2
    assert two.fingerprint != second.fingerprint


@pytest.mark.parametrize("name", ["human", "person"])
def test_a_repack_of_one_class_is_read(repack: Callable[..., Path], name: str) -> None:
    folder = repack({"test": [1]}, [name], ROW.replace("2", "0", 1))
    assert _read(folder, "test").num_persons == 1


def test_further_classes_of_a_repack_need_a_meaning(repack: Callable[..., Path]) -> None:
    folder = repack({"test": [1]}, ["boat", "Walking", "laying_down"])
    with pytest.raises(DataError, match=r"data.yaml: class 'boat' is not in categories"):
        _read(folder, "test")
    image_set = _read(folder, "test", categories={"boat": "other"})
    assert (image_set.num_persons, image_set.warnings) == (1, ())
    image_set = _read(folder, "test", categories={"boat": "other", "Laying Down": "ignore"})
    assert image_set.num_persons == 0
    assert len(image_set.records[0].ignored) == 1
    image_set = _read(folder, "test", categories={"boat": "other", "dgo": "other"})
    assert image_set.warnings == ("categories that data.yaml lacks: 1 (files: 1, first: dgo)",)


def test_a_repack_without_data_yaml_says_what_to_write(repack: Callable[..., Path]) -> None:
    folder = repack({"test": [1]})
    (folder / "data.yaml").unlink()
    with pytest.raises(DataError, match=r"data.yaml: not found\n  fix: "):
        _read(folder, "test")


CELL = st.one_of(
    st.integers(-30, 150).map(str),
    st.sampled_from(["", "nan", "-inf", "1_0", "12.5", "x", "\u0662", "LYING", "Lyin", "dog"]),
)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 4), CELL, st.sampled_from(["\n", "\r\n"]))
def test_a_mutated_annotation_is_parsed_right_or_named(
    original: Read, column: int, cell: str, end: str
) -> None:
    fields = ["Running", "30", "31", "50", "52"]
    fields[column] = cell
    text = annotation(("Standing", *SIDES), tuple(fields)).replace("\n", end)
    refused = None
    try:
        (record,) = original({"gss1": text}).records
    except DataError as error:
        refused = str(error)
    if refused is not None:
        first = text[: text.rindex("<object>")].count("\n") + 1
        lines = [f"gss1.xml, line {first + row}: " for row in range(1, 8)]
        assert sum(line in refused for line in lines) == 1
        return
    assert fields[0] in ("Running", "LYING")
    sides = [float(value) for value in fields[1:]]  # Python agrees that they are numbers
    box = np.clip(sides, 0, [100, 80, 100, 80])
    expected = [[10, 20, 40, 60]]
    if min(box[2:] - box[:2]) >= 1:
        expected.append(box.tolist())
    assert record.boxes.tolist() == expected


SHARE = st.one_of(
    st.integers(0, 1000).map(lambda number: str(number / 1000)),
    st.sampled_from(["6", "-1", "0.5 0.5", "nan", "1e400", "x", "0,5", "1.02"]),
)


@settings(
    max_examples=75,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 4), SHARE)
def test_a_mutated_row_of_the_repack_is_parsed_right_or_named(
    repack: Callable[..., Path], column: int, cell: str
) -> None:
    fields = ["0", "0.3", "0.4", "0.1", "0.2"]
    fields[column] = cell
    folder = repack({"test": [1]}, row=f"{ROW}{' '.join(fields)}\n")
    refused = None
    try:
        (record,) = _read(folder, "test").records
    except DataError as error:
        refused = str(error)
    if refused is not None:
        assert f"test/labels/{_roboflow(1)}.txt, line 2: " in refused
        return
    _, cx, cy, width, height = (float(field) for field in fields)
    low = np.array([cx - width / 2, cy - height / 2]) * (100, 80)
    high = np.array([cx + width / 2, cy + height / 2]) * (100, 80)
    box = np.clip([*low, *high], 0, [100, 80, 100, 80])
    if abs(min(box[2:] - box[:2]) - 1) > 1e-6:
        assert len(record.boxes) == 1 + (min(box[2:] - box[:2]) >= 1)
    for found in record.boxes[1:]:
        assert np.allclose(found, box, atol=1e-3)
