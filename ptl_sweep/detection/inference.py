"""Detections of many images, in order, with one setting for evaluation, features and distances.

Images with a side longer than `tiling.size` are searched in overlapping tiles.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from ptl_sweep.config import EvaluateConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.pixels import Resize, View, load_image, resized_size
from ptl_sweep.detection.retinanet import Detections, Detector
from ptl_sweep.detection.tiling import grid_of, merge_tiles

TOUCH = 4.0  # pixels that the detector sees, within which a box ends at the border of its tile
FINEST_STRIDE = 8  # pixels, of the level with the most cells
PADDING = 32  # pixels, at most as many as an image is padded with


class Picture(NamedTuple):
    """What the detector sees at once, and the factor that leads back to stored pixels."""

    image: Float[Tensor, "3 h w"]
    to_stored: Float[Tensor, " 4"]


def detect_records(
    detector: Detector,
    records: Iterable[ImageRecord],
    setting: EvaluateConfig,
    *,
    cache: ImageCache,
    view: View,
    nms: bool = True,
) -> Iterator[Detections]:
    """Detections of each record, in order, on the CPU, boxes in stored-image pixels.

    Puts the detector into eval mode. Neighbouring images of one size share a forward pass. With
    nms=False all candidates are returned (`Detector.detect`). For tiled images `cells` runs on
    from tile to tile, so that (level, cell) still names one place.
    """
    detector.eval()
    for side, run in groupby(records, lambda record: view.tile_side(record.height, record.width)):
        if side is not None:
            for record in run:
                yield detect_tiled(detector, cache.read(record), setting, view, nms=nms)
            continue
        pictures = (_picture(cache.read(record), view.resize) for record in run)
        yield from _searched(detector, pictures, setting, nms=nms)


def _picture(pixels: UInt8[ndarray, "h w 3"], resize: Resize) -> Picture:
    image = load_image(pixels, resize)
    down, across = (pixels.shape[axis] / image.shape[axis + 1] for axis in (0, 1))
    return Picture(image, torch.tensor([across, down, across, down]))


def _same_size(pictures: Iterator[Picture], limit: int) -> Iterator[list[Picture]]:
    """Runs of neighbouring pictures of one size, at most `limit` long."""
    group: list[Picture] = []
    for picture in pictures:
        if group and (len(group) == limit or picture.image.shape != group[0].image.shape):
            yield group
            group = []
        group.append(picture)
    if group:
        yield group


def _searched(
    detector: Detector, pictures: Iterator[Picture], setting: EvaluateConfig, *, nms: bool
) -> Iterator[Detections]:
    """Detections of each picture, on the CPU, boxes in stored pixels."""
    for group in _same_size(pictures, setting.batch_size):
        images = torch.stack([picture.image for picture in group])
        found = detector.detect(images.to(detector.mean.device), setting, nms=nms)
        for picture, detections in zip(group, found, strict=True):
            on_cpu = Detections(*(part.cpu() for part in detections))
            yield on_cpu._replace(boxes=on_cpu.boxes * picture.to_stored)


def detect_tiled(
    detector: Detector,
    pixels: UInt8[ndarray, "h w 3"],
    setting: EvaluateConfig,
    view: View,
    *,
    nms: bool,
) -> Detections:
    """Detections of one image, searched in tiles of its stored pixels, on the CPU.

    Each tile is resized and searched as a whole image is, `setting.batch_size` of them at once, and
    `setting` holds for each; max_detections holds once more for the merged detections.
    """
    side = view.tiling.size
    assert side is not None
    grid = grid_of(pixels.shape[0], pixels.shape[1], side, view.tiling.overlap)
    height, width = grid.rows.length, grid.columns.length
    crops = (pixels[top : top + height, left : left + width] for top, left in grid.corners())
    pictures = (_picture(crop, view.resize) for crop in crops)
    seen = resized_size(height, width, view.resize)
    found = (
        detections._replace(cells=detections.cells + index * _most_cells(*seen))
        for index, detections in enumerate(_searched(detector, pictures, setting, nms=nms))
    )
    touch = TOUCH * max(height / seen[0], width / seen[1])
    return merge_tiles(found, grid, setting, touch=touch, nms=nms)


def _most_cells(height: int, width: int) -> int:
    """No level of a picture of this size has more cells."""
    return (height + PADDING) * (width + PADDING) // FINEST_STRIDE**2
