"""Intervals and tests over seeds (docs/method.md, section 4): Student t, exact sign flips, Holm."""

from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import special, stats

MAX_EXACT_FLIPS = 16  # differences; 2**16 sign vectors are enumerated
SIGNIFICANCE = 0.05


class Interval(NamedTuple):
    """A mean over seeds and how well it is known; NaN where `num` is too small to say."""

    mean: float
    sd: float  # ddof = 1
    low: float
    high: float
    num: int

    @property
    def known(self) -> bool:
        """Whether there were enough values for bounds."""
        return bool(np.isfinite(self.low))

    @property
    def bounded(self) -> tuple[float, float, float]:
        """Mean, lower and upper bound."""
        return self.mean, self.low, self.high

    @property
    def includes_zero(self) -> bool:
        """Whether zero is among the values the data allow; true when no bounds can be formed."""
        return not self.known or self.low <= 0.0 <= self.high


def mean_interval(values: Float[ndarray, " n"], confidence: float = 0.95) -> Interval:
    """Mean with Student's t interval (n - 1 degrees of freedom); NaNs in `values` are left out.

    One value gives a mean without bounds, none gives NaN.
    """
    kept = values[np.isfinite(values)].astype(np.float64)
    num = len(kept)
    mean = float(kept.mean()) if num else np.nan
    if num < 2:
        return Interval(mean, np.nan, np.nan, np.nan, num)
    sd = float(kept.std(ddof=1))
    half = _t_quantile(0.5 + confidence / 2, num - 1) * sd / np.sqrt(num)
    return Interval(mean, sd, float(mean - half), float(mean + half), num)


@cache
def _t_quantile(share: float, freedom: int) -> float:
    return float(stats.t.ppf(share, freedom))


def student_p(mean: float, sd: float, num: int) -> float:
    """Two-sided p of Student's t for a mean of zero; 0.05 at the edge of `mean_interval`.

    NaN where there is no interval.
    """
    if np.isnan(sd):
        return np.nan
    if sd == 0:
        return float(mean == 0)
    return float(2 * special.stdtr(num - 1, -abs(mean) / (sd / np.sqrt(num))))


def departure_p(departures: Float[ndarray, "s t"]) -> float:
    """P of "every column's mean is zero" for rows that sum to zero: F of an analysis of variance.

    F = n |mean|^2 / tr(S) with S their covariance and f, f (n - 1) degrees of freedom, where
    f = tr(S)^2 / |S|^2 (Greenhouse and Geisser 1959), because columns need be neither equally
    noisy nor independent. With two columns this is Student's paired t.
    """
    num, mean = len(departures), departures.mean(axis=0)
    covariance = np.atleast_2d(np.cov(departures, rowvar=False))
    noise = float(np.trace(covariance))
    if noise == 0:
        return float(not mean.any())
    freedom = noise**2 / float((covariance**2).sum())
    return float(special.fdtrc(freedom, freedom * (num - 1), num * float(mean @ mean) / noise))


def sign_flip_p(differences: Float[ndarray, " n"], rng: np.random.Generator | None = None) -> float:
    """Two-sided p of "the paired differences are symmetric around zero"; NaNs are left out.

    The share of the sign vectors whose |sum| reaches the observed one: all 2^n of them up to
    n = 16, above that 2^16 drawn from `rng` (the observed one counted in). NaN without
    differences.

    Raises: ValueError when n > 16 and no `rng` is given.
    """
    differences = differences[np.isfinite(differences)]
    num = len(differences)
    if num == 0:
        return np.nan
    sums = np.abs(sign_vectors(num, rng) @ differences)
    rounding = 1e-12 * float(np.abs(differences).sum())
    return float(np.mean(sums >= abs(float(differences.sum())) - rounding))


def sign_vectors(num: int, rng: np.random.Generator | None = None) -> Float[ndarray, "f n"]:
    """All 2^n vectors of signs up to n = 16, above that 2^16 drawn; the last is all plus.

    Raises: ValueError when n > 16 and no `rng` is given.
    """
    if num <= MAX_EXACT_FLIPS:
        bits = np.arange(2**num)[:, None] >> np.arange(num) & 1
    elif rng is None:
        raise ValueError(f"{num} differences are too many to enumerate: pass rng")
    else:
        bits = rng.integers(0, 2, size=(2**MAX_EXACT_FLIPS, num))
        bits[-1] = 1
    return 2.0 * bits - 1.0


def smallest_p(num_pairs: int) -> float:
    """The least two-sided p that `num_pairs` sign flips can give: 2^(1 - k)."""
    return float(min(1.0, 2.0 ** (1 - num_pairs)))


def holm(p_values: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """Holm's step-down adjusted p values; NaNs stay NaN and are not counted as tests."""
    adjusted = np.full(len(p_values), np.nan)
    tested = np.flatnonzero(np.isfinite(p_values))
    order = tested[np.argsort(p_values[tested], kind="stable")]
    factors = len(order) - np.arange(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p_values[order]))
    return adjusted


def power_note(num_pairs: int, num_tests: int = 1) -> str:
    """What a reader must know of the p value of `num_pairs` sign flips, Holm over `num_tests`."""
    if num_pairs == 0:
        return "no pair with off"
    seeds = f"{num_pairs} seed{'s' if num_pairs > 1 else ''}"
    if smallest_p(num_pairs) > SIGNIFICANCE:
        return f"cannot reach {SIGNIFICANCE} with {seeds}"
    if num_tests * smallest_p(num_pairs) > SIGNIFICANCE:
        return f"Holm over {num_tests} tests cannot reach {SIGNIFICANCE} with {seeds}"
    return ""


def joined_notes(*notes: str) -> str:
    """The notes that say something, separated by semicolons."""
    return "; ".join(note for note in notes if note)
