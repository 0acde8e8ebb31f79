"""The detector of t = 0, trained on real pictures only, and what every trained detector is."""

from abc import ABC
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ptl_sweep.config.schema import FeatureConfig, TrainRecipe
from ptl_sweep.seeds import derive_seed
from ptl_sweep.stages.base import Stage, StageKind, Summary
from ptl_sweep.stages.inputs import DataSpec, PoolSpec

if TYPE_CHECKING:
    from ptl_sweep.stages.context import StageContext
    from ptl_sweep.store import Store

MODEL = "model.safetensors"
FEATURES = "training_features.npz"  # of the detector on R_t
STEP_METRICS = ("translate/step", "train/step", "ptl/iteration")  # one in every history row
MANIFEST = "manifest.json"  # R_t: real and transformed images


@dataclass(frozen=True, kw_only=True)
class DetectorStage(Stage, ABC):
    """A stage that trains a detector from the initial weights."""

    real_count: int
    seed: int
    train: TrainRecipe
    features: FeatureConfig

    @property
    def inputs(self) -> dict[str, DataSpec | PoolSpec]:
        """The source of the real pictures."""
        return {"dataset": self.data}

    @property
    def iteration(self) -> int:
        """PTL iteration of the detector; 0: real images alone."""
        return 0

    @property
    def subset_seed(self) -> int:
        """Seed by which the real images are drawn."""
        return self.seed if self.train.subset_seed is None else self.train.subset_seed

    def seed_of(self, *purpose: object) -> int:
        """Seed of one purpose within this cell."""
        return derive_seed(self.seed, *purpose)


@dataclass(frozen=True, kw_only=True)
class TrainStage(DetectorStage):
    """Train on a nested subset of the real pictures; shared by every synthetic method."""

    kind: ClassVar[StageKind] = StageKind.TRAIN
    version: ClassVar[int] = 2
    job_type: ClassVar[str] = "train"

    def run(self, ctx: "StageContext") -> Summary:
        """Draw the subset, train, read out the features."""
        from ptl_sweep.datasets.subsets import real_subset
        from ptl_sweep.stages.fitting import fit_detector
        from ptl_sweep.stages.training_set import TrainingSet

        source = ctx.read_split(self.data)
        real = real_subset(source.records, self.real_count, self.subset_seed)
        return fit_detector(self, ctx, TrainingSet(tuple(real))).summary


def num_real_images(store: "Store", key: str) -> int:
    """Real images of a published detector's training set; the virtual ones come behind them."""
    trained = store.meta(key)["summary"]
    return int(trained["num_train_images"]) - int(trained["num_synthetic"])
