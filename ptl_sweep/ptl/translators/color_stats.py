"""Colour statistics of a real crop, given to each virtual one: a control (ours)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from ptl_sweep.ptl.crops import CropSet
from ptl_sweep.ptl.translators.base import CropTranslator, FitRun

SMALLEST_SD = 1.0  # of 255; a flatter channel is not stretched


@dataclass(frozen=True, slots=True)
class ColorStatistics:
    """Mean and standard deviation of each RGB channel taken over from a random target crop.

    Reinhard et al. 2001 do this in the decorrelated l-alpha-beta space; RGB is our simplification.
    Statistics are of whole crops, since real persons have no masks; pasting applies them under
    the mask only.
    """

    mean: Float[ndarray, "m 3"]  # of each target crop
    sd: Float[ndarray, "m 3"]
    seed: int
    reason: str | None = None
    changes_pixels: bool = True

    def translate(self, crops: UInt8[ndarray, "n s s 3"]) -> UInt8[ndarray, "n s s 3"]:
        """Give each crop the colours of one target crop; the same draw for the same seed."""
        drawn = np.random.default_rng(self.seed).integers(len(self.mean), size=len(crops))
        mean, sd = channel_statistics(crops)
        gain = self.sd[drawn] / sd.clip(SMALLEST_SD)
        shifted = (crops - mean[:, None, None]) * gain[:, None, None]
        shifted += self.mean[drawn][:, None, None]
        colored: UInt8[ndarray, "n s s 3"] = np.rint(shifted).clip(0, 255).astype(np.uint8)
        return colored

    def save(self, path: Path) -> None:
        """Write nothing: the statistics are measured anew each time."""


@dataclass(frozen=True, kw_only=True)
class ColorStats(CropTranslator):
    """Measures the colours of the real crops."""

    def fit(self, source: CropSet, target: CropSet, run: FitRun) -> ColorStatistics:
        """Measure the target crops; the source is not looked at."""
        del source
        mean, sd = channel_statistics(target.pixels)
        return ColorStatistics(mean, sd, run.seed)


def channel_statistics(
    crops: UInt8[ndarray, "n s s 3"],
) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
    """Mean and standard deviation of every channel of every crop, of 255."""
    return crops.mean(axis=(1, 2)), crops.std(axis=(1, 2))
