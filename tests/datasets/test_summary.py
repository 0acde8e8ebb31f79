"""The numbers and the sheet that `check` shows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ptl_sweep.config.schema import DetectorConfig, TilingConfig
from ptl_sweep.datasets.anchors import InputView, seen_boxes
from ptl_sweep.datasets.records import ImageRecord, ImageSet
from ptl_sweep.datasets.summary import (
    CAPTION_PX,
    TILE_PX,
    SetSummary,
    Window,
    sample_sheet,
    shown_window,
    summarise,
)

DETECTOR = DetectorConfig(
    name="tiny",
    architecture="retinanet_tiny",
    weights="none",
    anchor_sizes=[[4.0], [8.0]],
    aspect_ratios=[2.0],
    min_size=160,
    max_size=400,
)


def summary_of(image_set: ImageSet) -> SetSummary:
    seen = seen_boxes(image_set.records, InputView(DETECTOR, TilingConfig(), 8))
    return summarise(image_set, seen, DETECTOR)


def test_counts_and_quartiles_are_those_of_the_boxes(visdrone: Callable[..., Any]) -> None:
    rows = [f"1,{index},{index},{2 * index},1,1,0,0" for index in range(1, 6)]
    image_set = visdrone(
        {"1_a": "\n".join([*rows, "60,60,9,9,0,0,0,0", "5,5,0,5,1,1,0,0"]), "2_b": ""}
    )
    summary = summary_of(image_set)
    assert (summary.num_images, summary.num_images_with_persons) == (2, 1)
    assert (summary.num_persons, summary.num_ignored, summary.num_scenes) == (5, 1, 2)
    assert summary.width_quartiles.tolist() == [2, 3, 4]
    assert summary.height_quartiles.tolist() == [4, 6, 8]
    assert summary.input_height_quartiles.tolist() == [8, 12, 16]  # 100 x 80 becomes 200 x 160
    assert summary.image_sizes == ((100, 80),)
    assert summary.drops == {"under 1 px": 1}
    assert summary.fingerprint == image_set.fingerprint


def test_sizes_of_no_person_are_unknown(
    make_record: Callable[..., ImageRecord],
) -> None:
    records = (make_record("a", num_persons=0),)
    summary = summary_of(ImageSet(name="n", split="s", records=records, fingerprint="0" * 16))
    assert np.isnan(summary.width_quartiles).all()
    assert np.isnan(summary.input_height_quartiles).all()
    assert np.isnan(summary.matched_share)
    assert summary.num_persons == 0


def test_the_matched_share_is_that_of_the_persons_that_fit_an_anchor(
    visdrone: Callable[..., Any],
) -> None:
    # At twice the size: one a little wider than an anchor of 6 x 12 px, and one far too large.
    image_set = visdrone({"1_a": "14,13,4,6,1,1,0,0\n20,20,50,50,1,1,0,0"})
    assert summary_of(image_set).matched_share == 0.5


@pytest.mark.parametrize(
    ("num_images", "grid"), [(1, (1, 1)), (4, (4, 1)), (5, (4, 2)), (12, (4, 2))]
)
def test_the_sheet_shows_boxes_where_they_are(
    visdrone: Callable[..., Any], tmp_path: Path, num_images: int, grid: tuple[int, int]
) -> None:
    image_set = visdrone({f"{index}_\u00e9": "10,20,30,40,1,1,0,0" for index in range(6)})
    path = tmp_path / "sheet.png"
    sample_sheet(image_set, path, num_images)
    with Image.open(path) as sheet:
        width, height = TILE_PX[0], TILE_PX[1] + CAPTION_PX
        assert sheet.size == (grid[0] * width, grid[1] * height)
        scale = 4.5  # 100 x 80 fits 480 x 360 by its height
        corner = (round(10 * scale), round(20 * scale) + CAPTION_PX)
        assert sheet.getpixel(corner) == (255, 64, 64)


def test_a_sheet_shows_small_persons_in_part_of_their_picture(
    make_record: Callable[..., ImageRecord],
) -> None:
    def window(size: tuple[int, int], *boxes: tuple[float, ...]) -> Window:
        corners = np.array(boxes, np.float32).reshape(-1, 4)
        return shown_window(replace(make_record("a"), boxes=corners, width=size[0], height=size[1]))

    assert window((4000, 3000)) == (0, 0, 4000, 3000)
    assert window((400, 300), (10, 10, 20, 30)) == (0, 0, 400, 300)  # 24 px high as it is
    assert window((4000, 3000), (2000, 1000, 2010, 1024)) == (1765, 832, 480, 360)
    # In the corner, of the size of a pixel: no more than four times as large.
    assert window((4000, 3000), (3999, 2999, 4000, 3000)) == (3880, 2910, 120, 90)
    far = ((0, 0, 24, 24), (500, 400, 524, 424), (3976, 400, 4000, 424))
    assert window((4000, 3000), *far) == (272, 232, 480, 360)  # around the middle one
    assert window((4000, 100), (8, 8, 32, 32)) == (0, 0, 480, 100)
