"""Which detections hit which persons (COCO rule), and which lie in regions that do not count."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.datasets.boxes import box_iou, mostly_inside

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
    return ImageMatch(truth, best, mostly_inside(boxes, ignored))
