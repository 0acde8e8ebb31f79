"""Which location of FCOS learns which box (Tian et al. 2019): centre sampling and size ranges.

A location is the centre of a cell. The size of a level, its stride in the published network, is
the unit of all lengths there: how far from its centre a box is learnt, and how large it may be.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ptl_sweep.detection.networks.loss import BACKGROUND, chunk_length

CENTRE_RADIUS = 1.5  # sizes between location and centre of its box, along either axis
# The farthest side of a box lies 4 to 8 sizes from its location; nearer on the finest level,
# farther on the coarsest.
NEAREST_SIDE, FARTHEST_SIDE = 4.0, 8.0


class Locations(NamedTuple):
    """Centres of all cells, level after level, and what boxes they may learn, pixels."""

    x: Float[Tensor, " s"]
    y: Float[Tensor, " s"]
    size: Float[Tensor, " s"]
    lower: Float[Tensor, " s"]  # bounds of the distance to the farthest side
    upper: Float[Tensor, " s"]

    def chunks(self, num_boxes: int) -> Iterator["Locations"]:
        """Parts that are compared with so many boxes at once."""
        length = chunk_length(self.x, num_boxes)
        for fields in zip(*(torch.split(field, length) for field in self), strict=True):
            yield Locations(*fields)


def locations_of(anchors: Float[Tensor, "s 4"], level_sizes: list[int]) -> Locations:
    """The centres of torchvision's anchors for FCOS, squares of one size a level."""
    x, y = ((anchors[:, :2] + anchors[:, 2:]) / 2).unbind(1)
    size = anchors[:, 2] - anchors[:, 0]
    lower, upper = NEAREST_SIDE * size, FARTHEST_SIDE * size
    lower[: level_sizes[0]] = 0
    upper[len(upper) - level_sizes[-1] :] = torch.inf
    return Locations(x, y, size, lower, upper)


def match_locations(locations: Locations, boxes: Float[Tensor, "b m 4"]) -> Int[Tensor, "b s"]:
    """Box that each location learns in each image, the smallest of several, or BACKGROUND.

    Zeros pad the boxes of an image: no location lies in them. torchvision takes boxes for equally
    large whose areas differ by less than 8 square pixels, by its float32 of 1e8 minus the area.
    """
    num_images, num_boxes = boxes.shape[:2]
    if not num_boxes:
        return torch.full((num_images, len(locations.x)), BACKGROUND, device=boxes.device)
    areas = ((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))[..., None]
    labels = []
    for part in locations.chunks(num_images * num_boxes):
        smallest, index = torch.where(_learns(part, boxes), areas, torch.inf).min(1)
        labels.append(torch.where(smallest < torch.inf, index, BACKGROUND))
    return torch.cat(labels, 1)


def nearest_locations(
    locations: Locations, boxes: Float[Tensor, "m 4"]
) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
    """The location nearest to the centre of each box among those that would learn it alone.

    A box that none would learn, because it lies between them, has the nearest one of the level for
    its size. IoU is that of the box with itself, moved until its centre is the location.
    """
    away, index = _nearest(locations, boxes, _learns)
    _, other = _nearest(locations, boxes, _has_level_of)
    index = torch.where(away < torch.inf, index, other)
    sides = boxes[:, 2:] - boxes[:, :2]
    places = torch.stack([locations.x[index], locations.y[index]], 1)
    shift = ((boxes[:, :2] + boxes[:, 2:]) / 2 - places).abs()
    shared, area = (sides - shift).clamp(min=0).prod(1), sides.prod(1)
    return shared / (2 * area - shared), index


def _nearest(
    locations: Locations,
    boxes: Float[Tensor, "m 4"],
    allowed: Callable[[Locations, Tensor], Tensor],
) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
    """Squared distance and index of the nearest allowed location, of equals the finest."""
    best = torch.full((len(boxes),), torch.inf, device=boxes.device)
    index = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2)[..., None].unbind(1)
    start = 0
    for part in locations.chunks(len(boxes)):
        away = (part.x - x).square() + (part.y - y).square()
        value, argument = torch.where(allowed(part, boxes), away, torch.inf).min(1)
        index = torch.where(value < best, argument + start, index)
        best = torch.minimum(best, value)
        start += len(part.x)
    return best, index


def _learns(part: Locations, boxes: Float[Tensor, "*b m 4"]) -> Bool[Tensor, "*b m c"]:
    """Whether the location lies in the box, near its centre, and the box has its level's size."""
    x1, y1, x2, y2 = boxes[..., None].unbind(-2)
    sides = part.x - x1, part.y - y1, x2 - part.x, y2 - part.y
    nearest = torch.minimum(torch.minimum(*sides[:2]), torch.minimum(*sides[2:]))
    farthest = torch.maximum(torch.maximum(*sides[:2]), torch.maximum(*sides[2:]))
    away = torch.maximum((part.x - (x1 + x2) / 2).abs(), (part.y - (y1 + y2) / 2).abs())
    central = (nearest > 0) & (away < CENTRE_RADIUS * part.size)
    return central & (farthest > part.lower) & (farthest < part.upper)


def _has_level_of(part: Locations, boxes: Float[Tensor, "*b m 4"]) -> Bool[Tensor, "*b m c"]:
    """Whether the location's level is for boxes of this size, seen from their centre."""
    half = (boxes[..., 2:] - boxes[..., :2]).amax(-1, keepdim=True) / 2
    return (half > part.lower) & (half <= part.upper)
