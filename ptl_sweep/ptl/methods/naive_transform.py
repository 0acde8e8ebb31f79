"""PTL's baseline "naive merge with transformation": all at once, through one translator."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ptl_sweep.ptl.methods.base import S, SelectedVirtualImages, SelectionInput, SyntheticMethod
from ptl_sweep.ptl.selection import select_uniformly


@dataclass(frozen=True, kw_only=True)
class NaiveTransform(SyntheticMethod):
    """Adds in one step as many virtual images as PTL adds in all, drawn uniformly.

    The translator learns from all of them and from real images alone.
    """

    images_per_iteration: int  # n of PTL ...
    num_iterations: int  # ... and T: n T images are added

    def chain(self, first: S, iterate: Callable[[int, S], S], num_iterations: int) -> list[S]:
        """One iteration."""
        del num_iterations  # the parameter has it
        return [first, iterate(1, first)]

    def select(self, given: SelectionInput) -> SelectedVirtualImages:
        """Draw n T images with equal weights."""
        num_images = self.images_per_iteration * self.num_iterations
        drawn = select_uniformly(len(given.pool), num_images, given.rng)
        return SelectedVirtualImages(drawn, np.full(len(given.pool), np.nan))
