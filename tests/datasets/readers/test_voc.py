"""Pascal VOC folders of anybody: both layouts, lists as splits, every class named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.voc.reader import read_voc
from ptl_sweep.datasets.validation import DataError

WriteImage = Callable[..., Path]
ROW = ("person", "10", "20", "40", "60")


def annotation(*objects: tuple[str, ...], end: str = "\n") -> str:
    rows = end.join(
        f"<object><name>{name}</name><bndbox>{end}<xmin>{xmin}</xmin>{end}<ymin>{ymin}</ymin>"
        f"{end}<xmax>{xmax}</xmax>{end}<ymax>{ymax}</ymax></bndbox></object>"
        for name, xmin, ymin, xmax, ymax in objects
    )
    return f"<annotation>{end}{rows}{end}</annotation>{end}"


@pytest.fixture
def voc(tmp_path: Path, write_image: WriteImage) -> Callable[..., Any]:
    """read({name: XML text, or None for no file}, lists={split: names}) of 100 x 80 images."""

    def read(
        files: dict[str, str | None],
        split: str = "all",
        lists: dict[str, str] | None = None,
        layout: tuple[str, str] = ("JPEGImages", "Annotations"),
        **keys: Any,
    ) -> Any:
        for name, text in files.items():
            write_image(tmp_path / layout[0] / f"{name}.jpg")
            (tmp_path / layout[1] / name).parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                (tmp_path / layout[1] / f"{name}.xml").write_bytes(text.encode())
        for name, names in (lists or {}).items():
            (tmp_path / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
            (tmp_path / "ImageSets" / "Main" / f"{name}.txt").write_text(names)
        return read_voc(DatasetConfig(name="mine", reader="voc", root=str(tmp_path), **keys), split)

    return read


@pytest.mark.parametrize(
    "layout",
    [
        ("JPEGImages", "Annotations"),
        ("images", "annotations"),
        ("images", "Annotations"),
        ("JPEGImages", "annotations"),
        ("images", "images"),
        (".", "."),
        ("train", "train"),
    ],
)
def test_both_layouts_are_read(voc: Callable[..., Any], layout: tuple[str, str]) -> None:
    image_set = voc({"a_1": annotation(ROW), "a_2": annotation(end="\r\n")}, layout=layout)
    first, second = image_set.records
    assert first.boxes.tolist() == [[10, 20, 40, 60]]
    assert second.boxes.shape == (0, 4)
    assert first.scene == second.scene


def test_a_split_is_a_list_and_images_without_xml_are_counted(voc: Callable[..., Any]) -> None:
    files = {"a": annotation(ROW), "b": annotation(ROW), "c": None}
    image_set = voc(files, "test", lists={"test": "a 1\r\nc -1\n\nlost\n"})
    assert [record.image_id for record in image_set.records] == ["a"]
    assert image_set.drops == {"image without annotation file": 1}
    assert any("no such image: 1" in warning for warning in image_set.warnings)
    with pytest.raises(DataError, match=r"no split 'val'\n  fix: set split to one of test, all"):
        voc(files, "val")


@pytest.mark.parametrize(
    "lines",
    [
        "Shot (1)\nclip/frame 2\n",
        "Shot (1)  1\nclip/frame 2 -1\n",
        "Shot (1).jpg\nclip/frame 2.JPG\n",
        "JPEGImages/Shot (1).jpg\ndata/JPEGImages/clip/frame 2.xml\n",
        "data\\Shot (1)\r\n./clip/frame 2\r\n",
    ],
)
def test_names_in_a_list_may_have_blanks_suffixes_folders_and_marks(
    voc: Callable[..., Any], tmp_path: Path, lines: str
) -> None:
    (tmp_path / "Annotations" / "clip").mkdir(parents=True)
    files = dict.fromkeys(("Shot", "Shot (1)", "clip/frame 2"), annotation(ROW))
    image_set = voc(files, "default", {"default": lines})
    assert [record.image_id for record in image_set.records] == ["Shot (1)", "clip/frame 2"]
    assert image_set.warnings == ()


@pytest.mark.parametrize(
    ("there", "split"), [("val", "validation"), ("valid", "val"), ("train", "train")]
)
def test_a_split_is_a_list_or_folder_under_any_usual_name(
    voc: Callable[..., Any], there: str, split: str
) -> None:
    files = {"a": annotation(ROW), "b": annotation()}
    assert len(voc(files, split, {there: "a"}).records) == 1


def test_folders_with_xml_beside_the_images_are_splits(
    voc: Callable[..., Any], tmp_path: Path
) -> None:
    voc({"a": annotation(ROW)}, layout=("train", "train"))
    voc({"b": annotation(ROW)}, "validation", layout=("valid", "valid"))
    found = {split: voc({}, split).records for split in ("train", "validation", "all")}
    assert [record.image_id for record in found["train"]] == ["train/a"]
    assert [record.image_id for record in found["validation"]] == ["valid/b"]
    assert len(found["all"]) == 2
    with pytest.raises(DataError, match=r"one of train, valid, all"):
        voc({}, "test")


def test_all_unknown_classes_are_named_at_once_and_a_star_names_the_rest(
    voc: Callable[..., Any],
) -> None:
    rows = [(name, *ROW[1:]) for name in ("person", "car", "bus")]
    files = {"a": annotation(*rows[:2]), "b": annotation(rows[2])}
    with pytest.raises(DataError, match=r"class 'car' .*and not known either: 'bus'"):
        voc(files)
    image_set = voc(files, categories={"*": "other"})
    assert image_set.num_persons == 1
    assert image_set.warnings == ()


def test_every_class_but_person_must_be_named(voc: Callable[..., Any]) -> None:
    files = {"a": annotation(ROW, ("dog", "1", "1", "9", "9"), ("crowd", "50", "1", "99", "70"))}
    with pytest.raises(DataError, match=r"a\.xml, line .*class 'dog' is not known"):
        voc(files)
    image_set = voc(files, categories={"dog": "other", "crowd": "ignore"})
    (record,) = image_set.records
    assert (len(record.boxes), len(record.ignored)) == (1, 1)
    assert image_set.drops == {"other category": 1}


def test_a_folder_without_splits_is_divided_by_scene(voc: Callable[..., Any]) -> None:
    files = {f"{name}{number}": annotation(ROW) for name in "abcde" for number in (1, 2)}
    shares = [0.8, 0.2, 0.0]
    parts = [
        {record.image_id for record in voc(files, split, scene_fractions=shares).records}
        for split in ("train", "validation")
    ]
    assert [len(part) for part in parts] == [8, 2]
    assert not parts[0] & parts[1]
    assert len({name[0] for name in parts[1]}) == 1
    lists = {"default": "\n".join(files)}  # of CVAT, and no split
    assert len(voc({}, "train", lists, scene_fractions=shares).records) == 8


def test_splits_of_its_own_are_divided_anew_only_when_asked(voc: Callable[..., Any]) -> None:
    files = {
        f"{split}/{n}_jpg.rf.{split}": annotation(ROW)
        for split in ("train", "val")
        for n in "abcde"
    }
    with pytest.raises(ConfigError, match=r"its files have train, validation: .* resplit=true"):
        voc(files, "train", scene_fractions=[0.8, 0.2, 0.0])
    parts = [
        {record.image_id for record in voc(files, split, resplit=True).records}
        for split in ("train", "validation")
    ]
    assert [len(part) for part in parts] == [8, 2]
    assert len({name.split("/")[1][0] for name in parts[1]}) == 1  # both copies


def test_keys_that_do_not_fit_are_refused(voc: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scene_fractions"):
        voc({"a": annotation(ROW)}, lists={"train": "a"}, scene_fractions=[0.5, 0.5, 0.0])
    with pytest.raises(DataError, match="JPEGImages/ and Annotations/"):
        read_voc(DatasetConfig(name="mine", reader="voc", root=str(tmp_path / "JPEGImages")), "all")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    field=st.integers(0, 4),
    text=st.one_of(
        st.integers(-30, 130).map(str),
        st.floats(allow_nan=True).map(str),
        st.sampled_from(["", " ", "ten", "1,5", "0x10", "1e3", "person", "Persons", "-0"]),
    ),
)
def test_a_changed_field_is_read_as_written_or_named_with_file_and_line(
    voc: Callable[..., Any], field: int, text: str
) -> None:
    row = [*ROW]
    row[field] = text
    image_set, refused = None, ""
    try:
        image_set = voc({"a": annotation(tuple(row))})
    except DataError as error:
        refused = str(error)
    if image_set is None:
        assert "a.xml, line " in refused
        return
    (record,) = image_set.records
    left, top, right, bottom = (float(side) for side in row[1:])
    clipped = [max(left, 0), max(top, 0), min(right, 100), min(bottom, 80)]
    if clipped[2] - clipped[0] >= 1 and clipped[3] - clipped[1] >= 1:
        assert record.boxes.tolist() == [pytest.approx(clipped)]
    else:
        assert len(record.boxes) == 0
        assert sum(image_set.drops.values()) == 1
