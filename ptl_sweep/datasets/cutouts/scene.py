"""Where the persons of an image stand, which of them hides which, and what the image looks like."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from numpy.random import Generator

from ptl_sweep.datasets.cutouts.library import Cutout, cut_window, trimmed
from ptl_sweep.datasets.cutouts.recipe import CutoutRecipe
from ptl_sweep.datasets.miniature.terrain import paint_ground

NUM_TRIES = 10  # places that a hidden person is given before it is left out
MIN_COVERAGE = 0.25  # of a pixel that a box encloses
PERSON_M = 1.7  # height of a person, for the scale of drawn ground
GROUNDS = ("asphalt", "pavers", "lawn", "drygrass", "rock", "scree", "gravel")
PLACES, GROUND, LOOKS = 0, 1, 2  # streams of random numbers: looks move nobody


class Placed(NamedTuple):
    """A person in the image."""

    cutout: Cutout
    left: int  # of the sprite, pixels
    top: int
    sprite: UInt8[ndarray, "h w 4"]
    visible: Float[ndarray, "h w"]  # share of each pixel of the sprite, nearer persons taken off

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image that the sprite covers."""
        height, width = self.visible.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Around what can be seen of the person: xyxy, pixels."""
        enclosed = self.visible > MIN_COVERAGE
        rows, columns = (np.flatnonzero(enclosed.any(axis=axis)) for axis in (1, 0))
        return (
            self.left + int(columns[0]),
            self.top + int(rows[0]),
            self.left + int(columns[-1]) + 1,
            self.top + int(rows[-1]) + 1,
        )


class Layout(NamedTuple):
    """The persons of an image, nearest first, and how tall the image's persons are."""

    persons: tuple[Placed, ...]
    height_px: float  # that those of this image vary around


def place_persons(
    recipe: CutoutRecipe, cutouts: Sequence[Cutout], size: int, seed: tuple[int, int]
) -> Layout:
    """Draw the persons of one image: (world seed, index) and the recipe decide all of it.

    A person whose feet are lower in the picture is nearer and hides others. One that would be
    hidden too much is tried elsewhere, then left out; the nearest is always there.
    Raises: DataError for a cut-out that cannot be used.
    """
    rng = np.random.default_rng([PLACES, *seed])
    low, high = np.log(recipe.height_px)
    height_px = float(np.exp(rng.uniform(low, high)))
    count = int(rng.integers(recipe.persons[0], recipe.persons[1] + 1))
    sprites = [_sprite(rng, recipe, cutouts, size, height_px) for _ in range(count)]
    heights = np.array([len(sprite) for _, sprite in sprites])
    tops = np.rint(rng.random(count) * (size - heights)).astype(int)
    hidden = np.zeros((size, size), np.float32)
    persons: list[Placed] = []
    for number in np.argsort(-(tops + heights), kind="stable"):
        cutout, sprite = sprites[number]
        placed = _find_place(rng, cutout, sprite, int(tops[number]), hidden, recipe.min_visible)
        if placed is not None:
            persons.append(placed)
            hidden[placed.window] += (1 - hidden[placed.window]) * _alpha(sprite)
    return Layout(tuple(persons), height_px)


def _sprite(
    rng: Generator, recipe: CutoutRecipe, cutouts: Sequence[Cutout], size: int, height_px: float
) -> tuple[Cutout, UInt8[ndarray, "h w 4"]]:
    cutout = cutouts[int(rng.integers(len(cutouts)))]
    spread = rng.uniform(-recipe.height_spread, recipe.height_spread)
    mirrored = bool(rng.random() < 0.5) and recipe.flip
    rows, columns = trimmed(cutout).shape[:2]
    height = float(np.clip(height_px * (1 + spread), *recipe.height_px))
    height = min(height, size, size * rows / columns)
    shape = max(1, round(height * columns / rows)), max(1, round(height))
    return cutout, cutout.resized(*shape, mirrored=mirrored)


def _find_place(
    rng: Generator,
    cutout: Cutout,
    sprite: UInt8[ndarray, "h w 4"],
    top: int,
    hidden: Float[ndarray, "s s"],
    min_visible: float,
) -> Placed | None:
    """The first place in these rows at which enough can be seen; None: nowhere."""
    alpha, size = _alpha(sprite), len(hidden)
    height, width = alpha.shape
    for _ in range(NUM_TRIES):
        left = int(rng.integers(size - width + 1))
        free = 1 - hidden[top : top + height, left : left + width]
        placed = Placed(cutout, left, top, sprite, alpha * free)
        enough = placed.visible.sum() >= min_visible * alpha.sum()
        if enough and (placed.visible > MIN_COVERAGE).any():
            return placed
    return None


def _alpha(sprite: UInt8[ndarray, "h w 4"]) -> Float[ndarray, "h w"]:
    alpha: ndarray = sprite[..., 3].astype(np.float32) / np.float32(255)
    return alpha


def choose_ground(backgrounds: Sequence[Path], seed: tuple[int, int]) -> Path | str:
    """Choose a background picture for an image, or a kind of drawn ground where there is none."""
    rng = np.random.default_rng([GROUND, *seed])
    grounds: Sequence[Path | str] = backgrounds or GROUNDS
    return grounds[int(rng.integers(len(grounds)))]


def compose(
    layout: Layout,
    recipe: CutoutRecipe,
    backgrounds: Sequence[Path],
    size: int,
    seed: tuple[int, int],
) -> UInt8[ndarray, "s s 3"]:
    """Draw the image: ground, then the persons from the farthest to the nearest.

    Raises: DataError for a background that cannot be decoded.
    """
    rng = np.random.default_rng([LOOKS, *seed])
    ground = choose_ground(backgrounds, seed)
    if isinstance(ground, Path):
        picture = cut_window(ground, rng, size).astype(np.float32)
    else:
        picture = _drawn_ground(rng, ground, size, layout.height_px)
    looks = list(_looks(rng, recipe, layout.persons))
    light = float(rng.uniform(-1, 1))  # all shadows of an image fall to one side
    for person in layout.persons:
        _darken(picture, person, recipe.shadow, light)
    for person, (gain, sigma) in reversed(list(zip(layout.persons, looks, strict=True))):
        _paste(picture, person, gain, sigma)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _drawn_ground(
    rng: Generator, kind: str, size: int, height_px: float
) -> Float[ndarray, "s s 3"]:
    """Ground of the miniature world at the scale of the persons, 0 to 255."""
    metres = np.arange(size, dtype=np.float32) * np.float32(PERSON_M / height_px)
    x, y = np.meshgrid(metres, metres)
    return paint_ground(rng, kind, x, y).colour * np.float32(255)


def _looks(
    rng: Generator, recipe: CutoutRecipe, persons: Sequence[Placed]
) -> Iterator[tuple[Float[ndarray, " 3"], float]]:
    """Gain of the channels and sigma of the blur of each person."""
    for _ in persons:
        gain = rng.uniform(1 - recipe.colour_jitter, 1 + recipe.colour_jitter, 3)
        yield gain.astype(np.float32), float(rng.uniform(*recipe.blur_px))


def _darken(picture: Float[ndarray, "s s 3"], person: Placed, shadow: float, light: float) -> None:
    """A soft ellipse at the feet, in place; it lies on the ground, so under every person."""
    if not shadow:
        return
    height, width = person.visible.shape
    size = len(picture)
    centre_x = person.left + width / 2 + light * height / 3
    centre_y = person.top + height - 0.06 * height
    radius_x, radius_y = width / 2 + abs(light) * height / 3, max(1.0, 0.16 * height)
    reach_x, reach_y = 1.5 * radius_x, 1.5 * radius_y
    left, right = (int(np.clip(centre_x + side * reach_x, 0, size)) for side in (-1, 1))
    top, bottom = (int(np.clip(centre_y + side * reach_y, 0, size)) for side in (-1, 1))
    xs = (np.arange(left, right, dtype=np.float32) + np.float32(0.5 - centre_x)) / radius_x
    ys = (np.arange(top, bottom, dtype=np.float32) + np.float32(0.5 - centre_y)) / radius_y
    distance = np.hypot(xs[None], ys[:, None])
    shade = np.float32(shadow) * np.clip(1.5 - distance, 0, 1)
    picture[top:bottom, left:right] *= 1 - shade[..., None].astype(np.float32)


def _paste(
    picture: Float[ndarray, "s s 3"], person: Placed, gain: Float[ndarray, " 3"], sigma: float
) -> None:
    """The sprite over the picture, in place, blurred with what lies around it transparent."""
    alpha = _alpha(person.sprite)[..., None]
    colour = person.sprite[..., :3].astype(np.float32) * gain * alpha
    layer = np.concatenate([colour, alpha], axis=2)
    margin = int(np.ceil(3 * sigma))
    if sigma > 0:
        layer = np.pad(layer, ((margin, margin), (margin, margin), (0, 0)))
        from scipy.ndimage import gaussian_filter  # half a second, which no plan should wait for

        layer = gaussian_filter(layer, (sigma, sigma, 0), mode="constant", truncate=3.0)
    size = len(picture)
    top, left = person.top - margin, person.left - margin
    height, width = layer.shape[:2]
    rows = slice(max(0, -top), min(height, size - top))
    columns = slice(max(0, -left), min(width, size - left))
    inside = layer[rows, columns]
    window = np.s_[max(0, top) : min(size, top + height), max(0, left) : min(size, left + width)]
    picture[window] = picture[window] * (1 - inside[..., 3:]) + inside[..., :3]
