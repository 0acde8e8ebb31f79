"""What an architecture is: how a detector is built, and what a plan must know without torch."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ptl_sweep.config.schema import ConfigError, DetectorConfig

if TYPE_CHECKING:  # plans know architectures, and load no torch
    from ptl_sweep.detection.detector import Detector


class StageSeconds(NamedTuple):
    """How long a stage of each kind takes, before one was measured."""

    train: float
    ptl: float
    evaluate: float


class Architecture(ABC):
    """A kind of network; its file imports torch where the network is built."""

    num_levels: ClassVar[int]  # of its pyramid: lists in detector.anchor_sizes
    finest_stride: ClassVar[int] = 8  # pixels, of the first level
    published_weights: ClassVar[tuple[str, ...]] = ()  # that fit it, beside none and a path
    default_seconds: ClassVar[StageSeconds]
    needs_gpu: ClassVar[bool] = False  # a processor takes days for a training of usual size

    def check(self, config: DetectorConfig) -> None:
        """Refuse anchors or weights that this network cannot have. Raises: ConfigError."""
        name, weights = config.architecture, config.weights
        if weights in ("imagenet", "coco") and weights not in self.published_weights:
            raise ConfigError(f"detector.weights={weights} does not fit {name}: none or a path")
        if len(config.anchor_sizes) != self.num_levels:
            raise ConfigError(
                f"detector.anchor_sizes needs one list for each of the {self.num_levels} levels of "
                f"{name}, got {len(config.anchor_sizes)}"
            )

    @abstractmethod
    def build(self, config: DetectorConfig) -> "Detector":
        """The network on the CPU, its weights drawn from torch's default generator."""
