"""Squared Mahalanobis distances, against scipy's cdist on blocks of rows."""

import numpy as np
from case import Case, Setting
from scipy.spatial.distance import cdist

from ptl_sweep.distance.gaussian import blocks, fit_gaussian, squared_mahalanobis

DIMENSION = 256


def distances(setting: Setting) -> Case:
    """Float32 features, as detections carry them: 1 GB for a million."""
    count = setting.choose(small=2_000, cpu=1_000_000)
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(DIMENSION, DIMENSION)).astype(np.float32)
    gaussian = fit_gaussian(rng.normal(size=(4 * DIMENSION, DIMENSION)) @ mixing, "ml")
    features = rng.standard_normal((count, DIMENSION), dtype=np.float32) @ mixing
    precision = gaussian.whitening @ gaussian.whitening.T
    mean = gaussian.mean[None]

    def stock() -> np.ndarray:
        parts = [cdist(b, mean, "mahalanobis", VI=precision)[:, 0] for b in blocks(features)]
        return np.concatenate(parts) ** 2

    return Case(
        what=f"distances of {count:,} features, D = {DIMENSION}",
        ours=lambda: squared_mahalanobis(features, gaussian),
        peers={"scipy": stock},
        agree=lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-6),
        turns=3,
    )
