"""The equal_n distance: train2test distance as if every detector had n training features.

Features are subsampled by image to the same n for every detector and the covariance is shrunk by
the same rho, so the expected distance of given data does not depend on how many features the
detector has (docs/method.md, section 2; ours, in none of the papers). Behind the relative distance
as well, which also limits the features of one image.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import linalg

from ptl_sweep.distance.gaussian import (
    GaussianRefusal,
    Moments,
    StoredFeatures,
    blocks,
    varying_channels,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuadraticForm:
    """Mean over draws of squared Mahalanobis distances, as one whitening and a constant.

    mean_i (f - m_i)^T P_i (f - m_i) = ||(f[kept] - centre) @ whitening||^2 + offset.
    """

    centre: Float[ndarray, " k"]  # P^-1 mean(P_i m_i), P = mean(P_i): the nearest point
    whitening: Float[ndarray, "k k"]  # W with W W^T = P
    kept: Int[ndarray, " k"]  # channels that vary, indices into the feature
    offset: float  # distance of `centre`: how far the means of the draws scatter, >= 0
    log_det: float  # mean over the draws of log det of the shrunk covariance of the kept channels
    n: int  # features of each draw
    num_draws: int  # different subsets: 1 when n is all there are
    shrinkage: float  # rho of (1 - rho) S + rho tr(S)/k I

    def distances(self, features: Float[ndarray, "n d"]) -> Float[ndarray, " n"]:
        """Mean over the draws of (f - m_i)^T P_i (f - m_i), squared; float64 in blocks of rows."""
        found = np.empty(len(features))
        done = 0
        for block in blocks(features):
            whitened = (block[:, self.kept] - self.centre) @ self.whitening
            found[done : done + len(block)] = np.einsum("ij,ij->i", whitened, whitened)
            done += len(block)
        return found + self.offset


def mean_quadratic_form(
    training: StoredFeatures,
    *,
    n: int,
    shrinkage: float,
    num_draws: int,
    rng: np.random.Generator,
    per_image: int | None = None,
) -> QuadraticForm | GaussianRefusal:
    """Fit `num_draws` Gaussians to n of the training features each and average their distances.

    Each has mean m_i and P_i = ((1 - rho) S_i + rho tr(S_i)/k I)^-1, S_i the ML covariance, over
    the k channels that vary among *all* features: a subset may have dead ones. A draw takes
    `per_image` features of an image at most (None: all). Refused with fewer than n features to draw
    from, n < 2, or a draw without spread.

    Raises: ValueError for a feature that is not finite or a rho outside (0, 1].
    """
    if not 0 < shrinkage <= 1:
        raise ValueError(f"equal_n needs a shrinkage in (0, 1], got {shrinkage}")
    features, images = training
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinity; the detector that gave them has diverged")
    num_all = len(features)
    refusal = _too_few(images, n, per_image)
    if refusal is not None:
        return refusal
    moments = Moments.empty(features.shape[1])
    moments.update(features)
    kept = varying_channels(moments)
    if not len(kept):
        return GaussianRefusal(f"no channel varies over the {num_all} training features", num_all)
    origin = moments.mean[kept]  # near every m_i, so that little cancels in the offset
    sums = _Sums(np.zeros((len(kept), len(kept))), np.zeros(len(kept)), 0.0, 0.0, 0)
    for _ in range(num_draws if n < num_all else 1):
        rows = draw_by_image(images, n, rng, per_image)
        if not sums.add(features[rows][:, kept].astype(np.float64) - origin, shrinkage):
            return GaussianRefusal(f"a subset of {n} training features has no spread", num_all)
    nearest, whitening, offset = sums.completed_square()
    return QuadraticForm(
        centre=origin + nearest,
        whitening=whitening,
        kept=kept,
        offset=offset,
        log_det=sums.log_det / sums.num_draws,
        n=n,
        num_draws=sums.num_draws,
        shrinkage=shrinkage,
    )


def _too_few(
    images: Int[ndarray, " n_all"], n: int, per_image: int | None
) -> GaussianRefusal | None:
    counts = np.unique(images, return_counts=True)[1]
    found = int((counts if per_image is None else np.minimum(counts, per_image)).sum())
    if 2 <= n <= found:
        return None
    needed = f"{max(n, 2)} training features"
    reason = f"equal_n needs {needed}, there are {found}"
    if per_image is not None:
        reason = f"{needed} are needed, at most {per_image} an image; there are {found}"
    return GaussianRefusal(reason, len(images))


def draw_by_image(
    images: Int[ndarray, " n_all"], n: int, rng: np.random.Generator, per_image: int | None = None
) -> Int[ndarray, " n"]:
    """Rows of n features: those of whole images in random order, the last image cut at random.

    With `per_image`, so many features of each image at most, drawn at random.
    """
    names, image = np.unique(images, return_inverse=True)
    place = rng.permutation(len(names))[image]
    chosen: Int[ndarray, " n_all"] = np.lexsort((rng.random(len(images)), place))
    if per_image is not None:
        first = np.searchsorted(place[chosen], place[chosen])
        chosen = chosen[np.arange(len(chosen)) - first < per_image]
    return chosen[:n]


class _Square(NamedTuple):
    centre: Float[ndarray, " k"]
    whitening: Float[ndarray, "k k"]
    offset: float


@dataclass(slots=True)
class _Sums:
    """Sums over draws of P_i, P_i m_i, m_i^T P_i m_i and log det P_i^-1."""

    precision: Float[ndarray, "k k"]
    weighted: Float[ndarray, " k"]
    constant: float
    log_det: float
    num_draws: int

    def add(self, subset: Float[ndarray, "n k"], shrinkage: float) -> bool:
        """Add one draw; False when all its features are the same."""
        mean = subset.mean(axis=0)
        centred = subset - mean
        covariance = centred.T @ centred / len(subset)
        variance = float(np.trace(covariance)) / len(mean)
        if variance <= (len(subset) * np.finfo(np.float64).eps) ** 2 * float(mean @ mean):
            return False
        covariance *= 1 - shrinkage
        covariance[np.diag_indices(len(mean))] += shrinkage * variance
        precision = linalg.inv(covariance)
        precision = (precision + precision.T) / 2
        self.precision += precision
        self.weighted += precision @ mean
        self.constant += float(mean @ precision @ mean)
        self.log_det += float(np.linalg.slogdet(covariance).logabsdet)
        self.num_draws += 1
        return True

    def completed_square(self) -> _Square:
        """The mean of the draws as ||(f - centre) @ whitening||^2 + offset."""
        precision, weighted = self.precision / self.num_draws, self.weighted / self.num_draws
        centre = linalg.solve(precision, weighted, assume_a="pos")
        offset = max(float(self.constant / self.num_draws - weighted @ centre), 0.0)
        return _Square(centre, linalg.cholesky(precision, lower=True), offset)
