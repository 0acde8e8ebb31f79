"""How each distance depends on the number of training features when nothing else changes.

Gaussian data of known spectrum are measured by the code that measures detectors; behind the
appendix of the report (docs/method.md, section 2: the finite-sample artefact).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from ptl_sweep.config.analysis import AnalysisConfig
from ptl_sweep.distance.gaussian import StoredFeatures
from ptl_sweep.distance.train2test import (
    Measures,
    expected_raw_distance,
    fit_measures,
)
from ptl_sweep.vocabulary import VARIANTS

# Variance of principal component k = 1..D; distances do not depend on its scale.
SPECTRA: Mapping[str, Callable[[Float[ndarray, " d"]], Float[ndarray, " d"]]] = {
    "flat": np.ones_like,
    "1/k": np.reciprocal,
    "exponential": lambda k: np.exp(-8 * k / len(k)),
}
NUM_TEST = 1000  # test features, and as many validation features
MAX_IMAGE_FEATURES = 40  # features of one training image: 1 to this many
MAX_REPEATS = 6  # training sets per n
MAX_VALUES = 800_000  # numbers in the training sets of one n, unless one set holds more


class DriftRow(NamedTuple):
    """Mean test distances, squared, over training sets of n features each; NaN: none exists."""

    spectrum: str
    shifted: bool  # whether the test features have another mean
    n: int  # training features
    num_repeats: int  # training sets
    expected_raw: float  # derived, not simulated
    raw: float
    shrunk: float
    calibrated: float  # multiples of the mean over unshifted validation features
    equal_n: float


def simulate(
    dimension: int,
    counts: Sequence[int],
    rng: np.random.Generator,
    *,
    settings: AnalysisConfig | None = None,
    shift: float = 1.0,
) -> list[DriftRow]:
    """Mean distances of the same test features from training sets of each of `counts` features.

    The shifted test data lie equally far off along every principal component, `shift` standard
    deviations in the root mean square: most in terms of the spread where features vary least.
    Means are over up to 6 training sets, because one set of few features scatters by several
    percent about what its n gives on average. `settings` are the sweep's (None: the defaults);
    equal_n takes the smallest of `counts` that is at least `analysis.equal_n_min`, and does not
    exist below it, as for detectors.
    """
    settings = settings or AnalysisConfig()
    equal_n = min((n for n in counts if n >= settings.equal_n_min), default=None)
    rows = []
    for spectrum, law in SPECTRA.items():
        deviations = np.sqrt(law(np.arange(1.0, dimension + 1)))
        fresh = rng.normal(size=(2, NUM_TEST, dimension)) * deviations
        step = shift / np.sqrt(np.mean(deviations**-2))
        tests = {False: fresh[0], True: fresh[0] + step}
        for n in counts:
            num_repeats = min(max(MAX_VALUES // (n * dimension), 1), MAX_REPEATS)
            means = [
                _means(
                    fit_measures(
                        _training(n, deviations, rng),
                        settings,
                        equal_n=equal_n if equal_n is not None and n >= equal_n else None,
                        validation=fresh[1],
                        rng=rng,
                    ),
                    tests,
                )
                for _ in range(num_repeats)
            ]
            for shifted in tests:
                found = {v: float(np.mean([m[shifted][v] for m in means])) for v in VARIANTS}
                squared_shift = dimension * shift**2 if shifted else 0.0
                derived = expected_raw_distance(n, dimension, squared_shift)
                rows.append(DriftRow(spectrum, shifted, n, num_repeats, derived, **found))
    return rows


def _means(
    measures: Measures, tests: Mapping[bool, Float[ndarray, "m d"]]
) -> dict[bool, dict[str, float]]:
    """Mean test distance by shift and variant."""
    return {
        shifted: {name: float(d.mean()) for name, d in measures.distances(features).items()}
        for shifted, features in tests.items()
    }


def _training(n: int, deviations: Float[ndarray, " d"], rng: np.random.Generator) -> StoredFeatures:
    """N features on images of 1 to 40 of them."""
    features = rng.normal(size=(n, len(deviations))) * deviations
    return StoredFeatures(features, image_of_features(n, rng))


def image_of_features(n: int, rng: np.random.Generator) -> Int[ndarray, " n"]:
    """Image of each of n features when images hold 1 to 40 features."""
    sizes = rng.integers(1, MAX_IMAGE_FEATURES + 1, n)
    return np.repeat(np.arange(n), sizes)[:n]
