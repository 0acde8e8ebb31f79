"""Square tiles of a large image, and one detection for a person whom several of them show.

Neighbouring tiles share a strip. A box that the border of its tile cuts lies either within the
strip, and then the neighbour sees all of it: it is dropped. Or it spans the strip, and then it is
joined with the neighbour's box that agrees with it there, whatever the size of the person.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import box_iou

from ptl_sweep.config.schema import InferenceConfig
from ptl_sweep.detection.detector import Detections, best_boxes


class Seam(NamedTuple):
    """The strip along one axis that two neighbouring tiles share, stored pixels."""

    low: float  # where the second tile begins
    high: float  # where the first one ends


class Tiles(NamedTuple):
    """Tiles along one axis of an image, all of one length, stored pixels."""

    starts: list[int]  # first pixel of each
    length: int

    @property
    def seams(self) -> list[Seam]:
        """One between each tile and the next."""
        return [Seam(second, first + self.length) for first, second in pairwise(self.starts)]


class Grid(NamedTuple):
    """Tiles of one image, counted row by row."""

    rows: Tiles
    columns: Tiles

    def corners(self) -> Iterator[tuple[int, int]]:
        """First row and column of pixels of each tile."""
        return ((top, left) for top in self.rows.starts for left in self.columns.starts)


def grid_of(height: int, width: int, side: int, overlap: int) -> Grid:
    """The tiles of an image of this size, in pixels; shorter than `side` only where the image is.

    All but the last tile along an axis start at multiples of side - overlap: where that is a
    multiple of the detector's coarsest stride, their cells are cells of the whole image.
    """
    return Grid(*(_tiles(length, side, overlap) for length in (height, width)))


def _tiles(length: int, side: int, overlap: int) -> Tiles:
    """The last tile ends with the image."""
    last = max(length - side, 0)
    return Tiles([*range(0, last, side - overlap), last], min(length, side))


def merge_tiles(
    found: Iterable[Detections], grid: Grid, inference: InferenceConfig, *, touch: float, nms: bool
) -> Detections:
    """Detections of an image from those of its tiles, given in the grid's order.

    Boxes come in pixels of the stored tile and are returned in those of the image. `touch` is the
    distance, stored pixels, from which on a box is cut by the border of its tile. With nms=False
    nothing is joined and every candidate is returned that no neighbour sees better.
    """
    tiles = [_moved(part, *corner) for part, corner in zip(found, grid.corners(), strict=True)]
    count = len(grid.columns.starts)
    lines = [tiles[first : first + count] for first in range(0, len(tiles), count)]
    rows = [_merged(line, grid.columns.seams, 0, inference, touch=touch, nms=nms) for line in lines]
    return _merged(rows, grid.rows.seams, 1, inference, touch=touch, nms=nms)


def _moved(found: Detections, top: int, left: int) -> Detections:
    return found._replace(boxes=found.boxes + found.boxes.new_tensor([left, top, left, top]))


def _merged(
    parts: Sequence[Detections],
    seams: Sequence[Seam],
    axis: int,
    inference: InferenceConfig,
    *,
    touch: float,
    nms: bool,
) -> Detections:
    """Neighbours along one axis (0: x): what one sees better is left to it, what spans a seam is
    joined, and what is still found twice falls to NMS.
    """
    parts = [_without_hidden(part, seams, i, axis, touch) for i, part in enumerate(parts)]
    whole, *others = parts if nms else [_stacked(parts)]
    for part, seam in zip(others, seams, strict=False):
        pairs = _pairs(
            whole.boxes, part.boxes, seam, axis, touch=touch, least=inference.nms_threshold
        )
        one, two = pairs.unbind(1)
        both = _united(_chosen(whole, one), _chosen(part, two))
        whole = _stacked([_without(whole, one), _without(part, two), both])
    return _chosen(whole, best_boxes(whole.boxes, whole.scores, inference, nms=nms))


def _without_hidden(
    found: Detections, seams: Sequence[Seam], position: int, axis: int, touch: float
) -> Detections:
    """Without the boxes of this tile that its border cuts and that lie within the strip there.

    A box must begin twice as far inside the neighbour as one that the neighbour's border cuts: so
    no pair of slightly different boxes of one person is dropped on both sides.
    """
    low, high = found.boxes[:, axis], found.boxes[:, axis + 2]
    hidden = torch.zeros_like(low, dtype=torch.bool)
    for seam in seams[position : position + 1]:  # with the next tile
        hidden |= (high >= seam.high - touch) & (low > seam.low + 2 * touch)
    for seam in seams[max(position - 1, 0) : position]:  # with the one before
        hidden |= (low <= seam.low + touch) & (high < seam.high - 2 * touch)
    return _chosen(found, ~hidden)


def _pairs(
    first: Float[Tensor, "n 4"],
    second: Float[Tensor, "m 4"],
    seam: Seam,
    axis: int,
    *,
    touch: float,
    least: float,
) -> Int[Tensor, "k 2"]:
    """Boxes of two neighbours that are one person: at least one of the two is cut, and their parts
    in the strip, which both tiles see, have an IoU above `least`. Best first, each box once.
    """
    reaching = (first[:, axis + 2] > seam.low).nonzero()[:, 0]
    reached = (second[:, axis] < seam.high).nonzero()[:, 0]
    first, second = first[reaching], second[reached]
    cut = (first[:, axis + 2] >= seam.high - touch)[:, None]
    cut = cut | (second[:, axis] <= seam.low + touch)
    shared = box_iou(_within(first, seam, axis), _within(second, seam, axis))
    agreeing = ((shared > least) & cut).nonzero()
    order = shared[agreeing[:, 0], agreeing[:, 1]].argsort(descending=True, stable=True)
    one, two = _each_once(agreeing[order]).unbind(1)
    return torch.stack([reaching[one], reached[two]], 1)


def _each_once(pairs: Int[Tensor, "n 2"]) -> Int[Tensor, "k 2"]:
    """The pairs whose members are in no earlier one of them."""
    kept: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = (set(), set())
    for one, two in pairs.tolist():
        if one not in taken[0] and two not in taken[1]:
            taken[0].add(one)
            taken[1].add(two)
            kept.append((one, two))
    return torch.tensor(kept, dtype=torch.int64).reshape(-1, 2)


def _within(boxes: Float[Tensor, "n 4"], seam: Seam, axis: int) -> Float[Tensor, "n 4"]:
    """The parts of the boxes in the strip; empty where a box does not reach it."""
    parts = boxes.clone()
    parts[:, axis::2] = parts[:, axis::2].clamp(seam.low, seam.high)
    return parts


def _united(first: Detections, second: Detections) -> Detections:
    """Of each pair the box around both, with all else from the one of higher score."""
    better = first.scores >= second.scores
    boxes = [
        torch.minimum(first.boxes[:, :2], second.boxes[:, :2]),
        torch.maximum(first.boxes[:, 2:], second.boxes[:, 2:]),
    ]
    best = (
        torch.where(better.reshape(-1, *[1] * (one.dim() - 1)), one, two)
        for one, two in zip(first, second, strict=True)
    )
    return Detections(*best)._replace(boxes=torch.cat(boxes, 1))


def _chosen(found: Detections, which: Tensor) -> Detections:
    return Detections(*(part[which] for part in found))


def _without(found: Detections, indices: Int[Tensor, " k"]) -> Detections:
    kept = torch.ones(len(found.scores), dtype=torch.bool)
    kept[indices] = False
    return _chosen(found, kept)


def _stacked(parts: Sequence[Detections]) -> Detections:
    return Detections(*(torch.cat(fields) for fields in zip(*parts, strict=True)))
