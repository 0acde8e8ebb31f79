"""Progressive Transformation Learning: virtual images close to R_t first (PTL section 3.2)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.config.checks import ess_share
from ptl_sweep.ptl.methods.base import GapMethod
from ptl_sweep.ptl.selection import Selection, find_temperature, select


@dataclass(frozen=True, kw_only=True)
class Ptl(GapMethod):
    """Selects with weight exp(-gap / tau) (eq. 5)."""

    temperature: float | str  # tau, in squared Mahalanobis distance, or ess:SHARE

    def draw(self, gap: Float[ndarray, " p"], rng: np.random.Generator) -> Selection:
        """Draw n images without replacement by their weights."""
        share = ess_share(self.temperature)
        temperature = float(self.temperature) if share is None else find_temperature(gap, share)
        return select(gap, self.images_per_iteration, temperature, rng)
