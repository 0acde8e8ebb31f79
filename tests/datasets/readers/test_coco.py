"""COCO instances JSON."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.coco.reader import read_coco
from ptl_sweep.datasets.validation import DataError

Write = Callable[[dict[str, Any]], Path]


def _read(root: Path, split: str = "train", **keys: Any) -> Any:
    return read_coco(DatasetConfig(name="mine", reader="coco", root=str(root), **keys), split)


def test_persons_crowds_and_other_classes_are_told_apart(
    coco_content: dict[str, Any], coco_root: Write
) -> None:
    image_set = _read(coco_root(coco_content))
    first, second = image_set.records
    assert (first.image_id, second.image_id) == ("a_1.png", "a_2.png")
    assert first.boxes.tolist() == [[10, 20, 40.5, 60]]
    assert second.boxes.shape == (0, 4)
    assert second.ignored.tolist() == [[0, 0, 50, 50]]
    assert first.scene == second.scene == "a_1"
    assert image_set.drops == {"other category": 1}
    assert image_set.warnings == ()


def test_categories_are_an_allow_list(coco_content: dict[str, Any], coco_root: Write) -> None:
    root = coco_root(coco_content)
    image_set = _read(root, categories={"person": "ignore", "dog": "person"})
    assert image_set.num_persons == 1
    assert [len(record.ignored) for record in image_set.records] == [1, 1]
    with pytest.raises(DataError, match=r"class 'dog' is not in categories .*nearest is"):
        _read(root, categories={"person": "person", "dogs": "other"})


@pytest.mark.parametrize(
    ("key", "index", "change", "words"),
    [
        ("annotations", 0, {"bbox": [1, 2, 3]}, ("annotations[0].bbox is [1, 2, 3]",)),
        ("annotations", 1, {"bbox": [1, 2, float("nan"), 4]}, ("annotations[1].bbox",)),
        ("annotations", 0, {"bbox": [1, 2, -3, 4]}, ("annotations[0].bbox",)),
        ("annotations", 0, {"bbox": [1, 2, "3", 4]}, ("annotations[0].bbox",)),
        ("annotations", 0, {"bbox": None}, ("annotations[0].bbox is None",)),
        ("annotations", 0, {"image_id": 99}, ("annotations[0].image_id is 99", "images")),
        ("annotations", 0, {"image_id": []}, ("annotations[0].image_id is []",)),
        ("annotations", 2, {"category_id": 2}, ("annotations[2].category_id is 2",)),
        ("images", 1, {"file_name": "../a.png"}, ("images[1].file_name is '../a.png'",)),
        ("images", 1, {"file_name": "/etc/a.png"}, ("images[1].file_name",)),
        ("images", 1, {"file_name": "a_1.png"}, ("images[1].file_name", "no other image")),
        ("images", 1, {"file_name": ""}, ("images[1].file_name is ''",)),
        ("images", 1, {"file_name": 4}, ("images[1].file_name is 4",)),
        ("images", 1, {"id": 7}, ("images[1].id is 7",)),
        ("images", 1, {"file_name": "no.png"}, ("'no.png' is not in",)),
        ("images", 0, {"width": 640}, ("is 100x80", "says 640x80", "scale the boxes")),
        ("images", 0, {"width": 80, "height": 100}, ("EXIF orientation",)),
        ("categories", 0, {"name": "walker"}, ("none of its classes is a person",)),
    ],
)
def test_a_bad_entry_is_named_with_its_fix(
    coco_content: dict[str, Any],
    coco_root: Write,
    key: str,
    index: int,
    change: dict[str, Any],
    words: tuple[str, ...],
) -> None:
    root = coco_root(coco_content)
    coco_content[key][index] |= change
    path = root / "annotations" / "instances_train.json"
    path.write_text(json.dumps(coco_content))
    with pytest.raises(DataError) as error:
        _read(root)
    text = str(error.value)
    assert "\n  fix: " in text
    assert text.count("\n") == 1
    for word in ("instances_train.json", *words):
        assert word in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"images": [\n', ("line 2", "is not valid JSON")),
        ("[]", ("is not a COCO instances file",)),
        ('{"images": []}', ("images is an empty list",)),
        ('{"images": [3]}', ("images[0] is 3",)),
        ('{"images": [{"id": 1}]}', ("images[0] has no file_name",)),
        ('{"images": [{"id": 1, "file_name": "a"}]}', ("categories is None",)),
        ("[" * 200_000, ("is not valid JSON", "lists within lists")),
        ('{"images": [{"id": %s}]}' % ("9" * 5000), ("is not valid JSON", "number of thousands")),
    ],
)
def test_a_file_that_is_no_instances_json_is_named(
    tmp_path: Path, content: str, words: tuple[str, ...]
) -> None:
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "train.json").write_text(content)
    with pytest.raises(DataError) as error:
        _read(tmp_path)
    for word in ("train.json", "fix", *words):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("file", "split", "images"),
    [
        ("instances_val2017.json", "val2017", "val2017"),
        ("instances_val.json", "validation", "images"),
        ("valid.json", "val", "images/val"),
        ("test.json", "test", "."),
        ("instances_val2017.json", "validation", "images/val2017"),
        ("instances_train2017.json", "train", "train2017"),
        ("instances_validation.json", "val", "valid"),
        ("../train/_annotations.coco.json", "train", "train"),
        ("../valid/_annotations.coco.json", "validation", "valid"),
        ("../test/_annotations.coco.json", "test", "test"),
    ],
)
def test_files_of_other_names_and_folders_are_found(
    coco_content: dict[str, Any], coco_root: Write, file: str, split: str, images: str
) -> None:
    root = coco_root(coco_content)
    path = root / "annotations" / file
    path.parent.mkdir(exist_ok=True)
    (root / "annotations" / "instances_train.json").rename(path)
    for name in ("a_1.png", "a_2.png"):
        path = root / images / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / name).rename(path)
    assert _read(root, split).num_persons == 1


def test_ids_sizes_and_flags_may_be_text_and_categories_may_be_repeated(
    coco_content: dict[str, Any], coco_root: Write
) -> None:
    coco_content["images"][0] |= {"id": "7", "width": "100", "height": "80"}
    coco_content["images"][1] |= {"id": 0}
    coco_content["categories"] *= 2
    persons = coco_content["annotations"]
    persons[0] |= {"iscrowd": "0", "category_id": "1"}
    persons[2] |= {"image_id": "0", "iscrowd": "1"}
    persons.append({"image_id": 0, "category_id": 1, "bbox": [60, 0, 20, 20], "ignore": 1})
    first, second = _read(coco_root(coco_content)).records
    assert first.boxes.tolist() == [[10, 20, 40.5, 60]]
    assert second.ignored.tolist() == [[0, 0, 50, 50], [60, 0, 80, 20]]


def test_two_categories_of_one_id_are_refused(
    coco_content: dict[str, Any], coco_root: Write
) -> None:
    coco_content["categories"][1]["id"] = "1"
    with pytest.raises(DataError, match=r"categories\[1\]\.id is '1'"):
        _read(coco_root(coco_content))


def test_a_split_without_file_says_what_is_there(
    coco_content: dict[str, Any], coco_root: Write
) -> None:
    with pytest.raises(
        DataError,
        match=r"none of annotations/instances_test.json, .*there: annotations/instances_train",
    ):
        _read(coco_root(coco_content), "test")


def test_duplicates_are_dropped_and_images_without_boxes_are_negatives(
    coco_content: dict[str, Any], coco_root: Write
) -> None:
    coco_content["annotations"] = [coco_content["annotations"][0]] * 2
    image_set = _read(coco_root(coco_content))
    assert [len(record.boxes) for record in image_set.records] == [1, 0]
    assert image_set.drops == {"duplicate row": 1}


def test_boxes_fit_the_image_as_it_is_seen(coco_content: dict[str, Any], coco_root: Write) -> None:
    root = coco_root(coco_content)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = root / "images" / "a_1.png"
    Image.new("RGB", (80, 100)).save(path, format="JPEG", exif=exif)  # seen as 100 x 80
    assert _read(root).records[0].pixels.read().shape == (80, 100, 3)


def test_num_images_and_scene_fractions(coco_content: dict[str, Any], coco_root: Write) -> None:
    root = coco_root(coco_content)
    assert [record.image_id for record in _read(root, num_images=1).records] == ["a_1.png"]
    with pytest.raises(ConfigError, match="scene_fractions"):
        _read(root, scene_fractions=[1, 0, 0])


def _roboflow(root: Path, write_image: Callable[..., Path], names: dict[str, list[str]]) -> None:
    """An export of Roboflow with a person in each image."""
    for split, files in names.items():
        content = {
            "images": [{"id": i, "file_name": name} for i, name in enumerate(files)],
            "categories": [{"id": len(split), "name": "person"}],  # ids differ between files
            "annotations": [
                {"id": i, "image_id": i, "category_id": len(split), "bbox": [10, 10, 20, 40]}
                for i in range(len(files))
            ],
        }
        for name in files:
            write_image(root / split / name)
        (root / split / "_annotations.coco.json").write_text(json.dumps(content))


def test_all_is_every_file_and_resplit_divides_them_by_scene_with_their_copies(
    tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    originals = [f"clip-{number:03}" for number in range(0, 40, 4)]
    copies = {
        name: [f"{name}_jpg.rf.{end}.png" for end in ("GNSa1", "x2Sb2")] for name in originals
    }
    _roboflow(
        tmp_path,
        write_image,
        {"train": [one for one, _ in copies.values()], "valid": [b for _, b in copies.values()]},
    )
    everything = _read(tmp_path, "all")
    assert len(everything.records) == 20
    assert everything.num_persons == 20
    assert everything.records[0].image_id == "train/clip-000_jpg.rf.GNSa1.png"
    parts = {
        split: [record.image_id for record in _read(tmp_path, split, resplit=True).records]
        for split in ("train", "validation")
    }
    assert {name: len(found) for name, found in parts.items()} == {"train": 16, "validation": 4}
    scenes = [{name.split("/")[1].split("_")[0] for name in found} for found in parts.values()]
    assert not scenes[0] & scenes[1]
    assert len(_read(tmp_path, "train").records) == 10


def test_one_file_of_no_split_is_divided_by_scene(
    coco_content: dict[str, Any], coco_root: Write
) -> None:
    coco_content["images"][0]["file_name"] = "b_7.png"  # another scene than a_2
    root = coco_root(coco_content)
    path = root / "annotations" / "instances_train.json"
    path.rename(path.with_name("instances_default.json"))
    shares = [0.5, 0.5, 0.0]
    found = [
        [record.image_id for record in _read(root, split, **keys).records]
        for split, keys in (
            ("train", {"scene_fractions": shares}),
            ("val", {"scene_fractions": shares}),
            ("all", {}),
            ("default", {}),
        )
    ]
    assert sorted(found[0] + found[1]) == found[2] == found[3] == ["a_2.png", "b_7.png"]
    with pytest.raises(DataError, match=r"there: annotations/instances_default.json"):
        _read(root, "train")


def test_shares_beside_splits_of_the_files_are_refused_with_both_ways_out(
    coco_content: dict[str, Any], coco_root: Write
) -> None:
    root = coco_root(coco_content)
    with pytest.raises(ConfigError, match=r"its files have train: set it to null, or resplit=true"):
        _read(root, "train", scene_fractions=[0.8, 0.2, 0.0])


NUMBERS = st.one_of(
    st.integers(-50, 200),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from([None, "3", True, [], {}, float("nan"), float("inf")]),
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(position=st.integers(0, 3), value=NUMBERS)
def test_a_changed_side_of_a_box_is_read_as_written_or_named_with_its_entry(
    coco_content: dict[str, Any], coco_root: Write, position: int, value: Any
) -> None:
    content = json.loads(json.dumps(coco_content))
    box = content["annotations"][0]["bbox"]
    box[position] = value
    image_set, refused = None, ""
    try:
        image_set = _read(coco_root(content))
    except DataError as error:
        refused = str(error)
    if image_set is None:
        assert "instances_train.json: annotations[0].bbox" in refused
        return
    left, top, width, height = (float(side) for side in box)
    record = image_set.records[0]
    clipped = [
        min(max(side, 0), limit)
        for side, limit in zip(
            (left, top, left + width, top + height), (record.width, record.height) * 2, strict=True
        )
    ]
    if clipped[2] - clipped[0] >= 1 and clipped[3] - clipped[1] >= 1:
        assert record.boxes.tolist() == [pytest.approx(clipped, abs=1e-3)]
    else:
        assert len(record.boxes) == 0
        assert sum(image_set.drops.values()) == 2  # this one, and one of another category
