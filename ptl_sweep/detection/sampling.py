"""The plan of a training batch: which images, which tile or crop of each, who is pasted on it,
flips, turns and colour jitter.

It is a function of the training set, the config and one random generator, takes microseconds, and
touches no pixel: `rendering` makes the pictures of it, on the device.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.config.schema import TilingConfig, TrainRecipe
from ptl_sweep.datasets.boxes import box_areas
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.pasting import Donors, PlannedPaste
from ptl_sweep.detection.pixels import CropWindow, View, resized_size
from ptl_sweep.detection.symmetry import Symmetry, draw_symmetry

MIN_VISIBLE = 0.5  # share of a person's box on the crop; below it the person is ignored
MIN_SIDE = 1.0  # pixels; smaller boxes are ignored: their logarithm ruins the box loss


class PlannedSample(NamedTuple):
    """One image of a batch: what is cut out, what is done to it, and what is then on it."""

    record: ImageRecord
    part: CropWindow  # the image or a tile of it, stored pixels
    seen: tuple[int, int]  # height and width of the part after the resize, pixels
    window: CropWindow  # what is cut out of that
    pastes: list[PlannedPaste]  # persons of other images, put on that
    symmetry: Symmetry  # what is done to it then
    gain: Float[ndarray, " 3"] | None  # of each channel; None: colours stay
    boxes: Float[ndarray, "n 4"]  # persons, xyxy pixels of the sample, float32
    ignored: Float[ndarray, "m 4"]  # likewise

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width of the sample, pixels."""
        return self.symmetry.sides(self.window.height, self.window.width)

    @property
    def sources(self) -> list[ImageRecord]:
        """The images whose pixels it is made of."""
        return [self.record, *(paste.record for paste in self.pastes)]


def plan_batch(
    records: Sequence[ImageRecord], config: TrainRecipe, rng: np.random.Generator, *, view: View
) -> list[PlannedSample]:
    """The samples of one batch, in order."""
    chosen = draw_images(np.array([record.synthetic for record in records]), config, rng)
    uncut = view if config.crop_size is None else view._replace(tiling=TilingConfig())
    donors = Donors(records if config.copy_paste else (), uncut)
    return [plan_sample(records[index], config, rng, view=view, donors=donors) for index in chosen]


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
    record: ImageRecord,
    config: TrainRecipe,
    rng: np.random.Generator,
    *,
    view: View,
    donors: Donors,
) -> PlannedSample:
    """One image or tile, resized, then cropped, pasted on, flipped and recoloured at random."""
    part = _draw_part(record, config, rng, view=view)
    seen = resized_size(part.height, part.width, view.resize)
    scale = np.array([seen[1] / part.width, seen[0] / part.height] * 2)
    corner = np.array([part.left, part.top] * 2)
    persons, regions = ((boxes - corner) * scale for boxes in (record.boxes, record.ignored))
    window = CropWindow(0, 0, seen[1], seen[0])
    if config.crop_size is not None:
        window = draw_window(persons, window, config.crop_size, config.positive_fraction, rng)
    boxes, ignored = cut_boxes(persons, regions, window)
    pastes = []
    if config.copy_paste and not record.synthetic:
        pastes = donors.draw(config.copy_paste, boxes, (window.height, window.width), rng)
        boxes = np.concatenate([boxes, *(paste.box[None] for paste in pastes)], dtype=np.float32)
    symmetry = draw_symmetry(config, rng)
    boxes, ignored = (
        symmetry.of_boxes(one, window.height, window.width) for one in (boxes, ignored)
    )
    gain = draw_gain(config.colour_jitter, rng)
    return PlannedSample(record, part, seen, window, pastes, symmetry, gain, boxes, ignored)


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
