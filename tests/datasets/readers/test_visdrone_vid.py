"""VisDrone2019-VID: rows of a sequence belong to its frames, and every k-th frame is taken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.visdrone.videos import read_visdrone_vid
from ptl_sweep.datasets.validation import DataError

ROWS = (
    "1,0,10,20,30,40,1,1,0,0\n"  # a pedestrian
    "1,1,50,20,10,20,1,4,0,0\n"  # a car
    "3,0,12,20,30,40,1,2,0,0\n"  # people
    "3,2,0,0,50,80,0,0,0,0\n"  # an ignored region, over most of them
    "4,0,60,20,10,20,1,1,0,0\n"
)

Read = Callable[..., Any]


@pytest.fixture
def vid(tmp_path: Path, write_image: Callable[..., Path]) -> Read:
    """read({sequence: rows, or None for no file}) of four frames each: an ImageSet."""

    def read(sequences: dict[str, str | None], split: str = "train", **keys: Any) -> Any:
        folder = tmp_path / "VisDrone2019-VID-train"
        (folder / "annotations").mkdir(parents=True, exist_ok=True)
        for name, rows in sequences.items():
            for number in range(1, 5):
                write_image(folder / "sequences" / name / f"{number:07d}.jpg")
            if rows is not None:
                (folder / "annotations" / f"{name}.txt").write_text(rows)
        config = DatasetConfig(name="video", reader="visdrone_vid", root=str(tmp_path), **keys)
        return read_visdrone_vid(config, split)

    return read


def test_rows_belong_to_their_frames_and_a_scene_is_a_sequence(vid: Read) -> None:
    image_set = vid({"uav1": ROWS, "uav2": ""})
    records = {record.image_id: record for record in image_set.records}
    assert list(records)[:2] == ["uav1/0000001", "uav1/0000002"]
    assert records["uav1/0000001"].boxes.tolist() == [[10, 20, 40, 60]]
    assert records["uav1/0000003"].ignored.tolist() == [[0, 0, 50, 80]]
    assert [len(record.boxes) for record in image_set.records] == [1, 0, 0, 1, 0, 0, 0, 0]
    assert {record.scene for record in image_set.records} == {"uav1", "uav2"}
    assert image_set.drops == {
        "other category": 1, "person at least half in ignored regions": 1,
    }  # fmt: skip


def test_frame_stride_takes_every_kth_frame_of_each_sequence(vid: Read) -> None:
    image_set = vid({"uav1": ROWS, "uav2": ""}, frame_stride=3)
    assert [record.image_id for record in image_set.records] == [
        f"{name}/{number:07d}" for name in ("uav1", "uav2") for number in (1, 4)
    ]


def test_a_sequence_without_annotations_is_left_out_and_reported(vid: Read) -> None:
    image_set = vid({"uav1": ROWS, "uav2": None})
    assert {record.scene for record in image_set.records} == {"uav1"}
    assert image_set.warnings == (
        "sequences without annotation file, left out: 1 (files: 1, first: uav2)",
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("1,10,20,30,40,1,1,0,0\n", ("uav1.txt, line 1", "has 9 columns, must have 10")),
        (ROWS + "2,0,1,1,5,5,1,12,0,0\n", ("uav1.txt, line 6", "category is 12")),
    ],
)
def test_a_bad_row_is_named(vid: Read, rows: str, words: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as error:
        vid({"uav1": rows})
    for word in words:
        assert word in str(error.value)


def test_keys_and_folders_that_do_not_fit_are_refused(vid: Read) -> None:
    with pytest.raises(DataError, match="no folder VisDrone2019-VID-val with sequences/"):
        vid({"uav1": ROWS}, "validation")
    with pytest.raises(ConfigError, match="scene_fractions"):
        vid({"uav1": ROWS}, scene_fractions=[1, 0, 0])
