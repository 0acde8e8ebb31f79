"""CycleGAN (Zhu et al., ICCV 2017) between virtual and real person crops (PTL section 3.3)."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import UInt8
from numpy import ndarray

from ptl_sweep.ptl.translators.base import FitRun, FittedTranslator, GanTranslator


@dataclass(frozen=True, kw_only=True)
class CycleGan(GanTranslator):
    """The recipe of one training; see TranslatorConfig for units and sources."""

    remedy: ClassVar[str] = "lower translator.learning_rate, or raise translator.lambda_identity"

    lambda_cycle: float
    lambda_identity: float
    image_pool_size: int

    def train(
        self, source: UInt8[ndarray, "n s s 3"], target: UInt8[ndarray, "m s s 3"], run: FitRun
    ) -> FittedTranslator:
        """Train both generators. Raises: TranslationDiverged, Interrupted."""
        from ptl_sweep.ptl.adversarial import TrainedGenerator
        from ptl_sweep.ptl.cyclegan import train_cyclegan

        return TrainedGenerator(train_cyclegan(self, source, target, run))
