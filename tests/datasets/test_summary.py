"""The numbers and the sheet that `check` shows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ptl_sweep.datasets.records import ImageRecord, ImageSet
from ptl_sweep.datasets.summary import CAPTION_PX, TILE_PX, sample_sheet, summarise


def test_counts_and_quartiles_are_those_of_the_boxes(visdrone: Callable[..., Any]) -> None:
    rows = [f"1,{index},{index},{2 * index},1,1,0,0" for index in range(1, 6)]
    image_set = visdrone(
        {"1_a": "\n".join([*rows, "0,0,9,9,0,0,0,0", "5,5,0,5,1,1,0,0"]), "2_b": ""}
    )
    summary = summarise(image_set)
    assert (summary.num_images, summary.num_images_with_persons) == (2, 1)
    assert (summary.num_persons, summary.num_ignored, summary.num_scenes) == (5, 1, 2)
    assert summary.width_quartiles.tolist() == [2, 3, 4]
    assert summary.height_quartiles.tolist() == [4, 6, 8]
    assert summary.drops == {"under 1 px": 1}
    assert summary.fingerprint == image_set.fingerprint


def test_sizes_of_no_person_are_unknown(
    make_record: Callable[..., ImageRecord],
) -> None:
    records = (make_record("a", num_persons=0),)
    summary = summarise(ImageSet(name="n", split="s", records=records, fingerprint="0" * 16))
    assert np.isnan(summary.width_quartiles).all()


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
