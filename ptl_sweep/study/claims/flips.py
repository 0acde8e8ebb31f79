"""Sign flips of whole seeds for several numbers at once (docs/method.md, section 4)."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.study.statistics import sign_vectors


def step_down_p(values: Float[ndarray, "s m"], rng: np.random.Generator) -> Float[ndarray, " m"]:
    """Two-sided p of each column's mean, adjusted over all columns (Westfall and Young 1993).

    A seed's sign flips in all columns at once, so that what they share stays. A column's statistic
    is |sum| / root of the sum of squares, monotone in |t|; its p is the share of flips in which
    the largest statistic, of the columns not yet passed, reaches it. The chance that any true
    null falls below 0.05 is at most 0.05. NaN is no value; a column without any has p = NaN.
    """
    known = np.isfinite(values)
    scale = np.sqrt(np.where(known, values**2, 0.0).sum(axis=0))
    unit = np.where(known, values, 0.0) / np.where(scale > 0, scale, 1.0)
    signs = sign_vectors(len(values), rng)
    statistics = np.abs(signs @ unit)
    observed = statistics[-1]
    order = [int(i) for i in np.argsort(-observed, kind="stable") if known[:, i].any()]
    adjusted = np.full(len(observed), np.nan)
    least = 0.0
    for place, column in enumerate(order):
        largest = statistics[:, order[place:]].max(axis=1)
        least = max(least, float(np.mean(largest >= observed[column] - 1e-12)))
        adjusted[column] = least
    return adjusted


def profile_p(profiles: Float[ndarray, "s t"]) -> float:
    """P of "the profiles are symmetric around zero", by the length of their sum.

    A seed's sign flips for the whole profile at once; flips beyond 16 seeds are drawn with seed 0.
    Raises: ValueError for a value that is NaN.
    """
    if np.isnan(profiles).any():
        raise ValueError("a profile has a missing value; leave its seed out")
    lengths = np.linalg.norm(
        sign_vectors(len(profiles), np.random.default_rng(0)) @ profiles, axis=1
    )
    return float(np.mean(lengths >= lengths[-1] - 1e-12 * np.abs(profiles).sum()))
