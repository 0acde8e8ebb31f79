"""Which detections hit which persons (COCO rule), and which lie in regions that do not count."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

IOU_THRESHOLDS: ndarray = np.linspace(0.5, 0.95, 10)  # of AP@[.5:.95]; the first one is AP50


class ImageMatch(NamedTuple):
    """Matches of the detections of one image, in the order in which they were given."""

    truth: Int[ndarray, "t n"]  # index of the matched ground truth per IoU threshold, or -1
    iou: Float[ndarray, " n"]  # best IoU with any ground truth, matched or not; 0 without any
    ignored: Bool[ndarray, " n"]  # at least half of the area in the union of ignored regions

    @property
    def counted(self) -> Bool[ndarray, "t n"]:
        """Detections that are a hit or a miss: in no ignored region, or matched all the same."""
        counted: Bool[ndarray, "t n"] = (self.truth >= 0) | ~self.ignored
        return counted


def box_areas(boxes: Float[ndarray, "n 4"]) -> Float[ndarray, " n"]:
    """Width times height, square pixels, float64."""
    corners = boxes.astype(np.float64)
    area: Float[ndarray, " n"] = np.prod(corners[:, 2:] - corners[:, :2], axis=1)
    return area


def box_iou(boxes: Float[ndarray, "n 4"], others: Float[ndarray, "m 4"]) -> Float[ndarray, "n m"]:
    """Intersection over union in float64; 0 where both boxes are empty."""
    a, b = boxes.astype(np.float64)[:, None], others.astype(np.float64)[None]
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = sides.clip(min=0).prod(-1)
    union = box_areas(boxes)[:, None] + box_areas(others)[None] - shared
    iou: Float[ndarray, "n m"] = np.divide(
        shared, union, out=np.zeros_like(shared), where=union > 0
    )
    return iou


def covered_area(
    boxes: Float[ndarray, "n 4"], regions: Float[ndarray, "k 4"]
) -> Float[ndarray, " n"]:
    """Area of each box that lies in the union of the regions, exact (coordinate compression)."""
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


def match_image(
    boxes: Float[ndarray, "n 4"],
    scores: Float[ndarray, " n"],
    truths: Float[ndarray, "m 4"],
    ignored: Float[ndarray, "k 4"],
    iou_thresholds: Float[ndarray, " t"],
) -> ImageMatch:
    """Greedy matching in falling score, as pycocotools: each takes the best free ground truth.

    Equal scores keep their order; of equally good ground truths the last one is taken.
    """
    iou = box_iou(boxes, truths)
    best = iou.max(1, initial=0)
    limits = np.minimum(iou_thresholds.astype(np.float64), 1 - 1e-10)
    truth = np.full((len(limits), len(boxes)), -1)
    free = np.ones((len(limits), len(truths)), dtype=bool)
    every = np.arange(len(limits))
    order = np.argsort(-scores, kind="stable")
    for detection in order[best[order] >= limits.min(initial=np.inf)]:
        quality = np.where(free, iou[detection], -1.0)
        last_best = quality.shape[1] - 1 - quality[:, ::-1].argmax(1)
        hit = quality[every, last_best] >= limits
        truth[hit, detection] = last_best[hit]
        free[every[hit], last_best[hit]] = False
    area = box_areas(boxes)
    in_ignored = (area > 0) & (covered_area(boxes, ignored) >= 0.5 * area)
    return ImageMatch(truth, best, in_ignored)
