"""Training batches: which images, which tile or crop of each, flip and colour jitter.

A batch is a function of the training set, the config and one random generator.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from ptl_sweep.config.schema import TrainRecipe
from ptl_sweep.datasets.boxes import box_areas
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.pixels import Resize, View, load_image, resized_size

MIN_VISIBLE = 0.5  # share of a person's box on the crop; below it the person is ignored
MIN_SIDE = 1.0  # pixels; smaller boxes are ignored: their logarithm ruins the box loss


class CropWindow(NamedTuple):
    """Part of an image, pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


class Stored(NamedTuple):
    """What a sample is made of: an image or a tile of it, boxes in its pixels, xyxy."""

    pixels: UInt8[ndarray, "h w 3"]
    boxes: Float[ndarray, "n 4"]
    ignored: Float[ndarray, "m 4"]


class Batch(NamedTuple):
    """RGB images in [0, 1] with persons and ignored regions, xyxy pixels, float32."""

    images: Float[Tensor, "b 3 h w"]
    boxes: list[Float[Tensor, "_ 4"]]
    ignored: list[Float[Tensor, "_ 4"]]


class Sample(NamedTuple):
    """One augmented image of a batch."""

    image: Float[Tensor, "3 h w"]
    boxes: Float[ndarray, "n 4"]
    ignored: Float[ndarray, "m 4"]


def draw_batch(
    records: Sequence[ImageRecord],
    config: TrainRecipe,
    rng: np.random.Generator,
    *,
    cache: ImageCache,
    view: View,
    fill: Float[Tensor, "3 1 1"],
) -> Batch:
    """One batch; smaller images are padded with the colour `fill`, on the right and below."""
    chosen = draw_images(np.array([record.synthetic for record in records]), config, rng)
    samples = [draw_sample(records[i], config, rng, cache=cache, view=view) for i in chosen]
    height, width = (max(sample.image.shape[axis] for sample in samples) for axis in (1, 2))
    if config.crop_size is not None:
        height = width = config.crop_size
    images = fill.repeat(len(samples), 1, height, width)
    for canvas, sample in zip(images, samples, strict=True):
        canvas[:, : sample.image.shape[1], : sample.image.shape[2]] = sample.image
    return Batch(
        images,
        [torch.from_numpy(sample.boxes) for sample in samples],
        [torch.from_numpy(sample.ignored) for sample in samples],
    )


def draw_images(
    synthetic: Bool[ndarray, " n"], config: TrainRecipe, rng: np.random.Generator
) -> Int[ndarray, " b"]:
    """Which images make a batch; they repeat only where there are fewer than are drawn.

    `config.real_fraction` sets the mean share of real ones, where there are others.
    """
    count = config.batch_size
    if config.real_fraction is None or not synthetic.any():
        return rng.choice(len(synthetic), count, replace=len(synthetic) < count)
    num_real = int(config.real_fraction * count + rng.random())
    groups = (np.flatnonzero(~synthetic), num_real), (np.flatnonzero(synthetic), count - num_real)
    return np.concatenate(
        [rng.choice(images, size, replace=len(images) < size) for images, size in groups]
    )


def draw_sample(
    record: ImageRecord,
    config: TrainRecipe,
    rng: np.random.Generator,
    *,
    cache: ImageCache,
    view: View,
) -> Sample:
    """One image or tile, resized, then cropped, flipped and recoloured at random."""
    stored = _stored_part(record, config, rng, cache=cache, view=view)
    pixels = stored.pixels
    height, width = resized_size(pixels.shape[0], pixels.shape[1], view.resize)
    scale = np.tile([width / pixels.shape[1], height / pixels.shape[0]], 2)
    persons = stored.boxes * scale
    window = CropWindow(0, 0, width, height)
    if config.crop_size is not None:
        window = draw_window(persons, window, config.crop_size, config.positive_fraction, rng)
    boxes, ignored = cut_boxes(persons, stored.ignored * scale, window)
    image = _cut_image(pixels, window, view.resize)
    if rng.random() < config.flip_probability:
        image = image.flip(2)
        boxes, ignored = (_flipped(part, 0, window.width) for part in (boxes, ignored))
    vertical = config.vertical_flip_probability
    if vertical and rng.random() < vertical:  # no draw without it: earlier trainings stay the same
        image = image.flip(1)
        boxes, ignored = (_flipped(part, 1, window.height) for part in (boxes, ignored))
    return Sample(jitter_colour(image, config.colour_jitter, rng), boxes, ignored)


def _stored_part(
    record: ImageRecord,
    config: TrainRecipe,
    rng: np.random.Generator,
    *,
    cache: ImageCache,
    view: View,
) -> Stored:
    """The image; or, where inference sees it in tiles and crops are off, a tile anywhere on it."""
    pixels = cache.read(record)
    height, width = pixels.shape[:2]
    side = view.tile_side(height, width)
    if side is None or config.crop_size is not None:
        return Stored(pixels, record.boxes, record.ignored)
    whole = CropWindow(0, 0, width, height)
    tile = draw_window(record.boxes, whole, side, config.positive_fraction, rng)
    corner = np.tile([tile.left, tile.top], 2)
    rows, columns = tile.slices
    return Stored(pixels[rows, columns], record.boxes - corner, record.ignored - corner)


def draw_window(
    persons: Float[ndarray, "n 4"],
    image: CropWindow,
    side: int,
    positive_fraction: float,
    rng: np.random.Generator,
) -> CropWindow:
    """A square of this side, around a random person for a share `positive_fraction` of the draws.

    The person is anywhere on it, whole if it fits. Images smaller than the square stay whole along
    that axis.
    """
    person = None
    if len(persons) and rng.random() < positive_fraction:
        person = persons[rng.integers(len(persons))]
    corner, sides = [], []
    for axis, length in enumerate((image.width, image.height)):
        crop = min(side, length)
        low, high = 0.0, float(length - crop)
        if person is not None:
            ends = sorted((float(person[axis]), float(person[axis + 2]) - crop))
            low, high = (float(np.clip(end, low, high)) for end in ends)
        first = int(np.ceil(low))
        corner.append(int(rng.integers(first, max(first, int(high)) + 1)))
        sides.append(crop)
    return CropWindow(*corner, *sides)


def cut_boxes(
    persons: Float[ndarray, "n 4"], ignored: Float[ndarray, "m 4"], window: CropWindow
) -> tuple[Float[ndarray, "p 4"], Float[ndarray, "q 4"]]:
    """Persons and ignored regions on the window, clipped, in its pixels, float32.

    A person of whom less than half is visible, or less than a pixel, is an ignored region there.
    """
    clipped, regions = _clipped(persons, window), _clipped(ignored, window)
    visible = box_areas(clipped)
    sides = clipped[:, 2:] - clipped[:, :2]
    kept = (visible >= MIN_VISIBLE * box_areas(persons)) & (sides >= MIN_SIDE).all(1)
    hidden = clipped[~kept & (visible > 0)]
    regions = np.concatenate([regions[box_areas(regions) > 0], hidden])
    return clipped[kept].astype(np.float32), regions.astype(np.float32)


def jitter_colour(
    image: Float[Tensor, "3 h w"], strength: float, rng: np.random.Generator
) -> Float[Tensor, "3 h w"]:
    """Brightness and each channel times random factors within 1 +- strength, cut to [0, 1]."""
    if strength == 0:
        return image
    low, high = 1 - strength, 1 + strength
    gain = torch.from_numpy(rng.uniform(low, high, 3) * rng.uniform(low, high))
    return (image * gain.to(image.dtype)[:, None, None]).clamp(0, 1)


def _cut_image(pixels: UInt8[ndarray, "h w 3"], window: CropWindow, resize: Resize) -> Tensor:
    """The window of the resized image, 3 x height x width; converts no more than it must."""
    rows, columns = window.slices
    if resize is None:
        return load_image(pixels[rows, columns], None)
    return load_image(pixels, resize)[:, rows, columns]


def _clipped(boxes: Float[ndarray, "n 4"], window: CropWindow) -> Float[ndarray, "n 4"]:
    shifted = boxes.astype(np.float64) - np.tile([window.left, window.top], 2)
    limit = np.tile([window.width, window.height], 2)
    clipped: Float[ndarray, "n 4"] = np.clip(shifted, 0, limit)
    return clipped


def _flipped(boxes: Float[ndarray, "n 4"], axis: int, length: int) -> Float[ndarray, "n 4"]:
    """Mirrored along x (axis 0) or y (axis 1) of an image so long there."""
    mirrored = boxes.copy()
    mirrored[:, axis], mirrored[:, axis + 2] = length - boxes[:, axis + 2], length - boxes[:, axis]
    return mirrored
