"""Which false positives of a detector are alike: clusters of their features (ours).

Features of two detectors have nothing in common, so the clusters of one say nothing of another's.
They are made to be looked at, and no sentence counts them.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.cluster.vq import kmeans2

from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.metrics.false_positives import false_positive_types, first_of_images
from ptl_sweep.vocabulary import FALSE_POSITIVE_TYPES

NUM_CLUSTERS = 4
MIN_CLUSTERED = 10 * NUM_CLUSTERS  # false positives
MAX_CLUSTERED = 5000  # the most confident, so that one crowded target does not take minutes
NUM_ROUNDS = 50  # of k-means


class FalsePositiveCluster(NamedTuple):
    """False positives whose features point the same way."""

    rows: Int[ndarray, " k"]  # of the table, nearest to the centre first, to be looked at
    num: int
    share: float  # of all that were clustered
    score: float  # median
    distance: float  # median, squared; NaN without a Gaussian
    types: Mapping[str, float]  # share of each of FALSE_POSITIVE_TYPES


def cluster_false_positives(
    table: DetectionTable,
    distance: Float[ndarray, " n_f"],
    *,
    min_score: float,
    num_shown: int,
    rng: np.random.Generator,
) -> list[FalsePositiveCluster]:
    """K-means of their features at length one, the largest cluster first.

    `distance` is aligned with `table.features`. Empty with fewer than MIN_CLUSTERED false positives
    of at least `min_score`; of more than MAX_CLUSTERED the most confident are taken.
    """
    types = false_positive_types(table)[table.featured]
    score = table.score[table.featured]
    wrong = np.flatnonzero((types >= 0) & (score >= min_score))
    wrong = wrong[np.argsort(-score[wrong], kind="stable")][:MAX_CLUSTERED]
    if len(wrong) < MIN_CLUSTERED:
        return []
    features = table.features[wrong].astype(np.float64)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    features /= np.where(length > 0, length, 1.0)
    centres, label = kmeans2(features, NUM_CLUSTERS, iter=NUM_ROUNDS, minit="++", rng=rng)
    away = np.full(len(table.score), np.inf)
    away[table.featured[wrong]] = np.linalg.norm(features - centres[label], axis=1)
    found = []
    for index in range(NUM_CLUSTERS):
        own = wrong[label == index]
        if len(own):
            counts = np.bincount(types[own], minlength=len(FALSE_POSITIVE_TYPES)) / len(own)
            found.append(
                FalsePositiveCluster(
                    rows=first_of_images(table, table.featured[own], away, num_shown),
                    num=len(own),
                    share=len(own) / len(wrong),
                    score=float(np.median(score[own])),
                    distance=float(np.median(distance[own])),
                    types=dict(zip(FALSE_POSITIVE_TYPES, counts.tolist(), strict=True)),
                )
            )
    return sorted(found, key=lambda cluster: -cluster.num)
