"""HERIDAL as its owner ships it and in the keras-retinanet re-pack."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.heridal import read_heridal
from ptl_sweep.datasets.validation import DataError

Read = Callable[..., Any]
Box = tuple[str, str, str, str, str]  # class and sides as written

BOX = ("human", "10", "20", "40", "60")
SIZE = "\t<size>\r\n\t\t<width>100</width>\r\n\t\t<height>80</height>\r\n\t</size>\r\n"


def annotation(*boxes: Box, size: str = SIZE) -> str:
    """As the original has it: CRLF, and a file name without train_ or test_."""
    objects = (
        f"\t<object>\r\n\t\t<name>{name}</name>\r\n\t\t<bndbox>\r\n"
        f"\t\t\t<xmin>{xmin}</xmin>\r\n\t\t\t<ymin>{ymin}</ymin>\r\n"
        f"\t\t\t<xmax>{xmax}</xmax>\r\n\t\t\t<ymax>{ymax}</ymax>\r\n"
        "\t\t</bndbox>\r\n\t</object>\r\n"
        for name, xmin, ymin, xmax, ymax in boxes
    )
    head = "<annotation>\r\n\t<filename>BLI_0001</filename>\r\n"
    return f"{head}{size}{''.join(objects)}</annotation>\r\n"


@pytest.fixture
def original(tmp_path: Path, write_image: Callable[..., Path]) -> Read:
    """read({stem: XML text, or None for no file}) of testImages/: an ImageSet."""

    def read(annotations: dict[str, str | None], split: str = "test", **keys: Any) -> Any:
        folder = tmp_path / "testImages"
        (folder / "labels").mkdir(parents=True, exist_ok=True)
        for stem, text in annotations.items():
            write_image(folder / f"{stem}.jpg").rename(folder / f"{stem}.JPG")
            if text is not None:
                (folder / "labels" / f"{stem}.xml").write_bytes(text.encode())
        config = DatasetConfig(name="wild", reader="heridal", root=str(tmp_path), **keys)
        return read_heridal(config, split)

    return read


@pytest.fixture
def repack(tmp_path: Path, write_image: Callable[..., Path]) -> Callable[..., Path]:
    """write({list: names}): the folder with an image, .jpg, and a file for every name."""

    def write(lists: dict[str, str]) -> Path:
        folder = tmp_path / "heridal_keras_retinanet_voc"
        (folder / "Annotations").mkdir(parents=True, exist_ok=True)
        (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        for name, text in lists.items():
            (folder / "ImageSets" / "Main" / f"{name}.txt").write_bytes(text.encode())
            for stem in text.split():
                write_image(folder / "JPEGImages" / f"{stem}.jpg")
                (folder / "Annotations" / f"{stem}.xml").write_text(annotation(BOX, size=""))
        return folder

    return write


def _read(root: Path, split: str, **keys: Any) -> Any:
    return read_heridal(DatasetConfig(name="wild", reader="heridal", root=str(root), **keys), split)


def test_the_original_gives_humans_by_location(original: Read) -> None:
    image_set = original(
        {
            "test_BLI_0001": annotation(BOX, ("person", "50", "50", "55", "61")),
            "test_BLI_0002": annotation(),
            "test_VRD_0001": annotation(BOX, size=""),
        }
    )
    assert [(record.image_id, record.scene, len(record.boxes)) for record in image_set.records] == [
        ("test_BLI_0001", "BLI", 2),
        ("test_BLI_0002", "BLI", 0),
        ("test_VRD_0001", "VRD", 1),
    ]
    record = image_set.records[0]
    assert record.boxes.tolist() == [[10, 20, 40, 60], [50, 50, 55, 61]]
    assert record.pixels.read().shape == (80, 100, 3)
    assert (image_set.drops, image_set.warnings) == ({}, ())
    assert (image_set.name, image_set.split) == ("wild", "test")


def test_an_image_without_annotation_is_left_out_and_counted(original: Read) -> None:
    image_set = original({"test_BLI_0001": annotation(), "test_BLI_0002": None})
    assert [record.image_id for record in image_set.records] == ["test_BLI_0001"]
    assert image_set.drops == {"image without annotation file": 1}
    assert image_set.warnings == (
        "images without annotation file, left out: 1 (files: 1, first: test_BLI_0002.JPG)",
    )


def test_an_annotation_without_image_is_reported_and_hidden_files_are_not(
    original: Read, tmp_path: Path
) -> None:
    original({"test_BLI_0001": annotation(BOX)})
    labels = tmp_path / "testImages" / "labels"
    (labels / "test_BLI_0009.xml").write_text(annotation(BOX))
    (labels / "._test_BLI_0001.xml").write_bytes(b"\0\5\x16\7")  # an archive of macOS has them
    (tmp_path / "testImages" / "._test_BLI_0001.JPG").write_bytes(b"\0\5\x16\7")
    assert original({}).warnings == (
        "annotation files without image: 1 (files: 1, first: test_BLI_0009.xml)",
    )


def test_images_may_lie_in_a_folder_of_their_own_or_beside_their_files(
    original: Read, tmp_path: Path
) -> None:
    expected = original({"test_BLI_0001": annotation(BOX)}).fingerprint
    folder = tmp_path / "testImages"
    (folder / "images").mkdir()
    (folder / "test_BLI_0001.JPG").rename(folder / "images" / "test_BLI_0001.JPG")
    assert _read(tmp_path, "test").fingerprint == expected
    (folder / "images" / "test_BLI_0001.JPG").rename(folder / "test_BLI_0001.JPG")
    (folder / "images").rmdir()
    (folder / "labels" / "test_BLI_0001.xml").rename(folder / "test_BLI_0001.xml")
    (folder / "labels").rmdir()
    assert _read(tmp_path, "test").fingerprint == expected


def test_root_is_the_data_set_or_the_folder_around_it(original: Read, tmp_path: Path) -> None:
    expected = original({"test_BLI_0001": annotation(BOX)}).fingerprint
    (tmp_path / "set").mkdir()
    (tmp_path / "testImages").rename(tmp_path / "set" / "testImages")
    (tmp_path / "__MACOSX" / "testImages").mkdir(parents=True)
    assert _read(tmp_path, "test").fingerprint == expected
    assert _read(tmp_path / "set", "test").fingerprint == expected
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    with pytest.raises(DataError, match=r"holds the data set 2 times: copy, set\n  fix: set root"):
        _read(tmp_path, "test")


def test_a_folder_without_the_data_set_says_what_it_must_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds trainImages/ and testImages/, or JPEGImages/"):
        _read(tmp_path, "test")
    with pytest.raises(DataError, match=r"is not a folder\n  fix: set root"):
        _read(tmp_path / "none", "test")


def test_the_splits_of_the_original_are_train_and_test(original: Read, tmp_path: Path) -> None:
    original({"test_BLI_0001": annotation(BOX)})
    with pytest.raises(DataError, match=r"trainImages: not found, so there is no split 'train'"):
        original({}, "train")
    for split in ("validation", "all"):
        with pytest.raises(DataError, match=rf"no split '{split}'; it has train, test"):
            original({}, split)
    shutil.copytree(tmp_path / "testImages", tmp_path / "trainImages")
    assert original({}, "train").num_persons == original({}, "trainval").num_persons == 1


def test_a_split_of_the_repack_is_a_list(repack: Callable[..., Path], tmp_path: Path) -> None:
    folder = repack(
        {
            "trainval": "train_BLI_0001\r\ntrain_BLI_0002\r\n\r\ntrain_BRA_0001\r\n",
            "test": "test_BLI_0001  1\ntest_BLI_0001 1\n",
        }
    )
    for root in (folder, tmp_path):
        trainval = _read(root, "trainval")
        assert [(record.image_id, record.scene) for record in trainval.records] == [
            ("train_BLI_0001", "BLI"),
            ("train_BLI_0002", "BLI"),
            ("train_BRA_0001", "BRA"),
        ]
        assert trainval.warnings == ()
        assert _read(root, "train").fingerprint == trainval.fingerprint
        test = _read(root, "test")
        assert [record.image_id for record in test.records] == ["test_BLI_0001"]
        assert test.warnings == ("names listed twice: 1 (files: 1, first: test.txt)",)
    with pytest.raises(DataError, match=r"no split 'validation'; it has trainval, test"):
        _read(folder, "validation")


def test_train_of_the_repack_never_holds_its_validation_images(
    repack: Callable[..., Path],
) -> None:
    names = {"train": "train_BLI_0001", "val": "train_BLI_0002"}
    folder = repack(names | {"trainval": "train_BLI_0001\ntrain_BLI_0002"})
    ids = {
        split: [record.image_id for record in _read(folder, split).records]
        for split in ("train", "validation", "val", "trainval")
    }
    one, two = "train_BLI_0001", "train_BLI_0002"
    assert ids == {"train": [one], "validation": [two], "val": [two], "trainval": [one, two]}
    (folder / "ImageSets" / "Main" / "train.txt").unlink()
    with pytest.raises(DataError, match=r"no split 'train'; it has trainval, validation, val"):
        _read(folder, "train")


def test_listed_images_that_are_not_there_are_reported(repack: Callable[..., Path]) -> None:
    folder = repack({"test": "test_BLI_0001\ntest_BLI_0002\ntest_BLI_0003\ntest_BLI_0004"})
    (folder / "JPEGImages" / "test_BLI_0002.jpg").unlink()
    (folder / "Annotations" / "test_BLI_0003.xml").unlink()
    (folder / "JPEGImages" / "test_BLI_0004.jpg").unlink()
    (folder / "Annotations" / "test_BLI_0004.xml").unlink()
    image_set = _read(folder, "test")
    assert [record.image_id for record in image_set.records] == ["test_BLI_0001"]
    assert image_set.drops == {"image without annotation file": 1}
    assert sorted(warning.split(":")[0] for warning in image_set.warnings) == [
        "annotation files without image",
        "images without annotation file, left out",
        "listed in test.txt, but there is no such image",
    ]


def test_two_images_of_one_name_are_an_error(original: Read, tmp_path: Path) -> None:
    original({"test_BLI_0001": annotation(BOX)})
    image = tmp_path / "testImages" / "test_BLI_0001.JPG"
    shutil.copy(image, image.with_suffix(".jpg"))
    with pytest.raises(DataError, match=r"test_BLI_0001.jpg: has the name of test_BLI_0001.JPG"):
        original({})


def test_names_of_another_form_are_scenes_by_what_precedes_their_number(original: Read) -> None:
    names = ("test_ZRI_0001", "test_bli_3044", "DJI_0001", "DJI_0002", "0007")
    image_set = original(dict.fromkeys(names, annotation(BOX)))
    assert {record.image_id: record.scene for record in image_set.records} == {
        "test_ZRI_0001": "ZRI",
        "test_bli_3044": "BLI",
        "DJI_0001": "DJI",
        "DJI_0002": "DJI",
        "0007": "0007",
    }


def test_an_unknown_class_and_a_pointer_are_named(original: Read, tmp_path: Path) -> None:
    where = str(tmp_path / "testImages" / "labels" / "test_BLI_0001.xml")
    with pytest.raises(DataError, match=r"class 'humn' is not known .*nearest is 'human'") as error:
        original({"test_BLI_0001": annotation(("humn", "1", "2", "3", "4"))})
    assert str(error.value).startswith(f"{where}, line 8: ")
    with pytest.raises(DataError, match="git-LFS pointer") as error:
        original({"test_BLI_0001": "version https://git-lfs.github.com/spec/v1\n"})
    assert str(error.value).startswith(f"{where}: ")


def test_keys_that_do_not_fit_are_refused(original: Read) -> None:
    rows = {"test_BLI_0001": annotation(BOX)}
    with pytest.raises(ConfigError, match=r"wild.scene_fractions .*set it to null"):
        original(rows, scene_fractions=[0.5, 0.25, 0.25])
    with pytest.raises(ConfigError, match=r"wild.frame_stride=2 .*set it to 1"):
        original(rows, frame_stride=2)


def test_num_images_takes_images_from_the_whole_split(original: Read) -> None:
    rows = {f"test_{place}_0001": annotation(BOX) for place in ("BLI", "BRA", "GOR", "ZRI")}
    records = original(rows, num_images=2).records
    assert [record.scene for record in records] == ["BLI", "GOR"]


CELL = st.one_of(
    st.integers(-30, 150).map(str),
    st.sampled_from(["", "nan", "1e400", "1_0", "12.5", "x", "\u0662", "human", "Person", "cow"]),
)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 4), CELL, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_a_mutated_annotation_is_parsed_right_or_named(
    original: Read, column: int, cell: str, end: str, sized: bool
) -> None:
    fields = ["human", "30", "31", "50", "52"]
    fields[column] = cell
    size = SIZE if sized else ""
    name, xmin, ymin, xmax, ymax = fields
    text = annotation(BOX, (name, xmin, ymin, xmax, ymax), size=size).replace("\r\n", end)
    refused = None
    try:
        (record,) = original({"test_BLI_0001": text}).records
    except DataError as error:
        refused = str(error)
    if refused is not None:
        first = text[: text.rindex("<object>")].count("\n") + 1
        lines = [f"labels/test_BLI_0001.xml, line {first + row}: " for row in range(1, 7)]
        assert sum(line in refused for line in lines) == 1
        return
    assert name in ("human", "Person")
    sides = [float(value) for value in fields[1:]]  # Python agrees that they are numbers
    box = np.clip(sides, 0, [100, 80, 100, 80])
    expected = [[10, 20, 40, 60]]
    if min(box[2:] - box[:2]) >= 1:
        expected.append(box.tolist())
    assert record.boxes.tolist() == expected
