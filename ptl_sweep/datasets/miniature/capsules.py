"""Exact hits of parallel rays with capsules, shading, and soft shadows."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.datasets.miniature.figures import Figure

SHADOW_EDGE_PX = 1.5  # width of the penumbra
TINY = np.float32(1e-6)  # square metres; keeps capsules without length from dividing by zero


class Windows(NamedTuple):
    """One window of pixels per capsule, all of the same size."""

    left: Int[ndarray, " k"]  # of the canvas, pixels
    top: Int[ndarray, " k"]
    width: int
    height: int


class Hits(NamedTuple):
    """What the rays of every window meet first."""

    depth: Float[ndarray, "k h w"]  # metres from the figure's centre; inf where missed
    normal: Float[ndarray, "k h w 3"]  # outwards, in the frame of the camera


class Sprite(NamedTuple):
    """A drawn figure in the rectangle that holds it."""

    left: int  # of the canvas, pixels
    top: int
    depth: Float[ndarray, "h w"]  # metres; inf where the figure is not
    colour: Float[ndarray, "h w 3"]
    silhouette_px: int  # pixels of the whole figure, even those outside of the canvas


class Material(NamedTuple):
    """Light and shine, the same for everything in a scene."""

    light: Float[ndarray, " 3"]  # direction towards the sun, in the frame of the camera
    ambient: float
    gloss: float  # weight of the highlight


class _Rays(NamedTuple):
    """Rays relative to each capsule's start, and the axis; every array is "k 1|h 1|w"."""

    offset: tuple[ndarray, ndarray, ndarray]
    offset_to_end: tuple[ndarray, ndarray]
    axis: tuple[ndarray, ndarray, ndarray]
    length2: ndarray  # squared length of the axis, never zero
    radius2: ndarray


def draw_figure(
    figure: Figure, material: Material, centre: Float[ndarray, " 2"], scale: np.float32
) -> Sprite:
    """Render a figure by rays parallel to z (it is small against its distance).

    figure: in the frame of the camera, relative to its own centre, metres.
    centre: of the figure on the canvas, pixels; scale: pixels per metre.
    """
    windows = _windows(figure, centre, scale)
    hits = _intersect(figure, windows, centre, scale)
    left, top = windows.left.min(), windows.top.min()
    height = windows.top.max() - top + windows.height
    width = windows.left.max() - left + windows.width
    depth = np.full((height, width), np.inf, np.float32)
    colour = np.zeros((height, width, 3), np.float32)
    brightness = _brightness(hits.normal, material)
    for k, base in enumerate(figure.colour):
        row, column = windows.top[k] - top, windows.left[k] - left
        window = np.s_[row : row + windows.height, column : column + windows.width]
        nearer = hits.depth[k] < depth[window]
        depth[window][nearer] = hits.depth[k][nearer]
        colour[window][nearer] = brightness[k][nearer][:, None] * base
    return Sprite(int(left), int(top), depth, colour, int(np.isfinite(depth).sum()))


def cast_shadow(
    shadow: Float[ndarray, "h w"],
    start: Float[ndarray, "k 2"],
    end: Float[ndarray, "k 2"],
    radius: Float[ndarray, " k"],
) -> None:
    """Darken `shadow` (0 light, 1 shaded) in place by flat capsules, all in pixels."""
    reach, size = radius.max() + 2, len(shadow)
    left, top = np.floor(np.minimum(start, end).min(0) - reach).astype(int).clip(0)
    right, bottom = np.ceil(np.maximum(start, end).max(0) + reach).astype(int).clip(None, size)
    if right <= left or bottom <= top:
        return
    xs = np.arange(left, right, dtype=np.float32)[None, None] + np.float32(0.5)
    ys = np.arange(top, bottom, dtype=np.float32)[None, :, None] + np.float32(0.5)
    point, axis = start[:, :, None, None], (end - start)[:, :, None, None]
    dx, dy = xs - point[:, 0], ys - point[:, 1]
    length2 = (axis**2).sum(1) + np.float32(1e-4)
    along = np.clip((dx * axis[:, 0] + dy * axis[:, 1]) / length2, 0, 1)
    distance = np.hypot(dx - along * axis[:, 0], dy - along * axis[:, 1]) - radius[:, None, None]
    shade = np.clip(0.5 - distance / SHADOW_EDGE_PX, 0, 1).max(0)
    shadow[top:bottom, left:right] = np.maximum(shadow[top:bottom, left:right], shade)


def _windows(figure: Figure, centre: Float[ndarray, " 2"], scale: np.float32) -> Windows:
    radius = figure.radius[:, None]
    low = np.minimum(figure.start, figure.end)[:, :2] - radius
    high = np.maximum(figure.start, figure.end)[:, :2] + radius
    width, height = (np.ceil((high - low).max(0) * scale) + 2).astype(int)
    left, top = np.floor(low * scale + centre).astype(int).T
    return Windows(left, top, int(width), int(height))


def _intersect(
    figure: Figure, windows: Windows, centre: Float[ndarray, " 2"], scale: np.float32
) -> Hits:
    rays = _rays(figure, windows, centre, scale)
    depth, along = _hit_sides(rays)
    for end_z, offset, at in (
        (figure.start[:, 2], rays.offset, 0),
        (figure.end[:, 2], rays.offset_to_end, 1),
    ):
        cap, hit = _hit_ball(_spread(end_z), (offset[0], offset[1]), rays.radius2)
        nearer = hit & (cap < depth)
        depth, along = np.where(nearer, cap, depth), np.where(nearer, np.float32(at), along)
    hit = np.isfinite(depth)
    along, finite_depth = np.where(hit, along, 0), np.where(hit, depth, 0)
    (ox, oy, oz), (bx, by, bz), inverse = rays.offset, rays.axis, _spread(1 / figure.radius)
    toward = (ox - along * bx, oy - along * by, finite_depth + oz - along * bz)
    return Hits(depth, np.stack([component * inverse for component in toward], -1))


def _rays(
    figure: Figure, windows: Windows, centre: Float[ndarray, " 2"], scale: np.float32
) -> _Rays:
    columns = (windows.left + 0.5 - centre[0])[:, None] + np.arange(windows.width)
    rows = (windows.top + 0.5 - centre[1])[:, None] + np.arange(windows.height)
    xs = (columns / scale).astype(np.float32)[:, None, :]
    ys = (rows / scale).astype(np.float32)[:, :, None]
    start, end, axis = figure.start, figure.end, figure.end - figure.start
    return _Rays(
        (xs - _spread(start[:, 0]), ys - _spread(start[:, 1]), _spread(-start[:, 2])),
        (xs - _spread(end[:, 0]), ys - _spread(end[:, 1])),
        (_spread(axis[:, 0]), _spread(axis[:, 1]), _spread(axis[:, 2])),
        _spread((axis**2).sum(1)) + TINY,
        _spread(figure.radius * figure.radius),
    )


def _hit_sides(rays: _Rays) -> tuple[Float[ndarray, "k h w"], Float[ndarray, "k h w"]]:
    """Depth of the cylinders (inf where missed) and position along the axis, 0..1 inside."""
    (ox, oy, oz), (bx, by, bz), length2 = rays.offset, rays.axis, rays.length2
    offset2, projected = ox * ox + oy * oy, bx * ox + by * oy + bz * oz
    a = length2 - bz * bz + TINY
    b = length2 * oz - projected * bz
    c = length2 * (offset2 + oz * oz - rays.radius2) - projected * projected
    discriminant = b * b - a * c
    depth = (-b - np.sqrt(np.maximum(discriminant, 0))) / a
    along = (projected + depth * bz) / length2
    hit = (discriminant > 0) & (along > 0) & (along < 1)
    return np.where(hit, depth, np.float32(np.inf)), along


def _hit_ball(
    centre_z: Float[ndarray, "k 1 1"], offset: tuple[ndarray, ndarray], radius2: ndarray
) -> tuple[Float[ndarray, "k h w"], Bool[ndarray, "k h w"]]:
    """Depth of the round ends and where they are hit."""
    inside = radius2 - offset[0] * offset[0] - offset[1] * offset[1]
    return centre_z - np.sqrt(np.maximum(inside, 0)), inside > 0


def _brightness(normal: Float[ndarray, "k h w 3"], material: Material) -> Float[ndarray, "k h w"]:
    lambert = np.clip(normal @ material.light, 0, 1)
    ambient = np.float32(material.ambient)
    brightness: ndarray = ambient + (1 - ambient) * lambert * np.float32(1.25)
    if material.gloss:
        brightness += np.float32(material.gloss) * lambert**12
    return brightness


def _spread(values: Float[ndarray, " k"]) -> Float[ndarray, "k 1 1"]:
    return values[:, None, None]
