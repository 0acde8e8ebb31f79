"""AP_t2t: average precision by train2test distance instead of score (seed, section on AP_t2t).

Only the ranking differs from that of AP. We could not read the seed's text: recall,
matching and interpolation are `ApT2tConfig`, with our defaults (docs/method.md, section 3). Every
ground truth is in the denominator of recall, and the true positives are those of the AP, matched
once in the order of the scores.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.config.analysis import ApT2tConfig
from ptl_sweep.detection.matching import IOU_THRESHOLDS
from ptl_sweep.detection.table import FEATURE_MIN_SCORE, DetectionTable
from ptl_sweep.metrics.average_precision import RECALL_LEVELS, precision_recall, ranking
from ptl_sweep.metrics.rematching import CandidatePairs, candidate_pairs, match_in_order
from ptl_sweep.vocabulary import BANDS, RANKINGS, ApT2t, ApT2tVariant, Value, band_name

MATCHING_TOLERANCE = 0.005  # difference between the two matchings from which a warning is given
DEFAULT_RULE = ApT2tConfig()


class ApT2tColumns(NamedTuple):
    """What AP_t2t adds to one row of results.csv."""

    columns: dict[str, float]  # those of `ap_t2t_column_names`; NaN where no distances exist
    warnings: tuple[str, ...]


def ap_t2t_column_names(thresholds: Sequence[float]) -> tuple[str, ...]:
    """Columns of `ap_t2t_columns`: kind after kind, the thresholds of each, then the bands."""
    cumulative = [ApT2t(score, kind).name for kind in ApT2tVariant for score in thresholds]
    return (*cumulative, *map(band_name, BANDS))


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
    nearest = _Nearest(table, _nearest_first(table, distance), pairs)
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


def ap_t2t_columns(
    table: DetectionTable,
    distances: Mapping[str, Float[ndarray, " n_f"]],
    thresholds: Sequence[float],
    rule: ApT2tConfig,
    rng: np.random.Generator,
) -> ApT2tColumns:
    """All columns of one detector on one target, named by `ap_t2t_column_names`.

    `distances` are those of VARIANTS, aligned with `table.features`; a variant that is missing or
    NaN leaves its columns NaN. Three thresholds, rising.
    """
    pairs = candidate_pairs(table, IOU_THRESHOLDS[0])
    raw, shrunk, equal_n = (
        _Nearest(table, _nearest_first(table, distances.get(variant)), pairs)
        for variant in ("raw", "shrunk", "equal_n")
    )
    columns: dict[str, float] = {}
    for s in thresholds:
        columns[ApT2t(s, ApT2tVariant.RAW).name] = raw.precision(rule, s)
        columns[ApT2t(s, ApT2tVariant.EQUAL_N).name] = equal_n.precision(rule, s)
        null = random_order_null(table, s, rng, rule)
        columns |= {ApT2t(s, kind).name: v for kind, v in _of_shrunk(shrunk, rule, s, null)}
    for band, low, below in zip(BANDS, thresholds, (*thresholds[1:], None), strict=True):
        columns[band_name(band)] = shrunk.precision(rule, low, below=below)
    names = ap_t2t_column_names(thresholds)
    return ApT2tColumns(
        {name: columns[name] for name in names}, tuple(_warnings(shrunk, rule, thresholds))
    )


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
    orders = dict(zip(RANKINGS, (_nearest_first(table, distance), by_score), strict=True))
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
class _Nearest:
    """The detections of a table that have a feature, nearest first."""

    table: DetectionTable
    rows: Int[ndarray, " n_f"] | None  # of the table; None: no distances exist
    pairs: CandidatePairs | None  # None: never matched in the order of the distances

    def precision(
        self, rule: ApT2tConfig, low: float, *, below: float | None = None, iou: int = 0
    ) -> float:
        if self.rows is None:
            return np.nan
        rows = _with_score(self.table, self.rows, low, below)
        if rule.matching == "distance":
            assert self.pairs is not None
            hits = match_in_order(self.pairs, rows, IOU_THRESHOLDS[iou])
        else:
            hits = self.table.hits_at(iou)[rows]
        return _precision(self.table, rows, hits, rule)


def _of_shrunk(
    shrunk: _Nearest, rule: ApT2tConfig, low: float, null: float
) -> Iterator[tuple[ApT2tVariant, float]]:
    """Kinds of columns of the shrunk ranking at one threshold."""
    headline = shrunk.precision(rule, low)
    by_score = replace(rule, matching="score")
    every = [shrunk.precision(by_score, low, iou=index) for index in range(len(IOU_THRESHOLDS))]
    yield ApT2tVariant.SHRUNK, headline
    yield ApT2tVariant.NULL, null
    yield ApT2tVariant.LIFT, headline - null
    yield ApT2tVariant.MATCHED, shrunk.precision(replace(rule, recall="matched"), low)
    yield ApT2tVariant.REMATCHED, shrunk.precision(replace(rule, matching="distance"), low)
    yield ApT2tVariant.IOU_50_95, float(np.mean(every))


def _warnings(shrunk: _Nearest, rule: ApT2tConfig, thresholds: Sequence[float]) -> Iterator[str]:
    """Where the choice between the two matchings decides the result."""
    by_score, by_distance = (replace(rule, matching=matching) for matching in ("score", "distance"))
    for low in thresholds:
        change = abs(shrunk.precision(by_distance, low) - shrunk.precision(by_score, low))
        if change > MATCHING_TOLERANCE:
            yield (
                f"AP_t2t at s >= {low:.2f} changes by {100 * change:.1f} points when matched in "
                "distance order"
            )


def _nearest_first(
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
