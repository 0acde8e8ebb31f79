"""What an architecture is: how a detector is built, and what a plan must know without torch."""

from abc import ABC, abstractmethod
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from ptl_sweep.config.schema import ConfigError, DetectorConfig
from ptl_sweep.detection.initial_weights.published import PUBLISHED_NAMES, PublishedWeights

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
    has_anchors: ClassVar[bool] = True  # of shapes that persons match or not: `check` counts them
    published_weights: ClassVar[tuple[PublishedWeights, ...]] = ()  # beside none and a path
    default_seconds: ClassVar[StageSeconds]
    needs_gpu: ClassVar[bool] = False  # a processor takes days for a training of usual size

    def check(self, config: DetectorConfig) -> None:
        """Refuse anchors or weights that this network cannot have. Raises: ConfigError."""
        name, weights = config.architecture, config.weights
        fitting = [file.name for file in self.published_weights]
        if weights in PUBLISHED_NAMES and weights not in fitting:
            raise ConfigError(f"detector.weights={weights} does not fit {name}: none or a path")
        if len(config.anchor_sizes) != self.num_levels:
            raise ConfigError(
                f"detector.anchor_sizes needs one list for each of the {self.num_levels} levels of "
                f"{name}, got {len(config.anchor_sizes)}"
            )

    @abstractmethod
    def build(self, config: DetectorConfig) -> "Detector":
        """The network on the CPU, its weights drawn from torch's default generator."""


class AnchorFree(Architecture):
    """A network that learns boxes at locations, one a cell; anchor_sizes are units of length."""

    has_anchors = False

    def check(self, config: DetectorConfig) -> None:
        """Refuse several shapes, and sizes that leave persons to no level. Raises: ConfigError."""
        super().check(config)
        sizes = [size for level in config.anchor_sizes for size in level]
        if len(sizes) != self.num_levels or config.aspect_ratios != [1.0]:
            raise ConfigError(
                f"{config.architecture} has no anchors: detector.anchor_sizes takes one size for "
                "each level and detector.aspect_ratios is [1.0], got "
                f"{config.anchor_sizes} and {config.aspect_ratios}"
            )
        least = [self.finest_stride * 2**level / 2 for level in range(self.num_levels)]
        is_even = all(size % 2 == 0 for size in sizes)  # half of it is rounded by torchvision
        is_near = all(size >= low for size, low in zip(sizes, least, strict=True))
        is_dense = all(after <= 2 * before for before, after in pairwise(sizes))
        if not (is_even and is_near and is_dense):
            raise ConfigError(
                f"detector.anchor_sizes={config.anchor_sizes} does not fit {config.architecture}: "
                f"sizes must be even, at least half the strides ({least}), and at most twice the "
                "one before, or some persons are learnt nowhere"
            )
