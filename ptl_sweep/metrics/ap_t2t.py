"""AP_t2t: average precision by train2test distance instead of score (seed, section on AP_t2t).

Only the ranking differs from that of AP. We could not read the seed's text: recall,
matching and interpolation are `ApT2tConfig`, with our defaults (docs/method.md, section 3). Every
ground truth is in the denominator of recall, and the true positives are those of the AP, matched
once in the order of the scores.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.config.analysis import ApT2tConfig
from ptl_sweep.detection.matching import IOU_THRESHOLDS
from ptl_sweep.detection.table import FEATURE_MIN_SCORE, DetectionTable
from ptl_sweep.metrics.average_precision import RECALL_LEVELS, precision_recall, ranking
from ptl_sweep.metrics.bootstrap import RankedHits
from ptl_sweep.metrics.rematching import CandidatePairs, candidate_pairs, match_in_order
from ptl_sweep.vocabulary import RANKINGS, Value

DEFAULT_RULE = ApT2tConfig()


def ap_t2t(
    table: DetectionTable,
    distance: Float[ndarray, " n_f"],
    score_threshold: float,
    rule: ApT2tConfig = DEFAULT_RULE,
    *,
    below: float | None = None,
    iou: int = 0,
) -> float:
    """Average precision of the detections with score >= s, ranked by distance, nearest first.

    `distance` is aligned with `table.features`; `below` is an upper bound of the score, not itself
    included; `iou` is an index into IOU_THRESHOLDS. Ties: higher score, then image, then box index.
    0.0 without a hit; NaN without ground truth or when distances do not exist (any is NaN). A
    root or a rescaling of the distances changes nothing.

    Raises: ValueError for s below the score from which features are kept.
    """
    pairs = candidate_pairs(table, IOU_THRESHOLDS[iou]) if rule.matching == "distance" else None
    nearest = NearestFirst(table, nearest_first(table, distance), pairs)
    return nearest.precision(rule, score_threshold, below=below, iou=iou)


def random_order_null(
    table: DetectionTable,
    score_threshold: float,
    rng: np.random.Generator,
    rule: ApT2tConfig = DEFAULT_RULE,
) -> float:
    """Mean AP_t2t of the same detections over `rule.null_draws` random orders, at IoU 0.5.

    Where the rule matches in the order of the distances, each random order is matched anew.
    """
    rows = _with_score(table, table.featured, score_threshold, None)
    if rule.matching == "distance":
        return _rematched_null(table, rows, rng, rule)
    hits = table.hits_at(0)[rows]
    hits = hits[hits | ~table.ignored[rows]]
    draws = rng.permuted(np.broadcast_to(hits, (rule.null_draws, len(hits))), axis=1)
    ranks = np.nonzero(draws)[1].reshape(rule.null_draws, -1) + 1
    return float(_averages(ranks, table.num_truths, rule).mean())


def _rematched_null(
    table: DetectionTable, rows: Int[ndarray, " k"], rng: np.random.Generator, rule: ApT2tConfig
) -> float:
    pairs = candidate_pairs(table, IOU_THRESHOLDS[0])
    draws = [
        _precision(table, order, match_in_order(pairs, order, IOU_THRESHOLDS[0]), rule)
        for order in (rng.permutation(rows) for _ in range(rule.null_draws))
    ]
    return float(np.mean(draws))


def _precision(
    table: DetectionTable, rows: Int[ndarray, " k"], hits: Bool[ndarray, " k"], rule: ApT2tConfig
) -> float:
    """Average precision of rows of the table in their order, those that do not count left out."""
    ranks = np.flatnonzero(hits[hits | ~table.ignored[rows]]) + 1
    return float(_averages(ranks[None], table.num_truths, rule)[0])


def curve_rows(
    table: DetectionTable, distance: Float[ndarray, " n_f"], thresholds: Sequence[float]
) -> list[dict[str, Value]]:
    """Interpolated precision at 21 recalls, by distance and by score, over the same detections.

    True positives and the denominator of recall are those of AP, whatever the rule of AP_t2t; the
    precision beyond the reached recall is 0. No rows by distance where no distances exist, none at
    all without ground truth.
    """
    rows = table.featured
    by_score = _ordered(table, rows, -table.score[rows])
    orders = dict(zip(RANKINGS, (nearest_first(table, distance), by_score), strict=True))
    return [
        {
            "score_threshold": float(threshold),
            "ranking": name,
            "recall": round(float(recall), 2),
            "precision": float(precision),
        }
        for threshold in thresholds
        for name, order in orders.items()
        if order is not None and table.num_truths
        for recall, precision in _curve(table, _with_score(table, order, threshold, None))
    ]


@dataclass(frozen=True, slots=True)
class NearestFirst:
    """The detections of a table that have a feature, nearest first."""

    table: DetectionTable
    rows: Int[ndarray, " n_f"] | None  # of the table; None: no distances exist
    pairs: CandidatePairs | None  # None: never matched in the order of the distances

    def precision(
        self, rule: ApT2tConfig, low: float, *, below: float | None = None, iou: int = 0
    ) -> float:
        """AP_t2t of the scores in [low, below); NaN where no distances exist."""
        if self.rows is None:
            return np.nan
        rows = _with_score(self.table, self.rows, low, below)
        return _precision(self.table, rows, self._hits(rule, rows, iou), rule)

    def ranked_hits(
        self, rule: ApT2tConfig, low: float, *, below: float | None = None
    ) -> RankedHits:
        """What counts of the scores in [low, below), matched at IoU 0.5; distances exist."""
        assert self.rows is not None
        rows = _with_score(self.table, self.rows, low, below)
        return RankedHits.of(self.table, rows, self._hits(rule, rows, 0))

    def _hits(self, rule: ApT2tConfig, rows: Int[ndarray, " k"], iou: int) -> Bool[ndarray, " k"]:
        if rule.matching == "distance":
            assert self.pairs is not None
            return match_in_order(self.pairs, rows, IOU_THRESHOLDS[iou])
        hits: Bool[ndarray, " k"] = self.table.hits_at(iou)[rows]
        return hits


def nearest_first(
    table: DetectionTable, distance: Float[ndarray, " n_f"] | None
) -> Int[ndarray, " n_f"] | None:
    """Rows of the table that have a feature, nearest first; None when distances do not exist."""
    if distance is None or np.isnan(distance).any():
        return None
    return _ordered(table, table.featured, distance)


def _ordered(
    table: DetectionTable, rows: Int[ndarray, " n_f"], key: Float[ndarray, " n_f"]
) -> Int[ndarray, " n_f"]:
    order = ranking(key, table.score[rows], table.image[rows], table.box_index[rows])
    ordered: Int[ndarray, " n_f"] = rows[order]
    return ordered


def _with_score(
    table: DetectionTable, rows: Int[ndarray, " n_f"], low: float, below: float | None
) -> Int[ndarray, " k"]:
    """The rows with low <= score < below, in their order: a part of a ranking is its ranking."""
    if low < FEATURE_MIN_SCORE:
        raise ValueError(
            f"AP_t2t at score {low} needs features, which are kept from score "
            f"{FEATURE_MIN_SCORE}; raise evaluate.score_thresholds"
        )
    score = table.score[rows]
    high = np.inf if below is None else below
    chosen: Int[ndarray, " k"] = rows[(score >= low) & (score < high)]
    return chosen


def _averages(
    ranks: Int[ndarray, "draws h"], num_truths: int, rule: ApT2tConfig
) -> Float[ndarray, " draws"]:
    """Average precision of each draw from the ranks of its hits, 1 being the nearest.

    points: mean of the interpolated precision at 101 recalls, `average_precision` to the digit.
    area: area under the interpolated curve, the sum of recall step x precision over all points
    (PASCAL VOC 2010). Precision changes at hits only, so nothing else need be looked at.
    """
    num_draws, num_hits = ranks.shape
    if num_truths == 0:
        return np.full(num_draws, np.nan)
    if num_hits == 0:
        return np.zeros(num_draws)
    so_far = np.arange(1, num_hits + 1)
    envelope = np.maximum.accumulate((so_far / ranks)[:, ::-1], axis=1)[:, ::-1]
    denominator = num_truths if rule.recall == "all" else num_hits
    if rule.interpolation == "area":
        area: Float[ndarray, " draws"] = envelope.sum(1) / denominator
        return area
    reached = np.searchsorted(so_far / denominator, RECALL_LEVELS, side="left")
    beyond = np.append(envelope, np.zeros((num_draws, 1)), axis=1)
    averages: Float[ndarray, " draws"] = np.take(beyond, reached, axis=1).mean(1)
    return averages


def _curve(table: DetectionTable, rows: Int[ndarray, " k"]) -> Iterator[tuple[float, float]]:
    """(recall, precision) at every fifth level of AP."""
    levels = RECALL_LEVELS[::5]
    counted = rows[table.counted[rows]]
    curve = precision_recall(table.true_positive[counted], table.num_truths)
    reached = np.searchsorted(curve.recall, levels, side="left")
    yield from zip(levels, np.append(curve.precision, 0.0)[reached], strict=True)
