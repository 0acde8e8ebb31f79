"""The relative distance: how many times as far the persons of a target lie as those of the source.

d_relative = mean distance of *all* ground truths of a target over that of the ground truths of the
source's validation split, under the same Gaussians: the comparison across real counts, with and
without synthetic images (docs/method.md, section 2; ours, in none of the papers). What a training
set does to every distance alike cancels, and no detector chooses the persons it is measured on.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.config.analysis import AnalysisConfig
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.distance.calibration import Calibration, calibrate_on_validation
from ptl_sweep.distance.equal_n import QuadraticForm, mean_quadratic_form
from ptl_sweep.distance.gaussian import GaussianRefusal, StoredFeatures
from ptl_sweep.distance.train2test import distances
from ptl_sweep.vocabulary import NEG_LOG_P, RELATIVE_DISTANCE, Value


class PersonDistances(NamedTuple):
    """How far each ground truth of a target lies, in the order of `DetectionTable.truths`."""

    squared: Float[ndarray, " m"]  # mean over the draws, squared Mahalanobis; NaN: no Gaussian
    unit: float  # its mean over the source's validation persons; NaN when not known
    log_det: float  # mean over the draws of log det Sigma; NaN: no Gaussian

    @property
    def relative(self) -> Float[ndarray, " m"]:
        """Multiples of the mean distance of the source's validation persons."""
        return self.squared / self.unit

    @property
    def neg_log_p(self) -> Float[ndarray, " m"]:
        """-log N(f; mu, Sigma) = d/2 + log det Sigma / 2, in nats, without k/2 log 2 pi.

        Unlike d it rises when a training set merely spreads, given many more features than the k
        channels that vary. It depends on k and on the scale of the features.
        """
        return (self.squared + self.log_det) / 2

    def means(self) -> dict[str, Value]:
        """Means over the ground truths, by column of results.csv; NaN without any."""
        none = not len(self.squared)
        return {
            RELATIVE_DISTANCE: np.nan if none else float(self.relative.mean()),
            NEG_LOG_P: np.nan if none else float(self.neg_log_p.mean()),
        }


class RelativeDistance(NamedTuple):
    """What the persons of one detector's targets are measured by, and in units of."""

    form: QuadraticForm | GaussianRefusal
    unit: Calibration  # mean distance of the source's validation persons, or why there is none

    def of(self, table: DetectionTable) -> PersonDistances:
        """The distances of every ground truth of a target, found or not."""
        log_det = np.nan if isinstance(self.form, GaussianRefusal) else self.form.log_det
        squared = distances(table.truths.features, self.form)
        return PersonDistances(squared, self.unit.scale, log_det)

    def columns(self) -> dict[str, Value]:
        """What stands behind them: the last columns of schemas.GAUSSIANS."""
        n = None if isinstance(self.form, GaussianRefusal) else self.form.n
        return {"relative_n": n, "relative_unit": self.unit.scale, "num_relative": self.unit.num}

    def reasons(self) -> tuple[str, ...]:
        """Why there is no relative distance."""
        return () if self.unit.reason is None else (f"no relative distances: {self.unit.reason}",)


def fit_relative(
    training: StoredFeatures,
    settings: AnalysisConfig,
    *,
    validation: Float[ndarray, "m d"] | None,
    rng: np.random.Generator,
) -> RelativeDistance:
    """Fit the Gaussians to `relative_n` features, at most `relative_per_image` an image.

    `validation` are the features of all ground truths of the source's validation split, None when
    it was not evaluated.

    Raises: ValueError for a feature that is not finite.
    """
    form = mean_quadratic_form(
        training,
        n=settings.relative_n,
        shrinkage=settings.equal_n_shrinkage,
        num_draws=settings.equal_n_draws,
        rng=rng,
        per_image=settings.relative_per_image,
    )
    unit = calibrate_on_validation(form, validation, distances, what="ground truth")
    return RelativeDistance(form, unit)
