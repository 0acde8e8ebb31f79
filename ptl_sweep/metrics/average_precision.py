"""Average precision of a ranked list of detections, by score (COCO) or by distance (AP_t2t)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

RECALL_LEVELS: ndarray = np.linspace(0.0, 1.0, 101)


class PrecisionRecall(NamedTuple):
    """The curve after each detection, best ranked first."""

    precision: Float[ndarray, " n"]  # best precision at this or any higher recall
    recall: Float[ndarray, " n"]


def ranking(
    key: Float[ndarray, " n"],
    scores: Float[ndarray, " n"],
    image: Int[ndarray, " n"],
    box_index: Int[ndarray, " n"],
) -> Int[ndarray, " n"]:
    """Indices by rising key; ties: higher score, then image, then box index. NaN keys come last."""
    return np.lexsort((box_index, image, -scores, key))


def precision_recall(true_positive: Bool[ndarray, " n"], num_truths: int) -> PrecisionRecall:
    """Interpolated precision and recall of detections in ranking order; num_truths at least 1."""
    hits = np.cumsum(true_positive, dtype=np.float64)
    precision = hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return PrecisionRecall(envelope, hits / num_truths)


def average_precision(true_positive: Bool[ndarray, " n"], num_truths: int) -> float:
    """Mean precision at 101 recalls, as pycocotools; detections are given in ranking order.

    0.0 without detections, NaN without ground truth.
    """
    if num_truths == 0:
        return float("nan")
    curve = precision_recall(true_positive, num_truths)
    reached = np.searchsorted(curve.recall, RECALL_LEVELS, side="left")
    return float(np.append(curve.precision, 0.0)[reached].mean())
