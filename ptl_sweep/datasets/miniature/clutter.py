"""Things that are no persons: bushes, rocks, poles, bollards, dogs and bags, standing on z = 0."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

from ptl_sweep.datasets.miniature.figures import Figure, rotation

Parts = tuple[ndarray, ndarray, ndarray, ndarray]  # start, end, radius, RGB of each capsule

BUSH_GREEN, ROCK_GREY, DOG_BROWN = (0.20, 0.30, 0.11), (0.58, 0.55, 0.50), (0.45, 0.32, 0.2)
NUM_BUSH_PARTS, NUM_ROCK_PARTS = 16, 6


def clutter(rng: Generator, kind: str) -> Figure:
    """A thing of random size, colour and heading."""
    start, end, radius, colour = CLUTTER[kind](rng)
    turn = rotation("z", rng.uniform(0, 360)).T
    return Figure(
        start.astype(np.float32) @ turn,
        end.astype(np.float32) @ turn,
        radius.astype(np.float32),
        np.clip(colour, 0, 1).astype(np.float32),
    )


def _scatter(
    rng: Generator, num_points: int, sigma: tuple[float, float, float]
) -> Float[ndarray, "n 3"]:
    normal = rng.normal(0, 1, (num_points, 3)).astype(np.float32)
    return normal * np.array(sigma, np.float32)


def _bush(rng: Generator) -> Parts:
    sigma = (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7), 0.25)
    start = _scatter(rng, NUM_BUSH_PARTS, sigma)
    radius = rng.uniform(0.12, 0.26, NUM_BUSH_PARTS)
    end = start + _scatter(rng, NUM_BUSH_PARTS, (0.1, 0.1, 0.1))
    shade = rng.uniform(0.6, 1.5, (NUM_BUSH_PARTS, 1))
    return start, end, radius, np.array(BUSH_GREEN) * shade * rng.uniform(0.8, 1.2, 3)


def _rock(rng: Generator) -> Parts:
    start = _scatter(rng, NUM_ROCK_PARTS, (0.2, 0.2, 0.08)) * np.float32(rng.uniform(0.5, 2))
    radius = rng.uniform(0.12, 0.32, NUM_ROCK_PARTS)
    end = start + _scatter(rng, NUM_ROCK_PARTS, (0.12, 0.12, 0.05))
    shade = rng.uniform(0.75, 1.25, (NUM_ROCK_PARTS, 1))
    return start, end, radius, np.array(ROCK_GREY) * shade * rng.uniform(0.8, 1.2)


def _post(rng: Generator, low: float, high: float) -> Parts:
    height = rng.uniform(low, high)
    start = np.array([[0, 0, 0], [0, 0, height]], np.float32)
    end = start + np.array([[0, 0, height], [rng.uniform(0, 0.3), 0, 0.02]], np.float32)
    radius = np.array([rng.uniform(0.04, 0.12), rng.uniform(0.07, 0.16)])
    colour = np.stack([np.full(3, rng.uniform(0.2, 0.8)), rng.uniform(0.1, 0.9, 3)])
    return start, end, radius, colour


def _dog(rng: Generator) -> Parts:
    trunk = ((-0.3, 0, 0.45), (0.3, 0, 0.45), 0.14)
    head = ((0.3, 0, 0.5), (0.48, 0, 0.62), 0.1)
    tail = ((-0.35, 0, 0.5), (-0.6, 0.05, 0.6), 0.035)
    legs = [
        ((0.28 * side, y, 0.4), ((0.28 - 0.25 * y) * side, y, 0.05), 0.05)
        for side in (-1, 1)
        for y in (-0.08, 0.08)
    ]
    bones = [trunk, head, *legs, tail]
    start, end, radius = (np.array([bone[i] for bone in bones], np.float32) for i in range(3))
    colour = np.tile(np.array(DOG_BROWN) * rng.uniform(0.2, 1.8), (len(bones), 1))
    return start, end, radius, colour


def _bag(rng: Generator) -> Parts:
    start = np.array([[-0.15, 0, 0.15], [-0.1, 0.1, 0.2]], np.float32)
    end = np.array([[0.15, 0, 0.15], [0.1, 0.1, 0.25]], np.float32)
    radius = np.array([rng.uniform(0.12, 0.22), 0.1])
    return start, end, radius, np.tile(rng.uniform(0.05, 0.7, 3), (2, 1))


CLUTTER: dict[str, Callable[[Generator], Parts]] = {
    "bush": _bush,
    "rock": _rock,
    "pole": lambda rng: _post(rng, 1.8, 3.0),
    "bollard": lambda rng: _post(rng, 0.8, 1.5),
    "dog": _dog,
    "bag": _bag,
}
