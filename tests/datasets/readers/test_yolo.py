"""YOLO folders in all their layouts, and genuine files when PTL_SAMPLE_DATA is set."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.yolo.reader import read_yolo
from ptl_sweep.datasets.validation import DataError

ROW = "0 0.5 0.5 0.2 0.5"  # of 100 x 80: 40, 20, 60, 60

Read = Callable[..., Any]


def test_shares_become_pixels(yolo: Read) -> None:
    image_set = yolo({"1": f"{ROW}\n1 0.2 0.2 0.1 0.1\n"})
    (record,) = image_set.records
    assert np.allclose(record.boxes, [[40, 20, 60, 60]], atol=1e-4)
    assert (record.width, record.height) == (100, 80)
    assert image_set.drops == {"other category": 1}


def test_empty_and_missing_label_files_are_negatives_and_missing_ones_are_reported(
    yolo: Read,
) -> None:
    image_set = yolo({"1": "", "2": None, "3": ROW})
    assert [len(record.boxes) for record in image_set.records] == [0, 0, 1]
    assert image_set.warnings == (
        "images without label file, taken as negatives: 1 (files: 1, first: 2.png)",
    )


def _read(root: Path, split: str, **keys: Any) -> Any:
    return read_yolo(DatasetConfig(name="mine", reader="yolo", root=str(root), **keys), split)


POLYGON = "0 .4 .25 .6 .25 .6 .75 .4 .75"  # of 100 x 80: 40, 20, 60, 60


def test_polygons_become_boxes_also_beside_boxes(yolo: Read) -> None:
    first, second = yolo({"1": POLYGON, "2": f"{ROW}\n1 .1 .1 .2 .1 .1 .2\n{POLYGON}"}).records
    assert np.allclose(first.boxes, [[40, 20, 60, 60]], atol=1e-4)
    assert np.allclose(second.boxes, [[40, 20, 60, 60]] * len(second.boxes), atol=1e-4)


@pytest.mark.parametrize("corner", ["nan", "1.5", "-3", "x"])
def test_a_bad_corner_of_a_polygon_is_named_with_its_line(yolo: Read, corner: str) -> None:
    with pytest.raises(DataError, match=rf"1\.txt, line 2: a corner .* is '{corner}'"):
        yolo({"1": f"{ROW}\n0 .4 .25 .6 {corner} .6 .75"})


def test_keypoints_after_a_box_are_left_out(yolo: Read) -> None:
    data = "names: [person, dog]\nkpt_shape: [1, 2]"
    (record,) = yolo({"1": f"{ROW} 0.9 0.9"}, data=data).records
    assert np.allclose(record.boxes, [[40, 20, 60, 60]], atol=1e-4)


@pytest.mark.parametrize("digits", [6, 8])
def test_a_box_of_one_pixel_survives_its_rounding(yolo: Read, digits: int) -> None:
    centre, side = f"{33.5 / 100:.{digits}f}", f"{1 / 80 - 10**-digits:.{digits}f}"
    assert yolo({"1": f"0 {centre} 0.5 0.01 {side}"}).num_persons == 1
    assert yolo({"1": "0 0.5 0.5 0.0095 0.5"}).drops == {"under 1 px": 1}


@pytest.mark.parametrize(
    ("folder", "split"),
    [
        ("valid", "validation"),
        ("valid", "val"),
        ("val", "validation"),
        ("validation", "valid"),
        ("val2017", "validation"),
        ("train2017", "train"),
        ("test", "test"),
        ("default", "default"),
        ("valid", "all"),
    ],
)
def test_a_split_is_found_under_the_names_of_other_tools(
    tmp_path: Path, write_image: Callable[..., Path], folder: str, split: str
) -> None:
    (tmp_path / "data.yaml").write_text("names: [person]")
    for number, layout in enumerate((f"{folder}/images", f"images/{folder}")):
        root = tmp_path / str(number)
        write_image(root / layout / "a.png")
        labels = root / layout.replace("images", "labels")
        labels.mkdir(parents=True)
        (labels / "a.txt").write_text(ROW)
        (root / "data.yaml").write_text("names: [person]")
        assert _read(root, split).num_persons == 1


@pytest.mark.parametrize(
    ("place", "names", "split"),
    [
        ("images", "classes.txt", "all"),  # images/ and labels in it, as LabelImg writes
        (".", "classes.txt", "all"),
        ("test/images", "data.yaml", "test"),
        ("valid", "valid/_darknet.labels", "validation"),
        ("obj_train_data", "obj.names", "train"),
    ],
)
def test_labels_beside_the_images_are_read(
    tmp_path: Path, write_image: Callable[..., Path], place: str, names: str, split: str
) -> None:
    write_image(tmp_path / place / "q0.png")
    (tmp_path / place / "q0.txt").write_text(ROW)
    text = "names: [person]" if names == "data.yaml" else "person\ndog\n"
    (tmp_path / names).write_text(text)
    image_set = _read(tmp_path, split)
    assert image_set.num_persons == 1
    assert image_set.warnings == ()


def test_images_without_any_label_file_are_refused_unless_an_empty_folder_says_so(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    (tmp_path / "data.yaml").write_text("names: [person]")
    write_image(tmp_path / "test" / "images" / "q0.png")
    with pytest.raises(DataError, match="holds 1 images and no label file is there"):
        _read(tmp_path, "test")
    (tmp_path / "test" / "labels").mkdir()
    assert _read(tmp_path, "test").num_persons == 0


def test_pictures_without_folders_are_told_where_labels_would_be_read(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    (tmp_path / "data.yaml").write_text("names: [person]")
    picture = write_image(tmp_path / "q0.png")
    with pytest.raises(DataError, match=r"beside it, or the images into .*images and these into"):
        _read(tmp_path, "all")
    for folder in ("images", "labels"):  # as told
        (tmp_path / folder).mkdir()
    picture.rename(tmp_path / "images" / "q0.png")
    assert _read(tmp_path, "all").num_persons == 0


def test_two_label_files_of_one_image_are_refused(yolo: Read, tmp_path: Path) -> None:
    yolo({"1": ROW})
    (tmp_path / "images" / "1.txt").write_text(ROW)
    with pytest.raises(DataError, match="second label file"):
        yolo({})


@pytest.mark.parametrize(
    ("data", "folder"),
    [
        ("val: images/held_out", "images/held_out"),
        ("val: ../part/images", "part/images"),
        ("path: inner\nval: images/b", "inner/images/b"),
    ],
)
def test_data_yaml_may_name_the_folder_of_a_split(
    tmp_path: Path, write_image: Callable[..., Path], data: str, folder: str
) -> None:
    (tmp_path / "data.yaml").write_text(f"names: [person]\n{data}")
    write_image(tmp_path / folder / "a.png")
    labels = tmp_path / folder.replace("images", "labels")
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text(ROW)
    assert _read(tmp_path, "validation").num_persons == 1


LISTS: dict[str, tuple[str, str, str, str, str]] = {  # list, its line, image, label, data file
    "CVAT, YOLO 1.1": (
        "train.txt", "data/obj_train_data/a b.png", "obj_train_data/a b.png",
        "obj_train_data/a b.txt", "obj.data",
    ),
    "CVAT, Ultralytics": (
        "train.txt", "data/images/train/a.png", "images/train/a.png", "labels/train/a.txt",
        "data.yaml",
    ),
    "one folder and a list": (
        "lists/train.txt", "./images/a.png", "images/a.png", "labels/a.txt", "data.yaml",
    ),
    "of another machine": (
        "train.txt", "/home/me/ds/one/images/a.png", "one/images/a.png", "one/labels/a.txt",
        "data.yaml",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("path", "line", "image", "label", "data"), LISTS.values(), ids=LISTS)
def test_a_list_says_which_images_a_split_has(
    tmp_path: Path,
    write_image: Callable[..., Path],
    path: str,
    line: str,
    image: str,
    label: str,
    data: str,
) -> None:
    for name in ("list.txt", label):
        (tmp_path / path).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
    write_image(tmp_path / image)
    write_image((tmp_path / image).with_name("not_listed.png"))
    (tmp_path / label).write_text(ROW)
    if data == "obj.data":
        (tmp_path / data).write_text(
            "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n"
        )
        (tmp_path / "obj.names").write_text("person\n")
    else:
        (tmp_path / data).write_text(f"names: {{0: person}}\npath: .\ntrain: {path}\n")
    (tmp_path / path).write_text(f"{line}\n\n")
    (record,) = _read(tmp_path, "train").records
    assert record.pixels.path == tmp_path / image
    assert np.allclose(record.boxes, [[40, 20, 60, 60]], atol=1e-4)
    (tmp_path / path).write_text(f"{line}\nimages/b.png\nimages/c.png\n")
    with pytest.raises(DataError, match=r"train\.txt, line 2: 'images/b.png' is not there .nor 1"):
        _read(tmp_path, "train")
    (tmp_path / path).write_text("\n")
    with pytest.raises(DataError, match=r"train\.txt, line 1: lists no image"):
        _read(tmp_path, "train")


def test_a_list_of_one_split_leaves_the_folders_of_others(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    for name in ("images/train/a.png", "images/train/b.png", "images/val/c.png"):
        write_image(tmp_path / name)
        label = (tmp_path / name.replace("images", "labels")).with_suffix(".txt")
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(ROW)
    (tmp_path / "data.yaml").write_text("names: [person]\ntrain: train.txt\nval: images/val\n")
    (tmp_path / "train.txt").write_text("images/train/b.png\n")
    found = {split: _read(tmp_path, split).records for split in ("train", "validation", "all")}
    assert [record.image_id for record in found["train"]] == ["b"]
    assert [record.image_id for record in found["validation"]] == ["c"]
    assert [record.image_id for record in found["all"]] == ["train/b", "validation/c"]


def test_classes_txt_is_no_label_file(yolo: Read, tmp_path: Path) -> None:
    yolo({"1": ROW})
    (tmp_path / "labels" / "classes.txt").write_text("person")
    assert yolo({}).warnings == ()


def test_copies_of_one_original_lie_in_one_part(yolo: Read) -> None:
    copies = ("GNSaptniQRRWmG0fIgl1", "x2SaptniQRRWmG0fIgl2")
    yolo({f"clip-{n:04}_jpg.rf.{copy}": ROW for n in range(0, 20, 2) for copy in copies})
    parts = {
        split: {
            record.image_id.split("_")[0]
            for record in yolo({}, split=split, scene_fractions=[0.7, 0.3, 0.0]).records
        }
        for split in ("train", "validation")
    }
    assert len(parts["train"] | parts["validation"]) == 10
    assert not parts["train"] & parts["validation"]


def test_labels_without_image_are_reported(yolo: Read, tmp_path: Path) -> None:
    yolo({"1": ROW})
    (tmp_path / "labels" / "9.txt").write_text(ROW)
    assert yolo({}).warnings == ("label files without image: 1 (files: 1, first: 9.txt)",)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0 0.5 0.5 0.2", ("has 4 columns, must have 5",)),
        ("0 0.5 0.5 0.2 0.5 0.9", ("has 6 columns", "class cx cy width height")),
        ("2 0.5 0.5 0.2 0.5", ("class is 2", "(0, 1)", "data.yaml")),
        ("0.5 0.5 0.5 0.2 0.5", ("class is 0.5",)),
        ("0 50 0.5 0.2 0.5", ("cx is 50", "divide pixels")),
        ("0 0.5 0.5 -0.2 0.5", ("width is -0.2",)),
        ("0 0.5 0.5 0.2 nan", ("height is 'nan'",)),
        ("person 0.5 0.5 0.2 0.5", ("class is 'person'",)),
    ],
)
def test_a_bad_row_names_file_line_field_value_and_fix(
    yolo: Read, tmp_path: Path, row: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as error:
        yolo({"1": f"{ROW}\n\n{row}\n"})
    text = str(error.value)
    assert f"{tmp_path / 'labels' / '1.txt'}, line 3: " in text
    assert "\n  fix: " in text
    assert text.count("\n") == 1
    for word in words:
        assert word in text


CELL = st.one_of(
    st.integers(0, 1000).map(lambda number: str(number / 1000)),
    st.sampled_from(["2", "-0.1", "nan", "1e400", "x", "0_1", "0,5", "1.02", "0x1", "\u0661"]),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.integers(0, 4),
    CELL,
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", " ", " 0.9"]),
)
def test_a_mutated_row_is_parsed_right_or_named(
    yolo: Read, column: int, cell: str, end: str, tail: str
) -> None:
    fields = ["0", "0.3", "0.4", "0.1", "0.2"]
    fields[column] = cell
    refused = None
    try:
        (record,) = yolo({"1": f"{ROW}{end}{' '.join(fields)}{tail}{end}"}).records
    except DataError as error:
        refused = str(error)
    if refused is not None:
        assert "labels/1.txt, line 2: " in refused
        return
    assert tail in ("", " ")
    number, cx, cy, width, height = (float(field) for field in fields)
    low = np.array([cx - width / 2, cy - height / 2]) * (100, 80)
    high = np.array([cx + width / 2, cy + height / 2]) * (100, 80)
    box = np.clip([*low, *high], 0, [100, 80, 100, 80])
    if number == 0 and min(box[2:] - box[:2]) >= 1:
        assert np.allclose(record.boxes[1:], [box], atol=1e-3)
    else:
        assert len(record.boxes) == 1


# Ten to the ninth names, by anchors; it took 40 s to say that they are wrong.
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
) + "names: *a8\n"  # fmt: skip


@pytest.mark.parametrize(
    ("data", "word"),
    [
        ("nc: 1", "names is None"),
        ("names: person", "names is 'person'"),
        ("names: {a: person}", "names is"),
        ("names: [1, 2]", "names is"),
        ("names: [person", "is not valid YAML"),
        ("- 1", "names is None"),
        ("names: [walker, dog]", "none of its classes is a person"),
        (f"names: {'[' * 3000}", "is not valid YAML"),
        (f"names: {{0: {'9' * 5000}}}", "is not valid YAML"),
        (BOMB, "names is"),
    ],
)
def test_a_bad_data_yaml_is_named_with_its_fix(yolo: Read, data: str, word: str) -> None:
    with pytest.raises(DataError, match=word) as error:
        yolo({"1": ROW}, data=data)
    assert "data.yaml" in str(error.value)
    assert "\n  fix: " in str(error.value)


def test_names_can_be_a_list_or_start_at_one(yolo: Read) -> None:
    assert yolo({"1": ROW}, data="names: [person]").num_persons == 1
    assert yolo({"1": ROW.replace("0", "1", 1)}, data="names: {1: person}").num_persons == 1


def test_categories_say_which_classes_are_persons(yolo: Read) -> None:
    rows = {"1": f"{ROW}\n1 0.1 0.1 0.1 0.1\n2 0.9 0.9 0.1 0.1"}
    data = "names: [Walking, crowd, dog]"
    categories = {"Walking": "person", "crowd": "ignore", "dog": "other", "Sitting": "person"}
    image_set = yolo(rows, data=data, categories=categories)
    assert image_set.num_persons == 1
    assert len(image_set.records[0].ignored) == 1
    with pytest.raises(DataError, match=r"class 'crowd' .*nearest is"):
        yolo(rows, data=data, categories={"Walking": "person", "dog": "other"})


def test_a_missing_data_yaml_says_what_to_write(tmp_path: Path) -> None:
    config = DatasetConfig(name="mine", reader="yolo", root=str(tmp_path))
    with pytest.raises(DataError, match=r"data.yaml: not found\n  fix: .*names: \{0: person\}"):
        read_yolo(config, "all")


def _layout(root: Path, write_image: Callable[..., Path], images: str, labels: str) -> None:
    for number in (1, 2):
        write_image(root / images / f"{number}.jpg")
        path = root / labels / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(ROW)
    (root / "data.yaml").write_text("names: [person]")


@pytest.mark.parametrize(
    ("images", "labels", "split"),
    [
        ("train/images", "train/labels", "train"),
        ("valid/images", "valid/labels", "validation"),
        ("val/images", "val/labels", "validation"),
        ("validation/images", "validation/labels", "validation"),
        ("test/images", "test/labels", "test"),
        ("images/train", "labels/train", "train"),
        ("images/val", "labels/val", "validation"),
        ("images/fold3", "labels/fold3", "fold3"),
    ],
)
def test_split_folders_are_found(
    tmp_path: Path, write_image: Callable[..., Path], images: str, labels: str, split: str
) -> None:
    _layout(tmp_path, write_image, images, labels)
    config = DatasetConfig(name="mine", reader="yolo", root=str(tmp_path))
    image_set = read_yolo(config, split)
    assert [record.image_id for record in image_set.records] == ["1", "2"]
    assert {record.scene for record in image_set.records} == {"1"}
    assert image_set.num_persons == 2
    with pytest.raises(DataError, match=r"no split 'other'|is there"):
        read_yolo(config, "other")


def test_all_takes_every_split_and_keeps_equal_names_apart(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    for split in ("train", "test"):
        _layout(tmp_path, write_image, f"{split}/images", f"{split}/labels")
    config = DatasetConfig(
        name="mine", reader="yolo", root=str(tmp_path), scene_fractions=[0.5, 0.25, 0.25]
    )
    image_set = read_yolo(config, "all")
    ids = [record.image_id for record in image_set.records]
    assert ids == ["test/1", "test/2", "train/1", "train/2"]
    assert {record.scene for record in image_set.records} == {"test/1", "train/1"}
    assert "scene_fractions not used" in image_set.warnings[0]
    assert len(read_yolo(config, "train").records) == 2


def test_a_flat_folder_is_divided_by_scene(yolo: Read) -> None:
    names = {str(number): ROW for number in (1, 2, 3, 4, 10, 11, 20)}
    shares = [0.6, 0.2, 0.2]
    splits = {
        split: {record.image_id for record in yolo(names, split, scene_fractions=shares).records}
        for split in ("train", "validation", "test", "all")
    }
    assert splits == {
        "train": {"1", "2", "3", "4"},
        "validation": {"10", "11"},
        "test": {"20"},
        "all": set(names),
    }
    assert len(yolo(names, "val", scene_fractions=shares).records) == 2


def test_resplit_takes_all_folders_for_one_and_keeps_copies_together(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    for split in ("train", "valid"):
        for number in range(0, 20, 2):
            name = f"{number}_jpg.rf.{split}"
            write_image(tmp_path / split / "images" / f"{name}.png")
            (tmp_path / split / "labels").mkdir(exist_ok=True)
            (tmp_path / split / "labels" / f"{name}.txt").write_text(ROW)
    (tmp_path / "data.yaml").write_text("names: [person]")
    parts = [
        [record.image_id for record in _read(tmp_path, split, resplit=True, **keys).records]
        for split, keys in (
            ("train", {}),
            ("validation", {}),
            ("test", {"scene_fractions": [0.5, 0.2, 0.3]}),
        )
    ]
    assert [len(part) for part in parts] == [16, 4, 6]
    originals = [{name.split("/")[1].split("_")[0] for name in part} for part in parts]
    assert [len(names) for names in originals] == [8, 2, 3]
    assert not originals[0] & originals[1]
    assert len(_read(tmp_path, "train").records) == 10


def test_a_flat_folder_without_fractions_has_no_splits(yolo: Read) -> None:
    with pytest.raises(DataError, match=r"no split 'train'\n  fix: set split=all, or scene_frac"):
        yolo({"1": ROW}, "train")
    with pytest.raises(ConfigError, match="gives no image to split 'test'"):
        yolo({"1": ROW}, "test", scene_fractions=[1, 0, 0])
    with pytest.raises(ConfigError, match=r"there is only 1 scene \("):
        yolo({"1": ROW, "2": ROW}, "train", scene_fractions=[0.5, 0.5, 0])


def test_folders_inside_images_are_mirrored_by_labels(yolo: Read) -> None:
    image_set = yolo({"a/1": ROW, "b/1": ROW, "b/2.x": ROW})
    assert [record.image_id for record in image_set.records] == ["a/1", "b/1", "b/2.x"]
    assert image_set.num_persons == 3


def test_two_images_of_one_name_are_an_error(
    yolo: Read, tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    write_image(tmp_path / "images" / "1.jpg")
    with pytest.raises(DataError, match="'1' occurs twice"):
        yolo({"1": ROW})


SAMPLES = os.environ.get("PTL_SAMPLE_DATA")


@pytest.mark.skipif(SAMPLES is None, reason="PTL_SAMPLE_DATA is not set")
@pytest.mark.parametrize(
    ("name", "num_images", "num_negative", "num_persons"),
    [("beaches", 44, 8, 147), ("mountains", 56, 8, 120)],
)
def test_genuine_drone_frames_parse_and_divide_by_scene(
    name: str, num_images: int, num_negative: int, num_persons: int
) -> None:
    root = str(Path(SAMPLES or "") / "aerial_people" / name)
    config = DatasetConfig(name=name, reader="yolo", root=root, scene_fractions=[0.4, 0.3, 0.3])
    image_set = read_yolo(config, "all")
    assert len(image_set.records) == num_images
    assert sum(len(record.boxes) == 0 for record in image_set.records) == num_negative
    assert image_set.num_persons == num_persons
    assert image_set.drops == {}
    parts = [read_yolo(config, split).records for split in ("train", "validation", "test")]
    assert sum(map(len, parts)) == num_images
    scenes = [{record.scene for record in part} for part in parts]
    assert sum(map(len, scenes)) == len(set().union(*scenes))


@pytest.mark.parametrize("kind", ["image", "label"])
def test_a_pipe_is_refused_and_not_waited_for(yolo: Read, tmp_path: Path, kind: str) -> None:
    yolo({"1": ROW, "2": ROW})
    path = tmp_path / ("images/2.png" if kind == "image" else "labels/2.txt")
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DataError, match=f"{path.name}: is no regular file"):
        yolo({"1": ROW})


def test_a_name_that_is_not_utf8_is_refused(yolo: Read, tmp_path: Path) -> None:
    yolo({"1": ROW})
    folder = os.fsencode(tmp_path)
    os.link(folder + b"/images/1.png", folder + b"/images/b\xff.png")
    os.link(folder + b"/labels/1.txt", folder + b"/labels/b\xff.txt")
    with pytest.raises(DataError, match="its name is not UTF-8"):
        yolo({"1": ROW})
    for path in (*tmp_path.glob("images/b*"), *tmp_path.glob("labels/b*")):
        path.rename(path.with_stem("Straße"))
    assert len(yolo({"1": ROW}).records) == 2
