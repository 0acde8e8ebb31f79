"""The train2test distance of single detections, as the reducer measures it on a target."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.detection.detector import Detections
from ptl_sweep.detection.table import half_precision
from ptl_sweep.distance.gaussian import Gaussian, GaussianRefusal, StoredFeatures, fit_gaussian
from ptl_sweep.distance.train2test import distances


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingDistance:
    """The shrunk distance (docs/method.md, section 2) to the training set of one detector."""

    fit: Gaussian | GaussianRefusal
    covariance: str  # oas | ledoit_wolf
    num_images: int  # training images that gave a feature
    training_median: float  # distance of the training features themselves; NaN without a Gaussian

    @classmethod
    def of(cls, training: StoredFeatures, covariance: str) -> "TrainingDistance":
        """Fit the Gaussian to the features of the training detections."""
        fit = fit_gaussian(training.features, covariance)
        own = distances(training.features, fit)
        return cls(
            fit=fit,
            covariance=covariance,
            num_images=len(np.unique(training.images)),
            training_median=float(np.median(own)) if len(own) else np.nan,
        )

    def measure(self, found: Detections) -> Float[ndarray, " n"]:
        """Squared distance of each detection; NaN where no Gaussian exists.

        Features are rounded to float16 first, as those that an evaluation stores.
        """
        return distances(half_precision(found.features.numpy()), self.fit)

    def describe(self) -> dict[str, Any]:
        """Say which Gaussian it is, for the document."""
        fit = self.fit
        known = {"variant": "shrunk", "squared": True, "covariance": self.covariance}
        counts = {"num_features": fit.n, "num_images": self.num_images}
        if isinstance(fit, GaussianRefusal):
            return {**known, **counts, "reason": fit.reason}
        return {
            **known,
            **counts,
            "shrinkage": fit.shrinkage,
            "num_channels": len(fit.kept),
            "rank": fit.rank,
            "training_median": float(f"{self.training_median:.6g}"),
            "reason": None,
        }
