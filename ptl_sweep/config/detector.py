"""Typed config of the detector: its network, its training, its read-out, its features.

`TrainRecipe`, `FeatureConfig` and `InferenceConfig` are what decides a result; the classes made of
them add how a worker carries it out, and what the reducer reads.
"""

from dataclasses import dataclass, field

from omegaconf import MISSING

from ptl_sweep.config.checks import (
    ConfigError,
    at_least,
    in_range,
    one_of,
    positive,
    positive_list,
    usable,
)
from ptl_sweep.config.choices import choice_names

MAX_LEARNING_RATE = 10.0  # beyond these, a value is a slip that would cost a night
MAX_CHANNELS = 8192
MAX_SIDE = 100_000  # pixels
MAX_BATCH = 100_000
MAX_PASTED = 1000  # persons on a picture
IN_KEY_WHEN_GIVEN = {"if_given": True}  # empty, it changes no key: stages of before stay valid
PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(kw_only=True, slots=True)
class DetectorConfig:
    """The network and the geometry it sees."""

    name: str = MISSING
    architecture: str = "retinanet_r50"  # retinanet_r50 | retinanet_tiny | fcos_r50 | fcos_tiny, or
    # another file in ptl_sweep/detection/architectures
    weights: str = "imagenet"  # none | imagenet | coco | path of a state dict
    anchor_sizes: list[list[float]] = MISSING  # pixels, one list per pyramid level; of FCOS one
    # size each, the unit of its ranges: a person's farthest side is 4 to 8 of them away
    aspect_ratios: list[float] = MISSING  # height / width; of FCOS [1.0]
    min_size: int | None = None  # shorter side is resized to this; null: native resolution
    max_size: int | None = None  # upper bound of the longer side after that
    channels: int = 256  # D: pyramid width, and so the dimension of the penultimate feature

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("detector", self)
        names = choice_names("ptl_sweep.detection.architectures")
        one_of("detector.architecture", self.architecture, names)
        at_least("detector.channels", self.channels, 8, MAX_CHANNELS)
        at_least("detector.min_size", self.min_size, 32, MAX_SIDE)
        at_least("detector.max_size", self.max_size, self.min_size or 32, MAX_SIDE)
        if self.aspect_ratios != MISSING:
            positive_list("detector.aspect_ratios", self.aspect_ratios)
        if self.anchor_sizes != MISSING:
            for level in self.anchor_sizes or [[]]:
                positive_list("detector.anchor_sizes", level)
        if self.channels % 8:
            raise ConfigError(f"detector.channels must be a multiple of 8, got {self.channels}")
        if (self.min_size is None) != (self.max_size is None):
            raise ConfigError("detector.min_size and detector.max_size go together: set both")
        if self.anchor_sizes != MISSING and len({len(s) for s in self.anchor_sizes}) != 1:
            raise ConfigError(
                "detector.anchor_sizes needs the same number of sizes on every level, "
                f"got {self.anchor_sizes}"
            )


@dataclass(kw_only=True, slots=True)
class TilingConfig:
    """Large images are trained on and searched in square tiles; ours."""

    size: int | None = None  # side of a tile, pixels of the file; null: no image is cut
    overlap: int = 32  # pixels of the file that neighbouring tiles share, or more

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("tiling", self)
        at_least("tiling.size", self.size, 64, MAX_SIDE)
        in_range("tiling.overlap", self.overlap, 16, (self.size or 10**6) // 2)


@dataclass(kw_only=True, slots=True)
class TrainRecipe:
    """What decides a training's result: the same number of steps for every set size, on and off."""

    num_steps: int = 5000
    batch_size: int = 16
    optimizer: str = "sgd"  # sgd (momentum 0.9) | adamw
    schedule: str = "constant"  # after the warm-up: constant | onecycle
    learning_rate: float = 0.01
    weight_decay: float = 1e-4
    warmup_steps: int = 500
    clip_norm: float = 10.0  # largest gradient norm
    crop_size: int | None = None  # train on square crops of this side, pixels; null: images, tiles
    positive_fraction: float = 0.6  # share of crops and tiles that are placed around a person
    real_fraction: float | None = None  # mean share of real images in a batch; null: by images
    flip_probability: float = 0.5  # horizontal
    vertical_flip_probability: float = 0.0  # seen from above, a person has no upright; ours
    # chance of a quarter turn, to the left or the right; ours
    rotate90_probability: float = field(default=0.0, metadata=IN_KEY_WHEN_GIVEN)
    # most persons of real images that are pasted on a real image; nought to so many are; ours
    copy_paste: int = field(default=0, metadata=IN_KEY_WHEN_GIVEN)
    # seed by which the real images are drawn; null: that of the cell. Swept beside seed, it tells
    # what the images do from what training does
    subset_seed: int | None = field(default=None, metadata=IN_KEY_WHEN_GIVEN)
    colour_jitter: float = 0.0  # largest relative change of brightness and of each channel
    precision: str = "float32"  # float32 | tf32 (CUDA only) | bfloat16 (mixed)
    num_threads: int = 1  # CPU threads of every stage; results depend on it

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("train", self)
        at_least("train.num_steps", self.num_steps, 1)
        at_least("train.batch_size", self.batch_size, 1, MAX_BATCH)
        one_of("train.optimizer", self.optimizer, ("sgd", "adamw"))
        one_of("train.schedule", self.schedule, ("constant", "onecycle"))
        positive("train.learning_rate", self.learning_rate, MAX_LEARNING_RATE)
        at_least("train.weight_decay", self.weight_decay, 0, 1)
        at_least("train.warmup_steps", self.warmup_steps, 0)
        positive("train.clip_norm", self.clip_norm)
        at_least("train.crop_size", self.crop_size, 32, MAX_SIDE)
        in_range("train.positive_fraction", self.positive_fraction, 0, 1)
        in_range("train.real_fraction", self.real_fraction, 0, 1)
        in_range("train.flip_probability", self.flip_probability, 0, 1)
        in_range("train.vertical_flip_probability", self.vertical_flip_probability, 0, 1)
        in_range("train.rotate90_probability", self.rotate90_probability, 0, 1)
        at_least("train.copy_paste", self.copy_paste, 0, MAX_PASTED)
        at_least("train.subset_seed", self.subset_seed, 0)
        in_range("train.colour_jitter", self.colour_jitter, 0, 1)
        one_of("train.precision", self.precision, PRECISIONS)
        at_least("train.num_threads", self.num_threads, 1, 1024)


@dataclass(kw_only=True, slots=True)
class TrainConfig(TrainRecipe):
    """Training of one detector: its recipe, and how a worker carries it out."""

    checkpoint_minutes: float = 5.0  # longest work that a killed job repeats
    image_cache_mb: int = 1024  # decoded images that one worker keeps
    device_cache_mb: int | None = None  # images a GPU keeps; null: an eighth of its free memory

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        TrainRecipe.__post_init__(self)
        at_least("train.checkpoint_minutes", self.checkpoint_minutes, 0)
        at_least("train.image_cache_mb", self.image_cache_mb, 1)
        at_least("train.device_cache_mb", self.device_cache_mb, 0)


@dataclass(kw_only=True, slots=True)
class FeatureConfig:
    """Which detections on the training images give the features of the Gaussian (PTL eq. 1)."""

    detections: str = "nms"  # nms | pre_nms: which detections give features
    min_score: float = 0.05  # of a detection that gives a feature; ours
    min_iou: float = 0.5  # with a ground truth (PTL section 3)

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("gaussian", self)
        one_of("gaussian.detections", self.detections, ("nms", "pre_nms"))
        in_range("gaussian.min_score", self.min_score, 0, 1)
        in_range("gaussian.min_iou", self.min_iou, 0, 1)


@dataclass(kw_only=True, slots=True)
class GaussianConfig(FeatureConfig):
    """The Gaussian of the training features that the domain gap is measured with (PTL eq. 1-2)."""

    covariance: str = "oas"  # ml (as printed; refused at n <= D + 2) | oas | ledoit_wolf | pinv

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        FeatureConfig.__post_init__(self)
        one_of("gaussian.covariance", self.covariance, ("ml", "oas", "ledoit_wolf", "pinv"))


@dataclass(kw_only=True, slots=True)
class InferenceConfig:
    """How a detector is read out: the same for evaluation, features, Gaussian and distances."""

    score_threshold: float = 0.005  # detections below are never made
    nms_threshold: float = 0.5
    max_detections: int = 500  # per image, and per tile before tiles are merged
    candidates_per_level: int = 3000  # per image or tile, before NMS
    batch_size: int = 8  # images or tiles of one size per forward; shifts results by rounding

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("evaluate", self)
        in_range("evaluate.score_threshold", self.score_threshold, 0, 1)
        in_range("evaluate.nms_threshold", self.nms_threshold, 0, 1)
        at_least("evaluate.max_detections", self.max_detections, 1, 100_000)
        at_least("evaluate.candidates_per_level", self.candidates_per_level, 1, 1_000_000)
        at_least("evaluate.batch_size", self.batch_size, 1, MAX_BATCH)


@dataclass(kw_only=True, slots=True)
class EvaluateConfig(InferenceConfig):
    """The one inference config; which detectors are evaluated, and where AP_t2t is taken."""

    iterations: str = "last"  # last: only the final detector; all: the one of every iteration
    score_thresholds: list[float] = field(default_factory=lambda: [0.01, 0.1, 0.5])  # s of AP_t2t

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        InferenceConfig.__post_init__(self)
        one_of("evaluate.iterations", self.iterations, ("last", "all"))
        hundredths = [round(100 * score) for score in self.score_thresholds]
        if len(hundredths) != 3 or sorted({*hundredths}) != hundredths or hundredths[0] < 1:
            raise ConfigError(
                "evaluate.score_thresholds must be three scores (low, medium, high confidence) "
                f"that rise by 0.01 or more from 0.01 on, got {self.score_thresholds}"
            )
        if self.score_threshold > self.score_thresholds[0]:
            raise ConfigError(
                f"evaluate.score_threshold={self.score_threshold} hides detections that "
                f"evaluate.score_thresholds starts with ({self.score_thresholds[0]}): lower it"
            )
