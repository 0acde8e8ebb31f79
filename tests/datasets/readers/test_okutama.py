"""Okutama-Action in the layout of its official zips, written by the tests."""

import logging
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.okutama.layout import NUM_SEQUENCES, TEST_SEQUENCES
from ptl_sweep.datasets.readers.okutama.reader import read_okutama
from ptl_sweep.datasets.validation import DataError

SIZE = (128, 72)  # a thirtieth of 3840x2160
TEST, TRAIN = "1.1.8", "1.1.10"
KIND = "MultiActionLabels"

Read = Callable[..., Any]


def row(frame: int, box: str = "300 600 900 1200", *, track: int = 0, **flags: int) -> str:
    given = {"lost": 0, "occluded": 0, "generated": 0} | flags
    ending = '"Person" "Pushing/Pulling" "Hand Shaking"'
    return (
        f"{track} {box} {frame} {given['lost']} {given['occluded']} {given['generated']} {ending}"
    )


def frames_folder(base: Path, sequence: str) -> Path:
    drone, period, _ = sequence.split(".")
    day = {"1": "Morning", "2": "Noon"}[period]
    return base / f"Drone{drone}" / day / "Extracted-Frames-1280x720" / sequence


@pytest.fixture
def okutama(tmp_path: Path, write_image: Callable[..., Path]) -> Read:
    """write({sequence: label text, or None for no file}, frames) and read it: an ImageSet."""

    def read(
        labels: dict[str, str | None],
        frames: range = range(2),
        *,
        split: str = "test",
        base: str = "TestSetFrames",
        kind: str = KIND,
        **keys: Any,
    ) -> Any:
        for sequence, text in labels.items():
            for frame in frames:
                path = frames_folder(tmp_path / base, sequence) / f"{frame}.jpg"
                if not path.exists():
                    write_image(path, SIZE)
            path = tmp_path / base / "Labels" / kind / "3840x2160" / f"{sequence}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                path.write_bytes(text.encode())
        config = DatasetConfig(name="oku", reader="okutama", root=str(tmp_path), **keys)
        return read_okutama(config, split)

    return read


def without_count(warnings: tuple[str, ...]) -> list[str]:
    """Every fixture lacks most official sequences, and says so."""
    return [text for text in warnings if not text.startswith("official sequences")]


def test_official_rows_are_scaled_from_4k_to_the_stored_frame(okutama: Read) -> None:
    text = "\r\n".join(
        [
            row(0, track=3, generated=1, occluded=1),
            row(0, "3000 0 3840 2160", track=4),
            '5 30 60 90 150 1 0 0 0 "Person"',  # no action
            row(1, lost=1),
            "",
        ]
    )
    image_set = okutama({TEST: text}, range(3))
    first, second, third = image_set.records
    assert first.boxes.tolist() == [[10, 20, 30, 40], [100, 0, 128, 72]]
    assert second.boxes.tolist() == [[1, 2, 3, 5]]
    assert third.boxes.tolist() == []  # no row: a negative
    assert (first.image_id, first.scene) == ("1.1.8/00000", TEST)
    assert (first.width, first.height) == SIZE
    assert first.pixels.read().shape == (72, 128, 3)
    assert image_set.drops == {"lost: outside the picture": 1}
    assert without_count(image_set.warnings) == []


def test_a_720p_frame_divides_the_coordinates_by_three(
    okutama: Read, tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    write_image(frames_folder(tmp_path / "TestSetFrames", TEST) / "0.jpg", (1280, 720))
    image_set = okutama({TEST: row(0, "301 600 900 1202")}, range(1))
    expected = np.float32([301 / 3, 200, 300, 1202 / 3])
    assert np.allclose(image_set.records[0].boxes, [expected], atol=1e-4)


def test_a_frame_of_another_shape_is_refused(
    okutama: Read, tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    write_image(frames_folder(tmp_path / "TestSetFrames", TEST) / "0.jpg", (128, 96))
    with pytest.raises(DataError, match=r"0\.jpg: is 128x96, must have the shape of 3840x2160"):
        okutama({TEST: row(0)}, range(1))


def test_boxes_that_leave_the_frame_are_clipped_or_counted(okutama: Read) -> None:
    text = f"{row(0, '-300 -30 300 600')}\n{row(0, '3900 0 4000 90')}\n{row(0, '9 9 12 90')}"
    image_set = okutama({TEST: text}, range(1))
    assert image_set.records[0].boxes.tolist() == [[0, 0, 10, 20]]
    assert image_set.drops == {"outside the image": 1, "under 1 px": 1}
    assert "boxes past the image border, clipped: 1 (files: 1, first: 1.1.8.txt)" in (
        image_set.warnings
    )


def test_a_box_turned_inside_out_is_counted_not_guessed(okutama: Read) -> None:
    image_set = okutama({TEST: row(0, "900 600 300 1200")}, range(1))
    assert image_set.num_persons == 0
    assert image_set.drops == {"maximum below minimum": 1}
    assert "boxes turned inside out, dropped: 1 (files: 1, first: 1.1.8.txt)" in image_set.warnings


def test_rows_without_frame_and_labels_without_frames_are_reported(
    okutama: Read, tmp_path: Path
) -> None:
    okutama({TEST: f"{row(0)}\n{row(7)}\n{row(8)}"}, range(1))
    folder = tmp_path / "TestSetFrames/Labels" / KIND / "3840x2160"
    (folder / "2.2.10.txt").write_text(row(0))
    image_set = okutama({})
    assert without_count(image_set.warnings) == [
        "label files without frames: 1 (files: 1, first: 2.2.10.txt)",
        "rows without frame, left out: 2 (files: 1, first: 1.1.8.txt)",
    ]
    assert len(image_set.records) == 1


def test_a_sequence_without_label_file_is_left_out_and_an_empty_one_is_negative(
    okutama: Read,
) -> None:
    image_set = okutama({TEST: None, "1.1.9": "", "1.2.1": row(0)})
    assert [(r.image_id, len(r.boxes)) for r in image_set.records] == [
        ("1.1.9/00000", 0),
        ("1.1.9/00001", 0),
        ("1.2.1/00000", 1),
        ("1.2.1/00001", 0),
    ]
    assert image_set.drops == {"image of a sequence without label file": 2}
    assert "sequences without label file, left out: 1 (files: 1, first: 1.1.8)" in (
        image_set.warnings
    )


def test_the_second_box_of_a_person_where_track_ids_change_is_dropped(okutama: Read) -> None:
    left, shifted, right = "300 600 900 1200", "330 600 930 1200", "3000 600 3300 1200"
    text = "\n".join(
        [
            *(row(frame, left, track=1) for frame in (179, 180)),  # the first annotator
            *(row(frame, shifted, track=2) for frame in (180, 181)),  # the second one
            *(row(frame, right, track=3) for frame in (179, 180, 181)),
            row(180, "2100 600 2400 1200", track=4),  # nobody was there before
            row(181, left, track=5),  # overlaps, but not where the ids change
        ]
    )
    image_set = okutama({TEST: text}, range(179, 182))
    assert [record.boxes.tolist() for record in image_set.records] == [
        [[10, 20, 30, 40], [100, 20, 110, 40]],
        [[11, 20, 31, 40], [100, 20, 110, 40], [70, 20, 80, 40]],
        [[11, 20, 31, 40], [100, 20, 110, 40], [10, 20, 30, 40]],
    ]
    assert image_set.drops == {"second box where the track ids change": 1}


def test_frame_stride_takes_frames_by_their_number(okutama: Read) -> None:
    text = "\n".join([*(row(frame) for frame in range(1, 9)), row(20), row(21), row(6, lost=1)])
    image_set = okutama({TEST: text}, range(1, 9), frame_stride=3)
    assert [record.image_id[-5:] for record in image_set.records] == ["00003", "00006"]
    assert image_set.num_persons == 2
    assert image_set.drops == {"lost: outside the picture": 1}
    assert "rows without frame, left out: 1 (files: 1, first: 1.1.8.txt)" in image_set.warnings


def test_num_images_takes_frames_of_all_sequences(okutama: Read) -> None:
    labels = dict.fromkeys(sorted(TEST_SEQUENCES), "")
    image_set = okutama(labels, range(4), num_images=10)
    assert {record.scene for record in image_set.records} == TEST_SEQUENCES
    assert image_set.warnings == ()  # all ten are there


def test_padded_names_are_the_same_frames_and_a_number_twice_is_refused(
    okutama: Read, tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    folder = frames_folder(tmp_path / "TestSetFrames", TEST)
    write_image(folder / "00007.JPG", SIZE)
    write_image(folder / "cover.jpg", SIZE)
    (folder / "._7.jpg").write_bytes(b"left by a Mac")
    image_set = okutama({TEST: row(7)}, range(0))
    assert [(r.image_id, len(r.boxes)) for r in image_set.records] == [("1.1.8/00007", 1)]
    assert without_count(image_set.warnings) == [
        "images that are named after no frame number, left out: 1 (files: 1, first: cover.jpg)"
    ]
    write_image(folder / "7.jpg", SIZE)
    with pytest.raises(DataError, match=r"7\.jpg: is there twice"):
        okutama({})


@pytest.mark.parametrize("base", [".", "TestSetFrames", "Test-Set"])
def test_both_zips_may_lie_in_one_folder_or_in_two(okutama: Read, base: str) -> None:
    train = "." if base == "." else "TrainSetFrames"
    okutama({TEST: row(0)}, base=base)
    okutama({TRAIN: row(1)}, base=train, split="train")
    for split, scenes in (("test", {TEST}), ("train", {TRAIN}), ("all", {TEST, TRAIN})):
        image_set = okutama({}, split=split)
        assert {record.scene for record in image_set.records} == scenes
        missing = NUM_SEQUENCES[split] - len(scenes)
        assert image_set.warnings == (
            f"official sequences that are not here: {missing} (files: 1, first: split {split})",
        )


def test_the_root_may_be_the_folder_of_one_zip(okutama: Read, tmp_path: Path) -> None:
    okutama({TEST: row(0)})
    config = DatasetConfig(name="o", reader="okutama", root=str(tmp_path / "TestSetFrames"))
    assert read_okutama(config, "test").num_persons == 1
    with pytest.raises(DataError, match=r"no frames of split 'train' .*there are 1\.1\.8\)") as e:
        read_okutama(config, "train")
    assert "TrainSetFrames.zip" in str(e.value)


def test_a_test_sequence_in_the_training_folder_never_trains(okutama: Read) -> None:
    okutama({TRAIN: row(0), TEST: row(0)}, base="TrainSetFrames", split="train")
    scenes = [record.scene for record in okutama({}, split="train").records]
    assert set(scenes) == {TRAIN}


def test_a_sequence_that_is_there_twice_is_refused(okutama: Read, tmp_path: Path) -> None:
    okutama({TEST: row(0)})
    shutil.copytree(tmp_path / "TestSetFrames", tmp_path / "copy")
    with pytest.raises(DataError, match=r"1\.1\.8: is there twice, also as .*TestSetFrames"):
        okutama({})


def test_one_kind_of_labels_is_read_and_named(
    okutama: Read, caplog: pytest.LogCaptureFixture
) -> None:
    tracking = "SingleActionTrackingLabels"
    image_set = okutama({TEST: f"{row(0)}\n{row(0, '30 30 90 90')}"}, kind=tracking)
    assert image_set.num_persons == 2
    assert f"no {KIND}, read {tracking}: 1 (files: 1, first: Labels)" in image_set.warnings
    with caplog.at_level(logging.INFO):
        assert okutama({TEST: row(0)}).num_persons == 1
    assert caplog.messages == [f"oku: boxes from {KIND}"]


def test_labels_and_frames_that_are_not_there_are_named(okutama: Read, tmp_path: Path) -> None:
    okutama({TEST: row(0)})
    shutil.rmtree(tmp_path / "TestSetFrames/Labels")
    with pytest.raises(DataError, match=r"no label file in Labels/MultiActionLabels/3840x2160"):
        okutama({}, base="elsewhere")
    shutil.rmtree(tmp_path / "TestSetFrames")
    with pytest.raises(DataError, match=r"none of any other either.*\n.*the videos do not fit"):
        okutama({}, base="elsewhere")
    config = DatasetConfig(name="oku", reader="okutama")
    with pytest.raises(DataError, match=r"root is not set\n.*TestSetFrames"):
        read_okutama(config, "test")


def test_keys_that_do_not_fit_are_refused(okutama: Read) -> None:
    with pytest.raises(ConfigError, match="split must be one of train, test, all; got 'val'"):
        okutama({TEST: row(0)}, split="val")
    with pytest.raises(ConfigError, match="scene_fractions"):
        okutama({TEST: row(0)}, scene_fractions=[0.5, 0.25, 0.25])
    with pytest.raises(ConfigError, match="categories"):
        okutama({TEST: row(0)}, categories={"Person": "person"})


GOOD = row(0)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("0 1 2 3 4 0 0 0", ("ends in ''", '"Person"', "track_id xmin")),
        ("0 1 2 3 4 0 0 0 0", ("ends in ''",)),
        ("0 1 2 3 4 0 0 0 0 Person", ("ends in ''",)),
        ('0 1 2 3 4 0 0 0 "Person"', ("has 8 columns, must have 9",)),
        ('0 1 2 3 4 0 0 0 0 0 "Person"', ("has 10 columns",)),
        ('"Person" "Walking"', ('ends in \'"Person"',)),
        ('0 1 2 3 4 0 0 0 0 "Dog" "Walking"', ('ends in \'"Dog"',)),
        ('0 1 2 3 4 0 0 0 0"Person"', ("ends in '\"Person\"'",)),
        ('0 1 2 3 4 0 0 0 0 "Person" "Walking', ("ends in",)),
        ('0 1 2 3 4 0 0 0 0 "Person" Walking', ("ends in",)),
        ('0 1 2 3 4 0 0 0 0 "Person" "Walking" 7', ("ends in",)),
        ('0 1 2 3 4 0 2 0 0 "Person"', ("lost is 2", "0 or 1")),
        ('0 1 2 3 4 0 0 0.5 0 "Person"', ("occluded is 0.5",)),
        ('0 1 2 3 4 0 0 0 -1 "Person"', ("generated is -1",)),
        ('0 1 2 3 4 1.5 0 0 0 "Person"', ("frame is 1.5", "whole number")),
        ('-1 1 2 3 4 0 0 0 0 "Person"', ("track_id is -1",)),
        ('0 1 nan 3 4 0 0 0 0 "Person"', ("ymin is 'nan'",)),
        ('0 1 2 3e9 4 0 0 0 0 "Person"', ("xmax is 3e+09", "[-100000, 100000]")),
    ],
)
def test_a_bad_row_names_file_line_field_value_and_fix(
    okutama: Read, tmp_path: Path, bad: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(DataError) as error:
        okutama({TEST: f"{GOOD}\r\n\r\n{bad}\r\n"})
    text = str(error.value)
    folder = tmp_path / "TestSetFrames/Labels" / KIND / "3840x2160"
    assert text.startswith(f"{folder / TEST}.txt, line 3: ")
    assert "\n  fix: " in text
    assert text.count("\n") == 1
    for word in words:
        assert word in text


def test_mixed_line_ends_are_reported(okutama: Read) -> None:
    image_set = okutama({TEST: f"{row(0)}\r\n{row(1)}\n"})
    assert image_set.num_persons == 2
    assert "mixed line ends: was the file edited?: 1 (files: 1, first: 1.1.8.txt, line 2)" in (
        image_set.warnings
    )


CELL = st.one_of(
    st.integers(-50, 4000).map(str),
    st.sampled_from(
        ["", " ", "nan", "inf", "1e400", "1_0", "1.5", "x", "0x1", "1 2", '"', "\u0662"]
    ),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.integers(0, 10),
    CELL,
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["", " ", ' "Running"', " 0", '"', ' "']),
)
def test_a_mutated_row_is_parsed_right_or_named(
    okutama: Read, column: int, cell: str, end: str, tail: str
) -> None:
    fields = ["9", "300", "600", "900", "1200", "1", "0", "0", "1", '"Person"', '"Walking"']
    fields[column] = cell
    line = f"{' '.join(fields)}{tail}"
    refused = None
    try:
        first, second = okutama({TEST: f"{row(0)}{end}{line}{end}"}).records
    except DataError as error:
        refused = str(error)
    if refused is not None:
        assert f"{KIND}/3840x2160/1.1.8.txt, line 2: " in refused
        return
    parts = shlex.split(line)  # another parser agrees
    assert parts[9] == "Person"
    track, *corners, frame, lost, occluded, generated = map(float, parts[:9])
    assert track == int(track) >= 0
    assert {lost, occluded, generated} <= {0, 1}
    box = np.clip(np.array(corners) / 30, 0, [128, 72, 128, 72])
    expected: list[list[list[float]]] = [[[10, 20, 30, 40]], []]
    seen = not lost and (box[2:] - box[:2] >= 1).all()
    if seen and frame in (0, 1) and box.tolist() not in expected[int(frame)]:
        expected[int(frame)].append(box.tolist())
    for record, boxes in zip((first, second), expected, strict=True):
        assert record.boxes.shape == (len(boxes), 4)
        assert np.allclose(record.boxes, np.array(boxes).reshape(-1, 4), atol=1e-4)


def test_the_fingerprint_is_the_same_wherever_the_files_lie(
    okutama: Read, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = okutama({TEST: row(0)}).fingerprint
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(tmp_path / "TestSetFrames", other, dirs_exist_ok=True)
    config = DatasetConfig(name="other", reader="okutama", root=str(other))
    assert read_okutama(config, "test").fingerprint == first
    assert okutama({TEST: row(0, "300 600 900 1203")}).fingerprint != first
