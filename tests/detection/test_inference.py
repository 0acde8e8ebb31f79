"""Order, batches, resize and tiles of inference."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from ptl_sweep.config import EvaluateConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.detection.inference import detect_records, detect_tiled, tile_starts
from ptl_sweep.detection.pixels import load_image
from ptl_sweep.detection.retinanet import Detections, Detector

SETTING = EvaluateConfig(score_thresholds=[0.05, 0.1, 0.5], score_threshold=0.05, batch_size=2)


def replace_setting(**changes: object) -> EvaluateConfig:
    return replace(SETTING, **changes)


class BrightSpots(Detector):
    """An equivariant stand-in: every brightness of a tile is one detection."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.register_buffer("mean", torch.zeros(3, 1, 1))

    def detect(self, images: Tensor, _setting: EvaluateConfig, **_nms: bool) -> list[Detections]:
        return [self._of(image[0]) for image in images]

    def _of(self, image: Tensor) -> Detections:
        boxes, values = [], [v for v in image.unique().tolist() if v > 0]
        for value in values:
            y, x = torch.where(image == value)
            boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
        box = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        cells = (box[:, 1].long() // 8) * 8 + box[:, 0].long() // 8
        score = torch.tensor(values, dtype=torch.float32)
        order = score.argsort(descending=True)
        return Detections(
            box[order], score[order], box[order], torch.zeros_like(cells), cells[order]
        )


def spots(height: int, width: int, size: int) -> Tensor:
    """Rectangles of distinct brightness on a black picture."""
    image = torch.zeros(3, height, width)
    corners = [
        (y, x) for y in range(1, height - size, size + 3) for x in range(2, width - size, size + 2)
    ]
    for i, (y, x) in enumerate(corners):
        image[:, y : y + size, x : x + size] = 0.1 + 0.8 * i / len(corners)
    return image


def rows(found: Detections) -> set[tuple[float, ...]]:
    return {tuple(box) for box in found.boxes.tolist()}


@pytest.mark.parametrize(
    ("length", "tile", "overlap", "expected"),
    [
        (64, 64, 16, [0]),
        (40, 64, 16, [0]),
        (65, 64, 16, [0, 1]),
        (112, 64, 16, [0, 48]),
        (150, 64, 0, [0, 64, 86]),
    ],
)
def test_tiles_cover_the_image(length: int, tile: int, overlap: int, expected: list[int]) -> None:
    assert tile_starts(length, tile, overlap) == expected


@pytest.mark.parametrize("shape", [(150, 200), (64, 200), (50, 131), (211, 64)])
def test_tiles_find_what_the_whole_image_shows(shape: tuple[int, int]) -> None:
    setting = replace_setting(tile_size=64, tile_overlap=24)
    image = spots(*shape, size=12)
    tiled = detect_tiled(BrightSpots(), image, setting, nms=True)
    (whole,) = BrightSpots().detect(image[None], setting)
    assert len(whole.scores) > 10
    assert rows(tiled) == rows(whole)
    assert (tiled.scores.diff() <= 0).all()


def test_spot_that_exactly_fills_the_overlap_is_kept_once() -> None:
    image = torch.zeros(3, 64, 104)
    image[:, 20:40, 40:64] = 0.5  # tiles are [0, 64) and [40, 104)
    found = detect_tiled(
        BrightSpots(), image, replace_setting(tile_size=64, tile_overlap=24), nms=True
    )
    assert rows(found) == {(40.0, 20.0, 64.0, 40.0)}


def test_cells_of_different_tiles_differ() -> None:
    setting = replace_setting(tile_size=64, tile_overlap=0)
    image = torch.zeros(3, 64, 128)
    image[:, 16:24, 16:24] = 0.5
    image[:, 16:24, 80:88] = 0.6
    found = detect_tiled(BrightSpots(), image, setting, nms=False)
    assert len(set(found.cells.tolist())) == 2


def test_real_detector_agrees_with_itself_on_separate_tiles(tiny: Detector) -> None:
    setting = replace_setting(tile_size=64, tile_overlap=0, max_detections=2000)
    image = torch.rand(3, 64, 128, generator=torch.Generator().manual_seed(0))
    tiled = detect_tiled(tiny, image, setting, nms=False)
    left, right = tiny.detect(torch.stack([image[:, :, :64], image[:, :, 64:]]), setting, nms=False)
    right = right._replace(boxes=right.boxes + torch.tensor([64.0, 0, 64, 0]))
    assert rows(tiled) == rows(left) | rows(right)


def test_records_come_back_in_order_whatever_their_sizes(
    tiny: Detector, draw: Callable, cache: ImageCache
) -> None:
    widths = [64, 64, 64, 96, 64, 96, 96]
    records = [draw(seed, width=width) for seed, width in enumerate(widths)]
    found = list(detect_records(tiny.train(), records, SETTING, cache=cache, resize=None))
    assert not tiny.training
    assert len(found) == len(records)
    for record, detections in zip(records, found, strict=True):
        image = load_image(record.pixels.read(), None)
        (alone,) = tiny.detect(image[None], SETTING)
        torch.testing.assert_close(detections.boxes, alone.boxes, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(detections.features, alone.features, rtol=1e-3, atol=1e-4)


def test_boxes_are_in_stored_pixels_after_a_resize(
    tiny: Detector, draw: Callable, cache: ImageCache, stock_of: Callable
) -> None:
    record = draw(0, width=100, height=70)
    reference = stock_of(tiny, (128, 160), SETTING).eval()
    with torch.no_grad():
        (expected,) = reference([load_image(record.pixels.read(), None)])
    (found,) = detect_records(tiny, [record], SETTING, cache=cache, resize=(128, 160))
    torch.testing.assert_close(found.boxes, expected["boxes"])
    torch.testing.assert_close(found.scores, expected["scores"])


def test_large_records_are_tiled(tiny: Detector, draw: Callable, cache: ImageCache) -> None:
    records = [draw(0, width=150, height=100), draw(1)]
    setting = replace_setting(tile_size=64, tile_overlap=16)
    large, small = detect_records(tiny, records, setting, cache=cache, resize=None)
    image = load_image(records[0].pixels.read(), None)
    torch.testing.assert_close(large.boxes, detect_tiled(tiny, image, setting, nms=True).boxes)
    assert len(large.scores) <= setting.max_detections
    assert small.boxes.max() <= 64
