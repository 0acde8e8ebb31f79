"""The unit of calibrated distances: mean shrunk distance of detections nothing has shifted.

A calibrated distance is the shrunk one divided by it, so that 1 means "as far as unseen real data
of the source" (docs/method.md, section 2; ours, in none of the papers).
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ptl_sweep.distance.gaussian import GaussianRefusal, fit_gaussian, squared_mahalanobis

Form = TypeVar("Form")  # what a distance is measured by
NUM_FOLDS = 5  # of calibration=crossfit (ours)


class Calibration(NamedTuple):
    """What calibrated distances are multiples of."""

    scale: float  # mean shrunk distance, squared; NaN when not known
    num: int  # features it is the mean of
    reason: str | None  # why there is no scale; None too when none is wanted


def calibrate_on_validation(
    form: Form | GaussianRefusal,
    validation: Float[ndarray, "m d"] | None,
    measure: Callable[[Float[ndarray, "m d"], Form], Float[ndarray, " m"]],
    *,
    what: str,
) -> Calibration:
    """Take the mean distance of detections or persons (`what`) on the source's validation split.

    `measure` gives their squared distances by `form`. None: the split was not evaluated.
    """
    if isinstance(form, GaussianRefusal):
        return Calibration(np.nan, 0, form.reason)
    if validation is None:
        return Calibration(np.nan, 0, "no validation split was evaluated")
    if not len(validation):
        return Calibration(np.nan, 0, f"no {what} on the validation split")
    return calibration_of(measure(validation, form))


def calibrate_by_crossfit(
    features: Float[ndarray, "n d"],
    images: Int[ndarray, " n"],
    covariance: str,
    rng: np.random.Generator,
) -> Calibration:
    """Mean distance of each fifth of the training images from the Gaussian of the others.

    Optimistic: the detector has learned these images.
    """
    names, image = np.unique(images, return_inverse=True)
    if len(names) < 2:
        return Calibration(np.nan, 0, "crossfit needs training features from 2 images")
    num_folds = min(NUM_FOLDS, len(names))
    fold = (rng.permutation(len(names)) % num_folds)[image]
    held_out = np.empty(len(image))
    for index in range(num_folds):
        others = fit_gaussian(features[fold != index], covariance)
        if isinstance(others, GaussianRefusal):
            return Calibration(np.nan, 0, f"crossfit: {others.reason}")
        held_out[fold == index] = squared_mahalanobis(features[fold == index], others)
    return calibration_of(held_out)


def calibration_of(distance: Float[ndarray, " m"]) -> Calibration:
    """The mean of squared distances that are 1 on average in its unit; at least one of them."""
    scale = float(distance.mean())
    if not (np.isfinite(scale) and scale > 0):
        return Calibration(np.nan, 0, f"the mean distance to calibrate by is {scale:g}")
    return Calibration(scale, len(distance), None)
