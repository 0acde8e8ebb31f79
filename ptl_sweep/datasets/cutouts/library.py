"""Cut-outs and backgrounds: which files there are, whether they can be used, and their pixels."""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from ptl_sweep.config.schema import PoolConfig
from ptl_sweep.datasets.images import decode, decode_rgba, image_size, list_images
from ptl_sweep.datasets.readers.archangel.masks import read_mask
from ptl_sweep.datasets.validation import DataError, data_error

MASK_ENDS = ("_mask", ".mask")  # of the stem of a mask's name, beside its picture
OPAQUE = 128  # alpha from which on a pixel counts as the person's when a cut-out is trimmed
MIN_ROWS = 4  # of opaque pixels
MAX_CACHED_CUTOUTS = 1024
NUM_CACHED_BACKGROUNDS = 8  # a picture of 12 million pixels takes 36 MB
FIX = "save the person as a PNG with a transparent background, or put NAME_mask.png beside it"


class Cutout(NamedTuple):
    """One person: a file with transparency, or a picture and its mask."""

    name: str  # of the file, without its end
    path: Path
    mask: Path | None

    @property
    def files(self) -> list[Path]:
        """The picture, and the mask where there is one."""
        return [self.path] if self.mask is None else [self.path, self.mask]

    def resized(self, width: int, height: int, *, mirrored: bool) -> UInt8[ndarray, "h w 4"]:
        """The person at this size in pixels; colours do not bleed in from transparent ones.

        Raises: DataError.
        """
        image = Image.fromarray(trimmed(self))
        scaled = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
        return scaled[:, ::-1] if mirrored else scaled


@lru_cache(maxsize=MAX_CACHED_CUTOUTS)
def trimmed(cutout: Cutout) -> UInt8[ndarray, "h w 4"]:
    """Read the smallest RGBA picture around the person.

    Raises: DataError for a file without transparency, or with next to nothing that is opaque.
    """
    if cutout.mask is None:
        pixels = decode_rgba(cutout.path)
    else:
        colour = decode(cutout.path)
        height, width = colour.shape[:2]
        pixels = np.dstack([colour, read_mask(cutout.mask, (width, height))])
    inside = pixels[..., 3] >= OPAQUE
    if inside.all():
        raise data_error(cutout.path, "has no transparent pixel: it is no cut-out", FIX)
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    if len(rows) < MIN_ROWS:
        raise data_error(
            cutout.path, f"has {len(rows)} opaque rows, a person needs {MIN_ROWS}", FIX
        )
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].copy()


def cut_window(path: Path, rng: np.random.Generator, size: int) -> UInt8[ndarray, "s s 3"]:
    """Cut a square out of a picture at its own resolution; a picture that is smaller is enlarged.

    Raises: DataError for a picture that cannot be decoded.
    """
    picture = _decoded(path)
    height, width = picture.shape[:2]
    if min(height, width) < size:
        scale = size / min(height, width)
        shape = (max(size, round(width * scale)), max(size, round(height * scale)))
        picture = np.asarray(Image.fromarray(picture).resize(shape, Image.Resampling.BICUBIC))
    top, left = (int(rng.integers(side - size + 1)) for side in picture.shape[:2])
    square = picture[top : top + size, left : left + size]
    return square[:, ::-1] if rng.random() < 0.5 else square


_decoded = lru_cache(maxsize=NUM_CACHED_BACKGROUNDS)(decode)


def find_cutouts(config: PoolConfig) -> list[Cutout]:
    """List the cut-outs below the pool's root by name. Raises: DataError."""
    root = _folder(config.root, "pool.root", "cut-outs of persons")
    paths = list_images(root)
    masks = {path for path in paths if path.stem.endswith(MASK_ENDS)}
    found = []
    for path in paths:
        if path in masks:
            continue
        names = (f"{path.stem}{end}.png" for end in MASK_ENDS)
        beside = [path.with_name(name) for name in names if path.with_name(name) in masks]
        found.append(Cutout(path.stem, path, next(iter(beside), None)))
    if not found:
        raise data_error(root, "holds masks and no picture", FIX)
    return found


def find_backgrounds(config: PoolConfig) -> list[Path]:
    """List the background pictures; none where the ground is drawn. Raises: DataError."""
    if config.backgrounds is None:
        return []
    folder = _folder(config.backgrounds, "pool.backgrounds", "pictures without persons")
    paths = list_images(folder)
    for path in paths:
        image_size(path)
    return paths


def _folder(value: str | None, key: str, holds: str) -> Path:
    path = None if value is None else Path(value).expanduser().absolute()
    if path is not None and path.is_dir():
        return path
    tried = "is not set" if path is None else f"is {path}, which is not a folder"
    raise DataError(f"{key} {tried}\n  fix: set it to the folder that holds {holds}")
