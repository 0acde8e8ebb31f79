"""Order, batches, resize and tiles of inference."""

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.closeness import (
    SCORE,
    alike,
    assert_detections_close,
    assert_elementwise_close,
    assert_scored_boxes_close,
    near,
)
from numpy import ndarray
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn
from torchvision.ops import box_iou

from ptl_sweep.config.schema import EvaluateConfig, TilingConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection import inference
from ptl_sweep.detection.detector import Detections, Detector, Losses, Probes
from ptl_sweep.detection.inference import detect_and_probe_records, detect_records
from ptl_sweep.detection.pixels import View, load_image

SETTING = EvaluateConfig(score_thresholds=[0.05, 0.1, 0.5], score_threshold=0.05, batch_size=2)
WHOLE = View(None, TilingConfig())
Draw = Callable[..., ImageRecord]


def tiles(size: int, overlap: int, resize: tuple[int, int] | None = None) -> View:
    return View(resize, TilingConfig(size=size, overlap=overlap))


class BrightSpots(Detector):
    """An equivariant stand-in: every brightness of a picture is one detection."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.batches: list[tuple[int, ...]] = []

    def losses(self, *_: object) -> Losses:
        raise AssertionError("nothing is trained here")

    def detect(self, images: Tensor, _setting: EvaluateConfig, **_nms: bool) -> list[Detections]:
        self.batches.append(tuple(images.shape))
        return [self._of(image[0]) for image in images]

    def _of(self, image: Tensor) -> Detections:
        boxes, values = [], [v for v in image.unique().tolist() if v > 0]
        for value in values:
            y, x = torch.where(image == value)
            boxes.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
        box = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        cells = (box[:, 1].long() // 8) * -(-image.shape[1] // 8) + box[:, 0].long() // 8
        score = torch.tensor(values, dtype=torch.float32)
        order = score.argsort(descending=True)
        return Detections(
            box[order], score[order], box[order], torch.zeros_like(cells), cells[order]
        )

    def detect_and_probe(
        self, images: Tensor, boxes: list[Tensor], setting: EvaluateConfig
    ) -> tuple[list[Detections], list[Probes]]:
        """The feature of a box is the brightness in its middle; its cell, that of the middle."""
        probes = []
        for image, wanted in zip(images, boxes, strict=True):
            middle = ((wanted[:, :2] + wanted[:, 2:]) / 2).long()
            seen = image[0, middle[:, 1], middle[:, 0]]
            cells = middle[:, 1] // 8 * -(-image.shape[2] // 8) + middle[:, 0] // 8
            probes.append(Probes(seen[:, None], torch.zeros_like(cells), cells, seen))
        return self.detect(images, setting), probes


def record_of(pixels: ndarray, name: str = "drawn") -> ImageRecord:
    class Pixels:
        def read(self) -> ndarray:
            return pixels

        def read_masks(self) -> ndarray:
            raise NotImplementedError

    return ImageRecord(
        image_id=name,
        width=pixels.shape[1],
        height=pixels.shape[0],
        boxes=np.zeros((0, 4), dtype=np.float32),
        ignored=np.zeros((0, 4), dtype=np.float32),
        scene=name,
        pixels=Pixels(),
    )


def picture(height: int, width: int, boxes: list[tuple[int, int, int, int]]) -> ImageRecord:
    """Rectangles (xyxy) of distinct brightness on black."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    for i, (x1, y1, x2, y2) in enumerate(boxes, start=1):
        pixels[y1:y2, x1:x2] = i
    return record_of(pixels)


def spots(height: int, width: int, size: int) -> list[tuple[int, int, int, int]]:
    return [
        (x, y, x + size, y + size)
        for y in range(1, height - size, size + 3)
        for x in range(2, width - size, size + 2)
    ]


def rows(found: Detections) -> set[tuple[float, ...]]:
    return {tuple(box) for box in found.boxes.tolist()}


def detect(
    detector: Detector, record: ImageRecord, view: View, nms: bool = True, **changes: object
) -> Detections:
    setting = replace(SETTING, **changes)
    cache = ImageCache(2**26)
    (found,) = detect_records(detector, [record], setting, cache=cache, view=view, nms=nms)
    return found


@pytest.mark.parametrize("shape", [(150, 200), (64, 200), (50, 131), (211, 64)])
@pytest.mark.parametrize("size", [12, 40])
def test_tiles_find_what_the_whole_image_shows(shape: tuple[int, int], size: int) -> None:
    """Spots of 12 pixels fit the overlap of 24; those of 40 do not."""
    boxes = spots(*shape, size)
    found = detect(BrightSpots(), picture(*shape, boxes), tiles(64, 24))
    assert rows(found) == set(boxes)
    assert len(found.scores) == len(boxes)
    assert (found.scores.diff() <= 0).all()


def test_a_person_on_four_tiles_is_one_detection_with_the_feature_of_its_best_part() -> None:
    person = (30, 20, 110, 100)
    found = detect(BrightSpots(), picture(112, 112, [person]), tiles(64, 16))
    assert rows(found) == {person}
    assert found.features.tolist() == [[30, 20, 64, 64]]  # the first of four equal scores


def test_cells_of_different_tiles_differ() -> None:
    """The same place of every tile: level and cell must not take them for one."""
    view = tiles(64, 16)
    corners = [(x + 20, y + 20) for y in (0, 48) for x in (0, 48)]
    boxes = [(x, y, x + 8, y + 8) for x, y in corners]
    found = detect(BrightSpots(), picture(112, 112, boxes), view, nms=False)
    assert len(found.cells) == len(set(found.cells.tolist())) == 4


@pytest.mark.parametrize("resize", [(32, 64), (256, 512)])
def test_cells_of_different_tiles_differ_at_any_scale(
    resize: tuple[int, int], tiny: Detector, draw: Draw
) -> None:
    record = draw(0, width=150, height=100)
    found = detect(tiny, record, tiles(64, 16, resize), nms=False, score_threshold=0.0)
    anchors_per_cell = 6
    places = torch.stack([found.levels, found.cells], 1).unique(dim=0, return_counts=True)
    assert places[1].max() <= anchors_per_cell


@pytest.mark.parametrize("resize", [None, (96, 200)])
def test_a_tile_is_seen_as_a_whole_image_of_its_pixels_is(
    resize: tuple[int, int] | None, tiny: Detector, draw: Draw
) -> None:
    """At the same scale; what is missing lies on the strip that both tiles see."""
    pixels = draw(0, width=112, num_boxes=5).pixels.read()
    tiled = detect(tiny, record_of(pixels), tiles(64, 16, resize), nms=False, batch_size=1)
    expected = []
    for start in (0, 48):
        part = record_of(np.ascontiguousarray(pixels[:, start : start + 64]))
        found = detect(tiny, part, View(resize, TilingConfig()), nms=False, batch_size=1)
        expected.append(found.boxes + torch.tensor([start, 0, start, 0]))
    boxes = torch.cat(expected)
    same = near(boxes, tiled.boxes)
    assert same.any(0).all()
    dropped = boxes[~same.any(1)]
    assert 0 < len(dropped) < len(tiled.scores) <= len(boxes)
    assert (dropped[:, 0] >= 48).all()
    assert (dropped[:, 2] <= 64).all()


def test_records_come_back_in_order_whatever_their_sizes(
    tiny: Detector, draw: Draw, cache: ImageCache
) -> None:
    widths = [64, 64, 64, 96, 64, 96, 96]
    records = [draw(seed, width=width) for seed, width in enumerate(widths)]
    found = list(detect_records(tiny.train(), records, SETTING, cache=cache, view=WHOLE))
    assert not tiny.training
    assert len(found) == len(records)
    for record, detections in zip(records, found, strict=True):
        image = load_image(record.pixels.read(), None)
        (alone,) = tiny.detect(image[None], SETTING)
        assert_detections_close(detections, alone)


def test_large_and_small_images_come_back_in_order(cache: ImageCache) -> None:
    sizes = [(64, 64), (60, 64), (70, 64), (64, 64), (64, 130), (64, 65)]
    boxes = [[(i, i, i + 20, i + 20)] for i in range(len(sizes))]
    records = [picture(*size, box) for size, box in zip(sizes, boxes, strict=True)]
    found = detect_records(BrightSpots(), records, SETTING, cache=cache, view=tiles(64, 16))
    assert [rows(one) for one in found] == [set(box) for box in boxes]


def test_images_up_to_the_tile_size_are_searched_as_without_tiles(
    tiny: Detector, draw: Draw, cache: ImageCache
) -> None:
    records = [draw(seed, width=width) for seed, width in enumerate([64, 64, 50, 64])]
    one, other = (
        list(detect_records(tiny, records, SETTING, cache=cache, view=view))
        for view in (WHOLE, tiles(64, 16))
    )
    for a, b in zip(one, other, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_tiles_of_an_image_share_forward_passes_up_to_the_batch_size() -> None:
    detector = BrightSpots()
    detect(detector, picture(64, 256, [(1, 1, 9, 9)]), tiles(64, 16), batch_size=3)
    assert detector.batches == [(3, 3, 64, 64), (2, 3, 64, 64)]


def test_a_large_image_is_decoded_once_though_no_cache_keeps_it() -> None:
    reads = []
    record = picture(130, 200, [(1, 1, 9, 9)])
    pixels = record.pixels.read()
    counting = record_of(pixels)
    counting.pixels.read = lambda: reads.append(1) or pixels
    found = detect_records(
        BrightSpots(), [counting], SETTING, cache=ImageCache(1), view=tiles(64, 16)
    )
    assert len(list(found)) == len(reads) == 1


@pytest.fixture
def decoding_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are decoded on threads, as for a GPU."""
    monkeypatch.setattr(inference, "num_ahead", lambda _device, num_images: num_images)


def test_decoding_ahead_changes_no_detection(
    tiny: Detector, draw: Draw, cache: ImageCache, request: pytest.FixtureRequest
) -> None:
    records = [draw(seed, width=width) for seed, width in enumerate([64, 64, 150, 64, 50])]

    def run() -> list[Tensor]:
        pairs = detect_and_probe_records(tiny, records, SETTING, cache=cache, view=tiles(64, 16))
        return [field for pair in pairs for part in pair for field in part]

    expected = run()
    request.getfixturevalue("decoding_ahead")
    for one, two in zip(run(), expected, strict=True):
        assert torch.equal(one, two)


@pytest.mark.usefixtures("decoding_ahead")
@pytest.mark.parametrize("width", [64, 150])
def test_an_evaluation_that_stops_early_leaves_no_thread(
    width: int, tiny: Detector, draw: Draw, cache: ImageCache
) -> None:
    """In the midst of a batch, and between the tiled images of a run."""
    records = [draw(seed, width=width) for seed in range(9)]
    found = detect_records(tiny, records, SETTING, cache=cache, view=tiles(64, 16))
    next(found)
    assert [one for one in threading.enumerate() if one.name.startswith("decode")]
    found.close()
    assert not [one for one in threading.enumerate() if one.name.startswith("decode")]


def test_boxes_are_in_stored_pixels_after_a_resize(
    tiny: Detector, draw: Draw, stock_of: Callable
) -> None:
    record = draw(0, width=100, height=70)
    reference = stock_of(tiny, (128, 160), SETTING).eval()
    with torch.no_grad():
        (expected,) = reference([load_image(record.pixels.read(), None)])
    found = detect(tiny, record, View((128, 160), TilingConfig()))
    assert_scored_boxes_close(found.boxes, found.scores, expected["boxes"], expected["scores"])


def test_at_most_max_detections_are_left_of_all_tiles(tiny: Detector, draw: Draw) -> None:
    record = draw(0, width=150, height=100)
    found = detect(tiny, record, tiles(64, 16), max_detections=7)
    assert len(found.scores) == 7
    assert (found.scores.diff() <= 0).all()


@pytest.fixture
def equivariant(tiny: Detector) -> Detector:
    """retinanet_tiny with fixed statistics in place of group norm's, which depend on all pixels."""
    for module in list(tiny.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.GroupNorm):
                setattr(module, name, nn.BatchNorm2d(child.num_channels, momentum=None))
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    tiny.train()
    with torch.no_grad():
        tiny._predict(tiny._prepare(images))
    return tiny.eval()


def seen_by(detector: Detector, place: int) -> Tensor:
    """First and last rows of pixels that change a prediction centred on this row."""
    image = torch.rand(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
    image.requires_grad_()
    raw = detector._predict(detector._prepare(image))
    levels = raw.logits[0].reshape(-1, detector.num_shapes).split([64 * 64, 32 * 32])
    fine, coarse = (
        level.reshape(side, side, -1) for level, side in zip(levels, (64, 32), strict=True)
    )
    (fine[place // 8, 32].sum() + coarse[place // 16, 16].sum()).backward()
    rows_seen = image.grad.abs().sum((0, 1, 3)).nonzero()
    return rows_seen[[0, -1], 0]


REACH = 112  # pixels of context on either side that a prediction of retinanet_tiny depends on
SHIFT = 40  # pixels, of a box's centre away from its cell


def test_a_prediction_depends_on_nothing_beyond_its_reach(equivariant: Detector) -> None:
    first, last = seen_by(equivariant, 256).tolist()
    assert REACH - 16 <= 256 - first <= REACH
    assert REACH - 16 <= last - 256 <= REACH


def away_from_seams(boxes: Tensor, shape: tuple[int, int], side: int, overlap: int) -> Tensor:
    """Whether the reach of the cell that made a box crosses no border between tiles."""
    away = torch.ones(len(boxes), dtype=torch.bool)
    for axis, length in ((0, shape[1]), (1, shape[0])):
        starts = range(side - overlap, length - overlap, side - overlap)
        borders = torch.tensor([*starts, *(start + overlap for start in starts)])
        centres = (boxes[:, axis] + boxes[:, axis + 2]) / 2
        away &= ((centres[:, None] - borders).abs() > REACH + SHIFT).all(1)
    return away


def agreeing(found: Detections, other: Detections) -> Tensor:
    """Index of the detection of `other` with the same box, score and feature; -1 without one."""
    same = alike(found, other)
    return torch.where(same.any(1), same.int().argmax(1), -1)


@pytest.mark.parametrize("shape", [(512, 960), (960, 960), (512, 1408)])
def test_away_from_seams_a_real_detector_finds_in_tiles_what_it_finds_in_the_whole_image(
    shape: tuple[int, int], equivariant: Detector, draw: Draw
) -> None:
    """Tiles begin at multiples of the stride. NMS is compared where no chain of overlapping
    candidates comes near a seam, for a box there may hide one that is far away.
    """
    side, overlap = 512, 64
    record = draw(0, height=shape[0], width=shape[1], num_boxes=60)
    limits = {"score_threshold": 0.65, "score_thresholds": [0.65, 0.7, 0.8]}
    limits |= {"candidates_per_level": 10**6, "max_detections": 10**5}
    candidates, detections = (
        [detect(equivariant, record, view, nms, **limits) for view in (WHOLE, tiles(side, overlap))]
        for nms in (False, True)
    )
    whole, tiled = candidates
    for one, other in ((whole, tiled), (tiled, whole)):
        away = away_from_seams(one.boxes, shape, side, overlap)
        away &= one.scores > limits["score_threshold"] + SCORE  # rounding may drop those at it
        assert 20 < away.sum() < len(away)
        assert (agreeing(one, other)[away] >= 0).all()
    boxes = torch.cat([whole.boxes, tiled.boxes])
    _, group = connected_components((box_iou(boxes, boxes) > 0).numpy(), directed=False)
    near = ~away_from_seams(boxes, shape, side, overlap).numpy()
    untouched = torch.from_numpy(~np.isin(group, group[near]))[: len(whole.scores)]
    expected, found = (agreeing(whole, one)[untouched] >= 0 for one in detections)
    assert 5 < expected.sum() < len(expected)
    assert torch.equal(expected, found)


def test_the_probe_of_a_person_has_the_feature_of_its_best_anchor(detector: Detector) -> None:
    """A box that is an anchor: IoU 1; a detection of that level and cell carries its feature."""
    setting = EvaluateConfig(score_thresholds=[0.01, 0.1, 0.5], score_threshold=0.0)
    image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    prepared = detector._prepare(image)
    anchors = detector._anchors_of(prepared, detector._predict(prepared).grids)
    inside = (anchors.amin(1) >= 0) & (anchors.amax(1) <= 128)
    boxes = anchors[inside][[0, 7, -1]]
    (found,), (probes,) = detector.detect_and_probe(image, [boxes], setting)
    (alone,) = detector.detect(image, setting, nms=False)
    assert_elementwise_close(probes.iou, torch.ones(3))
    for feature, level, cell in zip(*probes[:3], strict=True):
        here = (alone.levels == level) & (alone.cells == cell)
        assert torch.equal(alone.features[here], feature.expand(int(here.sum()), -1))
    plain = detector.detect(image, setting)[0]
    assert all(torch.equal(one, two) for one, two in zip(found, plain, strict=True))


def test_probes_come_in_the_order_of_the_persons_whole_and_tiled() -> None:
    rng = np.random.default_rng(0)
    corners = rng.permutation([(x, y) for x in range(4, 180, 25) for y in range(3, 130, 21)])[:40]
    boxes = [(x, y, x + 6, y + 9) for x, y in corners.tolist()]
    record = replace(picture(140, 190, boxes), boxes=np.array(boxes, dtype=np.float32))
    for view in (WHOLE, tiles(64, 16), tiles(96, 24), tiles(64, 16, (128, 128))):
        ((_, probes),) = detect_and_probe_records(
            BrightSpots(), [record], SETTING, cache=ImageCache(2**20), view=view
        )
        brightness = torch.arange(1, 41) / 255
        assert_elementwise_close(probes.features[:, 0], brightness, largest=1.0)


def test_each_person_is_looked_up_where_its_box_is_farthest_from_the_border() -> None:
    """Tiles of 64 from x = 0 and 48: a box at 46..52 has 12 px of room in the first, -2 in the
    second; one at 55..61 has 3 and 7."""
    boxes = np.array([[46, 20, 52, 30], [55, 20, 61, 30]], dtype=np.float32)
    record = replace(picture(64, 112, [(46, 20, 52, 30), (55, 20, 61, 30)]), boxes=boxes)
    ((_, probes),) = detect_and_probe_records(
        BrightSpots(), [record], SETTING, cache=ImageCache(2**20), view=tiles(64, 16)
    )
    per_tile = (64 + 32) ** 2
    assert (probes.cells // per_tile).tolist() == [0, 1]
