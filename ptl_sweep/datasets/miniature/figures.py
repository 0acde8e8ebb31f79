"""Persons and clutter as capsules (cylinders with round ends), in metres, z up."""

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

from ptl_sweep.datasets.miniature.domains import Domain

THIGH, SHIN, UPPER_ARM, FOREARM = 0.43, 0.42, 0.29, 0.26  # metres, of a person 1.75 m tall
HAND = 0.2  # of the upper arm's length, beyond the wrist
SKIN, HAIR = (0.85, 0.62, 0.48), (0.16, 0.11, 0.07)
LONG_SLEEVE_SHARE, LONG_TROUSER_SHARE = 0.6, 0.75

Bone = tuple[ndarray, ndarray, float, ndarray]  # from, to, radius, RGB


@dataclass(frozen=True, slots=True)
class Figure:
    """Capsules that make up one thing."""

    start: Float[ndarray, "k 3"]  # metres
    end: Float[ndarray, "k 3"]
    radius: Float[ndarray, " k"]
    colour: Float[ndarray, "k 3"]  # RGB in [0, 1]

    def moved(self, offset: Float[ndarray, " 3"]) -> "Figure":
        """The same figure elsewhere."""
        return Figure(self.start + offset, self.end + offset, self.radius, self.colour)

    @property
    def lowest(self) -> float:
        """Smallest z that the figure reaches, metres."""
        return float(min((p[:, 2] - self.radius).min() for p in (self.start, self.end)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Posture:
    """Joint angles in degrees, forwards positive; pairs are (left, right)."""

    lean: float = 4  # of the trunk
    spread: float = 10  # of the arms, sideways
    hips: tuple[float, float] = (3, -3)
    knees: tuple[float, float] = (-4, -4)
    shoulders: tuple[float, float] = (5, -5)
    elbows: tuple[float, float] = (12, 12)


def _stride(rng: Generator, low: float, high: float, effort: float) -> Posture:
    swing = rng.uniform(low, high) * rng.choice([-1, 1])
    knee, elbow = -20 * effort, 30 * effort
    return Posture(
        lean=5 * effort,
        hips=(swing, -swing),
        knees=(knee, knee),
        shoulders=(-swing, swing),
        elbows=(elbow, elbow),
    )


def _sit(rng: Generator) -> Posture:
    hips = (rng.uniform(75, 95), rng.uniform(75, 95))
    knees = (rng.uniform(-95, -20), rng.uniform(-95, -20))
    return Posture(lean=-5, hips=hips, knees=knees, shoulders=(35, 30))


def _bend(rng: Generator) -> Posture:
    lean = rng.uniform(45, 80)
    return Posture(
        lean=lean, shoulders=(rng.uniform(50, 80), rng.uniform(50, 80)), knees=(-15, -15)
    )


def _wave(rng: Generator) -> Posture:
    left = rng.uniform(120, 175)
    right = rng.uniform(120, 175) if rng.uniform() < 0.6 else 0
    return Posture(shoulders=(left, right), spread=rng.uniform(15, 40), elbows=(10, 10))


def _lie(rng: Generator) -> Posture:
    hips = (rng.uniform(-10, 30), rng.uniform(-10, 30))
    knees = (rng.uniform(-50, 0), rng.uniform(-50, 0))
    shoulders = (rng.uniform(-20, 150), rng.uniform(-20, 150))
    return Posture(hips=hips, knees=knees, shoulders=shoulders, spread=rng.uniform(10, 45))


POSTURES: dict[str, Callable[[Generator], Posture]] = {
    "stand": lambda _: Posture(),
    "walk": lambda rng: _stride(rng, 15, 32, 1),
    "run": lambda rng: _stride(rng, 32, 55, 2.2),
    "sit": _sit,
    "lie": _lie,
    "bend": _bend,
    "wave": _wave,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Clothing:
    """Colours of one person, RGB in [0, 1]."""

    skin: Float[ndarray, " 3"]
    hair: Float[ndarray, " 3"]
    top: Float[ndarray, " 3"]
    trousers: Float[ndarray, " 3"]
    forearm: Float[ndarray, " 3"]
    shin: Float[ndarray, " 3"]
    shoe: Float[ndarray, " 3"]


def person(rng: Generator, pose: str, domain: Domain) -> Figure:
    """A person of random build, clothing and heading; the pelvis is the origin."""
    posture = POSTURES[pose](rng)
    height, girth = (
        np.float32(rng.uniform(*domain.person_height)),
        rng.uniform(*domain.person_girth),
    )
    clothing = _clothing(rng, domain)
    bones = _trunk(posture, girth, clothing) + _legs(posture, girth, clothing)
    bones += _arms(posture, clothing)
    turn = np.eye(3, dtype=np.float32)
    if pose == "lie":  # on the back or on the face
        turn = rotation("x", rng.choice([-90, 90]) + rng.uniform(-6, 6))
    turn = rotation("z", rng.uniform(0, 360)) @ turn
    start, end, radius, colour = (
        np.stack([np.asarray(bone[i], np.float32) for bone in bones]) for i in range(4)
    )
    return Figure((start @ turn.T) * height, (end @ turn.T) * height, radius * height, colour)


def rotation(axis: str, degrees: float) -> Float[ndarray, "3 3"]:
    """Right-handed rotation about the x or the z axis."""
    angle = np.deg2rad(degrees)
    c, s = np.cos(angle), np.sin(angle)
    matrix = {"x": [[1, 0, 0], [0, c, -s], [0, s, c]], "z": [[c, -s, 0], [s, c, 0], [0, 0, 1]]}
    return np.array(matrix[axis], np.float32)


def _clothing(rng: Generator, domain: Domain) -> Clothing:
    skin = np.array(SKIN, np.float32) * rng.uniform(0.35, 1.05)
    hair = np.array(HAIR, np.float32) * rng.uniform(0.4, 3.0)
    top = _cloth(rng, domain)
    trousers = _cloth(rng, domain) * rng.uniform(0.4, 1)
    return Clothing(
        skin=skin,
        hair=hair,
        top=top,
        trousers=trousers,
        forearm=top if rng.uniform() < LONG_SLEEVE_SHARE else skin,
        shin=trousers if rng.uniform() < LONG_TROUSER_SHARE else skin,
        shoe=np.full(3, rng.uniform(0.05, 0.8), np.float32),
    )


def _cloth(rng: Generator, domain: Domain) -> Float[ndarray, " 3"]:
    hue = rng.uniform()
    saturation, value = rng.uniform(*domain.cloth_saturation), rng.uniform(*domain.cloth_value)
    return np.array(colorsys.hsv_to_rgb(hue, saturation, value), np.float32)


def _leaned(posture: Posture, *points: tuple[float, float, float]) -> list[ndarray]:
    """Points of the upright trunk after leaning about the pelvis."""
    lean = rotation("x", -posture.lean)
    return [lean @ np.array(point, np.float32) for point in points]


def _limb(
    joint: Float[ndarray, " 3"],
    swing: float,
    bend: float,
    lengths: tuple[float, float],
    spread: float,
) -> tuple[ndarray, ndarray]:
    """Middle and far joint of a limb that hangs from `joint`; angles in degrees."""

    def direction(degrees: float) -> ndarray:
        angle, side = np.deg2rad(degrees), np.deg2rad(spread)
        x, y, z = np.sin(side), np.sin(angle) * np.cos(side), -np.cos(angle) * np.cos(side)
        return np.array([x, y, z], np.float32)

    middle = joint + lengths[0] * direction(swing)
    return middle, middle + lengths[1] * direction(swing + bend)


def _trunk(posture: Posture, girth: float, clothing: Clothing) -> list[Bone]:
    left, right, neck, head = _leaned(
        posture, (-0.19, 0, 0.48), (0.19, 0, 0.48), (0, 0.01, 0.56), (0, 0.04, 0.70)
    )
    waist_l, chest_l, waist_r, chest_r = _leaned(
        posture, (-0.08, 0, 0.08), (-0.1, 0, 0.42), (0.08, 0, 0.08), (0.1, 0, 0.42)
    )
    face, crown, crown_end = _leaned(posture, (0, 0.03, 0.02), (0, -0.02, 0.04), (0, 0, 0.05))
    hips = np.array([[-0.1, 0, 0], [0.1, 0, 0]], np.float32)
    return [
        (left, right, 0.085 * girth, clothing.top),
        (waist_l, chest_l, 0.115 * girth, clothing.top),
        (waist_r, chest_r, 0.115 * girth, clothing.top),
        (hips[0], hips[1], 0.115 * girth, clothing.trousers),
        (neck, head, 0.065, clothing.skin),
        (head, head + face, 0.105, clothing.skin),
        (head + crown, head + crown_end, 0.112, clothing.hair),
    ]


def _legs(posture: Posture, girth: float, clothing: Clothing) -> list[Bone]:
    toe = np.array([0, 0.13, -0.01], np.float32)
    legs: list[list[Bone]] = []
    for side, sign in enumerate((-1, 1)):
        hip = np.array([0.1 * sign, 0, 0], np.float32)
        knee, foot = _limb(hip, posture.hips[side], posture.knees[side], (THIGH, SHIN), 4 * sign)
        legs.append(
            [
                (hip, knee, 0.085 * girth, clothing.trousers),
                (knee, foot, 0.06, clothing.shin),
                (foot, foot + toe, 0.05, clothing.shoe),
            ]
        )
    return [bone for segment in zip(*legs, strict=True) for bone in segment]


def _arms(posture: Posture, clothing: Clothing) -> list[Bone]:
    shoulders = _leaned(posture, (-0.19, 0, 0.48), (0.19, 0, 0.48))
    arms: list[list[Bone]] = []
    for side, sign in enumerate((-1, 1)):
        shoulder, swing = shoulders[side], posture.shoulders[side] + posture.lean * 0.3
        lengths, spread = (UPPER_ARM, FOREARM), sign * posture.spread
        elbow, wrist = _limb(shoulder, swing, posture.elbows[side], lengths, spread)
        arms.append(
            [
                (shoulder, elbow, 0.055, clothing.top),
                (elbow, wrist, 0.045, clothing.forearm),
                (wrist, wrist + (wrist - elbow) * HAND, 0.05, clothing.skin),
            ]
        )
    return [bone for segment in zip(*arms, strict=True) for bone in segment]
