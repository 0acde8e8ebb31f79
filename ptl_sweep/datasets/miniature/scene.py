"""One picture of the miniature world: a scene drawn at random, rendered, with boxes and masks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from numpy.random import Generator

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.datasets.miniature.boxes import (
    MIN_VISIBLE_PX,
    Thing,
    moved_to_ground,
    visible_persons,
)
from ptl_sweep.datasets.miniature.camera import Camera
from ptl_sweep.datasets.miniature.canvas import Canvas
from ptl_sweep.datasets.miniature.capsules import Material, cast_shadow
from ptl_sweep.datasets.miniature.clutter import clutter
from ptl_sweep.datasets.miniature.domains import DOMAINS, FOCAL_PX, Domain
from ptl_sweep.datasets.miniature.figures import Figure, person
from ptl_sweep.datasets.miniature.sensor import expose
from ptl_sweep.datasets.miniature.terrain import paint_ground

GROUND_BOXES = 1  # ends the seed of where the null pool has its boxes
MIN_GAP_M2 = 1.2  # squared distance of two things, while there is room
MAX_PLACINGS = 8  # tries to find such a place
MAX_DRAWINGS = 100  # scenes drawn until one shows a person
MARGIN = 0.92  # things stand within this share of the picture; persons a little further in


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """A picture, its persons and how it was taken."""

    image: UInt8[ndarray, "h w 3"]
    boxes: Float[ndarray, "n 4"]  # xyxy pixels, around the visible part
    masks: UInt8[ndarray, "n h w"]  # coverage by the visible part, 0..255
    poses: tuple[str, ...]  # of the persons that `boxes` were made around
    ground: str
    altitude_m: float
    radius_m: float
    pitch_deg: float
    azimuth_deg: float  # camera heading over the texture of the ground


def render_scene(
    domain: str, world_seed: int, index: int, size: int, altitude_m: tuple[float, float]
) -> Rendering:
    """Picture `index` of a domain; the same whenever and wherever it is drawn.

    A scene that shows no person is replaced by another one, drawn from the next sub-seed.

    Raises: ConfigError when no scene shows a person.
    """
    settings = DOMAINS[domain]
    for attempt in range(MAX_DRAWINGS):
        seed = [world_seed, settings.stream, index, attempt]
        rendering = _draw(seed, settings, size, altitude_m)
        if rendering is not None:
            return rendering
    raise ConfigError(
        f"altitude_m={list(altitude_m)} with image_size={size} shows no person of at least "
        f"{MIN_VISIBLE_PX:.0f} px in picture {index} of domain {domain}: change the altitude"
    )


def _draw(
    seed: Sequence[int], domain: Domain, size: int, altitude_m: tuple[float, float]
) -> Rendering | None:
    """A scene; None when it shows no person."""
    rng = np.random.default_rng(seed)
    camera = Camera(rng.uniform(*altitude_m), rng.uniform(*domain.pitch_deg), size)
    sun = _sun_direction(rng, domain)
    kind = domain.ground[rng.integers(len(domain.ground))]
    ground = paint_ground(rng, kind, *camera.ground_points())
    things = list(_populate(rng, domain, camera))
    canvas = Canvas(camera, Material(camera.axes @ sun, domain.ambient, domain.gloss))
    shadow = np.zeros((size, size), np.float32)
    for thing in things:
        canvas.draw(thing.figure)
        _cast_shadow(shadow, thing.figure, camera, sun)
    lit = ground.colour * (1 - domain.shadow * shadow[..., None])
    light = canvas.over(lit, aliased=domain.computer_graphics)
    persons = list(visible_persons(canvas, things))
    if not persons:
        return None
    if domain.boxes_on_ground:  # with random numbers of their own: the picture stays the same
        places = np.random.default_rng([*seed, GROUND_BOXES])
        persons = list(moved_to_ground(places, persons, canvas, len(things)))
    return Rendering(
        image=expose(rng, domain, light),
        boxes=np.array([p.box for p in persons], np.float32).reshape(-1, 4),
        masks=np.array([p.mask for p in persons], np.uint8).reshape(-1, size, size),
        poses=tuple(p.pose for p in persons),
        ground=kind,
        altitude_m=camera.altitude_m,
        radius_m=camera.radius_m,
        pitch_deg=camera.pitch_deg,
        azimuth_deg=ground.azimuth_deg,
    )


def _sun_direction(rng: Generator, domain: Domain) -> Float[ndarray, " 3"]:
    elevation, azimuth = (
        np.deg2rad(rng.uniform(*domain.sun_elevation_deg)),
        rng.uniform(0, 2 * np.pi),
    )
    level = np.cos(elevation)
    direction = (level * np.cos(azimuth), level * np.sin(azimuth), np.sin(elevation))
    return np.array(direction, np.float32)


def _populate(rng: Generator, domain: Domain, camera: Camera) -> Iterator[Thing]:
    """Persons, then clutter, each at a place that is still free if one is found."""
    poses = list(domain.poses)
    weights = np.array(list(domain.poses.values()), float)
    low, high = domain.num_people
    num_people = rng.integers(low, high + 1)
    people = [poses[rng.choice(len(poses), p=weights / weights.sum())] for _ in range(num_people)]
    kinds = [kind for kind, mean in domain.clutter.items() for _ in range(rng.poisson(mean))]
    taken: list[tuple[float, float]] = []
    for pose in people:
        figure = person(rng, pose, domain)
        x, y = _free_place(rng, camera, (0.85, 0.8), taken)
        offset = np.array([x, y, -figure.lowest], np.float32)
        yield Thing(figure.moved(offset), pose)
    for kind in kinds:
        figure = clutter(rng, kind)
        x, y = _free_place(rng, camera, (1, 1), taken)
        yield Thing(figure.moved(np.array([x, y, 0], np.float32)), None)


def _free_place(
    rng: Generator,
    camera: Camera,
    inset: tuple[float, float],
    taken: list[tuple[float, float]],
) -> tuple[float, float]:
    """A place on the visible ground (x, y in metres), which joins `taken`."""
    half = camera.half_width_m * MARGIN
    for _ in range(MAX_PLACINGS):
        x = rng.uniform(-half, half) * inset[0]
        y = rng.uniform(-half, half) / camera.sin_pitch * inset[1]
        if all((x - other_x) ** 2 + (y - other_y) ** 2 > MIN_GAP_M2 for other_x, other_y in taken):
            break
    taken.append((x, y))
    return x, y


def _cast_shadow(
    shadow: Float[ndarray, "h w"], figure: Figure, camera: Camera, sun: Float[ndarray, " 3"]
) -> None:
    start, end = (
        camera.project(points - sun * (points[:, 2:] / sun[2]))
        for points in (figure.start, figure.end)
    )
    radius = figure.radius * np.float32(FOCAL_PX) / start.depth.mean()
    cast_shadow(shadow, start.pixels, end.pixels, radius)
