"""Areas and overlaps of boxes (xyxy, pixels), in float64."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray


def box_areas(boxes: Float[ndarray, "n 4"]) -> Float[ndarray, " n"]:
    """Multiply width and height: square pixels, float64."""
    corners = boxes.astype(np.float64)
    area: Float[ndarray, " n"] = np.prod(corners[:, 2:] - corners[:, :2], axis=1)
    return area


def box_iou(boxes: Float[ndarray, "n 4"], others: Float[ndarray, "m 4"]) -> Float[ndarray, "n m"]:
    """Divide intersection by union, in float64; 0 where both boxes are empty."""
    a, b = boxes.astype(np.float64)[:, None], others.astype(np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = sides.clip(min=0).prod(-1)
    union = box_areas(boxes)[:, None] + box_areas(others)[None] - shared
    iou: Float[ndarray, "n m"] = np.divide(
        shared, union, out=np.zeros_like(shared), where=union > 0
    )
    return iou


def mostly_inside(
    boxes: Float[ndarray, "n 4"], regions: Float[ndarray, "k 4"]
) -> Bool[ndarray, " n"]:
    """Say whether at least half of each box's area lies in the union of the regions.

    An empty box lies nowhere. The VisDrone toolkit drops boxes by this rule (dropObjectsInIgr).
    """
    area = box_areas(boxes)
    inside: Bool[ndarray, " n"] = (area > 0) & (covered_area(boxes, regions) >= 0.5 * area)
    return inside


def covered_area(
    boxes: Float[ndarray, "n 4"], regions: Float[ndarray, "k 4"]
) -> Float[ndarray, " n"]:
    """Measure each box in the union of the regions, exactly (coordinate compression)."""
    edges = regions.astype(np.float64)
    x, y = np.unique(edges[:, 0::2]), np.unique(edges[:, 1::2])
    covered = np.zeros((max(len(y) - 1, 0), max(len(x) - 1, 0)))
    columns, rows = np.searchsorted(x, edges[:, 0::2]), np.searchsorted(y, edges[:, 1::2])
    for (left, right), (top, bottom) in zip(columns, rows, strict=True):
        covered[top:bottom, left:right] = 1
    corners = boxes.astype(np.float64)
    width = _shared_lengths(corners[:, 0::2], x)
    height = _shared_lengths(corners[:, 1::2], y)
    area: Float[ndarray, " n"] = ((height @ covered) * width).sum(1)
    return area


def _shared_lengths(spans: Float[ndarray, "n 2"], grid: Float[ndarray, " g"]) -> ndarray:
    """Length that each span shares with each interval of the grid, n x (g - 1)."""
    low = np.maximum(spans[:, :1], grid[None, :-1])
    high = np.minimum(spans[:, 1:], grid[None, 1:])
    lengths: ndarray = np.clip(high - low, 0, None)
    return lengths
