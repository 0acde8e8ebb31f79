"""The pool `reader=cutouts`: its images are composed when they are read, and none is written."""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from ptl_sweep.config.schema import PoolConfig
from ptl_sweep.datasets.contents import hash_files
from ptl_sweep.datasets.cutouts.library import (
    Cutout,
    find_backgrounds,
    find_cutouts,
    trimmed,
)
from ptl_sweep.datasets.cutouts.recipe import CutoutRecipe
from ptl_sweep.datasets.cutouts.scene import Layout, choose_ground, compose, place_persons
from ptl_sweep.datasets.records import ImageRecord, ImageSet
from ptl_sweep.store import canonical_json

COMPOSER_VERSION = 1  # raise it whenever any image changes
DEFAULT_NUM_IMAGES = 1000
NUM_LAYOUTS = 256  # kept, so that masks and pixels of an image are placed once


@dataclass(frozen=True, eq=False)
class Studio:
    """What all images of a pool are made of."""

    recipe: CutoutRecipe
    cutouts: tuple[Cutout, ...]
    backgrounds: tuple[Path, ...]
    size: int  # side of the square image, pixels
    world_seed: int


@dataclass(frozen=True, slots=True)
class ComposedImage:
    """Pixels and masks that are made when they are read, the same every time."""

    studio: Studio = field(repr=False)
    index: int

    @property
    def seed(self) -> tuple[int, int]:
        """Of its random numbers."""
        return self.studio.world_seed, self.index

    def read(self) -> UInt8[ndarray, "h w 3"]:
        """Compose the RGB image. Raises: DataError."""
        studio = self.studio
        layout = _layout(studio, self.index)
        return compose(layout, studio.recipe, studio.backgrounds, studio.size, self.seed)

    def read_masks(self) -> UInt8[ndarray, "n h w"]:
        """Coverage (0..255) by the visible part of the person in each box. Raises: DataError."""
        persons = _layout(self.studio, self.index).persons
        masks = np.zeros((len(persons), self.studio.size, self.studio.size), np.uint8)
        for mask, person in zip(masks, persons, strict=True):
            mask[person.window] = np.rint(person.visible * 255)
        return masks


def read_cutouts(config: PoolConfig) -> ImageSet:
    """Place the persons of every image, for the boxes; every image is a scene of its own.

    `root` holds cut-outs: PNG files with transparency in any folders, or pictures with a mask
    `NAME_mask.png` beside them. `options` are those of `CutoutRecipe`.
    Raises: DataError for a file that cannot be used, ConfigError for an option.
    """
    studio = _studio(config)
    for cutout in studio.cutouts:
        trimmed(cutout)  # every file is looked at, drawn or not
    files = _files(studio)
    contents = hash_files(files, config)
    fingerprint = _fingerprint(config, studio, [contents[path] for path in files])
    records = tuple(
        _record(config, studio, index, fingerprint) for index in range(_num_images(config))
    )
    return ImageSet(name=config.name, split="pool", records=records, fingerprint=fingerprint)


def fingerprint_cutouts(config: PoolConfig) -> str:
    """The fingerprint of `read_cutouts(config)`, without placing anybody.

    Raises: DataError, ConfigError.
    """
    studio = _studio(config)
    files = _files(studio)
    contents = hash_files(files, config)
    return _fingerprint(config, studio, [contents[path] for path in files])


def background_contents(config: PoolConfig) -> dict[str, str]:
    """Hash the backgrounds: digest of the bytes -> path in their folder. Raises: DataError."""
    contents = hash_files(find_backgrounds(config), config)
    return {digest: _within(config.backgrounds, path) for path, digest in contents.items()}


def _within(folder: str | None, path: Path) -> str:
    """Name a file by its path below a folder of the configuration."""
    return str(path.relative_to(Path(folder or "").expanduser().absolute()))


def _studio(config: PoolConfig) -> Studio:
    return Studio(
        recipe=CutoutRecipe.of(config),
        cutouts=tuple(find_cutouts(config)),
        backgrounds=tuple(find_backgrounds(config)),
        size=config.image_size,
        world_seed=config.world_seed,
    )


def _num_images(config: PoolConfig) -> int:
    return config.num_images or DEFAULT_NUM_IMAGES


def _files(studio: Studio) -> list[Path]:
    """Every file that images are made of, in the order in which they are drawn from."""
    return [
        *(path for cutout in studio.cutouts for path in cutout.files),
        *studio.backgrounds,
    ]


def _fingerprint(config: PoolConfig, studio: Studio, contents: list[str]) -> str:
    """16 hex digits over the recipe, the number of images and the bytes of all files."""
    identity = {
        "version": COMPOSER_VERSION,
        "recipe": studio.recipe.content(),
        "size": studio.size,
        "world_seed": studio.world_seed,
        "num_images": _num_images(config),
        "cutouts": len(studio.cutouts),
        "files": contents,
    }
    return hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]


@lru_cache(maxsize=NUM_LAYOUTS)
def _layout(studio: Studio, index: int) -> Layout:
    seed = (studio.world_seed, index)
    return place_persons(studio.recipe, studio.cutouts, studio.size, seed)


def _record(config: PoolConfig, studio: Studio, index: int, fingerprint: str) -> ImageRecord:
    seed = (studio.world_seed, index)
    layout = place_persons(studio.recipe, studio.cutouts, studio.size, seed)
    ground = choose_ground(studio.backgrounds, seed)
    boxes = [person.box for person in layout.persons]
    return ImageRecord(
        image_id=f"cutouts-{index:05d}",
        width=studio.size,
        height=studio.size,
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        ignored=np.zeros((0, 4), np.float32),
        scene=f"cutouts-{index}",
        pixels=ComposedImage(studio, index),
        content=f"{fingerprint}-{index}",
        attributes={
            "height_px": layout.height_px,
            "character": "+".join(
                _within(config.root, person.cutout.path.with_suffix("")).replace("+", "_")
                for person in layout.persons
            ),
            "background": (
                _within(config.backgrounds, ground) if isinstance(ground, Path) else ground
            ),
        },
    )
