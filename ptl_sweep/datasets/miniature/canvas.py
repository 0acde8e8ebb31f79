"""A supersampled depth buffer that figures are drawn into, nearest first."""

from itertools import product

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.datasets.miniature.camera import Camera
from ptl_sweep.datasets.miniature.capsules import Material, Sprite, draw_figure
from ptl_sweep.datasets.miniature.domains import FOCAL_PX
from ptl_sweep.datasets.miniature.figures import Figure

SUPERSAMPLING = 2  # canvas pixels per picture pixel and axis
CELL = SUPERSAMPLING**2  # canvas pixels per picture pixel


class Canvas:
    """Figures over nothing: colour, depth and which figure each canvas pixel shows."""

    def __init__(self, camera: Camera, material: Material) -> None:
        self._camera, self._material = camera, material
        side = camera.size * SUPERSAMPLING
        self._depth = np.full((side, side), np.inf, np.float32)  # metres
        self._colour = np.zeros((side, side, 3), np.float32)
        self._owner = np.zeros((side, side), np.uint8)  # number of the figure, 0: nothing
        self._silhouettes: list[int] = []

    def draw(self, figure: Figure) -> None:
        """Draw a figure given in the world, metres; figures are numbered from 1."""
        camera = self._camera
        start, end = camera.to_camera(figure.start), camera.to_camera(figure.end)
        middle = (start.mean(0) + end.mean(0)) / 2
        scale = np.float32(FOCAL_PX * SUPERSAMPLING) / middle[2]  # canvas pixels per metre
        centre = middle[:2] * scale + camera.centre_px * SUPERSAMPLING
        seen = Figure(start - middle, end - middle, figure.radius, figure.colour)
        sprite = draw_figure(seen, self._material, centre, scale)
        self._silhouettes.append(sprite.silhouette_px)
        self._stamp(sprite, middle[2])

    def _stamp(self, sprite: Sprite, distance: np.float32) -> None:
        (height, width), side = sprite.depth.shape, len(self._depth)
        left, top = max(sprite.left, 0), max(sprite.top, 0)
        right, bottom = min(sprite.left + width, side), min(sprite.top + height, side)
        if right <= left or bottom <= top:
            return
        inside = np.s_[
            top - sprite.top : bottom - sprite.top, left - sprite.left : right - sprite.left
        ]
        window = np.s_[top:bottom, left:right]
        depth, colour = sprite.depth[inside] + distance, sprite.colour[inside]
        nearer = depth < self._depth[window]
        self._depth[window][nearer] = depth[nearer]
        self._colour[window][nearer] = colour[nearer]
        self._owner[window][nearer] = len(self._silhouettes)

    def over(self, ground: Float[ndarray, "h w 3"], *, aliased: bool) -> Float[ndarray, "h w 3"]:
        """The figures in front of a ground; `aliased` leaves hard edges."""
        reduce = _first if aliased else _average
        opacity = reduce(self._owner > 0)[..., None]
        light: ndarray = ground * (1 - opacity) + reduce(self._colour)
        return light

    def coverage(self, number: int) -> Float[ndarray, "h w"]:
        """Share of each picture pixel, 0..1, that shows this figure."""
        return _average(self._owner == number)

    def silhouette_px(self, number: int) -> float:
        """Area of the figure in picture pixels, were it neither cut off nor hidden."""
        return self._silhouettes[number - 1] / CELL


def _first(values: ndarray) -> ndarray:
    return values[::SUPERSAMPLING, ::SUPERSAMPLING].astype(np.float32)


def _average(values: ndarray) -> ndarray:
    total = _first(values)
    for row, column in product(range(SUPERSAMPLING), repeat=2):
        if row or column:
            total += values[row::SUPERSAMPLING, column::SUPERSAMPLING]
    return total / np.float32(CELL)
