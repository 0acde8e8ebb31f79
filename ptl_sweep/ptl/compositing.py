"""Translated persons back into their virtual images (PTL section 3.3): only pixels of the person
mask change, the background and the boxes stay.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.ptl.crops import Region, person_crops, person_region, resize
from ptl_sweep.ptl.translators.base import CropTranslator, FittedTranslator, Translator


class TranslatedImage(NamedTuple):
    """A virtual image with its persons translated, ready for the training set."""

    image: UInt8[ndarray, "h w 3"]
    boxes: Float[ndarray, "n 4"]  # those of the record, unchanged
    num_untranslated: int  # persons left as drawn: too small, no contrast, or nothing to learn from


def composite(
    image: UInt8[ndarray, "h w 3"],
    mask: UInt8[ndarray, "h w"],
    region: Region,
    crop: UInt8[ndarray, "s s 3"],
) -> UInt8[ndarray, "h w 3"]:
    """Paste a translated crop back where the mask covers it, alpha = mask / 255.

    The crop is resized to the region. A pixel whose mask is 0 keeps its value bit for bit.
    """
    rows, columns = (
        _inside(region.top, region.height, image.shape[0]),
        _inside(region.left, region.width, image.shape[1]),
    )
    patch = resize(crop, region.width, region.height)[
        rows.start - region.top : rows.stop - region.top,
        columns.start - region.left : columns.stop - region.left,
    ]
    alpha = mask[rows, columns, None].astype(np.float32) / 255
    before = image[rows, columns]
    blended = np.rint(before * (1 - alpha) + patch * alpha).astype(np.uint8)
    result = image.copy()
    result[rows, columns] = np.where(alpha > 0, blended, before)
    return result


def translate_images(
    records: Sequence[ImageRecord],
    fitted: FittedTranslator,
    method: Translator,
    cache: ImageCache,
) -> list[TranslatedImage]:
    """Crop every person, translate all crops in one call, and paste them back.

    A translator that does not change pixels leaves the images bit-identical. Raises: ValueError
    when a pool record does not have one mask per box.
    """
    images = [cache.read(record) for record in records]
    translated = np.zeros(len(records), dtype=np.int64)
    if fitted.changes_pixels:
        assert isinstance(method, CropTranslator)
        crops = person_crops(
            records,
            side=method.crop_size,
            min_crop_px=method.min_crop_px,
            cache=cache,
            crop=method.crop,
        )
        pixels = fitted.translate(crops.pixels)
        for index in np.unique(crops.images):
            chosen = crops.images == index
            images[index] = _paste(
                records[index], images[index], crops.persons[chosen], pixels[chosen], method.crop
            )
            translated[index] = chosen.sum()
    elif fitted.reason is None:  # identity was asked for: nobody is left out
        translated += [len(record.boxes) for record in records]
    return [
        TranslatedImage(image, record.boxes, len(record.boxes) - int(count))
        for image, record, count in zip(images, records, translated, strict=True)
    ]


def _paste(
    record: ImageRecord,
    image: UInt8[ndarray, "h w 3"],
    persons: ndarray,
    crops: UInt8[ndarray, "n s s 3"],
    kind: str,
) -> UInt8[ndarray, "h w 3"]:
    masks = record.pixels.read_masks()
    if len(masks) != len(record.boxes):
        raise ValueError(
            f"{record.image_id} has {len(record.boxes)} boxes and {len(masks)} masks; "
            "a virtual pool needs one mask per person"
        )
    for person, crop in zip(persons, crops, strict=True):
        region = person_region(record.boxes[person], kind, record.width, record.height)
        image = composite(image, masks[person], region, crop)
    return image


def _inside(start: int, side: int, length: int) -> slice:
    """The part of a span that lies on an axis of `length` pixels."""
    return slice(max(start, 0), max(min(start + side, length), 0))
