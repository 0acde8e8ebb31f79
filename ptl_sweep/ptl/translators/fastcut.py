"""FastCUT (Park et al., ECCV 2020) from virtual to real person crops, without a way back."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import UInt8
from numpy import ndarray

from ptl_sweep.ptl.translators.base import FitRun, FittedTranslator, GanTranslator


@dataclass(frozen=True, kw_only=True)
class FastCut(GanTranslator):
    """The recipe of one training; see TranslatorConfig for units and sources."""

    remedy: ClassVar[str] = "lower translator.learning_rate, or raise translator.nce_temperature"

    lambda_nce: float
    nce_temperature: float
    num_patches: int
    projection_dim: int

    def train(
        self, source: UInt8[ndarray, "n s s 3"], target: UInt8[ndarray, "m s s 3"], run: FitRun
    ) -> FittedTranslator:
        """Train the one generator. Raises: TranslationDiverged, Interrupted."""
        from ptl_sweep.ptl.adversarial import TrainedGenerator
        from ptl_sweep.ptl.fastcut import train_fastcut

        return TrainedGenerator(train_fastcut(self, source, target, run))
