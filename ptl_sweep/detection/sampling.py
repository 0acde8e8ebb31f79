"""The plan of a training batch: which images, which tile or crop of each, flip and colour jitter.

It is a function of the training set, the config and one random generator, takes microseconds, and
touches no pixel: `rendering` makes the pictures of it, on the device.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.config.schema import TrainRecipe
from ptl_sweep.datasets.boxes import box_areas
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.pixels import View, resized_size

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


class PlannedSample(NamedTuple):
    """One image of a batch: what is cut out, what is done to it, and what is then on it."""

    record: ImageRecord
    part: CropWindow  # the image or a tile of it, stored pixels
    seen: tuple[int, int]  # height and width of the part after the resize, pixels
    window: CropWindow  # what is cut out of that
    mirrored: bool
    turned_over: bool
    gain: Float[ndarray, " 3"] | None  # of each channel; None: colours stay
    boxes: Float[ndarray, "n 4"]  # persons, xyxy pixels of the sample, float32
    ignored: Float[ndarray, "m 4"]  # likewise


def plan_batch(
    records: Sequence[ImageRecord], config: TrainRecipe, rng: np.random.Generator, *, view: View
) -> list[PlannedSample]:
    """The samples of one batch, in order."""
    chosen = draw_images(np.array([record.synthetic for record in records]), config, rng)
    return [plan_sample(records[index], config, rng, view=view) for index in chosen]


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


def plan_sample(
    record: ImageRecord, config: TrainRecipe, rng: np.random.Generator, *, view: View
) -> PlannedSample:
    """One image or tile, resized, then cropped, flipped and recoloured at random."""
    part = _draw_part(record, config, rng, view=view)
    seen = resized_size(part.height, part.width, view.resize)
    scale = np.array([seen[1] / part.width, seen[0] / part.height] * 2)
    corner = np.array([part.left, part.top] * 2)
    persons, regions = ((boxes - corner) * scale for boxes in (record.boxes, record.ignored))
    window = CropWindow(0, 0, seen[1], seen[0])
    if config.crop_size is not None:
        window = draw_window(persons, window, config.crop_size, config.positive_fraction, rng)
    boxes, ignored = cut_boxes(persons, regions, window)
    mirrored = rng.random() < config.flip_probability
    vertical = config.vertical_flip_probability
    # no draw without it: earlier trainings stay the same
    turned_over = bool(vertical) and rng.random() < vertical
    for flipped, axis, length in ((mirrored, 0, window.width), (turned_over, 1, window.height)):
        if flipped:
            boxes, ignored = (_flipped(one, axis, length) for one in (boxes, ignored))
    gain = draw_gain(config.colour_jitter, rng)
    return PlannedSample(record, part, seen, window, mirrored, turned_over, gain, boxes, ignored)


def draw_gain(strength: float, rng: np.random.Generator) -> Float[ndarray, " 3"] | None:
    """Factor of each channel: brightness and channel at random within 1 +- strength each."""
    if strength == 0:
        return None
    low, high = 1 - strength, 1 + strength
    return rng.uniform(low, high, 3) * rng.uniform(low, high)


def _draw_part(
    record: ImageRecord, config: TrainRecipe, rng: np.random.Generator, *, view: View
) -> CropWindow:
    """The image; or, where inference sees it in tiles and crops are off, a tile anywhere on it."""
    whole = CropWindow(0, 0, record.width, record.height)
    side = view.tile_side(record.height, record.width)
    if side is None or config.crop_size is not None:
        return whole
    return draw_window(record.boxes, whole, side, config.positive_fraction, rng)


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
            low, high = (min(max(end, low), high) for end in ends)
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


def _clipped(boxes: Float[ndarray, "n 4"], window: CropWindow) -> Float[ndarray, "n 4"]:
    shifted = boxes.astype(np.float64) - np.array([window.left, window.top] * 2)
    limit = np.array([window.width, window.height] * 2)
    clipped: Float[ndarray, "n 4"] = np.minimum(np.maximum(shifted, 0), limit)
    return clipped


def _flipped(boxes: Float[ndarray, "n 4"], axis: int, length: int) -> Float[ndarray, "n 4"]:
    """Mirrored along x (axis 0) or y (axis 1) of an image so long there."""
    mirrored = boxes.copy()
    mirrored[:, axis], mirrored[:, axis + 2] = length - boxes[:, axis + 2], length - boxes[:, axis]
    return mirrored
