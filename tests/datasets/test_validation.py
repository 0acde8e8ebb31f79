"""The validator that all readers share."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.classes import added_names, class_meanings, merged_meanings
from ptl_sweep.datasets.readers.delimited import parse_table
from ptl_sweep.datasets.readers.validator import Labels, Validator, first_other_line_end
from ptl_sweep.datasets.validation import (
    MIN_SIDE_PX,
    ROUNDING_PX,
    DataError,
    nearest,
    read_text,
    require_root,
)

PATH = Path("labels/a.txt")
CONFIG = DatasetConfig(name="mine", reader="yolo")


def _checked(
    tmp_path: Path, boxes: list[list[float]], ignored: list[bool] | None = None
) -> Validator:
    """A validator that has seen one 100x80 image with these boxes."""
    image = tmp_path / "a.png"
    image.write_bytes(b"12345")
    flags = np.array(ignored or [False] * len(boxes), dtype=np.bool_)
    labels = Labels(PATH, np.array(boxes, dtype=np.float64).reshape(-1, 4), ~flags, flags)
    validator = Validator(CONFIG, "train")
    validator.add("a", "s", image, (100, 80), labels)
    return validator


def test_boxes_are_clipped_to_the_image_and_the_clipping_is_reported(tmp_path: Path) -> None:
    image_set = _checked(tmp_path, [[-5, 10, 120, 90], [1, 2, 3, 4]]).image_set()
    assert image_set.records[0].boxes.tolist() == [[0, 10, 100, 80], [1, 2, 3, 4]]
    assert image_set.records[0].boxes.dtype == np.float32
    assert image_set.drops == {}
    assert "past the image border" in image_set.warnings[0]


def test_every_dropped_box_is_counted_by_reason(tmp_path: Path) -> None:
    boxes = [
        [10, 10, 20, 10],  # no height
        [10, 10, 10.9, 30],  # under 1 px wide
        [99.5, 10, 120, 30],  # under 1 px once clipped
        [200, 10, 220, 30],  # right of the image
        [-20, 10, -1, 30],  # left of it
        [10, 10, 20, 30],
        [10, 10, 20, 30],  # again
    ]
    image_set = _checked(tmp_path, boxes).image_set()
    assert image_set.records[0].boxes.tolist() == [[10, 10, 20, 30]]
    assert image_set.drops == {"duplicate row": 1, "outside the image": 2, "under 1 px": 3}
    assert image_set.warnings == ("duplicate rows, dropped: 1 (files: 1, first: a.txt)",)


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.floats(-300, 300, width=32) for _ in range(4)]), max_size=30))
@example([(0.0, 0.0, 1.0, 0.9921875)])  # a pixel, rounded: kept
def test_boxes_are_kept_whole_or_counted_whatever_they_are(
    tmp_path_factory: pytest.TempPathFactory, corners: list[tuple[float, ...]]
) -> None:
    image_set = _checked(tmp_path_factory.mktemp("x"), [list(box) for box in corners]).image_set()
    boxes = image_set.records[0].boxes
    assert len(boxes) + sum(image_set.drops.values()) == len(corners)
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= (100, 80)).all()
    shortest = MIN_SIDE_PX - ROUNDING_PX - 1e-5  # stored as float32
    assert (boxes[:, 2:] - boxes[:, :2] > shortest).all()


def test_the_order_of_the_boxes_is_that_of_the_file(tmp_path: Path) -> None:
    boxes = [[50.0, 10, 60, 30], [10, 10, 20, 30], [30, 10, 40, 30]]
    assert _checked(tmp_path, boxes).image_set().records[0].boxes.tolist() == boxes


def test_one_image_id_twice_is_an_error(tmp_path: Path) -> None:
    validator = _checked(tmp_path, [])
    none = np.zeros(0, np.bool_)
    with pytest.raises(DataError, match=r"'a' occurs twice\n  fix: rename"):
        validator.add(
            "a",
            "s",
            tmp_path / "a.png",
            (100, 80),
            Labels(PATH, np.zeros((0, 4)), none, none),
        )


def test_no_image_at_all_is_an_error() -> None:
    with pytest.raises(DataError, match="'mine', split 'train': no image has annotations"):
        Validator(CONFIG, "train").image_set()


def test_the_fingerprint_follows_content_and_nothing_else(tmp_path: Path) -> None:
    def fingerprint(name: str, box: list[float], ignored: bool = False) -> str:
        folder = tmp_path / name
        folder.mkdir()
        return _checked(folder, [box], [ignored]).image_set().fingerprint

    first = fingerprint("here", [1, 2, 30, 40])
    assert len(first) == 16
    assert int(first, 16) >= 0
    assert first == fingerprint("there", [1, 2, 30, 40])
    assert first != fingerprint("moved", [1, 2, 30, 41])
    assert first != fingerprint("ignored", [1, 2, 30, 40], ignored=True)


def test_rows_keep_their_line_numbers_over_blank_lines_and_any_line_end() -> None:
    table = parse_table(PATH, "\r\n1,2,\r\n\r\n 3 , 4\n5,6", ("x", "y"), ",")
    assert table.values.tolist() == [[1, 2], [3, 4], [5, 6]]
    assert table.lines.tolist() == [2, 4, 5]
    assert table.column("y").tolist() == [2, 4, 6]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1,2,3", ("has 3 columns, must have 2", "x,y")),
        ("1,2,,", ("has 3 columns",)),
        ("1", ("has 1 columns",)),
        ("1,", ("has 1 columns",)),
        ("1,nan", ("y is 'nan'", "finite")),
        ("inf,2", ("x is 'inf'",)),
        ("1,1e999", ("y is '1e999'",)),
        ("1_0,2", ("x is '1_0'",)),
        ("\u0661,2", ("x is",)),
        ("a" * 900 + ",2", ("x is", "...")),
        (",2", ("x is ''",)),
        ("<<<<<<< HEAD", ("has 1 columns",)),
    ],
)
def test_a_bad_row_is_named_by_line_field_and_value(row: str, words: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as error:
        parse_table(PATH, f"1,2\r\n\r\n{row}\r\n5,6\r\n", ("x", "y"), ",")
    text = str(error.value)
    assert text.startswith("labels/a.txt, line 3: ")
    assert "\n  fix: " in text
    assert text.count("\n") == 1
    assert len(text) < 300
    for word in words:
        assert word in text


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), max_size=20))
def test_numbers_are_parsed_as_python_does(rows: list[list[float]]) -> None:
    text = "\n".join(" ".join(map(repr, row)) for row in rows)
    assert parse_table(PATH, text, ("a", "b", "c"), None).values.tolist() == rows


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\r\nb\r\n", None), ("a\nb", None), ("", None), ("a\r\nb\nc\n", 2), ("a\nb\rc\n", 2)],
)
def test_the_first_line_with_another_end_is_found(text: str, line: int | None) -> None:
    assert first_other_line_end(text) == line


def test_text_that_is_none_is_named_with_its_fix(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(DataError, match="cannot be read"):
        read_text(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(DataError, match="git lfs pull"):
        read_text(path)
    path.write_bytes(b"1,2\n\xff\xfe")
    with pytest.raises(DataError, match=r"line 2: byte .* is not UTF-8"):
        read_text(path)
    path.write_bytes(b"\xef\xbb\xbf1,2")
    assert read_text(path) == "1,2"


@pytest.mark.parametrize("root", [None, "missing"])
def test_a_missing_root_names_the_key_and_the_path_tried(tmp_path: Path, root: str | None) -> None:
    tried = None if root is None else str(tmp_path / root)
    with pytest.raises(DataError) as error:
        require_root(DatasetConfig(name="mine", reader="yolo", root=tried), "images/")
    text = str(error.value)
    assert (tried or "root is not set") in text
    assert "set root of data set 'mine' (dataset.root or target.root)" in text
    assert "holds images/" in text


def test_without_categories_a_person_is_called_person() -> None:
    assert class_meanings(["Person", "dog"], CONFIG, PATH) == {"Person": "person", "dog": "other"}
    with pytest.raises(DataError, match="none of its classes is a person: walker, dog"):
        class_meanings(["walker", "dog"], CONFIG, PATH)


def test_all_classes_that_categories_lack_are_named_at_once() -> None:
    config = DatasetConfig(name="mine", reader="yolo", categories={"walker": "person"})
    with pytest.raises(DataError, match=r"classes 'car', 'Fuß', '3' are not in categories"):
        class_meanings(["walker", "car", "Fuß", "3"], config, PATH)


def test_a_star_stands_for_every_class_that_is_not_named() -> None:
    config = DatasetConfig(
        name="mine", reader="yolo", categories={"walker": "person", "*": "ignore", "bus": "other"}
    )
    found = class_meanings(["car", "walker", "bus"], config, PATH)
    assert found == {"car": "ignore", "walker": "person", "bus": "other"}
    assert added_names({"person": "person"}, config) == {"walker": "walker", "bus": "bus"}


def test_two_spellings_of_one_class_must_mean_the_same() -> None:
    config = DatasetConfig(
        name="mine", reader="voc", categories={"laying_down": "person", "Laying Down": "other"}
    )
    with pytest.raises(ConfigError, match=r"Laying Down is a second spelling of one class"):
        merged_meanings({}, config)


def test_a_class_that_categories_lack_names_the_nearest_one() -> None:
    categories = {"Walking": "person", "Sitting": "person", "car": "other"}
    config = DatasetConfig(name="mine", reader="yolo", categories=categories)
    with pytest.raises(DataError, match=r"class 'Walkng' .*nearest is 'Walking'"):
        class_meanings(["car", "Walkng"], config, PATH)
    assert class_meanings(["Sitting"], config, PATH) == {"Sitting": "person"}


def test_there_is_always_a_nearest_name() -> None:
    assert nearest("PEOPEL", ["bus", "people"]) == "people"
    assert nearest("", ["bus"]) == "bus"
    assert nearest("x", []) == "none"
