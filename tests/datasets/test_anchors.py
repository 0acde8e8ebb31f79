"""Persons at the network's input, and the anchors that match them, against torchvision's own."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import box_iou

from ptl_sweep.config.schema import DetectorConfig, TilingConfig
from ptl_sweep.datasets import anchors
from ptl_sweep.datasets.anchors import (
    InputView,
    SeenBoxes,
    best_iou,
    find_anchors,
    input_scale,
    input_size,
    matched_share,
    seen_boxes,
)
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.architectures import architecture_of
from ptl_sweep.detection.detector import build_detector
from ptl_sweep.detection.pixels import resized_size

TINY = DetectorConfig(
    name="tiny",
    architecture="retinanet_tiny",
    weights="none",
    anchor_sizes=[[14.0, 20.5], [28.0, 41.0]],
    aspect_ratios=[0.5, 1.0, 2.3],
    channels=16,
)
LARGE = replace(
    TINY,
    name="large",
    architecture="retinanet_r50",
    anchor_sizes=[
        [16.0, 20.2, 25.4],
        [32.0, 40.3, 50.8],
        [64.0, 80.6, 101.6],
        [128.0] * 3,
        [9] * 3,
    ],
    aspect_ratios=[1.0, 2.0, 3.0],
)
FINE = replace(
    TINY,
    architecture="retinanet_tiny_fine",
    anchor_sizes=[[6.0, 9.0], [13.0, 19.0], [27.0, 39.0]],
)
RESIZED = replace(TINY, min_size=80, max_size=133)
TILES = TilingConfig(size=100, overlap=20)
WHOLE = InputView(TINY, TilingConfig(), 8)

Make = Callable[..., ImageRecord]


def random_boxes(count: int, frame: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Boxes of 3 to 90 px that may reach a little past the frame."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1, (count, 2)) * frame
    half = rng.uniform(1.5, 45, (count, 2))
    return np.concatenate([centres - half, centres + half], axis=1)


def seen_on(boxes: np.ndarray, frame: tuple[int, int], stride: int = 8) -> SeenBoxes:
    return SeenBoxes(boxes, np.tile(np.array(frame), (len(boxes), 1)), stride)


@pytest.mark.parametrize("config", [TINY, LARGE, FINE], ids=["tiny", "r50", "fine"])
@pytest.mark.parametrize("frame", [(203, 150), (128, 128), (97, 230), (33, 40)])
def test_the_best_iou_is_that_with_all_anchors_of_the_detector(
    config: DetectorConfig, frame: tuple[int, int]
) -> None:
    detector = build_detector(config, torch.Generator().manual_seed(0))
    with torch.no_grad():
        prepared = detector._prepare(torch.zeros(1, 3, frame[1], frame[0]))
        every = detector._anchors_of(prepared, detector._predict(prepared).grids)
    boxes = random_boxes(300, frame)
    expected = box_iou(torch.from_numpy(boxes), every.double()).amax(1).numpy()
    seen = seen_on(boxes, frame, architecture_of(config).finest_stride)
    np.testing.assert_allclose(best_iou(seen, config), expected, atol=1e-9)


def test_sets_are_looked_at_in_parts_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = (128, 96)
    seen = seen_on(random_boxes(50, frame), frame)
    whole = best_iou(seen, TINY)
    monkeypatch.setattr(anchors, "CHUNK", 7)  # exact: +, -, * and / are rounded alike everywhere
    assert np.array_equal(best_iou(seen, TINY), whole)


def test_a_person_of_the_size_of_an_anchor_is_matched_where_a_cell_is() -> None:
    config = replace(TINY, anchor_sizes=[[14.0], [40.0]], aspect_ratios=[1.0])
    boxes = np.array([[33.0, 33, 47, 47], [37, 37, 51, 51], [2, 2, 4, 4]])
    seen = seen_on(boxes, (128, 128))
    shared = 10 * 10  # the second is 4 px beside the nearest cells of stride 8
    assert best_iou(seen, config).tolist() == [1, shared / (2 * 14**2 - shared), 4 / 14**2]
    assert matched_share(seen, config) == pytest.approx(1 / 3)
    assert np.isnan(matched_share(seen_on(np.zeros((0, 4)), (8, 8)), config))


@given(st.integers(20, 400), st.integers(20, 400), st.integers(32, 200), st.integers(0, 200))
@settings(deadline=None)
def test_the_input_has_the_size_that_torchvision_gives_it(
    width: int, height: int, min_size: int, more: int
) -> None:
    config = replace(TINY, min_size=min_size, max_size=min_size + more)
    found = input_size(width, height, InputView(config, TilingConfig(), 8))
    assert found[::-1] == resized_size(height, width, (min_size, min_size + more))
    transform = GeneralizedRCNNTransform(min_size, min_size + more, [0.0], [1.0], size_divisible=1)
    images, _ = transform([torch.zeros(1, height, width)])
    assert images.image_sizes == [found[::-1]]


def test_native_resolution_is_a_scale_of_one_and_tiles_are_resized_one_by_one() -> None:
    assert input_scale(4000, 3000, TINY, None) == input_scale(4000, 3000, TINY, 500) == 1
    assert input_scale(400, 300, RESIZED, None) == 80 / 300
    assert input_scale(400, 300, RESIZED, 400) == 80 / 300
    assert input_scale(400, 300, RESIZED, 399) == 80 / 300  # its tiles are 399 x 300
    assert input_scale(400, 300, RESIZED, 100) == 80 / 100
    assert input_size(400, 300, InputView(RESIZED, TILES, 8)) == (80, 80)
    assert input_size(400, 90, InputView(RESIZED, TILES, 8)) == (88, 80)


def person(record: ImageRecord, *boxes: tuple[float, ...], size: tuple[int, int]) -> ImageRecord:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    return replace(record, boxes=corners, width=size[0], height=size[1])


def test_persons_are_scaled_as_their_picture(make_record: Make) -> None:
    first = person(make_record("a"), (30, 60, 60, 150), size=(400, 300))
    second = person(make_record("b"), (10, 20, 20, 40), (0, 0, 5, 5), size=(100, 80))
    seen = seen_boxes([first, second, person(make_record("c"), size=(9, 9))], WHOLE)
    assert seen.boxes.tolist() == [[30, 60, 60, 150], [10, 20, 20, 40], [0, 0, 5, 5]]
    seen = seen_boxes([first, second], InputView(RESIZED, TilingConfig(), 8))
    assert seen.frames.tolist() == [[106, 80], [100, 80], [100, 80]]
    np.testing.assert_allclose(seen.boxes[0], [30 * 0.265, 60 * 80 / 300, 60 * 0.265, 40])


def test_a_person_is_seen_on_the_tile_that_it_is_most_central_to(make_record: Make) -> None:
    boxes = [(10, 10, 20, 30), (95, 10, 105, 30), (240, 280, 250, 290)]
    record = person(make_record("a"), *boxes, size=(250, 290))
    seen = seen_boxes([record], InputView(TINY, TILES, 8))  # tiles start at 0, 80, 150 and at 190
    assert seen.boxes.tolist() == [[10, 10, 20, 30], [15, 10, 25, 30], [90, 90, 100, 100]]
    assert seen.frames.tolist() == [[100, 100]] * 3
    larger = seen_boxes([record], InputView(replace(TINY, min_size=200, max_size=200), TILES, 8))
    np.testing.assert_allclose(larger.boxes, 2 * seen.boxes)


@pytest.mark.parametrize(("low", "high", "ratio"), [(5, 9, 1.0), (60, 100, 1.0), (20, 30, 4.0)])
def test_the_anchors_that_are_found_match_what_is_said(
    low: float, high: float, ratio: float
) -> None:
    rng = np.random.default_rng(1)
    centres = rng.uniform(0, 200, (3000, 2))
    width = rng.uniform(low, high, 3000)
    half = np.stack([width, width * ratio], axis=1) / 2
    seen = seen_on(np.concatenate([centres - half, centres + half], axis=1), (200, 200))
    before = matched_share(seen, TINY)
    found = find_anchors([seen], TINY)
    assert [len(level) for level in found.anchor_sizes] == [2, 2]
    assert len(found.aspect_ratios) == 3
    changed = replace(TINY, anchor_sizes=found.anchor_sizes, aspect_ratios=found.aspect_ratios)
    assert matched_share(seen, changed) == found.share > before


def test_anchors_for_several_sets_are_as_good_as_in_the_worst_of_them() -> None:
    frame = (128, 128)
    sets = [seen_on(random_boxes(200, frame, seed), frame) for seed in range(3)]
    found = find_anchors([*sets, seen_on(np.zeros((0, 4)), (8, 8))], TINY)
    changed = replace(TINY, anchor_sizes=found.anchor_sizes, aspect_ratios=found.aspect_ratios)
    assert found.share == min(matched_share(seen, changed) for seen in sets)
    assert found.overrides().startswith("'detector.anchor_sizes=[[")
