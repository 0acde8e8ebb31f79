"""PTL's loop with virtual images drawn uniformly: the control of its selection (ours)."""

from dataclasses import dataclass

import numpy as np

from ptl_sweep.ptl.methods.base import SelectedVirtualImages, SelectionInput, SyntheticMethod
from ptl_sweep.ptl.selection import select_uniformly


@dataclass(frozen=True, kw_only=True)
class Random(SyntheticMethod):
    """Draws without regard to the domain gap, which is not measured."""

    images_per_iteration: int  # n

    def select(self, given: SelectionInput) -> SelectedVirtualImages:
        """Draw n images with equal weights."""
        drawn = select_uniformly(len(given.pool), self.images_per_iteration, given.rng)
        return SelectedVirtualImages(drawn, np.full(len(given.pool), np.nan))
