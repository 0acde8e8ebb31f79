"""Does a Gaussian describe the features of a detector? One row of the study's table of Gaussians.

The checks are those of docs/method.md, section 2: quantiles of the raw distance against Hotelling's
law, Mardia kurtosis, dead channels, all on true positives of the source's validation split, which
nothing has shifted. The seed's text gives no thresholds: those of `warning` are ours.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import stats

from ptl_sweep.distance.equal_n import QuadraticForm
from ptl_sweep.distance.gaussian import Gaussian, GaussianRefusal, StoredFeatures, fit_gaussian
from ptl_sweep.distance.train2test import (
    Measures,
    distances,
    expected_raw_distance,
)
from ptl_sweep.vocabulary import Condition, Value

LEVELS = (0.5, 0.9, 0.99)  # quantiles of Hotelling's law that shares are compared with
FEATURES_PER_COMPONENT = 10  # validation features for each principal component of Mardia's kurtosis
MIN_VALIDATION = 30  # true positives; below: too few to judge
SHARE_TOLERANCE = 0.1  # a share this near its level is never warned about
CONFIDENCE = 0.99  # of the binomial band of a share and of the kurtosis
KURTOSIS_TOLERANCE = 0.2  # a kurtosis ratio this near 1 is never warned about
MAX_DEAD_SHARE = 0.25  # of the channels


def diagnose(
    measures: Measures, training: StoredFeatures, validation: Float[ndarray, "m d"] | None
) -> dict[str, Value]:
    """The columns of `n` to `gaussian_check` of schemas.GAUSSIANS; NaN or None: does not exist."""
    shares = shares_below(measures.raw, validation)
    kurtosis = _kurtosis_of(measures.shrunk, validation)
    form = measures.equal_n
    limits = tuple(_limits(measures, validation))
    failures = tuple(_failures(measures, validation, shares, kurtosis))
    is_judged = _is_enough(validation) and bool(np.isfinite(shares).all())
    return {
        "n": len(training.features),
        "num_images": len(np.unique(training.images)),
        **_shrunk_columns(measures.shrunk),
        "equal_n": form.n if isinstance(form, QuadraticForm) else None,
        "calibration": measures.calibration,
        "calibration_scale": measures.calibration_scale,
        "num_calibration": measures.num_calibration,
        **{
            f"below_{round(100 * level)}": share
            for level, share in zip(LEVELS, shares, strict=True)
        },
        "mardia": kurtosis.ratio,
        "mardia_z": kurtosis.z,
        "warning": "; ".join((*limits, *failures)) or None,
        "gaussian_check": _check(has_failed=bool(failures), is_judged=is_judged),
    }


def hotelling_quantile(level: float, n: int, dimension: int) -> float:
    """Quantile of the raw distance of fresh data of the distribution of the n training features.

    Fresh f ~ N(mu, Sigma): f - mean ~ N(0, (n + 1)/n Sigma), independent of the unbiased
    covariance U, so n/(n + 1) (f - mean)^T U^-1 (f - mean) is Hotelling's T^2 with n - 1 degrees of
    freedom, D (n - 1)/(n - D) F(D, n - D). With Sigma_ML = (n - 1)/n U the distance is
    (n + 1)/(n - 1) T^2, so its law is D (n + 1)/(n - D) F(D, n - D), whose mean is
    D (n + 1)/(n - D - 2). NaN for n <= D.
    """
    if n <= dimension:
        return np.nan
    quantile = stats.f.ppf(level, dimension, n - dimension)
    return float(dimension * (n + 1) / (n - dimension) * quantile)


def shares_below(
    raw: Gaussian | GaussianRefusal, validation: Float[ndarray, "m d"] | None
) -> tuple[float, ...]:
    """Share of raw distances up to the quantile of each of `LEVELS`: the level, when all is well.

    The distances share one Gaussian, so a share scatters more than binomially where n is near D.
    NaN without features or without a raw Gaussian.
    """
    if validation is None or not len(validation) or isinstance(raw, GaussianRefusal):
        return (np.nan,) * len(LEVELS)
    distance = distances(validation, raw)
    return tuple(
        float((distance <= hotelling_quantile(level, raw.n, len(raw.kept))).mean())
        for level in LEVELS
    )


class Kurtosis(NamedTuple):
    """Mardia's multivariate kurtosis beside what a Gaussian gives; NaN when not defined."""

    ratio: float  # over its expectation: 1 for a Gaussian, above with heavy tails
    z: float  # standard deviations from its expectation


def mardia_kurtosis(features: Float[ndarray, "m k"]) -> Kurtosis:
    """Mean of ((f - mean)^T S_ML^-1 (f - mean))^2 over the features it is fitted to.

    Mardia 1970: for a Gaussian its mean is k(k+2)(m-1)/(m+1) and its variance
    8k(k+2)(m-3)(m-k-1)(m-k+1) / ((m+1)^2 (m+3)(m+5)), both exact. NaN for m <= k + 2 or features
    that do not span k dimensions.
    """
    m, k = features.shape
    fit = fit_gaussian(features, "ml")
    if isinstance(fit, GaussianRefusal) or fit.num_dropped:
        return Kurtosis(np.nan, np.nan)
    squared = distances(features, fit)
    expected = k * (k + 2) * (m - 1) / (m + 1)
    spread = (m - 3) * (m - k - 1) * (m - k + 1) / ((m + 1) ** 2 * (m + 3) * (m + 5))
    found = float((squared**2).mean())
    z = (found - expected) / np.sqrt(8 * k * (k + 2) * spread)
    return Kurtosis(found / expected, float(z))


def num_components(num_features: int, rank: int) -> int:
    """Principal components that m features can judge: a tenth of m, at least 2, within the rank."""
    return min(rank, max(2, num_features // FEATURES_PER_COMPONENT))


def _kurtosis_of(
    shrunk: Gaussian | GaussianRefusal, validation: Float[ndarray, "m d"] | None
) -> Kurtosis:
    """Kurtosis over the leading principal components of the training features, unscaled by it."""
    if validation is None or isinstance(shrunk, GaussianRefusal):
        return Kurtosis(np.nan, np.nan)
    k = num_components(len(validation), shrunk.rank)
    leading = shrunk.whitening[:, len(shrunk.kept) - k :]
    return mardia_kurtosis(validation[:, shrunk.kept].astype(np.float64) @ leading)


def _shrunk_columns(shrunk: Gaussian | GaussianRefusal) -> dict[str, Value]:
    if isinstance(shrunk, GaussianRefusal):
        names = ("num_channels", "num_dropped", "rank", "condition", "shrinkage", "raw_unshifted")
        return dict.fromkeys(names, np.nan)
    return {
        "num_channels": len(shrunk.kept),
        "num_dropped": shrunk.num_dropped,
        "rank": shrunk.rank,
        "condition": shrunk.condition,
        "shrinkage": shrunk.shrinkage,
        "raw_unshifted": expected_raw_distance(shrunk.n, len(shrunk.kept)),
    }


def _check(*, has_failed: bool, is_judged: bool) -> Condition:
    if has_failed:
        return Condition.FAILS
    return Condition.HOLDS if is_judged else Condition.NOT_JUDGED


def _is_enough(validation: Float[ndarray, "m d"] | None) -> bool:
    return validation is not None and len(validation) >= MIN_VALIDATION


def _limits(measures: Measures, validation: Float[ndarray, "m d"] | None) -> Iterator[str]:
    """What could not be looked at."""
    if isinstance(measures.shrunk, GaussianRefusal):
        return
    if isinstance(measures.raw, GaussianRefusal):
        yield f"no raw Gaussian: {measures.raw.reason}"
    if validation is None:
        yield "too few to judge: no validation split was evaluated"
    elif not _is_enough(validation):
        yield (
            f"too few to judge: {len(validation)} validation true positives, {MIN_VALIDATION} are "
            "needed"
        )


def _failures(
    measures: Measures,
    validation: Float[ndarray, "m d"] | None,
    shares: tuple[float, ...],
    kurtosis: Kurtosis,
) -> Iterator[str]:
    """What is not as a Gaussian has it."""
    shrunk = measures.shrunk
    if isinstance(shrunk, GaussianRefusal):
        yield f"no Gaussian: {shrunk.reason}"
        return
    num_all = shrunk.num_dropped + len(shrunk.kept)
    if shrunk.num_dropped > MAX_DEAD_SHARE * num_all:
        yield f"{shrunk.num_dropped} of {num_all} channels are dead"
    if validation is not None and _is_enough(validation):
        yield from _share_warnings(shares, len(validation))
        if _is_off(kurtosis):
            yield f"tails are not Gaussian: Mardia kurtosis {kurtosis.ratio:.2f} of the expected"


def _share_warnings(shares: tuple[float, ...], num: int) -> Iterator[str]:
    for level, share in zip(LEVELS, shares, strict=True):
        low, high = stats.binom.interval(CONFIDENCE, num, level)
        inside = low <= round(share * num) <= high if np.isfinite(share) else True
        if not inside and abs(share - level) > SHARE_TOLERANCE:
            yield (
                f"{share:.0%} of the validation true positives lie where a Gaussian has "
                f"{level:.0%} of them"
            )


def _is_off(kurtosis: Kurtosis) -> bool:
    """Whether the kurtosis is both surely and noticeably not that of a Gaussian."""
    limit = stats.norm.ppf(0.5 + CONFIDENCE / 2)
    return bool(abs(kurtosis.z) > limit and abs(kurtosis.ratio - 1) > KURTOSIS_TOLERANCE)
