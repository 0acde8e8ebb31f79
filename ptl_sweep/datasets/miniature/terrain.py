"""Ground colours from tileable 1/f noise: asphalt, pavers, grass, rock and plain CGI floors."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

TILE_PX = 512  # side of a noise tile
TILE_SEED = 77
FAR_AWAY_M = 999.0  # keeps ground coordinates positive
WHITE_NOISE = (9, 0.0)  # tile number and exponent of the noise of the sensor

Colour = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Patch:
    """Visible ground: coordinates in the frame of its texture, and noise fields over it."""

    x: Float[ndarray, "h w"]  # metres
    y: Float[ndarray, "h w"]
    origin: tuple[float, float]  # of the noise, metres

    def noise(
        self, number: int, exponent: float, period_m: float, *, swapped: bool = False
    ) -> Float[ndarray, "h w 1"]:
        """Zero-mean, unit-variance noise that repeats after `period_m` metres."""
        shift_x, shift_y = self.origin[::-1] if swapped else self.origin
        tile, scale = noise_tile(number, exponent), TILE_PX / period_m
        row = ((self.y + shift_y + FAR_AWAY_M) * scale).astype(np.int32) % TILE_PX
        column = ((self.x + shift_x + FAR_AWAY_M) * scale).astype(np.int32) % TILE_PX
        field: ndarray = tile[row, column][..., None]
        return field

    @property
    def coarse(self) -> Float[ndarray, "h w 1"]:
        """Blotches some metres wide."""
        return self.noise(1, 1.6, 40)

    @property
    def medium(self) -> Float[ndarray, "h w 1"]:
        """Structure of about a metre."""
        return self.noise(3, 1.0, 20, swapped=True)

    @property
    def fine(self) -> Float[ndarray, "h w 1"]:
        """Grain."""
        return self.noise(2, 0.5, 12)


class Ground(NamedTuple):
    """Ground colours before light, and how the camera is turned over them."""

    colour: Float[ndarray, "h w 3"]  # RGB, about [0, 1]
    azimuth_deg: float  # camera heading, counter-clockwise from the texture's y axis


@cache
def noise_tile(number: int, exponent: float) -> Float[ndarray, "512 512"]:
    """Tileable 1/f^exponent noise of zero mean and unit variance, the same in every process."""
    rows, columns = np.fft.fftfreq(TILE_PX), np.fft.rfftfreq(TILE_PX)
    frequency = np.hypot(rows[:, None], columns[None])
    frequency[0, 0] = 1
    white = np.random.default_rng([TILE_SEED, number]).normal(size=(TILE_PX, TILE_PX))
    spectrum = np.fft.rfft2(white) / frequency**exponent
    spectrum[0, 0] = 0
    noise = np.fft.irfft2(spectrum, s=(TILE_PX, TILE_PX))
    tile: ndarray = (noise / noise.std()).astype(np.float32)
    return tile


def paint_ground(
    rng: Generator, kind: str, x: Float[ndarray, "h w"], y: Float[ndarray, "h w"]
) -> Ground:
    """Colours at the world coordinates x, y (metres) of a randomly turned and shifted ground."""
    origin = (rng.uniform(0, 500), rng.uniform(0, 500))
    azimuth = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(azimuth), np.sin(azimuth)
    tint = rng.uniform(0.95, 1.05, 3).astype(np.float32) * np.float32(rng.uniform(0.85, 1.15))
    patch = Patch(x * c - y * s, x * s + y * c, origin)
    colour = np.clip(GROUND[kind](rng, patch) * tint, 0.02, 0.98).astype(np.float32)
    return Ground(colour, float(np.rad2deg(azimuth)))


def _rgb(red: float, green: float, blue: float) -> Float[ndarray, " 3"]:
    return np.array([red, green, blue], np.float32)


def _asphalt(rng: Generator, patch: Patch) -> ndarray:
    """Lanes 7 m apart with dashed white lines, and a kerb on one side."""
    fine = patch.fine
    road = _rgb(0.36, 0.36, 0.37) * (1 + 0.05 * patch.coarse + 0.07 * fine)
    across = (patch.x - rng.uniform(-3, 3)) % 7
    line = (across < 0.16) & ((patch.y % 3) < 1.6)
    road = np.where(line[..., None], _rgb(0.8, 0.8, 0.77), road)
    kerb = _rgb(0.52, 0.5, 0.47) * (1 + 0.06 * fine)
    return np.where((across > rng.uniform(4, 7))[..., None], kerb, road)


def _pavers(rng: Generator, patch: Patch) -> ndarray:
    stone = _rgb(0.55, 0.50, 0.45) * (1 + 0.06 * patch.coarse + 0.05 * patch.fine)
    side = rng.uniform(0.4, 1.0)
    bond = (np.floor(patch.x / side) % 2) * side / 2
    joint = ((patch.x % side) < 0.06) | (((patch.y + bond) % side) < 0.06)
    return np.where(joint[..., None], stone * 0.75, stone)


def _lawn(_: Generator, patch: Patch) -> ndarray:
    grass = _rgb(0.26, 0.36, 0.15)
    return grass * (1 + 0.12 * patch.coarse + 0.16 * patch.fine + 0.08 * patch.medium)


def _drygrass(_: Generator, patch: Patch) -> ndarray:
    straw: ndarray = _rgb(0.55, 0.47, 0.27) + _rgb(-0.09, -0.02, -0.05) * patch.coarse
    return straw * (1 + 0.14 * patch.medium + 0.2 * patch.fine)


def _rock(_: Generator, patch: Patch) -> ndarray:
    """Fissured limestone with moss."""
    fine = patch.fine
    stone = _rgb(0.62, 0.60, 0.56) * (1.08 - 0.16 * np.abs(patch.medium) + 0.07 * fine)
    return np.where(patch.coarse > 0.7, _rgb(0.27, 0.30, 0.16) * (1 + 0.25 * fine), stone)


def _scree(_: Generator, patch: Patch) -> ndarray:
    pebbles = patch.noise(4, 0.9, 6)
    return _rgb(0.50, 0.46, 0.42) * (1 + 0.16 * pebbles + 0.1 * patch.coarse)


def _gravel(_: Generator, patch: Patch) -> ndarray:
    return _rgb(0.58, 0.56, 0.53) * (1 + 0.15 * patch.fine + 0.08 * patch.coarse)


def _checkerboard(colour: Colour) -> Callable[[Generator, Patch], ndarray]:
    """The plain floor of a game engine, squares of 2 m."""

    def paint(_: Generator, patch: Patch) -> ndarray:
        square = (np.floor(patch.x / 2) + np.floor(patch.y / 2)) % 2
        return _rgb(*colour) * (1 + 0.03 * patch.coarse + 0.05 * square[..., None])

    return paint


GROUND: dict[str, Callable[[Generator, Patch], ndarray]] = {
    "asphalt": _asphalt,
    "pavers": _pavers,
    "lawn": _lawn,
    "drygrass": _drygrass,
    "rock": _rock,
    "scree": _scree,
    "gravel": _gravel,
    "cgi_green": _checkerboard((0.30, 0.62, 0.22)),
    "cgi_grey": _checkerboard((0.62, 0.64, 0.68)),
    "cgi_sand": _checkerboard((0.86, 0.74, 0.48)),
}
