"""A pinhole camera that hangs over the origin of the scene and looks at it along +y."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.datasets.miniature.domains import FOCAL_PX


class Projection(NamedTuple):
    """Points as the camera sees them."""

    pixels: Float[ndarray, "n 2"]  # x right, y down
    depth: Float[ndarray, " n"]  # metres along the optical axis


@dataclass(frozen=True)
class Camera:
    """Height and tilt of a camera whose optical axis meets the ground in the origin.

    radius = altitude / tan(pitch) is the horizontal distance to the origin, as in
    Archangel-Synthetic.
    """

    altitude_m: float
    pitch_deg: float  # depression angle; 90 looks straight down
    size: int  # side of the square picture, pixels

    @property
    def radius_m(self) -> float:
        """Horizontal distance from the camera to the origin."""
        return float(self.altitude_m / np.tan(np.deg2rad(self.pitch_deg)))

    @property
    def distance_m(self) -> float:
        """From the camera to the origin."""
        return self.altitude_m / self.sin_pitch

    @property
    def half_width_m(self) -> float:
        """Half of the width that the picture spans at the origin."""
        return self.size / 2 / FOCAL_PX * self.distance_m

    @property
    def sin_pitch(self) -> float:
        """Foreshortening of the ground along y."""
        return float(np.sin(np.deg2rad(self.pitch_deg)))

    @cached_property
    def position(self) -> Float[ndarray, " 3"]:
        """In the world, metres."""
        return np.array([0, -self.radius_m, self.altitude_m], np.float32)

    @cached_property
    def axes(self) -> Float[ndarray, "3 3"]:
        """World directions of right, down and forward, one a row."""
        pitch = np.deg2rad(self.pitch_deg)
        forward = np.array([0, np.cos(pitch), -np.sin(pitch)], np.float32)
        right = np.array([1, 0, 0], np.float32)
        return np.stack([right, np.cross(forward, right), forward])

    @property
    def centre_px(self) -> np.float32:
        """Where the optical axis meets the picture, in x and in y."""
        return np.float32(self.size / 2)

    def to_camera(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
        """World points in the frame right, down, forward of the camera, metres."""
        seen: ndarray = (points - self.position) @ self.axes.T
        return seen

    def project(self, points: Float[ndarray, "n 3"]) -> Projection:
        """World points, metres, as pixels of the picture."""
        seen = self.to_camera(points)
        pixels = seen[:, :2] / seen[:, 2:] * np.float32(FOCAL_PX) + self.centre_px
        return Projection(pixels, seen[:, 2])

    def ground_points(self) -> tuple[Float[ndarray, "h w"], Float[ndarray, "h w"]]:
        """World x and y, metres, of the ground under the centre of every pixel."""
        offset = np.arange(self.size, dtype=np.float32) + np.float32(0.5) - self.centre_px
        tangent = offset / np.float32(FOCAL_PX)
        right, down, forward = self.axes
        ray = tangent[None, :, None] * right + tangent[:, None, None] * down + forward
        reach = -self.altitude_m / ray[..., 2]
        return self.position[0] + reach * ray[..., 0], self.position[1] + reach * ray[..., 1]
