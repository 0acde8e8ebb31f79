"""Train2test distances: how far detections lie from the training set of their detector (seed).

The train2test distance of a test detection x is d(x) = (f(x) - mu)^T Sigma^-1 (f(x) - mu), squared,
with mu and Sigma of the training set of the same detector. It is measured in four ways (`VARIANTS`;
docs/method.md, section 2), because that of the papers depends on the number of training features.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy import stats

from ptl_sweep.config.analysis import AnalysisConfig
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.distance.calibration import (
    Calibration,
    calibrate_by_crossfit,
    calibrate_on_validation,
)
from ptl_sweep.distance.equal_n import QuadraticForm, mean_quadratic_form
from ptl_sweep.distance.gaussian import (
    Gaussian,
    GaussianRefusal,
    StoredFeatures,
    fit_gaussian,
    squared_mahalanobis,
)
from ptl_sweep.vocabulary import BANDS, VARIANTS, Value

# Histogram bins of d, 16 a decade.
DISTANCE_EDGES: Float[ndarray, " e"] = np.geomspace(1.0, 1e6, 97)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """The four distances of one detector; a refusal where one does not exist."""

    raw: Gaussian | GaussianRefusal  # ML covariance, as the papers
    shrunk: Gaussian | GaussianRefusal  # shrinkage estimated from the features
    equal_n: QuadraticForm | GaussianRefusal
    calibration: str  # validation | crossfit | none
    calibration_scale: float  # mean shrunk distance that is 1 calibrated; NaN when not known
    num_calibration: int  # features that it is the mean of
    reasons: tuple[str, ...]  # why a distance is NaN, one clause each

    def distances(self, features: Float[ndarray, "n d"]) -> dict[str, Float[ndarray, " n"]]:
        """Squared distance of every feature, by name in `VARIANTS`; NaN where none exists."""
        shrunk = distances(features, self.shrunk)
        found = {
            "raw": distances(features, self.raw),
            "shrunk": shrunk,
            "calibrated": shrunk / self.calibration_scale,
            "equal_n": distances(features, self.equal_n),
        }
        return {variant: found[variant] for variant in VARIANTS}


def fit_measures(
    training: StoredFeatures,
    settings: AnalysisConfig,
    *,
    equal_n: int | None,
    validation: Float[ndarray, "m d"] | None,
    rng: np.random.Generator,
) -> Measures:
    """Everything that the distances of one detector need (docs/method.md, section 2).

    `equal_n` is the number of features that all compared detectors have, None when this one has
    too few; `validation` are the features of its true positives on the source's validation split,
    None when that was not evaluated. `calibration=crossfit` takes the training features instead,
    each seen from a Gaussian of other images: optimistic, for the detector has learned them.

    Raises: ValueError for a feature that is not finite.
    """
    raw = fit_gaussian(training.features, "ml")
    shrunk = fit_gaussian(training.features, settings.shrinkage)
    form = _equal_n_form(training, settings, equal_n, rng)
    calibration = Calibration(np.nan, 0, None)
    if settings.calibration == "validation":
        calibration = calibrate_on_validation(
            shrunk, validation, squared_mahalanobis, what="true positive"
        )
    elif settings.calibration == "crossfit":
        calibration = calibrate_by_crossfit(*training, settings.shrinkage, rng)
    return Measures(
        raw=raw,
        shrunk=shrunk,
        equal_n=form,
        calibration=settings.calibration,
        calibration_scale=calibration.scale,
        num_calibration=calibration.num,
        reasons=_reasons(raw, shrunk, form, calibration),
    )


def _equal_n_form(
    training: StoredFeatures,
    settings: AnalysisConfig,
    equal_n: int | None,
    rng: np.random.Generator,
) -> QuadraticForm | GaussianRefusal:
    if equal_n is None:
        num = len(training.features)
        least = settings.equal_n_min
        if num < least:
            reason = f"fewer than analysis.equal_n_min={least} training features, there are {num}"
        else:
            reason = "the compared detectors have no common number of training features"
        return GaussianRefusal(reason, num)
    return mean_quadratic_form(
        training,
        n=equal_n,
        shrinkage=settings.equal_n_shrinkage,
        num_draws=settings.equal_n_draws,
        rng=rng,
    )


def _reasons(
    raw: Gaussian | GaussianRefusal,
    shrunk: Gaussian | GaussianRefusal,
    equal_n: QuadraticForm | GaussianRefusal,
    calibration: Calibration,
) -> tuple[str, ...]:
    """One clause per cause; without a shrunk Gaussian there is no other distance either."""
    if isinstance(shrunk, GaussianRefusal):
        return (f"no distances: {shrunk.reason}",)
    reasons = []
    if isinstance(raw, GaussianRefusal):
        reasons.append(f"no raw distances: {raw.reason}")
    if calibration.reason is not None:
        reasons.append(f"no calibrated distances: {calibration.reason}")
    if isinstance(equal_n, GaussianRefusal):
        reasons.append(f"no equal_n distances: {equal_n.reason}")
    return tuple(reasons)


def distances(
    features: Float[ndarray, "n d"], fit: Gaussian | QuadraticForm | GaussianRefusal
) -> Float[ndarray, " n"]:
    """Squared Mahalanobis distance of every feature; all NaN where no Gaussian exists."""
    if isinstance(fit, GaussianRefusal):
        return np.full(len(features), np.nan)
    if isinstance(fit, QuadraticForm):
        return fit.distances(features)
    return squared_mahalanobis(features, fit)


def expected_raw_distance(n: int, dimension: int, squared_shift: float = 0.0) -> float:
    """(D (n + 1) + n shift) / (n - D - 2): mean raw distance of fresh data of the distribution
    that the n features are from, with its mean moved by `squared_shift` (squared Mahalanobis).

    NaN where it does not exist (n <= D + 2). docs/method.md, section 2, for a shift of 0; with one,
    by E[Sigma_ML^-1] = n / (n - D - 2) Sigma^-1 (inverse Wishart). It falls with n although nothing
    has changed.
    """
    if n <= dimension + 2:
        return np.nan
    return (dimension * (n + 1) + n * squared_shift) / (n - dimension - 2)


class Spread(NamedTuple):
    """Where the distances of one group of detections lie; NaN for an empty group."""

    num: int
    mean: float
    lower_quartile: float
    median: float
    upper_quartile: float


class DistanceSummary(NamedTuple):
    """Distances of one detector on one target, over detections with score >= 0.01."""

    true_positive: Spread
    false_positive: Spread
    counted: Spread  # both together
    auroc: float  # P(a true positive is nearer than a false positive); 0.5: full overlap


def summarise_distances(table: DetectionTable, distance: Float[ndarray, " n_f"]) -> DistanceSummary:
    """Spread over true positives, false positives and both; `distance` is aligned with features."""
    rows = table.featured
    hit = table.true_positive[rows]
    missed = table.counted[rows] & ~hit
    return DistanceSummary(
        true_positive=_spread(distance[hit]),
        false_positive=_spread(distance[missed]),
        counted=_spread(distance[hit | missed]),
        auroc=nearer_probability(distance[hit], distance[missed]),
    )


def _spread(distance: Float[ndarray, " n"]) -> Spread:
    if not len(distance):
        return Spread(0, np.nan, np.nan, np.nan, np.nan)
    quartiles = (float(value) for value in np.quantile(distance, (0.25, 0.5, 0.75)))
    return Spread(len(distance), float(distance.mean()), *quartiles)


def spread_rows(
    table: DetectionTable,
    detections: Mapping[str, Float[ndarray, " n_f"]],
    truths: Mapping[str, Float[ndarray, " m"]],
    thresholds: Sequence[float],
) -> list[dict[str, Value]]:
    """Rows (kind, band, variant, num, mean, quartiles) of SPREAD_COLUMNS for one cell.

    `detections` and `truths` hold the distances by variant, aligned with `table.features` and
    `table.truths`. Kinds tp, fp and all come for all featured scores (band "") and per band of
    `thresholds` [s0, s1), [s1, s2), [s2, 1]; missed ground truths have no score. `num` counts the
    distances that exist; without any the rest is NaN.
    """
    rows: list[dict[str, Value]] = []
    for kind, band, chosen in _groups(table, thresholds):
        for variant in VARIANTS:
            distance = (truths if kind == "missed" else detections)[variant][chosen]
            spread = _spread(distance[np.isfinite(distance)])
            rows.append({"kind": kind, "band": band, "variant": variant, **spread._asdict()})
    return rows


def _groups(
    table: DetectionTable, thresholds: Sequence[float]
) -> Iterator[tuple[str, str, Int[ndarray, " k"]]]:
    """Kind, band and the features (for missed: ground truths) that belong to it."""
    rows = table.featured
    hit, counted = table.true_positive[rows], table.counted[rows]
    band_index = _band_index(table.score[rows], thresholds)
    for kind, chosen in (("tp", hit), ("fp", counted & ~hit), ("all", counted)):
        yield kind, "", np.flatnonzero(chosen)
        for index, band in enumerate(BANDS):
            yield kind, band, np.flatnonzero(chosen & (band_index == index))
    yield "missed", "", np.flatnonzero(table.missed)


def _band_index(score: Float[ndarray, " n_f"], thresholds: Sequence[float]) -> Int[ndarray, " n_f"]:
    """Index of the score band [s0, s1), [s1, s2), [s2, 1]; -1 below."""
    return np.searchsorted(np.asarray(thresholds, score.dtype), score, side="right") - 1


def nearer_probability(near: Float[ndarray, " n"], far: Float[ndarray, " m"]) -> float:
    """P(near < far) + P(near = far) / 2: the area under the ROC curve, by ranks.

    NaN when either side is empty or has no distance.
    """
    both = np.concatenate([near, far])
    if not len(near) or not len(far) or np.isnan(both).any():
        return np.nan
    ranks = stats.rankdata(both)
    above = ranks[len(near) :].sum() - len(far) * (len(far) + 1) / 2
    return float(above / (len(near) * len(far)))


class DistanceHistogram(NamedTuple):
    """Detections per score band, kind and distance bin; distances outside count in the end bins."""

    edges: Float[ndarray, " e"]  # of the distance, squared, e = b + 1
    counts: Int[ndarray, "s 2 b"]  # score band (low, medium, high) x (true, false positive) x bin
    score_bands: tuple[tuple[float, float], ...]  # [low, high), the last one closed


def distance_histogram(
    table: DetectionTable, distance: Float[ndarray, " n_f"], thresholds: Sequence[float]
) -> DistanceHistogram:
    """Histogram over the score bands [s0, s1), [s1, s2), [s2, 1]; all cells share the bins."""
    rows = table.featured
    score, hit, counted = table.score[rows], table.true_positive[rows], table.counted[rows]
    inside = np.clip(distance, DISTANCE_EDGES[0], DISTANCE_EDGES[-1])
    band = _band_index(score, thresholds)
    counts = np.zeros((len(thresholds), 2, len(DISTANCE_EDGES) - 1), np.int64)
    for index in range(len(thresholds)):
        for kind, chosen in enumerate((hit, ~hit)):
            values = inside[(band == index) & chosen & counted & np.isfinite(distance)]
            counts[index, kind] = np.histogram(values, DISTANCE_EDGES)[0]
    bands = tuple(zip(thresholds, [*thresholds[1:], 1.0], strict=True))
    return DistanceHistogram(DISTANCE_EDGES, counts, bands)
