"""Gaussian of the training features and squared Mahalanobis distances to it (PTL eq. 1-3).

Everything is NumPy in float64; a distance is the squared length of a whitened feature.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

COVARIANCES = ("ml", "oas", "ledoit_wolf", "pinv")
BLOCK_ROWS = 16384  # rows whitened at once: 32 MiB at 256 dimensions


class StoredFeatures(NamedTuple):
    """Features of the training detections that a detector's Gaussian is fitted to."""

    features: Float[ndarray, "n d"]
    images: Int[ndarray, " n"]  # which training image each is from


class GaussianRefusal(NamedTuple):
    """Why no Gaussian exists; a result, not a failure."""

    reason: str
    n: int  # features there were


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaussian:
    """mu and Sigma^-1 of PTL eq. 1-2, as a whitening: d(f) = ||(f[kept] - mean) @ whitening||^2."""

    mean: Float[ndarray, " k"]  # mu over the kept channels
    whitening: Float[ndarray, "k r"]  # W with W W^T = Sigma^-1; r < k for pinv only; its columns
    # are scaled principal axes of the features by rising variance
    kept: Int[ndarray, " k"]  # channels that vary, indices into the feature
    num_dropped: int  # channels of zero variance (dead ReLUs), left out of every distance
    n: int  # features fitted
    rank: int  # of the ML covariance of the kept channels
    condition: float  # of the covariance that is inverted, so after shrinkage
    shrinkage: float  # rho of (1 - rho) S + rho tr(S)/k I; 0 for ml and pinv
    covariance: str  # ml | oas | ledoit_wolf | pinv

    def save(self, path: Path) -> None:
        """Write every field to one .npz file."""
        with path.open("wb") as file:
            np.savez(file, **{f.name: getattr(self, f.name) for f in dataclasses.fields(self)})

    @classmethod
    def load(cls, path: Path) -> "Gaussian":
        """Read what `save` wrote; runs no code from the file."""
        with np.load(path, allow_pickle=False) as file:
            fields = {name: file[name] for name in file.files}
        return cls(
            **{name: value.item() if value.ndim == 0 else value for name, value in fields.items()}
        )


@dataclass(slots=True)
class Moments:
    """Streaming count, mean and scatter that merge (Chan, Golub, LeVeque 1979)."""

    n: int
    mean: Float[ndarray, " d"]
    scatter: Float[ndarray, "d d"]  # sum of (f - mean)(f - mean)^T

    @classmethod
    def empty(cls, dimension: int) -> "Moments":
        """No features yet."""
        return cls(0, np.zeros(dimension), np.zeros((dimension, dimension)))

    def update(self, features: Float[ndarray, "n d"]) -> None:
        """Add features; one matrix product in float64 per block of rows."""
        for block in blocks(features):
            mean = block.mean(axis=0)
            centred = block - mean
            self.merge(Moments(len(block), mean, centred.T @ centred))

    def merge(self, other: "Moments") -> None:
        """Add what another accumulator saw, as if its features had come here."""
        total = self.n + other.n
        if total == 0:
            return
        step = other.mean - self.mean
        self.scatter += other.scatter + np.outer(step, step) * (self.n * other.n / total)
        self.mean += step * (other.n / total)
        self.n = total


def fit_gaussian(features: Float[ndarray, "n d"], covariance: str) -> Gaussian | GaussianRefusal:
    """Fit mu and Sigma to training features (PTL eq. 1-2).

    `ml` divides by n as printed and is refused at n <= D + 2 (D kept channels), where the mean
    distance of fresh data, D (n + 1) / (n - D - 2), does not exist; `oas` (Chen et al. 2010) and
    `ledoit_wolf` (2004) shrink towards a scaled identity; `pinv` inverts what has rank.

    Raises: ValueError for an unknown covariance or a feature that is not finite.
    """
    if not np.isfinite(features).all():
        raise ValueError("features hold NaN or infinity; the detector that gave them has diverged")
    moments = Moments.empty(features.shape[1])
    moments.update(features)
    length4 = 0.0
    if covariance == "ledoit_wolf":
        length4 = _sum_of_fourth_powers(features, moments.mean)
    return _fit(moments, covariance, length4)


def squared_mahalanobis(
    features: Float[ndarray, "n d"], gaussian: Gaussian
) -> Float[ndarray, " n"]:
    """(f - mu)^T Sigma^-1 (f - mu), PTL eq. 3; not its square root.

    Float64 in blocks of rows, so memory beyond the result is bounded. Its mean over the fitted
    features is the number of kept channels for `ml`.
    """
    distances = np.empty(len(features))
    done = 0
    for block in blocks(features):
        whitened = (block[:, gaussian.kept] - gaussian.mean) @ gaussian.whitening
        distances[done : done + len(block)] = np.einsum("ij,ij->i", whitened, whitened)
        done += len(block)
    return distances


def _fit(moments: Moments, covariance: str, length4: float) -> Gaussian | GaussianRefusal:
    if covariance not in COVARIANCES:
        raise ValueError(f"covariance must be one of {', '.join(COVARIANCES)}; got {covariance!r}")
    n = moments.n
    if n < 2:
        return GaussianRefusal(f"a Gaussian needs 2 training features, there are {n}", n)
    kept = varying_channels(moments)
    dimension = len(kept)
    if dimension == 0:
        return GaussianRefusal(f"no channel varies over the {n} training features", n)
    if covariance == "ml" and n <= dimension + 2:
        return GaussianRefusal(
            f"the ML covariance needs more than D + 2 = {dimension + 2} features, there are {n}", n
        )
    sample = moments.scatter[np.ix_(kept, kept)] / n
    values, vectors = np.linalg.eigh(sample)
    values = values.clip(0)
    shrinkage = _shrinkage(covariance, values, n, length4)
    inverted = (1 - shrinkage) * values + shrinkage * values.mean()
    used = _above_rounding(inverted, n)
    if covariance != "pinv" and not used.all():
        reason = f"the {covariance} covariance has rank {used.sum()} of {dimension}: use oas"
        return GaussianRefusal(reason, n)
    return Gaussian(
        mean=moments.mean[kept],
        whitening=vectors[:, used] / np.sqrt(inverted[used]),
        kept=kept,
        num_dropped=len(moments.mean) - dimension,
        n=n,
        rank=int(_above_rounding(values, n).sum()),
        condition=float(inverted[used].max() / inverted[used].min()),
        shrinkage=shrinkage,
        covariance=covariance,
    )


def varying_channels(moments: Moments) -> Int[ndarray, " k"]:
    """Channels whose variance is more than the rounding error of the mean."""
    rounding = moments.n * np.finfo(np.float64).eps * np.abs(moments.mean)
    return np.flatnonzero(np.diag(moments.scatter) / moments.n > rounding**2)


def _above_rounding(values: Float[ndarray, " k"], n: int) -> Bool[ndarray, " k"]:
    """Which eigenvalues count for the rank, by the rule of numpy.linalg.matrix_rank."""
    above: Bool[ndarray, " k"] = (
        values > values.max() * max(n, len(values)) * np.finfo(np.float64).eps
    )
    return above


def _shrinkage(covariance: str, values: Float[ndarray, " k"], n: int, length4: float) -> float:
    """Weight rho of the scaled identity, from the eigenvalues of the ML covariance.

    OAS: Chen, Wiesel, Eldar, Hero 2010, eq. 23, in the form of scikit-learn (1 - 2/D taken as 1).
    Ledoit-Wolf 2004, lemma 3.3; length4 is the sum of ||f - mean||^4.
    """
    dimension, mean = len(values), float(values.mean())
    trace2 = float((values**2).sum())
    if covariance == "oas":
        numerator = trace2 / dimension**2 + mean**2
        denominator = (n + 1) * (trace2 / dimension**2 - mean**2 / dimension)
        return 1.0 if numerator >= denominator else numerator / denominator
    if covariance == "ledoit_wolf":
        spread = trace2 - dimension * mean**2
        error = min(max(length4 / n - trace2, 0.0) / n, spread)
        return error / spread if spread > 0 else 1.0
    return 0.0


def _sum_of_fourth_powers(features: Float[ndarray, "n d"], mean: Float[ndarray, " d"]) -> float:
    """Sum of ||f - mean||^4 over the features."""
    return sum(
        float((np.einsum("ij,ij->i", block - mean, block - mean) ** 2).sum())
        for block in blocks(features)
    )


def blocks(features: Float[ndarray, "n d"]) -> Iterator[Float[ndarray, "m d"]]:
    """The features in float64, BLOCK_ROWS rows at a time."""
    for first in range(0, len(features), BLOCK_ROWS):
        yield features[first : first + BLOCK_ROWS].astype(np.float64)
