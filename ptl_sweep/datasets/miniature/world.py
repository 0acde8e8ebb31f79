"""The embedded miniature world as data sets: a toy, drawn on demand, with a real domain gap."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from ptl_sweep.config.schema import ConfigError, DatasetConfig, PoolConfig
from ptl_sweep.datasets.miniature.domains import DOMAINS, IMAGE_SIZE
from ptl_sweep.datasets.miniature.scene import Rendering, render_scene
from ptl_sweep.datasets.records import ImageRecord, ImageSet

WORLD_VERSION = 1  # raise it whenever any picture changes
DEFAULT_POOL_DOMAIN = "virtual"
POOL_DOMAINS = tuple(name for name in DOMAINS if DOMAINS[name].computer_graphics)
DATASET_DOMAINS = tuple(name for name in DOMAINS if name not in POOL_DOMAINS)

SPLIT_STARTS = {"train": 0, "validation": 10_000, "test": 20_000}  # first picture of each split
SPLIT_CAPACITY = 10_000  # pictures
DEFAULT_NUM_IMAGES = {"train": 200, "validation": 60, "test": 60}
DEFAULT_POOL_IMAGES = 300

MIN_ALTITUDE_M = 10.0  # below, figures come too close for rays taken as parallel
MAX_IMAGE_SIZE = 640  # pixels; much wider, the flattest camera would see the horizon
MAX_CACHED_RENDERINGS = 512  # about 50 MB of pictures of 128 px


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedImage:
    """Pixels that are drawn when they are read; equal fields give equal pixels."""

    domain: str
    world_seed: int
    index: int
    size: int  # side of the square picture, pixels
    altitude_m: tuple[float, float]  # range that the camera's height is drawn from

    def read(self) -> UInt8[ndarray, "h w 3"]:
        """The RGB image."""
        return _render(self).image.copy()

    def read_masks(self) -> UInt8[ndarray, "n h w"]:
        """Coverage (0..255) by the visible part of the person in each box."""
        return _render(self).masks.copy()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Series:
    """Consecutive pictures of one domain: known before any is drawn."""

    domain: str
    world_seed: int
    indices: range
    size: int
    altitude_m: tuple[float, float]

    def fingerprint(self) -> str:
        """16 hex digits over everything that decides the pictures and the boxes."""
        indices = [self.indices.start, self.indices.stop]
        altitude_m = [float(metres) for metres in self.altitude_m]
        identity = [WORLD_VERSION, self.domain, self.world_seed, indices, self.size, altitude_m]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]

    def image_set(self, name: str, split: str) -> ImageSet:
        """Draw every picture once, for its boxes."""
        records = tuple(self._record(index) for index in self.indices)
        return ImageSet(name=name, split=split, records=records, fingerprint=self.fingerprint())

    def _record(self, index: int) -> ImageRecord:
        pixels = RenderedImage(
            domain=self.domain,
            world_seed=self.world_seed,
            index=index,
            size=self.size,
            altitude_m=self.altitude_m,
        )
        rendering = _render(pixels)
        return ImageRecord(
            image_id=f"{self.domain}-{index:05d}",
            width=self.size,
            height=self.size,
            boxes=rendering.boxes.copy(),
            ignored=np.zeros((0, 4), np.float32),
            scene=f"{self.domain}-{index}",
            pixels=pixels,
            attributes=_attributes(rendering),
        )


def read_miniature(config: DatasetConfig, split: str) -> ImageSet:
    """A split of `config.domain`, pictures of 128 px with at least one person each.

    Raises: ConfigError for a domain, split, seed or number of images that does not exist.
    """
    return _split_series(config, split).image_set(config.name, split)


def read_miniature_pool(config: PoolConfig) -> ImageSet:
    """Virtual pictures with masks and attributes; the focal length stays 900 px at any size.

    Raises: ConfigError for a size, altitude or seed that cannot be drawn.
    """
    return _pool_series(config).image_set(config.name, "pool")


def fingerprint_miniature(config: DatasetConfig, split: str) -> str:
    """The fingerprint of `read_miniature(config, split)`, without drawing anything."""
    return _split_series(config, split).fingerprint()


def fingerprint_miniature_pool(config: PoolConfig) -> str:
    """The fingerprint of `read_miniature_pool(config)`, without drawing anything."""
    return _pool_series(config).fingerprint()


def num_images(config: DatasetConfig, split: str) -> int:
    """Pictures in a split, each with at least one person, without drawing anything."""
    return len(_split_series(config, split).indices)


def num_pool_images(config: PoolConfig) -> int:
    """Pictures in the pool, each with at least one person, without drawing anything."""
    return len(_pool_series(config).indices)


def _split_series(config: DatasetConfig, split: str) -> _Series:
    if config.domain not in DATASET_DOMAINS:
        allowed = ", ".join(DATASET_DOMAINS)
        raise ConfigError(f"{config.name}.domain must be one of {allowed}; got {config.domain!r}")
    if split not in SPLIT_STARTS:
        allowed = ", ".join(SPLIT_STARTS)
        raise ConfigError(f"{config.name}.split must be one of {allowed}; got {split!r}")
    count = config.num_images or DEFAULT_NUM_IMAGES[split]
    if count > SPLIT_CAPACITY:
        raise ConfigError(f"{config.name}.num_images must be at most {SPLIT_CAPACITY}, got {count}")
    return _Series(
        domain=config.domain,
        world_seed=config.world_seed,
        indices=range(SPLIT_STARTS[split], SPLIT_STARTS[split] + count),
        size=IMAGE_SIZE,
        altitude_m=DOMAINS[config.domain].altitude_m,
    )


def _pool_series(config: PoolConfig) -> _Series:
    if config.image_size > MAX_IMAGE_SIZE:
        raise ConfigError(
            f"pool.image_size must be at most {MAX_IMAGE_SIZE}, got {config.image_size}"
        )
    domain = config.domain or DEFAULT_POOL_DOMAIN
    if domain not in POOL_DOMAINS:
        allowed = ", ".join(POOL_DOMAINS)
        raise ConfigError(f"pool.domain must be one of {allowed}; got {domain!r}")
    low, high = config.altitude_m or DOMAINS[domain].altitude_m
    if low < MIN_ALTITUDE_M:
        raise ConfigError(f"pool.altitude_m must be at least {MIN_ALTITUDE_M}, got [{low}, {high}]")
    return _Series(
        domain=domain,
        world_seed=config.world_seed,
        indices=range(config.num_images or DEFAULT_POOL_IMAGES),
        size=config.image_size,
        altitude_m=(low, high),
    )


@lru_cache(maxsize=MAX_CACHED_RENDERINGS)
def _render(image: RenderedImage) -> Rendering:
    return render_scene(image.domain, image.world_seed, image.index, image.size, image.altitude_m)


def _attributes(rendering: Rendering) -> dict[str, float | str]:
    """What is known of a picture; `pose` names the pose of every box, in order."""
    return {
        "altitude_m": rendering.altitude_m,
        "radius_m": rendering.radius_m,
        "pitch_deg": rendering.pitch_deg,
        "azimuth_deg": rendering.azimuth_deg,
        "pose": "+".join(rendering.poses),
        "ground": rendering.ground,
    }
