"""Progressive Transformation Learning: virtual images close to R_t first (PTL section 3.2)."""

from dataclasses import dataclass

import numpy as np

from ptl_sweep.config.checks import ess_share
from ptl_sweep.config.schema import Config
from ptl_sweep.distance.gaussian import GaussianRefusal, fit_gaussian
from ptl_sweep.ptl.methods.base import SelectedVirtualImages, SelectionInput, SyntheticMethod
from ptl_sweep.ptl.selection import Selection, find_temperature, select, select_uniformly


@dataclass(frozen=True, kw_only=True)
class Ptl(SyntheticMethod):
    """Selects with weight exp(-gap / tau) (eq. 5)."""

    images_per_iteration: int  # n
    temperature: float | str  # tau, in squared Mahalanobis distance, or ess:SHARE
    scales: list[int]  # S of eq. 4, pixels
    context: float  # side of the square that is resized to s x s, in longer box sides; ours
    covariance: str = "oas"  # of the Gaussian of R_t (eq. 1-2)

    @classmethod
    def of(cls, config: Config) -> "Ptl":
        """The Gaussian's covariance is a key of `gaussian`. Raises: ConfigError."""
        covariance = {"covariance": config.gaussian.covariance}
        return cls.read(config.synthetic, config.synthetic.options | covariance)

    def select(self, given: SelectionInput) -> SelectedVirtualImages:
        """Draw n images by domain gap.

        Without a Gaussian the selection is uniform; that is a result with a reason, no failure.
        """
        from ptl_sweep.ptl.domain_gap import measure_domain_gap

        gaussian = fit_gaussian(given.features, self.covariance)
        if isinstance(gaussian, GaussianRefusal):
            drawn = select_uniformly(len(given.pool), self.images_per_iteration, given.rng)
            reason = f"virtual images drawn uniformly: {gaussian.reason}"
            return SelectedVirtualImages(drawn, np.full(len(given.pool), np.nan), reason=reason)
        gap = measure_domain_gap(
            given.load_detector(), gaussian, given.pool, self, given.inference, cache=given.cache
        )
        share = ess_share(self.temperature)
        temperature = float(self.temperature) if share is None else find_temperature(gap, share)
        drawn = select(gap, self.images_per_iteration, temperature, given.rng)
        return SelectedVirtualImages(drawn, gap, gaussian, _shortfall(drawn))


def _shortfall(selection: Selection) -> str | None:
    if not selection.num_selected_uniformly:
        return None
    return (
        f"{selection.num_selected_uniformly} of {len(selection.indices)} virtual images drawn "
        "uniformly: the detector finds no person in the others"
    )
