"""Tiles and seams: what several tiles show is one person, wherever it lies and however large."""

from itertools import pairwise

import numpy as np
import torch
from helpers.closeness import assert_boxes_close
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou

from ptl_sweep.config.schema import EvaluateConfig
from ptl_sweep.detection.detector import Detections
from ptl_sweep.detection.tiling import Grid, grid_of, merge_tiles

SETTING = EvaluateConfig()
SIDE, TOUCH = 64, 4.0


def detections(boxes: Tensor, scores: Tensor) -> Detections:
    count = torch.arange(len(boxes))
    return Detections(boxes, scores, scores[:, None], torch.zeros_like(count), count)


def all_that_is_visible(
    persons: Tensor, grid: Grid, rng: np.random.Generator, wobble: float = 0.0
) -> list[Detections]:
    """What a detector finds that knows no context: every person on every tile, cut by its borders,
    with any score, and with borders that are up to `wobble` pixels off.
    """
    found = []
    for top, left in grid.corners():
        size = torch.tensor([grid.columns.length, grid.rows.length] * 2)
        shifted = persons - torch.tensor([left, top] * 2)
        boxes = torch.minimum(shifted.clamp(min=0), size)
        boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]
        boxes = boxes + torch.from_numpy(rng.uniform(-wobble, wobble, boxes.shape)).float()
        boxes = torch.minimum(boxes.clamp(min=0), size)
        scores = torch.from_numpy(rng.uniform(0.01, 1, len(boxes))).float()
        found.append(detections(boxes, scores))
    return found


def merged(persons: Tensor, height: int, width: int, overlap: int, seed: int = 0) -> Detections:
    grid = grid_of(height, width, SIDE, overlap)
    found = all_that_is_visible(persons, grid, np.random.default_rng(seed))
    return merge_tiles(found, grid, SETTING, touch=TOUCH, nms=True)


def apart(boxes: list[list[float]]) -> Tensor:
    """The boxes that overlap no earlier one."""
    kept: list[list[float]] = []
    for box in boxes:
        together = torch.tensor([*kept, box])
        if (box_iou(together[-1:], together[:-1]) == 0).all():
            kept.append(box)
    return torch.tensor(kept)


@st.composite
def scenes(draw: st.DrawFn, smallest: int = 2) -> tuple[Tensor, int, int]:
    """Persons of any size, none over another, and the height and width of their image, pixels."""
    height, width = draw(st.integers(40, 260)), draw(st.integers(65, 260))
    boxes = []
    for _ in range(draw(st.integers(1, 4))):
        spans = []
        for length in (width, height):
            size = draw(st.integers(8 * smallest, 8 * length))  # eighths of a pixel
            low = draw(st.integers(0, 8 * length - size))
            spans.append((low / 8, (low + size) / 8))
        (x1, x2), (y1, y2) = spans
        boxes.append([x1, y1, x2, y2])
    return apart(boxes), height, width


def by_place(boxes: Tensor) -> Tensor:
    return boxes[torch.from_numpy(np.lexsort(boxes.T.numpy()))]


@given(length=st.integers(1, 500), other=st.integers(1, 500), overlap=st.integers(16, 32))
def test_tiles_of_one_size_cover_the_image_and_share_the_overlap(
    length: int, other: int, overlap: int
) -> None:
    grid = grid_of(length, other, SIDE, overlap)
    for tiles, whole in ((grid.rows, length), (grid.columns, other)):
        assert tiles.length == min(SIDE, whole)
        assert tiles.starts[0] == 0
        assert tiles.starts[-1] + tiles.length == whole
        assert all(0 < b - a <= SIDE - overlap for a, b in pairwise(tiles.starts))
        assert all(start % (SIDE - overlap) == 0 for start in tiles.starts[:-1])
        assert all(seam.high - seam.low >= overlap for seam in tiles.seams)
    assert len(list(grid.corners())) == len(grid.rows.starts) * len(grid.columns.starts)


@settings(max_examples=500, deadline=None)
@given(scene=scenes(), overlap=st.sampled_from([16, 23, 32]), seed=st.integers(0, 99))
@example(scene=(torch.tensor([[40.0, 20, 64, 40]]), 64, 112), overlap=16, seed=0)
@example(scene=(torch.tensor([[0.0, 0, 250, 250]]), 250, 250), overlap=32, seed=0)
@example(scene=(torch.tensor([[30.0, 30, 97, 98]]), 130, 97), overlap=32, seed=1)
def test_every_person_is_found_once_with_its_own_box(
    scene: tuple[Tensor, int, int], overlap: int, seed: int
) -> None:
    persons, height, width = scene
    found = merged(persons, height, width, overlap, seed)
    assert_boxes_close(by_place(found.boxes), by_place(persons))
    assert (found.scores.diff() <= 0).all()


@settings(max_examples=300, deadline=None)
@given(scene=scenes(smallest=12), overlap=st.sampled_from([24, 32]), seed=st.integers(0, 99))
def test_every_person_is_found_once_though_tiles_disagree_by_a_pixel(
    scene: tuple[Tensor, int, int], overlap: int, seed: int
) -> None:
    persons, height, width = scene
    grid = grid_of(height, width, SIDE, overlap)
    rng = np.random.default_rng(seed)
    tiles = all_that_is_visible(persons, grid, rng, wobble=1.0)
    found = merge_tiles(tiles, grid, SETTING, touch=TOUCH, nms=True)
    assert len(found.scores) == len(persons)
    assert (box_iou(found.boxes, persons).amax(0) > 0.6).all()


def of_two_tiles(first: list[float], second: list[float]) -> Detections:
    """Merged detections of tiles [0, 64) and [32, 96), one each; boxes in pixels of the image."""
    one, two = (torch.tensor([box], dtype=torch.float32) for box in (first, second))
    scores = torch.tensor([0.5])
    found = [detections(one, scores), detections(two - torch.tensor([32, 0, 32, 0]), scores)]
    return merge_tiles(found, grid_of(64, 96, SIDE, 32), SETTING, touch=TOUCH, nms=True)


def test_persons_that_no_border_cuts_are_not_joined_though_they_agree_on_the_strip() -> None:
    found = of_two_tiles([0, 20, 56, 40], [38, 20, 90, 40])
    assert by_place(found.boxes).tolist() == [[0, 20, 56, 40], [38, 20, 90, 40]]


def test_a_person_of_the_size_of_the_strip_is_not_left_to_the_neighbour_by_both_tiles() -> None:
    """Each tile takes the box of the other for the better view, were it not for a margin."""
    found = of_two_tiles([36.5, 20, 60.5, 40], [35.5, 20, 59.5, 40])
    assert found.boxes.tolist() == [[35.5, 20, 60.5, 40]]


def test_a_part_that_lies_on_the_strip_gives_way_to_the_whole_whatever_their_scores() -> None:
    found = of_two_tiles([50, 20, 64, 40], [50, 22, 80, 40])
    assert found.boxes.tolist() == [[50, 22, 80, 40]]
