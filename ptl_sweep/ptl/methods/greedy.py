"""PTL's loop with the nearest virtual images: its selection as tau goes to 0; ours."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.ptl.methods.base import GapMethod
from ptl_sweep.ptl.selection import Selection, select_nearest


@dataclass(frozen=True, kw_only=True)
class Greedy(GapMethod):
    """Takes the n images of smallest domain gap; nothing is random where enough have a gap."""

    def draw(self, gap: Float[ndarray, " p"], rng: np.random.Generator) -> Selection:
        """Take the nearest; of equal gaps the first in the pool."""
        return select_nearest(gap, self.images_per_iteration, rng)
