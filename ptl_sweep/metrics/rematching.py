"""Matching the stored detections again, in another order than that of their scores.

The rule is that of `detection.matching.match_image` (COCO): each detection takes the best free
ground truth.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.datasets.boxes import box_iou
from ptl_sweep.detection.table import DetectionTable

IOU_ROUNDING = 1e-6  # the best IoU of each detection is stored as float32


class CandidatePairs(NamedTuple):
    """Detections and ground truths that may match, the best ground truth of a detection first.

    Of equally good ground truths the last one comes first. One set of pairs serves every order of
    the detections and every IoU threshold from the one it was made with.
    """

    detection: Int[ndarray, " p"]  # row of the table, rising
    truth: Int[ndarray, " p"]  # row of `table.truths`
    iou: Float[ndarray, " p"]
    num_detections: int  # rows of the table
    num_truths: int  # rows of `table.truths`


def candidate_pairs(table: DetectionTable, iou: float) -> CandidatePairs:
    """All pairs of one image with at least this IoU, detections of every score included."""
    limit = _limit(iou)
    near = np.flatnonzero(table.iou >= limit - IOU_ROUNDING)
    images = np.arange(table.num_images + 1)
    first, first_truth = (
        np.searchsorted(image, images) for image in (table.image[near], table.truths.image)
    )
    parts: list[ndarray] = [np.zeros((3, 0))]
    for image in np.flatnonzero(np.diff(first)):
        rows = near[first[image] : first[image + 1]]
        start, stop = first_truth[image : image + 2]
        overlap = box_iou(table.boxes[rows], table.truths.boxes[start:stop])
        row, person = np.nonzero(overlap >= limit)
        parts.append(np.stack([rows[row], start + person, overlap[row, person]]))
    detection, truth, quality = np.concatenate(parts, axis=1)
    order = np.lexsort((-truth, -quality, detection))
    return CandidatePairs(
        detection[order].astype(np.int64),
        truth[order].astype(np.int64),
        quality[order],
        len(table.score),
        len(table.truths.image),
    )


def match_in_order(
    pairs: CandidatePairs, order_rows: Int[ndarray, " k"], iou: float
) -> Bool[ndarray, " k"]:
    """Which rows of the table hit a ground truth when only they exist, each once, in this order.

    Rows in ignored regions match like others; those that hit nobody are neither hit nor miss.
    `iou` is at least the threshold that the pairs were made with.
    """
    place = np.full(pairs.num_detections, -1)
    place[order_rows] = np.arange(len(order_rows))
    usable = np.flatnonzero((place[pairs.detection] >= 0) & (pairs.iou >= _limit(iou)))
    places = place[pairs.detection[usable]]
    order = np.argsort(places, kind="stable")
    hit, taken = bytearray(len(order_rows)), bytearray(pairs.num_truths)
    persons = pairs.truth[usable[order]].tolist()
    for position, person in zip(places[order].tolist(), persons, strict=True):
        if not (hit[position] or taken[person]):
            hit[position] = taken[person] = True
    return np.array(hit, dtype=bool)


def _limit(iou: float) -> float:
    """The threshold as pycocotools applies it: a perfect box passes 1.0 despite rounding."""
    return min(iou, 1 - 1e-10)
