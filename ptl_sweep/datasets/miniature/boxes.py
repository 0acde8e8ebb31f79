"""Which persons of a scene have a box and a mask, and boxes that show nobody (the null pool)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from numpy import ndarray
from numpy.random import Generator

from ptl_sweep.datasets.miniature.canvas import Canvas
from ptl_sweep.datasets.miniature.figures import Figure

MIN_VISIBLE_SHARE = 0.6  # of a person's silhouette, or there is no box
MIN_VISIBLE_PX = 12.0  # area of the visible part of a person, or there is no box
MIN_COVERAGE = 0.25  # of a pixel that a box encloses

Box = tuple[int, int, int, int]  # xyxy pixels


class Thing(NamedTuple):
    """A figure in the world and what it is."""

    figure: Figure
    pose: str | None  # None: clutter


class Person(NamedTuple):
    """A person that is visible enough to have a box."""

    box: Box
    mask: UInt8[ndarray, "h w"]
    pose: str


def visible_persons(canvas: Canvas, things: Sequence[Thing]) -> Iterator[Person]:
    """Those of the things drawn on the canvas that are persons and visible enough."""
    for number, thing in enumerate(things, start=1):
        if thing.pose is None:
            continue
        coverage = canvas.coverage(number)
        area = coverage.sum()
        enclosed = coverage > MIN_COVERAGE
        least = max(MIN_VISIBLE_SHARE * canvas.silhouette_px(number), MIN_VISIBLE_PX)
        if area < least or not enclosed.any():
            continue
        yield Person(_around(enclosed), (coverage * 255).astype(np.uint8), thing.pose)


def moved_to_ground(
    rng: Generator, persons: Sequence[Person], canvas: Canvas, num_things: int
) -> Iterator[Person]:
    """Each box with its mask at a random place whose pixels show no thing, shadows apart.

    The boxes overlap neither each other nor the box of anything drawn; one without room is left
    out.
    """
    taken = np.zeros_like(persons[0].mask, dtype=bool)
    for number in range(1, num_things + 1):
        covered = canvas.coverage(number) > 0
        if covered.any():
            left, top, right, bottom = _around(covered)
            taken[top:bottom, left:right] = True
    for person in persons:
        left, top, right, bottom = person.box
        height, width = bottom - top, right - left
        free = _free_corners(taken, height, width)
        if not len(free):
            continue
        row, column = (int(place) for place in free[rng.integers(len(free))])
        window = np.s_[row : row + height, column : column + width]
        mask = np.zeros_like(person.mask)
        mask[window] = person.mask[top:bottom, left:right]
        taken[window] = True
        yield person._replace(box=(column, row, column + width, row + height), mask=mask)


def _around(covered: Bool[ndarray, "h w"]) -> Box:
    rows, columns = np.nonzero(covered)
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def _free_corners(taken: Bool[ndarray, "h w"], height: int, width: int) -> ndarray:
    """(row, column) of every window of this size that holds no taken pixel."""
    total = np.pad(taken.astype(np.int32).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    inside = total[height:, width:] + total[:-height, :-width]
    return np.argwhere(inside == total[height:, :-width] + total[:-height, width:])
