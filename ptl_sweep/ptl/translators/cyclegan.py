"""CycleGAN (Zhu et al., ICCV 2017) between virtual and real person crops (PTL section 3.3)."""

from dataclasses import dataclass, replace

from ptl_sweep.config.schema import TranslatorConfig
from ptl_sweep.ptl.crops import CropSet
from ptl_sweep.ptl.translators.base import CropTranslator, FitRun, FittedTranslator


@dataclass(frozen=True, kw_only=True)
class CycleGan(CropTranslator):
    """The recipe of one training; see TranslatorConfig for units and sources."""

    num_steps: int
    num_warm_steps: int | None  # from the networks of the iteration before; None: from scratch
    batch_size: int
    learning_rate: float
    lambda_cycle: float
    lambda_identity: float
    image_pool_size: int
    base_channels: int
    num_residual_blocks: int

    @classmethod
    def of(cls, config: TranslatorConfig, iteration: int) -> "CycleGan":
        """Only a later iteration has networks to start from. Raises: ConfigError."""
        recipe = cls.read(config, config.options)
        is_warm = config.warm_start and iteration > 1
        return recipe if is_warm else replace(recipe, num_warm_steps=None)

    def fit(self, source: CropSet, target: CropSet, run: FitRun) -> FittedTranslator:
        """Train both generators. Raises: TranslationDiverged, Interrupted."""
        from ptl_sweep.ptl.cyclegan import TrainedCycleGan, train_cyclegan

        if self.num_warm_steps is None:
            run = run._replace(warm_start=None)
        return TrainedCycleGan(train_cyclegan(self, source.pixels, target.pixels, run))
