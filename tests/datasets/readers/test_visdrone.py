"""VisDrone2019-DET in its official layout, and genuine files when PTL_SAMPLE_DATA is set."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.visdrone.images import read_visdrone
from ptl_sweep.datasets.validation import DataError

ID = "0000002_00005_d_0000014"
ROW = "10,20,30,40,1,1,0,0"

Read = Callable[..., Any]


def test_official_rows_give_persons_and_regions_to_ignore(visdrone: Read) -> None:
    text = (
        "0,0,50,20,0,0,0,0,\r\n"  # ignored region, trailing comma
        "10,20,30,40,1,1,0,1\r\n"  # pedestrian
        "60,20,5,8,1,2,1,2,\r\n"  # people
        "1,2,9,9,1,4,0,0\r\n"  # car
        "1,2,9,9,0,11,0,0\r\n"  # others, score 0
        "30,30,12,0,1,1,0,0\r\n"  # no height: one genuine training box is so
    )
    image_set = visdrone({ID: text})
    (record,) = image_set.records
    assert record.boxes.tolist() == [[10, 20, 40, 60], [60, 20, 65, 28]]
    assert record.ignored.tolist() == [[0, 0, 50, 20]]
    assert (record.image_id, record.scene) == (ID, "0000002")
    assert (record.width, record.height) == (100, 80)
    assert record.pixels.read().shape == (80, 100, 3)
    assert image_set.drops == {"other category": 2, "under 1 px": 1}
    assert image_set.warnings == ()
    assert (image_set.name, image_set.split) == ("drone", "train")


def test_an_empty_file_is_a_negative_and_a_missing_one_is_left_out(visdrone: Read) -> None:
    image_set = visdrone({"1_a": "", "2_b": None, "3_c": ROW, "4_d": None})
    assert [(r.image_id, len(r.boxes)) for r in image_set.records] == [("1_a", 0), ("3_c", 1)]
    assert image_set.drops == {"image without annotation file": 2}
    assert image_set.warnings == (
        "images without annotation file, left out: 2 (files: 2, first: 2_b.jpg)",
    )


def test_annotations_without_image_are_reported(visdrone: Read, tmp_path: Path) -> None:
    visdrone({"1": ROW})
    (tmp_path / "VisDrone2019-DET-train/annotations/2.txt").write_text(ROW)
    assert visdrone({}).warnings == ("annotation files without image: 1 (files: 1, first: 2.txt)",)


def test_persons_of_score_zero_are_ignored_counted_and_reported(visdrone: Read) -> None:
    image_set = visdrone({"1": f"{ROW}\r\n1,2,9,9,0,1,0,0\r\n1,20,9,9,0,2,0,0\r\n"})
    assert image_set.records[0].boxes.tolist() == [[10, 20, 40, 60]]
    assert image_set.records[0].ignored.tolist() == [[1, 2, 10, 11], [1, 20, 10, 29]]
    assert image_set.drops == {"person of score 0, kept as a region to ignore": 2}
    assert image_set.warnings == (
        "objects of score 0: did a tool add them?: 2 (files: 1, first: 1.txt)",
    )


def test_a_person_half_in_ignored_regions_is_left_out_and_counted(visdrone: Read) -> None:
    """One pixel row decides; two regions count as their union, and other ignored boxes do not."""
    regions = "0,0,40,10,0,0,0,0\n0,5,40,15,0,0,0,0\n"
    rows = "0,10,10,20,1,1,0,0\n20,10,10,21,1,2,0,0\n"  # 10 of 20 rows inside, 10 of 21
    image_set = visdrone({"1": f"{regions}{rows}60,0,9,9,1,1,0,0\n60,0,9,9,0,1,0,0\n"})
    (record,) = image_set.records
    assert record.boxes.tolist() == [[20, 10, 30, 31], [60, 0, 69, 9]]
    assert record.ignored.tolist() == [[0, 0, 40, 10], [0, 5, 40, 20], [60, 0, 69, 9]]
    assert image_set.drops["person at least half in ignored regions"] == 1
    changed = visdrone({}, categories={"ignored regions": "other"})
    assert changed.num_persons == 3


PIXELS = st.tuples(st.integers(0, 95), st.integers(0, 75), st.integers(1, 60), st.integers(1, 60))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PIXELS, max_size=4), st.lists(PIXELS, max_size=6, unique=True))
def test_the_persons_left_are_those_that_a_count_of_pixels_leaves(
    visdrone: Read, regions: list[tuple[int, ...]], persons: list[tuple[int, ...]]
) -> None:
    rows = [(*region, 0, 0) for region in regions] + [(*person, 1, 1) for person in persons]
    text = "".join(f"{','.join(map(str, row))},0,0\n" for row in rows)
    image_set = visdrone({"1": text})
    expected = uncovered(np.array(rows, dtype=np.int64).reshape(-1, 6), (100, 80))
    clipped = {tuple(np.minimum([x, y, x + w, y + h], [100, 80] * 2)) for x, y, w, h in expected}
    assert set(map(tuple, image_set.records[0].boxes.tolist())) == clipped
    dropped = image_set.drops.get("person at least half in ignored regions", 0)
    assert dropped == len(persons) - len(expected)


def uncovered(rows: np.ndarray, size: tuple[int, int]) -> list[list[int]]:
    """Left, top, width, height of the persons of whom less than half the pixels are ignored."""
    ignored = np.zeros(size[::-1])
    for left, top, width, height in rows[rows[:, 5] == 0, :4]:
        ignored[top : top + height, left : left + width] = 1
    return [
        [left, top, width, height]
        for left, top, width, height in rows[np.isin(rows[:, 5], (1, 2)), :4].tolist()
        if 2 * ignored[top : top + height, left : left + width].sum() < width * height
    ]


def test_mixed_line_ends_and_duplicates_are_reported(visdrone: Read) -> None:
    image_set = visdrone({"1": f"{ROW}\r\n{ROW}\r\n1,2,9,9,1,1,0,0\n"})
    assert len(image_set.records[0].boxes) == 2
    assert image_set.drops == {"duplicate row": 1}
    assert "mixed line ends: was the file edited?: 1 (files: 1, first: 1.txt, line 3)" in (
        image_set.warnings
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("10,20,30,40,1,1,0", ("has 7 columns, must have 8", "left,top,width")),
        ("10,20,30,40,1,1,0,0,0", ("has 9 columns",)),
        ("10,20,30,40,1,12,0,0", ("category is 12", "0 to 11")),
        ("10,20,30,40,1,1.5,0,0", ("category is 1.5",)),
        ("10,20,30,40,0.9,1,0,0", ("score is 0.9", "0 (ignored) or 1")),
        ("10,20,-30,40,1,1,0,0", ("width is -30", "[0, 100000]")),
        ("1e9,20,30,40,1,1,0,0", ("left is 1e+09",)),
        ("10,nan,30,40,1,1,0,0", ("top is 'nan'",)),
        ("10,x,30,40,1,1,0,0", ("top is 'x'",)),
    ],
)
def test_a_bad_row_names_file_line_field_value_and_fix(
    visdrone: Read, tmp_path: Path, row: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as error:
        visdrone({ID: f"{ROW}\r\n{row}\r\n"})
    text = str(error.value)
    assert f"{tmp_path / 'VisDrone2019-DET-train/annotations' / ID}.txt, line 2: " in text
    assert "\n  fix: " in text
    assert text.count("\n") == 1
    for word in words:
        assert word in text


CELL = st.one_of(
    st.integers(-50, 200).map(str),
    st.sampled_from(["", " ", "nan", "-inf", "1e400", "1_0", "1.5", "x", "0x1", "1 2", "\u0662"]),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.integers(10, 40).flatmap(lambda number: st.tuples(st.just(number), st.integers(0, 7), CELL)),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["", ",", ",,", ",0"]),
)
def test_a_mutated_row_is_parsed_right_or_named(
    visdrone: Read, mutation: tuple[int, int, str], end: str, tail: str
) -> None:
    left, column, cell = mutation
    fields = [str(left), "20", "30", "40", "1", "1", "0", "0"]
    fields[column] = cell
    text = f"{ROW}{end}{','.join(fields)}{tail}{end}"
    refused = None
    try:
        (record,) = visdrone({"1": text}).records
    except DataError as error:
        refused = str(error)
    if refused is not None:
        assert "annotations/1.txt, line 2: " in refused
        return
    assert tail in ("", ",")
    values = [float(field) for field in fields]  # Python agrees that they are numbers
    x, y, width, height, score, category = values[:6]
    box = np.clip([x, y, x + width, y + height], 0, [100, 80, 100, 80])
    seen = min(box[2:] - box[:2]) >= 1
    shared = np.minimum(box[2:], [40, 60]) - np.maximum(box[:2], [10, 20])
    covered = category == 0 and min(shared) > 0 and shared.prod() >= 30 * 40 / 2
    expected = [] if covered else [[10, 20, 40, 60]]
    if seen and category in (1, 2) and score == 1 and box.tolist() not in expected:
        expected.append(box.tolist())
    assert record.boxes.tolist() == expected
    assert len(record.ignored) == (seen and (category == 0 or (score == 0 and category in (1, 2))))


@pytest.mark.parametrize(
    ("split", "folder"), [("validation", "val"), ("val", "val"), ("test", "test-dev")]
)
def test_splits_have_the_official_folders(
    visdrone: Read, tmp_path: Path, split: str, folder: str
) -> None:
    visdrone({"1": ROW})
    train = tmp_path / "VisDrone2019-DET-train"
    shutil.copytree(train, tmp_path / f"VisDrone2019-DET-{folder}")
    for root in (tmp_path, train):  # the parent, or one of the splits
        config = DatasetConfig(name="drone", reader="visdrone", root=str(root))
        assert read_visdrone(config, split).split == split
        assert read_visdrone(config, "train").num_persons == 1


def test_one_split_never_stands_in_for_another(visdrone: Read, tmp_path: Path) -> None:
    visdrone({"1": ROW})
    for root in (tmp_path, tmp_path / "VisDrone2019-DET-train"):
        config = DatasetConfig(name="drone", reader="visdrone", root=str(root))
        with pytest.raises(DataError, match=r"no folder VisDrone2019-DET-val .*split 'validation'"):
            read_visdrone(config, "validation")


def test_categories_can_change_a_meaning(visdrone: Read) -> None:
    rows = {"1": f"{ROW}\n1,2,9,9,1,2,0,0\n50,2,9,9,1,4,0,0"}
    (record,) = visdrone(rows, categories={"people": "ignore", "car": "person"}).records
    assert record.boxes.tolist() == [[10, 20, 40, 60], [50, 2, 59, 11]]
    assert record.ignored.tolist() == [[1, 2, 10, 11]]
    with pytest.raises(ConfigError, match=r"categories.poeple .*nearest is 'people'"):
        visdrone(rows, categories={"poeple": "person"})


def test_keys_that_do_not_fit_are_refused(visdrone: Read, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="scene_fractions"):
        visdrone({"1": ROW}, scene_fractions=[0.5, 0.25, 0.25])
    config = DatasetConfig(name="drone", reader="visdrone", root=str(tmp_path))
    with pytest.raises(ConfigError, match="must be one of train, validation"):
        read_visdrone(config, "trian")


def test_num_images_takes_images_from_the_whole_split(visdrone: Read) -> None:
    rows = {f"{index:04}_x": ROW for index in range(6)}
    image_set = visdrone(rows, num_images=3)
    assert [record.scene for record in image_set.records] == ["0000", "0002", "0004"]


def test_the_fingerprint_is_the_same_wherever_the_files_lie(
    visdrone: Read, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = visdrone({"1": ROW}).fingerprint
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(tmp_path / "VisDrone2019-DET-train", other / "VisDrone2019-DET-train")
    config = DatasetConfig(name="other", reader="visdrone", root=str(other))
    assert read_visdrone(config, "train").fingerprint == first
    assert visdrone({"1": "10,20,30,41,1,1,0,0"}).fingerprint != first


SAMPLES = os.environ.get("PTL_SAMPLE_DATA")
genuine = pytest.mark.skipif(SAMPLES is None, reason="PTL_SAMPLE_DATA is not set")


@genuine
def test_genuine_files_have_the_known_number_of_persons() -> None:
    root = Path(SAMPLES or "") / "visdrone"
    image_set = read_visdrone(DatasetConfig(name="v", reader="visdrone", root=str(root)), "train")
    assert {record.image_id: len(record.boxes) for record in image_set.records} == {
        "0000002_00005_d_0000014": 22,
        "0000002_00448_d_0000015": 32,
        "0000003_00231_d_0000016": 12,
        "0000007_04999_d_0000036": 0,
        "0000007_05499_d_0000037": 0,
        "0000068_00460_d_0000002": 149,
    }
    assert image_set.drops["image without annotation file"] == 3
    assert all(
        record.pixels.read().shape == (record.height, record.width, 3)
        for record in image_set.records
    )


@genuine
@pytest.mark.parametrize(("split", "num_dropped"), [("train", 38), ("val", 1)])
def test_genuine_persons_in_ignored_regions_are_those_that_a_count_of_pixels_finds(
    split: str, num_dropped: int
) -> None:
    root = Path(SAMPLES or "") / "visdrone_small"
    image_set = read_visdrone(DatasetConfig(name="v", reader="visdrone", root=str(root)), split)
    assert image_set.drops["person at least half in ignored regions"] == num_dropped
    for record in image_set.records:
        path = root / f"VisDrone2019-DET-{split}/annotations/{record.image_id}.txt"
        rows = np.loadtxt(path, delimiter=",", usecols=range(8), dtype=np.int64, ndmin=2)
        expected = uncovered(rows, (record.width, record.height))
        assert len(record.boxes) == len({tuple(box) for box in expected if min(box[2:])})


@genuine
def test_rows_that_a_tool_appended_to_a_genuine_file_are_objected_to(tmp_path: Path) -> None:
    samples = Path(SAMPLES or "") / "visdrone"
    split = tmp_path / "VisDrone2019-DET-train"
    (split / "images").mkdir(parents=True)
    shutil.copytree(samples / "zhpmatrix_augmented", split / "annotations")
    image = "0000068_00460_d_0000002.jpg"
    shutil.copy(samples / "VisDrone2019-DET-train/images" / image, split / "images" / image)
    image_set = read_visdrone(
        DatasetConfig(name="v", reader="visdrone", root=str(tmp_path)), "train"
    )
    assert image_set.num_persons == 149
    assert image_set.drops["person of score 0, kept as a region to ignore"] == 89
    assert ": 98 (" in image_set.warnings[1]
    assert [text.split(":")[0] for text in image_set.warnings] == [
        "mixed line ends",
        "objects of score 0",
    ]
