"""What stages are made of, taken from the configuration: data sets, pool, detector, read-out."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from ptl_sweep.config.detector import IN_KEY_WHEN_GIVEN
from ptl_sweep.config.schema import (
    Config,
    ConfigError,
    DatasetConfig,
    DetectorConfig,
    FeatureConfig,
    InferenceConfig,
    PoolConfig,
    TilingConfig,
    TrainRecipe,
)
from ptl_sweep.datasets import registry
from ptl_sweep.detection.architectures import architecture_of
from ptl_sweep.detection.initial_weights.files import weights_sha256

NOT_IN_KEY = {"in_key": False}  # of a field that says where something lies, or what it is called
WEIGHTS_FOLDER = "weights"  # below sweep.root: published initial weights, put there by hand
MISSING_WEIGHTS = "missing"  # no file yet: a plan needs none, a run asks for it first


@dataclass(frozen=True, kw_only=True)
class DataPlace:
    """Where the files of a data set lie, and what they are called."""

    name: str
    root: str | None
    index_root: str | None


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """One split of a data set by content: the images and boxes that a reader makes of it.

    A field that the reader does not read has its default, so it changes no key.
    """

    reader: str
    split: str
    fingerprint: str | None  # 16 hex digits over the content; None while the files are not here
    num_images: int | None
    scene_fractions: list[float] | None
    categories: dict[str, str]
    frame_stride: int
    domain: str | None
    world_seed: int
    resplit: bool = field(default=False, metadata=IN_KEY_WHEN_GIVEN)
    place: DataPlace = field(metadata=NOT_IN_KEY)

    @classmethod
    def of(cls, config: DatasetConfig, split: str) -> Self:
        """Read the fingerprint, compute nothing. Raises: ConfigError, DataError."""
        read = asdict(config)
        defaults = asdict(DatasetConfig(name=config.name))
        unread = registry.READER_KEYS - registry.keys_read(config.reader)
        content = read | {name: defaults[name] for name in unread}
        names = {item.name for item in fields(cls)} - {"place", "fingerprint", "split"}
        return cls(
            split=split,
            fingerprint=registry.fingerprint(config, split),
            place=DataPlace(name=config.name, root=config.root, index_root=config.index_root),
            **{name: content[name] for name in names},
        )

    @property
    def title(self) -> str:
        """`visdrone (train)`."""
        return f"{self.place.name} ({self.split})"

    def config(self) -> DatasetConfig:
        """What a reader is called with: this content at its place, and nothing else."""
        content = asdict(self)
        del content["fingerprint"]
        return DatasetConfig(**content.pop("place"), **content)


@dataclass(frozen=True, kw_only=True)
class PoolPlace(DataPlace):
    """Where the files of a pool lie; the fingerprint says what is in them."""

    backgrounds: str | None = None


@dataclass(frozen=True, kw_only=True)
class PoolSpec:
    """The virtual pool V_0 by content."""

    reader: str
    fingerprint: str | None
    num_images: int | None
    image_size: int
    domain: str | None
    altitude_m: list[float] | None
    world_seed: int
    options: dict[str, Any] = field(metadata=IN_KEY_WHEN_GIVEN)
    place: PoolPlace = field(metadata=NOT_IN_KEY)

    @classmethod
    def of(cls, config: PoolConfig) -> Self:
        """Read the fingerprint, compute nothing. Raises: ConfigError, DataError."""
        return cls(
            reader=config.reader,
            fingerprint=registry.pool_fingerprint(config),
            num_images=config.num_images,
            image_size=config.image_size,
            domain=config.domain,
            altitude_m=config.altitude_m,
            world_seed=config.world_seed,
            options=dict(config.options),
            place=PoolPlace(
                name=config.name,
                root=config.root,
                index_root=config.index_root,
                backgrounds=config.backgrounds,
            ),
        )

    @property
    def title(self) -> str:
        """Its name."""
        return self.place.name

    def config(self) -> PoolConfig:
        """What a reader is called with."""
        content = asdict(self)
        del content["fingerprint"]
        return PoolConfig(**content.pop("place"), **content)


@dataclass(frozen=True, kw_only=True)
class DetectorSpec:
    """The network, and its initial weights by content."""

    architecture: str
    anchor_sizes: list[list[float]]
    aspect_ratios: list[float]
    min_size: int | None
    max_size: int | None
    channels: int
    weights_sha256: str | None  # None: random; MISSING_WEIGHTS: no file yet
    name: str = field(metadata=NOT_IN_KEY)
    weights: str = field(metadata=NOT_IN_KEY)  # none | imagenet | coco | path

    @classmethod
    def of(cls, config: DetectorConfig, weights_folder: Path) -> Self:
        """Hash the file of initial weights where there is one. Raises: ConfigError."""
        architecture_of(config)
        names = {item.name for item in fields(cls)} - {"weights_sha256"}
        return cls(
            weights_sha256=_sha256(config, weights_folder),
            **{name: getattr(config, name) for name in names},
        )

    @property
    def resize(self) -> tuple[int, int] | None:
        """(shorter, longer) side that the detector sees; None: native resolution."""
        if self.min_size is None or self.max_size is None:
            return None
        return self.min_size, self.max_size

    def config(self) -> DetectorConfig:
        """What the network is built of."""
        content = asdict(self)
        del content["weights_sha256"]
        return DetectorConfig(**content)


def _sha256(config: DetectorConfig, weights_folder: Path) -> str | None:
    try:
        return weights_sha256(config, weights_folder)
    except ConfigError:
        return MISSING_WEIGHTS


@dataclass(kw_only=True, slots=True)
class InferenceSpec(InferenceConfig):
    """The one way a detector is read out: evaluation, features, Gaussian and distances."""

    tiling: TilingConfig | None = None  # None: no image is cut

    @classmethod
    def of(cls, config: Config) -> Self:
        """Without tiles, their overlap is in no key."""
        tiling = config.tiling if config.tiling.size is not None else None
        return cls(**_base(InferenceConfig, config.evaluate), tiling=tiling)


def train_recipe(config: Config) -> TrainRecipe:
    """The recipe without what changes nothing: a default, or null, in its place.

    `positive_fraction` is of crops and tiles, and whole images have neither.
    """
    recipe = TrainRecipe(**_base(TrainRecipe, config.train))
    if config.train.crop_size is None and config.tiling.size is None:
        recipe.positive_fraction = TrainRecipe().positive_fraction
    if recipe.subset_seed == config.seed:  # as without it: one stage
        recipe.subset_seed = None
    return recipe


def feature_config(config: Config) -> FeatureConfig:
    """Which detections give training features; the covariance made of them is the method's."""
    return FeatureConfig(**_base(FeatureConfig, config.gaussian))


def _base(cls: type[Any], value: object) -> dict[str, Any]:
    """The fields of a value that its base class has."""
    return {item.name: getattr(value, item.name) for item in fields(cls)}
