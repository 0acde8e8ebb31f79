"""Selection of virtual images by domain gap (PTL eq. 5), and the uniform control."""

import logging
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

logger = logging.getLogger(__name__)


class Selection(NamedTuple):
    """Images drawn from the pool, in the order drawn."""

    indices: Int[ndarray, " n"]  # into the pool, distinct
    num_selected_uniformly: int  # of them, drawn without regard to the gap
    effective_sample_size: float  # (sum w)^2 / sum w^2 of w = exp(-gap / tau); 0 without weights
    num_finite: int  # candidates that have a gap
    num_missing: int  # asked for beyond the end of the pool
    temperature: float | None = None  # tau of the weights; None: drawn uniformly


def select(
    gap: Float[ndarray, " p"], num_images: int, temperature: float, rng: np.random.Generator
) -> Selection:
    """Draw images without replacement with weight exp(-gap / temperature), PTL eq. 5.

    Gumbel-top-k on -gap / temperature in float64: the same law as drawing one image after the
    other with these weights among those left, without ever forming a weight that underflows.
    Candidates without a finite gap have weight 0; where the others do not suffice, the missing
    ones are drawn uniformly from these (ours), counted and warned about.
    """
    finite = np.flatnonzero(np.isfinite(gap))
    log_weight = -gap[finite].astype(np.float64) / temperature
    key = log_weight + rng.gumbel(size=len(finite))
    by_gap = finite[np.argsort(-key, kind="stable")[:num_images]]
    drawn = _filled_up(by_gap, gap, num_images, rng)
    return drawn._replace(
        effective_sample_size=_effective_sample_size(log_weight), temperature=temperature
    )


def select_nearest(
    gap: Float[ndarray, " p"], num_images: int, rng: np.random.Generator
) -> Selection:
    """Take the images of smallest gap: `select` as the temperature goes to 0; ours.

    Of equal gaps the first is taken. Missing ones are drawn as `select` draws them.
    """
    order = np.argsort(gap, kind="stable")
    return _filled_up(order[np.isfinite(gap[order])][:num_images], gap, num_images, rng)


def _filled_up(
    by_gap: Int[ndarray, " m"],
    gap: Float[ndarray, " p"],
    num_images: int,
    rng: np.random.Generator,
) -> Selection:
    """With images of no finite gap, drawn uniformly, where those with one do not suffice."""
    rest = np.flatnonzero(~np.isfinite(gap))
    uniformly = rng.permutation(rest)[: num_images - len(by_gap)]
    selection = Selection(
        indices=np.concatenate([by_gap, uniformly]),
        num_selected_uniformly=len(uniformly),
        effective_sample_size=float(len(by_gap)),
        num_finite=len(gap) - len(rest),
        num_missing=num_images - len(by_gap) - len(uniformly),
    )
    _warn(selection, num_images)
    return selection


def find_temperature(gap: Float[ndarray, " p"], share: float) -> float:
    """Tau whose effective sample size is `share` of the finite gaps, 0 < share <= 0.99; ours.

    The effective sample size rises with tau from the number of smallest gaps to that of all. Where
    the share asks for fewer than the former, tau is so small that only these have weight; equal
    gaps have equal weights at every tau.
    """
    above = gap[np.isfinite(gap)].astype(np.float64)
    above = above - above.min(initial=np.inf)
    if not (above > 0).any():
        return 1.0
    low, high = np.log(above[above > 0].min() / 50), np.log(above.max()) + 20

    def excess(log_temperature: float) -> float:
        weighted = _effective_sample_size(-above / np.exp(log_temperature))
        return weighted - share * len(above)

    if excess(low) >= 0:
        return float(np.exp(low))
    from scipy.optimize import brentq  # half a second, which no look at a sweep should wait for

    return float(np.exp(brentq(excess, low, high)))


def select_uniformly(num_candidates: int, num_images: int, rng: np.random.Generator) -> Selection:
    """Draw images without replacement with equal weights: the control `random`."""
    indices = rng.permutation(num_candidates)[:num_images]
    selection = Selection(
        indices=indices,
        num_selected_uniformly=len(indices),
        effective_sample_size=float(num_candidates),
        num_finite=0,
        num_missing=num_images - len(indices),
    )
    if selection.num_missing:
        _warn(selection._replace(num_selected_uniformly=0), num_images)
    return selection


def _effective_sample_size(log_weight: Float[ndarray, " m"]) -> float:
    """(sum w)^2 / sum w^2; between 1 and m, whatever the size of the weights."""
    if len(log_weight) == 0:
        return 0.0
    weight = np.exp(log_weight - log_weight.max())
    return float(weight.sum() ** 2 / (weight**2).sum())


def _warn(selection: Selection, num_images: int) -> None:
    if selection.num_selected_uniformly:
        logger.warning(
            "only %d virtual images have a finite domain gap; %d of %d are drawn uniformly",
            selection.num_finite,
            selection.num_selected_uniformly,
            num_images,
        )
    if selection.num_missing:
        logger.warning(
            "the virtual pool is used up: %d images are left of the %d asked for",
            len(selection.indices),
            num_images,
        )
