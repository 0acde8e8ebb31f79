"""Regions around persons, cut from an image and resized: what translator and gap work on."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from PIL import Image

from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord

CROP_CONTEXT = 1.25  # side of a square translator crop in longer box sides
CONSTANT_LEVELS = 2.0  # standard deviation, of 255, below which InstanceNorm amplifies noise


class Region(NamedTuple):
    """Pixels of the image; a square may reach over the edge of an image that is smaller."""

    left: int
    top: int
    width: int
    height: int

    @property
    def side(self) -> int:
        """The longer one."""
        return max(self.width, self.height)


class CropSet(NamedTuple):
    """Person crops of one size, and where each was cut."""

    pixels: UInt8[ndarray, "n s s 3"]
    images: Int[ndarray, " n"]  # index of the record
    persons: Int[ndarray, " n"]  # index of the box in the record
    num_too_small: int = 0  # persons left out: region shorter than min_crop_px
    num_constant: int = 0  # persons left out: hardly any contrast in any channel

    def __len__(self) -> int:
        """Crops."""
        return len(self.pixels)


def square_region(box: Float[ndarray, "4"], context: float, width: int, height: int) -> Region:
    """The square around a box with `context` times its longer side, shifted to stay inside.

    The box is taken with every pixel it touches, so context 1 never cuts a person. A square that
    is larger than the image is centred on it along that axis.
    """
    left, top = math.floor(box[0]), math.floor(box[1])
    right, bottom = math.ceil(box[2]), math.ceil(box[3])
    side = max(1, math.ceil(context * max(right - left, bottom - top)))
    return Region(
        _start((left + right - side) / 2, side, width),
        _start((top + bottom - side) / 2, side, height),
        side,
        side,
    )


def person_region(box: Float[ndarray, "4"], crop: str, width: int, height: int) -> Region:
    """What `translator.crop` cuts: `square` with CROP_CONTEXT, or `tight`, the box itself (PTL).

    A tight region is every pixel that the box touches; what little of a mask lies beyond the box is
    not translated.
    """
    if crop == "square":
        return square_region(box, CROP_CONTEXT, width, height)
    left, top = max(math.floor(box[0]), 0), max(math.floor(box[1]), 0)
    right, bottom = min(math.ceil(box[2]), width), min(math.ceil(box[3]), height)
    return Region(left, top, max(right - left, 1), max(bottom - top, 1))


def cut(image: UInt8[ndarray, "h w 3"], region: Region) -> UInt8[ndarray, "t u 3"]:
    """The pixels of a region; beyond the image its edge pixels are repeated."""
    rows = np.arange(region.top, region.top + region.height).clip(0, image.shape[0] - 1)
    columns = np.arange(region.left, region.left + region.width).clip(0, image.shape[1] - 1)
    pixels: UInt8[ndarray, "t u 3"] = image[rows[:, None], columns]
    return pixels


def resize(
    crop: UInt8[ndarray, "h w 3"], width: int, height: int | None = None
) -> UInt8[ndarray, "t u 3"]:
    """Bilinear with antialiasing; to a square where no height is given."""
    height = width if height is None else height
    if crop.shape[:2] == (height, width):
        return crop
    return np.asarray(Image.fromarray(crop).resize((width, height), Image.Resampling.BILINEAR))


def person_crops(
    records: Sequence[ImageRecord],
    *,
    side: int,
    min_crop_px: int,
    cache: ImageCache,
    crop: str = "square",
) -> CropSet:
    """One crop per person, cut as `person_region` says and resized to a square of `side`.

    Regions whose longer side is below `min_crop_px` hold too little to translate, near-constant
    ones turn InstanceNorm into an amplifier of noise: both are left out and counted.
    """
    pixels: list[UInt8[ndarray, "s s 3"]] = []
    where: list[tuple[int, int]] = []
    num_too_small = num_constant = 0
    for index, record in enumerate(records):
        for person, box in enumerate(record.boxes):
            region = person_region(box, crop, record.width, record.height)
            person_pixels = cut(cache.read(record), region)
            if region.side < min_crop_px:
                num_too_small += 1
            elif person_pixels.std(axis=(0, 1)).max() < CONSTANT_LEVELS:
                num_constant += 1
            else:
                pixels.append(resize(person_pixels, side))
                where.append((index, person))
    images, persons = np.array(where, dtype=np.int64).reshape(-1, 2).T
    stacked = np.stack(pixels) if pixels else np.zeros((0, side, side, 3), dtype=np.uint8)
    return CropSet(stacked, images, persons, num_too_small, num_constant)


def _start(centred: float, side: int, length: int) -> int:
    """First pixel of a span of `side` pixels along an axis of `length` pixels."""
    if side > length:
        return -((side - length) // 2)
    return min(max(math.floor(centred), 0), length - side)
