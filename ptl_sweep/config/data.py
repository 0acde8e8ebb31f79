"""Config of the pictures: labelled data sets, and the virtual pool."""

from dataclasses import dataclass, field, replace
from typing import Any

from omegaconf import MISSING

from ptl_sweep.config.checks import ConfigError, at_least, identifier, one_of, usable


@dataclass(kw_only=True, slots=True)
class DatasetConfig:
    """A labelled image set: the source of real pictures (`dataset`) or a `target`."""

    name: str = MISSING  # what the result columns show
    reader: str = MISSING  # a key of datasets.registry.READERS; a target may say `source`
    root: str | None = None  # folder as the owner ships it; unused by the miniature world
    split: str = "train"  # which part: real pictures are drawn from it, targets are tested on it
    validation_split: str = "validation"  # part of the source that no subset ever touches
    scene_fractions: list[float] | None = None  # train, validation, test share, by whole scenes
    resplit: bool = False  # divide images that have splits of their own anew, by scene_fractions
    # (null: 0.8, 0.2, 0): copies of one picture stay together
    categories: dict[Any, str] = field(default_factory=dict)  # class -> person | other | ignore;
    # * is every class not named; a file may name a class by digits
    num_images: int | None = None  # use only so many images of the split; null: all
    index_root: str | None = None  # folder of cached indexes; null: <sweep.root>/index
    frame_stride: int = 1  # okutama, sard, visdrone_vid: every k-th frame only
    domain: str | None = None  # miniature world: town, field, karst, ...
    world_seed: int = 0  # miniature world: which world
    licence: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("dataset or target", self)
        self.categories = {str(source): meaning for source, meaning in self.categories.items()}
        identifier("name of dataset or target", self.name)
        at_least(f"{self.name}.num_images", self.num_images, 1)
        at_least(f"{self.name}.world_seed", self.world_seed, 0)
        at_least(f"{self.name}.frame_stride", self.frame_stride, 1)
        shares = self.scene_fractions
        if shares is not None and (
            len(shares) != 3 or min(shares) < 0 or not abs(sum(shares) - 1) <= 1e-6
        ):
            raise ConfigError(
                f"{self.name}.scene_fractions must be three shares (train, validation, test) "
                f"that add up to 1, got {shares}"
            )
        for source, meaning in self.categories.items():
            one_of(f"{self.name}.categories.{source}", meaning, ("person", "other", "ignore"))

    def validation_config(self) -> "DatasetConfig":
        """Make a target of the split that no training subset ever touches."""
        return replace(self, name=f"{self.name}-validation", split=self.validation_split)


@dataclass(kw_only=True, slots=True)
class PoolConfig:
    """The virtual images V_0 that PTL selects from."""

    name: str = MISSING
    reader: str = MISSING  # a key of datasets.registry.POOL_READERS
    root: str | None = None
    num_images: int | None = None  # null: all
    index_root: str | None = None  # folder of cached indexes; null: <sweep.root>/index
    image_size: int = 128  # miniature world, cutouts: side of the square image, pixels
    domain: str | None = None  # miniature world: virtual (null), virtual_null (boxes on nobody),
    # virtual_source_like (poses, pitches and heights of town) or virtual_other_renderer
    altitude_m: list[float] | None = None  # miniature world: camera height range; null: its own
    world_seed: int = 0  # miniature world: which world; cutouts: which images
    backgrounds: str | None = None  # cutouts: folder of pictures without persons; null: drawn
    options: dict[str, Any] = field(default_factory=dict)  # cutouts: how images are composed
    licence: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("pool", self)
        identifier("pool.name", self.name)
        at_least("pool.num_images", self.num_images, 1)
        at_least("pool.image_size", self.image_size, 32, 8192)
        at_least("pool.world_seed", self.world_seed, 0)
        if self.domain is not None and self.reader not in (MISSING, "miniature"):
            raise ConfigError(
                f"pool.domain={self.domain} is of the miniature world, and {self.reader} reads "
                "files: leave it out, or set pool=miniature"
            )
        if (self.options or self.backgrounds) and self.reader not in (MISSING, "cutouts"):
            raise ConfigError(
                f"pool.backgrounds and pool.options are of pool=cutouts, and {self.reader} "
                "composes no images: leave them out, or set pool=cutouts"
            )
        if self.altitude_m is not None and (
            len(self.altitude_m) != 2 or not 0 < self.altitude_m[0] <= self.altitude_m[1]
        ):
            raise ConfigError(
                f"pool.altitude_m must be [low, high] in metres, got {self.altitude_m}"
            )
