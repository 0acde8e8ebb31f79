"""Distances that could stand in for train2test: to nearest neighbours, and relative Mahalanobis.

Both are means over *all* ground truths of a target, as the relative distance is, so that no
detector chooses the persons it is measured on. Neither is in the papers on which this study rests
(docs/method.md, section 2).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.distance.calibration import Calibration, calibrate_on_validation
from ptl_sweep.distance.gaussian import (
    Gaussian,
    GaussianRefusal,
    StoredFeatures,
    fit_gaussian,
)
from ptl_sweep.distance.train2test import distances
from ptl_sweep.vocabulary import KNN_DISTANCE, RELATIVE_MAHALANOBIS, Value

NUM_NEIGHBOURS = 5  # k (ours: Sun et al. tune it)
BLOCK_CELLS = 4_000_000  # cosines held at once: 32 MB


class Neighbours(NamedTuple):
    """Training features to which the k-th nearest is looked for."""

    directions: Float[ndarray, "n d"]  # of length one

    def distances(self, features: Float[ndarray, "m d"]) -> Float[ndarray, " m"]:
        """Euclidean distance to the k-th nearest training feature, both of length one: 0 to 2.

        Sun et al., ICML 2022.
        """
        found = np.empty(len(features))
        rows = max(1, BLOCK_CELLS // len(self.directions))
        for first in range(0, len(features), rows):
            cosines = _directions(features[first : first + rows]) @ self.directions.T
            nearest = np.partition(cosines, -NUM_NEIGHBOURS, axis=1)[:, -NUM_NEIGHBOURS]
            found[first : first + rows] = np.sqrt(np.maximum(2 - 2 * nearest, 0.0))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherDistances:
    """What the persons of one detector's targets are measured by."""

    neighbours: Neighbours | GaussianRefusal
    unit: Calibration  # mean of that distance over the source's validation persons
    training: Gaussian | GaussianRefusal  # of the training features, shrunk
    anything: Gaussian | GaussianRefusal  # of all that is detected on the validation split

    def means(self, table: DetectionTable) -> dict[str, Value]:
        """Means over the ground truths, by column of results.csv; NaN without any.

        d_rmd is d(f) by the Gaussian of training minus d(f) by that of whatever is detected, true
        or false (Ren et al. 2021, arXiv 2106.09022, with persons as the only class).
        """
        persons = table.truths.features
        if not len(persons):
            return {KNN_DISTANCE: np.nan, RELATIVE_MAHALANOBIS: np.nan}
        relative = distances(persons, self.training) - distances(persons, self.anything)
        nearest = np.nan
        if isinstance(self.neighbours, Neighbours):
            nearest = float(self.neighbours.distances(persons).mean()) / self.unit.scale
        return {KNN_DISTANCE: nearest, RELATIVE_MAHALANOBIS: float(relative.mean())}

    def reasons(self) -> tuple[str, ...]:
        """Why there is no distance to neighbours, where nothing else says so."""
        if isinstance(self.neighbours, GaussianRefusal):
            return (f"no {KNN_DISTANCE}: {self.neighbours.reason}",)
        return ()


def fit_others(
    training: StoredFeatures,
    own: Gaussian | GaussianRefusal,
    held_out: DetectionTable | None,
    *,
    shrinkage: str,
    num_real: int | None,
) -> OtherDistances:
    """Fit both distances of a detector.

    `own` is the shrunk Gaussian of its training features, `held_out` what it finds on the source's
    validation split (None: not evaluated). Neighbours are looked for among the first `num_real`
    training images, the real ones; None: among all.
    """
    kept = training.features
    if num_real is not None:
        kept = kept[training.images < num_real]
    neighbours: Neighbours | GaussianRefusal = Neighbours(_directions(kept))
    if len(kept) < NUM_NEIGHBOURS:
        reason = f"{NUM_NEIGHBOURS} features of real images are needed, there are {len(kept)}"
        neighbours = GaussianRefusal(reason, len(kept))
    anything: Gaussian | GaussianRefusal = GaussianRefusal("no validation split was evaluated", 0)
    if held_out is not None:
        anything = fit_gaussian(held_out.features.astype(np.float32), shrinkage)
    return OtherDistances(
        neighbours=neighbours,
        unit=calibrate_on_validation(
            neighbours,
            None if held_out is None else held_out.truths.features,
            lambda features, fit: fit.distances(features),
            what="ground truth",
        ),
        training=own,
        anything=anything,
    )


def _directions(features: Float[ndarray, "n d"]) -> Float[ndarray, "n d"]:
    """The features in float64 with length one; one of length zero stays."""
    known = features.astype(np.float64)
    length = np.linalg.norm(known, axis=1, keepdims=True)
    return np.asarray(known / np.where(length > 0, length, 1.0))
