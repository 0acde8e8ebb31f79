"""Do scores mean what they say? Expected calibration error of a detector's scores.

Judged on what its source holds out: real, never trained on, and shifted by nothing.
"""

from typing import NamedTuple

import numpy as np
from scipy import stats

from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.vocabulary import Condition, Value

NUM_BINS = 10  # of equal width, over [0, 1]
MIN_SCORES = 30  # detections; below: too few to judge
MAX_ERROR = 0.1  # the width of the low band: scores this wrong lie in another band (ours)
CONFIDENCE = 0.99  # of the test that the error is not by chance


class Reliability(NamedTuple):
    """How far scores are from the precision that they promise."""

    num: int  # detections that it is over
    error: float  # expected calibration error; NaN without any
    condition: Condition

    def columns(self) -> dict[str, Value]:
        """The last columns of schemas.GAUSSIANS."""
        return {
            "num_scores": self.num,
            "score_error": self.error,
            "score_check": self.condition,
        }


UNKNOWN = Reliability(0, np.nan, Condition.NOT_JUDGED)  # no validation split was evaluated


def reliability(table: DetectionTable, min_score: float) -> Reliability:
    """Sum over bins of the score of |hits - sum of scores|, over the number of detections.

    This is the expected calibration error (Guo et al. 2017; Kueppers et al. 2020 for detectors),
    of detections with score >= `min_score`, true positives at IoU 0.5. It fails where it is above
    0.1 and hits are not drawn by the scores (chi square of the bins, 99 %): the error of few
    detections is large by chance alone.
    """
    kept = table.counted & (table.score >= min_score)
    score = table.score[kept].astype(np.float64)
    if not len(score):
        return UNKNOWN
    bins = np.minimum((score * NUM_BINS).astype(np.int64), NUM_BINS - 1)
    excess = np.bincount(bins, table.true_positive[kept] - score, NUM_BINS)
    variance = np.bincount(bins, score * (1 - score), NUM_BINS)
    error = float(np.abs(excess).sum() / len(score))
    if len(score) < MIN_SCORES:
        return Reliability(len(score), error, Condition.NOT_JUDGED)
    used = variance > 0
    squared = float((excess[used] ** 2 / variance[used]).sum())
    is_sure = squared > stats.chi2.ppf(CONFIDENCE, int(used.sum()))
    fails = error > MAX_ERROR and is_sure
    return Reliability(len(score), error, Condition.FAILS if fails else Condition.HOLDS)
