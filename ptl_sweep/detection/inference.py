"""Detections of many images, in order, with one setting for evaluation, features and distances.

Images larger than `tile_size` are cut into overlapping tiles whose detections are merged.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ptl_sweep.config import EvaluateConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.pixels import Resize, load_image
from ptl_sweep.detection.retinanet import Detections, Detector, best_boxes

BORDER = 1.0  # pixels within which a box touches the border of its tile


class Picture(NamedTuple):
    """What the detector sees of one record, and the factor that leads back to stored pixels."""

    image: Float[Tensor, "3 h w"]
    to_stored: Float[Tensor, " 4"]


class Tiling(NamedTuple):
    """First pixels of the rows and columns of square tiles."""

    rows: list[int]
    columns: list[int]
    side: int


def detect_records(
    detector: Detector,
    records: Iterable[ImageRecord],
    setting: EvaluateConfig,
    *,
    cache: ImageCache,
    resize: Resize,
    nms: bool = True,
) -> Iterator[Detections]:
    """Detections of each record, in order, on the CPU, boxes in stored-image pixels.

    Puts the detector into eval mode. Neighbouring images of one size share a forward pass. With
    nms=False all candidates are returned (`Detector.detect`). For tiled images `cells` runs on
    from tile to tile, so that (level, cell) still names one place.
    """
    detector.eval()
    for group in _same_size(_pictures(records, cache, resize), setting.batch_size):
        images = torch.stack([picture.image for picture in group])
        if setting.tile_size is None or max(images.shape[2:]) <= setting.tile_size:
            found = detector.detect(images.to(detector.mean.device), setting, nms=nms)
        else:
            found = [detect_tiled(detector, image, setting, nms=nms) for image in images]
        for picture, detections in zip(group, found, strict=True):
            on_cpu = Detections(*(part.cpu() for part in detections))
            yield on_cpu._replace(boxes=on_cpu.boxes * picture.to_stored)


def _pictures(
    records: Iterable[ImageRecord], cache: ImageCache, resize: Resize
) -> Iterator[Picture]:
    for record in records:
        pixels = cache.read(record)
        image = load_image(pixels, resize)
        down, across = (pixels.shape[axis] / image.shape[axis + 1] for axis in (0, 1))
        yield Picture(image, torch.tensor([across, down, across, down]))


def _same_size(pictures: Iterator[Picture], limit: int) -> Iterator[list[Picture]]:
    """Runs of neighbouring images of one size, at most `limit` long."""
    group: list[Picture] = []
    for picture in pictures:
        if group and (len(group) == limit or picture.image.shape != group[0].image.shape):
            yield group
            group = []
        group.append(picture)
    if group:
        yield group


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """First pixel of each tile along one axis; the last tile ends with the image."""
    last = max(length - tile, 0)
    return [*range(0, last, tile - overlap), last]


def detect_tiled(
    detector: Detector, image: Float[Tensor, "3 h w"], setting: EvaluateConfig, *, nms: bool
) -> Detections:
    """Detections of one image, tile by tile; boxes in the pixels of `image`.

    A box that ends within a pixel of the border between two tiles and lies inside the overlap is
    dropped: the other tile sees all of it, and what the border cuts off. The rest of all tiles
    goes through one more NMS. A person longer than the overlap can be found twice, once cut.
    """
    side = setting.tile_size
    assert side is not None
    rows, columns = (tile_starts(length, side, setting.tile_overlap) for length in image.shape[1:])
    tiling = Tiling(rows, columns, side)
    crops = (image[:, y : y + side, x : x + side] for y in rows for x in columns)
    parts: list[Detections] = []
    while batch := list(islice(crops, setting.batch_size)):
        stacked = torch.stack(batch).to(detector.mean.device)
        for found in detector.detect(stacked, setting, nms=nms):
            parts.append(_placed(found, tiling, len(parts)))
    merged = Detections(*(torch.cat(fields) for fields in zip(*parts, strict=True)))
    kept = best_boxes(merged.boxes, merged.scores, setting, nms=nms)
    return Detections(*(part[kept] for part in merged))


def _placed(found: Detections, tiling: Tiling, index: int) -> Detections:
    """Detections of one tile in the pixels of the image, without those another tile sees better."""
    row, column = divmod(index, len(tiling.columns))
    top, left = tiling.rows[row], tiling.columns[column]
    boxes = found.boxes + found.boxes.new_tensor([left, top, left, top])
    cut = _seen_better(boxes[:, 0::2], tiling.columns, column, tiling.side)
    cut |= _seen_better(boxes[:, 1::2], tiling.rows, row, tiling.side)
    cells = found.cells + index * tiling.side**2  # a level has fewer cells than the tile pixels
    placed = found._replace(boxes=boxes, cells=cells)
    return Detections(*(part[~cut] for part in placed))


def _seen_better(
    spans: Float[Tensor, "n 2"], starts: list[int], position: int, side: int
) -> Bool[Tensor, " n"]:
    """Spans of tile `position` that end at an inner border and well inside the neighbour there."""
    low, high = spans.unbind(1)
    cut = torch.zeros_like(low, dtype=torch.bool)
    start = starts[position]
    if position + 1 < len(starts):
        cut |= (high >= start + side - BORDER) & (low > starts[position + 1] + BORDER)
    if position > 0:
        cut |= (low <= start + BORDER) & (high < starts[position - 1] + side - BORDER)
    return cut
