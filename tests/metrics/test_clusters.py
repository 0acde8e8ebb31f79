"""Clusters of false positives: planted ones are found, and the rows that are shown are theirs."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.metrics.clusters import (
    MIN_CLUSTERED,
    NUM_CLUSTERS,
    FalsePositiveCluster,
    cluster_false_positives,
)
from ptl_sweep.metrics.false_positives import PER_IMAGE, false_positive_types
from ptl_sweep.vocabulary import FALSE_POSITIVE_TYPES

SHARES = np.array([0.4, 0.3, 0.2, 0.1])


@pytest.fixture
def planted(random_table: DetectionTable) -> tuple[DetectionTable, np.ndarray]:
    """Features along four axes, and which axis each row of the table has."""
    rng = np.random.default_rng(5)
    axis = rng.choice(NUM_CLUSTERS, size=len(random_table.score), p=SHARES)
    features = np.eye(NUM_CLUSTERS, random_table.features.shape[1])[axis[random_table.featured]]
    features = features * rng.uniform(1, 9, (len(features), 1)) + rng.normal(
        0, 0.02, features.shape
    )
    return replace(random_table, features=features.astype(np.float16)), axis


def clustered(
    table: DetectionTable, min_score: float = 0.01, distance: np.ndarray | None = None
) -> list[FalsePositiveCluster]:
    far = np.arange(len(table.features), dtype=float) if distance is None else distance
    rng = np.random.default_rng(0)
    return cluster_false_positives(table, far, min_score=min_score, num_shown=5, rng=rng)


def test_planted_clusters_are_found_with_their_shares_scores_and_types(planted) -> None:
    table, axis = planted
    types = false_positive_types(table)
    wrong = (types >= 0) & (table.score >= 0.01)
    found = clustered(table)
    assert len(found) == NUM_CLUSTERS
    assert sum(one.share for one in found) == pytest.approx(1)
    assert [one.num for one in found] == sorted(Counter(axis[wrong]).values(), reverse=True)
    for one in found:
        (own,) = {int(axis[row]) for row in one.rows}
        rows = np.flatnonzero(wrong & (axis == own))
        assert one.score == pytest.approx(float(np.median(table.score[rows])))
        assert one.distance == np.median(np.searchsorted(table.featured, rows))
        counts = np.bincount(types[rows], minlength=3) / len(rows)
        assert list(one.types) == list(FALSE_POSITIVE_TYPES)
        assert list(one.types.values()) == pytest.approx(counts.tolist())


def test_what_is_shown_is_wrong_confident_enough_and_not_all_of_one_image(planted) -> None:
    table, _ = planted
    for one in clustered(table, min_score=0.2):
        assert len(one.rows) <= 5
        assert (false_positive_types(table)[one.rows] >= 0).all()
        assert (table.score[one.rows] >= 0.2).all()
        assert max(Counter(table.image[one.rows].tolist()).values()) <= PER_IMAGE


def test_the_length_of_a_feature_says_nothing(planted) -> None:
    table, _ = planted
    longer = replace(table, features=(table.features * 4).astype(np.float16))
    for one, other in zip(clustered(table), clustered(longer), strict=True):
        assert (one.num, one.rows.tolist()) == (other.num, other.rows.tolist())


def test_few_false_positives_are_no_clusters(planted) -> None:
    table, _ = planted
    wrong = (false_positive_types(table) >= 0) & (table.score >= 0.01)
    confident = np.sort(table.score[wrong])[::-1]
    assert clustered(table, min_score=float(confident[MIN_CLUSTERED - 2])) == []
    assert clustered(table, min_score=float(confident[MIN_CLUSTERED - 1])) != []


def test_without_a_gaussian_there_are_clusters_and_no_distance(planted) -> None:
    table, _ = planted
    found = clustered(table, distance=np.full(len(table.features), np.nan))
    assert all(np.isnan(one.distance) for one in found)
