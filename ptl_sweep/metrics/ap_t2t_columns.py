"""The columns of AP_t2t: at fixed scores, in bands of them, at equal numbers of detections.

A fixed score is another operating point for each detector. The same number of detections is not: a
monotone map of a detector's scores changes none of its columns (docs/method.md, section 3).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.config.analysis import ApT2tConfig
from ptl_sweep.detection.matching import IOU_THRESHOLDS
from ptl_sweep.detection.table import FEATURE_MIN_SCORE, DetectionTable
from ptl_sweep.metrics.ap_t2t import NearestFirst, nearest_first, random_order_null
from ptl_sweep.metrics.rematching import candidate_pairs
from ptl_sweep.vocabulary import AT_COUNT, BANDS, ApT2t, ApT2tAtCount, ApT2tVariant, band_name

MATCHING_TOLERANCE = 0.005  # difference between the two matchings from which a warning is given


class ApT2tColumns(NamedTuple):
    """What AP_t2t adds to one row of results.csv."""

    columns: dict[str, float]  # those of `ap_t2t_column_names`; NaN where no distances exist
    reasons: tuple[str, ...]  # why there is no column at some number of detections
    warnings: tuple[str, ...]


def ap_t2t_column_names(
    thresholds: Sequence[float], equal_counts: Sequence[float]
) -> tuple[str, ...]:
    """Columns of `ap_t2t_columns`: by kind and threshold, the bands, then by kind and count."""
    cumulative = [ApT2t(score, kind).name for kind in ApT2tVariant for score in thresholds]
    at_count = [ApT2tAtCount(count, kind).name for kind in AT_COUNT for count in equal_counts]
    return (*cumulative, *map(band_name, BANDS), *at_count)


def score_at(table: DetectionTable, per_image: float) -> float:
    """The score that `per_image` detections an image reach, on average over the target.

    Detections count that are hits or misses. NaN when fewer than that have a feature.
    """
    rows = table.featured
    scores = table.score[rows[table.counted[rows]]]
    num = max(round(per_image * table.num_images), 1)
    return np.nan if num > len(scores) else float(np.partition(scores, -num)[-num])


def ap_t2t_columns(
    table: DetectionTable,
    distances: Mapping[str, Float[ndarray, " n_f"]],
    thresholds: Sequence[float],
    rule: ApT2tConfig,
    rng: np.random.Generator,
) -> ApT2tColumns:
    """All columns of one detector on one target, named by `ap_t2t_column_names`.

    `distances` are those of VARIANTS, aligned with `table.features`; a variant that is missing or
    NaN leaves its columns NaN. Three thresholds, rising; so are the scores at `rule.equal_counts`.
    """
    pairs = candidate_pairs(table, IOU_THRESHOLDS[0])
    raw, shrunk, equal_n = (
        NearestFirst(table, nearest_first(table, distances.get(variant)), pairs)
        for variant in ("raw", "shrunk", "equal_n")
    )
    columns: dict[str, float] = {}
    for s in thresholds:
        columns[ApT2t(s, ApT2tVariant.RAW).name] = raw.precision(rule, s)
        columns[ApT2t(s, ApT2tVariant.EQUAL_N).name] = equal_n.precision(rule, s)
        null = random_order_null(table, s, rng, rule)
        columns |= {ApT2t(s, kind).name: v for kind, v in _of_shrunk(shrunk, rule, s, null)}
        lift = _matched_lift(shrunk, rule, s, rng.spawn(1)[0])
        columns[ApT2t(s, ApT2tVariant.MATCHED_LIFT).name] = lift
    for band, low, below in zip(BANDS, thresholds, (*thresholds[1:], None), strict=True):
        columns[band_name(band)] = shrunk.precision(rule, low, below=below)
    at_count = _at_equal_counts(shrunk, rule, rng)
    columns |= {column.name: value for column, value in at_count.items()}
    names = ap_t2t_column_names(thresholds, rule.equal_counts)
    return ApT2tColumns(
        {name: columns[name] for name in names},
        tuple(_reasons(table, rule)),
        tuple(_warnings(shrunk, rule, thresholds)),
    )


def _at_equal_counts(
    shrunk: NearestFirst, rule: ApT2tConfig, rng: np.random.Generator
) -> dict[ApT2tAtCount, float]:
    """The shrunk ranking of the most confident detections, at each of the three counts.

    Random orders are drawn apart from those at fixed scores, on whose detections none may depend.
    """
    found: dict[ApT2tAtCount, float] = {}
    for count, orders in zip(rule.equal_counts, rng.spawn(len(rule.equal_counts)), strict=True):
        low = score_at(shrunk.table, count)
        headline = null = matched = matched_lift = np.nan
        if np.isfinite(low):
            headline = shrunk.precision(rule, low)
            null = random_order_null(shrunk.table, low, orders, rule)
            matched = shrunk.precision(replace(rule, recall="matched"), low)
            matched_lift = _matched_lift(shrunk, rule, low, orders)
        values = (headline, headline - null, null, matched, matched_lift)
        found |= {
            ApT2tAtCount(count, kind): value for kind, value in zip(AT_COUNT, values, strict=True)
        }
    return found


def _matched_lift(
    shrunk: NearestFirst, rule: ApT2tConfig, low: float, rng: np.random.Generator
) -> float:
    """Over the null, both with recall over the ground truths that the detections hit."""
    matched = replace(rule, recall="matched")
    return shrunk.precision(matched, low) - random_order_null(shrunk.table, low, rng, matched)


def _reasons(table: DetectionTable, rule: ApT2tConfig) -> Iterator[str]:
    """Operating points that a detector does not reach."""
    for count in rule.equal_counts:
        if np.isnan(score_at(table, count)):
            yield (
                f"fewer than {count:g} detections per image with score >= {FEATURE_MIN_SCORE}, "
                "so no AP_t2t at that count"
            )


def _of_shrunk(
    shrunk: NearestFirst, rule: ApT2tConfig, low: float, null: float
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


def _warnings(
    shrunk: NearestFirst, rule: ApT2tConfig, thresholds: Sequence[float]
) -> Iterator[str]:
    """Where the choice between the two matchings decides the result."""
    by_score, by_distance = (replace(rule, matching=matching) for matching in ("score", "distance"))
    for low in thresholds:
        change = abs(shrunk.precision(by_distance, low) - shrunk.precision(by_score, low))
        if change > MATCHING_TOLERANCE:
            yield (
                f"AP_t2t at s >= {low:.2f} changes by {100 * change:.1f} points when matched in "
                "distance order"
            )
