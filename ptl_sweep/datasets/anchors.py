"""Persons as the network sees them, and how many of them the detector's anchors can match.

The best IoU of a box is that with the nearest anchor of every level and shape: IoU falls with the
distance along either axis, so no other anchor of that shape is better. Nothing is trained or
even built for it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ptl_sweep.config.schema import DetectorConfig, TilingConfig
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.datasets.subsets import spread

MATCH_IOU = 0.5  # from which on an anchor is trained to find a person (RetinaNet)
MIN_SHARE = 0.8  # of the persons; below, too many of them are never learnt or found
COARSEST_STRIDE = 32  # pixels, of a backbone; further levels of a pyramid are rounded up
CHUNK = 65_536  # boxes at once: bounds the memory
NUM_TRIED = 2_000  # boxes of a set that the search looks at; its answer is verified on all
STEPS = range(-12, 13)  # of a quarter octave: how the search scales all anchors


class InputView(NamedTuple):
    """How the detector looks at pictures."""

    detector: DetectorConfig
    tiling: TilingConfig
    finest_stride: int  # pixels; every further level has half the cells, rounded up


class SeenBoxes(NamedTuple):
    """Persons in pixels of the network's input."""

    boxes: Float[ndarray, "n 4"]  # xyxy
    frames: Int[ndarray, "n 2"]  # width and height of the input that the person is on
    finest_stride: int  # pixels, of the pyramid that sees them

    def only(self, chosen: Int[ndarray, " k"]) -> "SeenBoxes":
        """Take some of the persons."""
        return self._replace(boxes=self.boxes[chosen], frames=self.frames[chosen])


class AnchorSetting(NamedTuple):
    """Anchors and what they reach."""

    anchor_sizes: list[list[float]]  # pixels, one list per level
    aspect_ratios: list[float]  # height / width
    share: float  # of the persons that they match, in the set where it is smallest

    def overrides(self) -> str:
        """Write the anchors as words of a command line."""
        levels = ",".join(_listed(sizes) for sizes in self.anchor_sizes)
        ratios = _listed(self.aspect_ratios)
        return f"'detector.anchor_sizes=[{levels}]' 'detector.aspect_ratios={ratios}'"


def _listed(values: Sequence[float]) -> str:
    return f"[{','.join(map(str, map(float, values)))}]"  # 14.0: Hydra takes no 14 in a list here


def input_scale(width: int, height: int, detector: DetectorConfig, tile_size: int | None) -> float:
    """Compute the pixels of the network's input per stored pixel of a picture of this size.

    The rule is that of torchvision's GeneralizedRCNNTransform: the shorter side becomes min_size,
    unless the longer one would then exceed max_size. It is applied to every tile of a picture
    whose longer side exceeds `tile_size`.
    """
    if detector.min_size is None or detector.max_size is None:
        return 1.0
    sides = _tile_sides(width, height, tile_size)
    return min(detector.min_size / min(sides), detector.max_size / max(sides))


def is_tiled(width: int, height: int, tile_size: int | None) -> bool:
    """Say whether a picture of this size is cut into tiles."""
    return tile_size is not None and max(width, height) > tile_size


def _tile_sides(width: int, height: int, tile_size: int | None) -> tuple[int, int]:
    """Width and height of what is resized at once: the picture or one of its tiles."""
    if tile_size is None or not is_tiled(width, height, tile_size):
        return width, height
    return min(width, tile_size), min(height, tile_size)


def input_size(width: int, height: int, view: InputView) -> tuple[int, int]:
    """Compute width and height of the network's input for a picture or its tiles, unpadded."""
    scale = input_scale(width, height, view.detector, view.tiling.size)
    sides = _tile_sides(width, height, view.tiling.size)
    return max(1, math.floor(sides[0] * scale)), max(1, math.floor(sides[1] * scale))


def seen_boxes(records: Sequence[ImageRecord], view: InputView) -> SeenBoxes:
    """Place every person of the records on the tile that it is most central to."""
    boxes, frames = [np.zeros((0, 4))], [np.zeros((0, 2), np.int64)]
    for record in records:
        size = record.width, record.height
        sides = _tile_sides(*size, view.tiling.size)
        frame = np.array(input_size(*size, view))
        corners = record.boxes.astype(np.float64)
        for axis, (length, side) in enumerate(zip(size, sides, strict=True)):
            corners[:, axis::2] -= _tile_start(
                corners[:, axis::2], length, side, view.tiling.overlap
            )
        boxes.append(corners * np.tile(frame / sides, 2))
        frames.append(np.tile(frame, (len(corners), 1)))
    return SeenBoxes(np.concatenate(boxes), np.concatenate(frames), view.finest_stride)


def _tile_start(
    spans: Float[ndarray, "n 2"], length: int, side: int, overlap: int
) -> Float[ndarray, "n 1"]:
    """First pixel, along one axis, of the tile whose middle is nearest to the middle of a span."""
    last = length - side
    starts = np.array([*range(0, last, max(1, side - overlap)), last])
    away = np.abs(spans.mean(1)[:, None] - (starts + side / 2))
    nearest: Float[ndarray, "n 1"] = starts[away.argmin(1)].astype(np.float64)[:, None]
    return nearest


def best_iou(seen: SeenBoxes, detector: DetectorConfig) -> Float[ndarray, " n"]:
    """Compute the IoU of every box with its best anchor of all levels, cells and shapes."""
    best = np.zeros(len(seen.boxes))
    shapes = [anchor_shapes(sizes, detector.aspect_ratios) for sizes in detector.anchor_sizes]
    padding = min(seen.finest_stride * 2 ** (len(shapes) - 1), COARSEST_STRIDE)  # sides: a multiple
    for start in range(0, len(best), CHUNK):
        part = slice(start, start + CHUNK)
        boxes, padded = seen.boxes[part], -(-seen.frames[part] // padding) * padding
        grids = padded // seen.finest_stride
        for level in shapes:
            iou = _iou_of_nearest(boxes, grids, padded // grids, level)
            np.maximum(best[part], iou, out=best[part])
            grids = -(-grids // 2)
    return best


def anchor_shapes(sizes: Sequence[float], aspect_ratios: Sequence[float]) -> Float[ndarray, "a 2"]:
    """Compute width and height of the anchors of one level, rounded as torchvision rounds them."""
    root = np.sqrt(np.array(aspect_ratios, np.float32))[:, None]
    area = np.array(sizes, np.float32)[None]
    shapes = np.stack([(1 / root * area).ravel(), (root * area).ravel()], axis=1)
    return 2 * np.round(shapes / 2).astype(np.float64)


def _iou_of_nearest(
    boxes: Float[ndarray, "n 4"],
    grids: Int[ndarray, "n 2"],
    strides: Int[ndarray, "n 2"],
    shapes: Float[ndarray, "a 2"],
) -> Float[ndarray, " n"]:
    """The best IoU on one level, whose anchors are centred on multiples of the stride."""
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    cells = np.clip(np.round(centres / strides), 0, grids - 1)
    away = np.abs(centres - cells * strides)
    sides = boxes[:, 2:] - boxes[:, :2]
    shared = np.ones((len(boxes), len(shapes)))
    for axis in (0, 1):
        side, shape = sides[:, axis, None], shapes[None, :, axis]
        reach = np.minimum((side + shape) / 2 - away[:, axis, None], np.minimum(side, shape))
        shared *= reach.clip(0)
    union = sides.prod(1)[:, None] + shapes.prod(1) - shared
    best: Float[ndarray, " n"] = (shared / union).max(1)
    return best


def matched_share(seen: SeenBoxes, detector: DetectorConfig) -> float:
    """Compute the share of the persons that some anchor matches; NaN without persons."""
    if not len(seen.boxes):
        return math.nan
    return float((best_iou(seen, detector) >= MATCH_IOU).mean())


def find_anchors(sets: Sequence[SeenBoxes], detector: DetectorConfig) -> AnchorSetting:
    """Search for better anchors, as many per cell and level as the detector has now.

    Tried are the present sizes times a factor, and quantiles of the persons' sizes on the finest
    levels; each with the present aspect ratios, and with quantiles of the persons'. `share` is
    counted over all persons.
    """
    sets = [seen for seen in sets if len(seen.boxes)]
    tried = [seen.only(_sample(len(seen.boxes))) for seen in sets]
    best = max(_candidates(tried, detector), key=lambda setting: _worst_share(tried, setting))
    return AnchorSetting(best.anchor_sizes, best.aspect_ratios, _worst_share(sets, best))


def _sample(count: int) -> Int[ndarray, " k"]:
    return np.array(spread(range(count), NUM_TRIED), dtype=np.int64)


def _worst_share(sets: Sequence[SeenBoxes], detector: DetectorConfig) -> float:
    return min((matched_share(seen, detector) for seen in sets), default=math.nan)


def _candidates(sets: Sequence[SeenBoxes], detector: DetectorConfig) -> Iterator[DetectorConfig]:
    sides = np.concatenate([seen.boxes[:, 2:] - seen.boxes[:, :2] for seen in sets])
    shape_ratios = _quantiles(sides[:, 1] / sides[:, 0], len(detector.aspect_ratios))
    sizes = [*_scaled(detector.anchor_sizes), *_fitted(sides, detector.anchor_sizes)]
    ratios = [list(detector.aspect_ratios), shape_ratios]
    for anchor_sizes, aspect_ratios in product(sizes, ratios):
        yield replace(detector, anchor_sizes=anchor_sizes, aspect_ratios=aspect_ratios)


def _scaled(present: list[list[float]]) -> Iterator[list[list[float]]]:
    for step in STEPS:
        yield [[round(size * 2 ** (step / 4), 1) for size in level] for level in present]


def _fitted(
    sides: Float[ndarray, "n 2"], present: list[list[float]]
) -> Iterator[list[list[float]]]:
    """Quantiles of the persons' sizes on the finest levels, the present sizes on the others."""
    size, count = np.sqrt(sides.prod(1)), len(present[0])
    for num_levels in range(1, len(present) + 1):
        found = _quantiles(size, num_levels * count)
        levels = [found[i : i + count] for i in range(0, len(found), count)]
        yield [*levels, *present[num_levels:]]


def _quantiles(values: Float[ndarray, " n"], count: int) -> list[float]:
    """`count` quantiles at even distances, rounded to a tenth, from 0.1 on."""
    found = np.quantile(values, (np.arange(count) + 0.5) / count)
    return [max(0.1, round(float(value), 1)) for value in found]
