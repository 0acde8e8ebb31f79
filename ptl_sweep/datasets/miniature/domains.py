"""The domains of the miniature world: what lies on the ground, who is there, which camera."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

FOCAL_PX = 900.0  # of a frame 1280 px wide that sees 71 degrees; pictures are windows of it
IMAGE_SIZE = 128  # side of a picture of a data set, pixels

_UPRIGHT = {"stand": 3, "walk": 5, "run": 1}
_EVERY_POSE = {"stand": 2, "walk": 3, "run": 2, "sit": 2, "lie": 2, "bend": 1, "wave": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Ranges (low, high) that a scene is drawn from and how its camera renders it."""

    stream: int  # of random numbers: no two share one, but for the pools
    ground: tuple[str, ...]  # keys of terrain.GROUND
    altitude_m: tuple[float, float]  # camera above the ground
    pitch_deg: tuple[float, float]  # depression angle of the optical axis; 90 looks straight down
    poses: Mapping[str, int]  # key of figures.POSTURES -> weight
    num_people: tuple[int, int]  # both ends included
    clutter: Mapping[str, float] = field(default_factory=dict)  # kind -> mean count (Poisson)
    cloth_saturation: tuple[float, float] = (0.1, 0.6)
    cloth_value: tuple[float, float] = (0.1, 0.8)
    sun_elevation_deg: tuple[float, float] = (30, 65)
    shadow: float = 0.5  # share of the light that a shadow takes away
    haze: float = 0.0  # share of the light that is haze
    gain: tuple[float, float, float] = (1, 1, 1)  # white balance, RGB
    contrast: float = 1.0
    blur_px: float = 0.6  # sigma
    noise: float = 0.02  # of the sensor, in units of the full range
    jpeg_quality: tuple[int, int] | None = (55, 85)  # None: never compressed
    computer_graphics: bool = False  # aliased edges, no sensor
    ambient: float = 0.45  # share of the light that reaches what the sun does not
    gloss: float = 0.0  # weight of the highlight
    person_height: tuple[float, float] = (0.92, 1.08)  # in 1.75 m
    person_girth: tuple[float, float] = (0.9, 1.2)  # of trunk and legs
    boxes_on_ground: bool = False  # boxes and masks lie where nobody is


DOMAINS = {
    "town": Domain(
        stream=0,
        ground=("asphalt", "pavers", "lawn"),
        altitude_m=(24, 36),
        pitch_deg=(32, 50),
        poses=_UPRIGHT,
        num_people=(1, 4),
        clutter={"pole": 1.0, "bollard": 0.6, "bush": 0.4},
        haze=0.05,
        gain=(1.04, 1, 0.95),
        blur_px=0.55,
    ),
    "field": Domain(
        stream=1,
        ground=("drygrass", "lawn"),
        altitude_m=(32, 46),
        pitch_deg=(45, 85),
        poses=_EVERY_POSE,
        num_people=(2, 5),
        clutter={"bush": 1.8, "dog": 0.8, "bollard": 0.5},
        cloth_saturation=(0.15, 0.8),
        cloth_value=(0.1, 0.9),
        sun_elevation_deg=(25, 60),
        gain=(1.06, 1.02, 0.86),
        noise=0.025,
    ),
    "karst": Domain(
        stream=2,
        ground=("rock", "scree"),
        altitude_m=(34, 48),
        pitch_deg=(60, 89),
        poses=_EVERY_POSE,
        num_people=(1, 4),
        clutter={"rock": 4.0, "bush": 1.0},
        cloth_saturation=(0.1, 0.7),
        cloth_value=(0.1, 0.85),
        sun_elevation_deg=(35, 70),
        shadow=0.45,
        haze=0.08,
        gain=(0.96, 1, 1.06),
        contrast=0.95,
        blur_px=0.65,
        noise=0.025,
    ),
    "yard": Domain(
        stream=3,
        ground=("pavers", "gravel"),
        altitude_m=(24, 36),
        pitch_deg=(60, 89),
        poses=_EVERY_POSE,
        num_people=(1, 4),
        clutter={"pole": 0.6, "bag": 1.5, "dog": 0.8, "bush": 0.6},
        cloth_saturation=(0.05, 0.5),
        cloth_value=(0.08, 0.7),
        sun_elevation_deg=(20, 50),
        shadow=0.55,
        haze=0.03,
        gain=(0.97, 1, 1.03),
        contrast=0.95,
        blur_px=0.7,
        noise=0.025,
    ),
    "virtual": Domain(
        stream=4,
        ground=("cgi_green", "cgi_grey", "cgi_sand"),
        altitude_m=(24, 50),
        pitch_deg=(30, 89),
        poses=_EVERY_POSE,
        num_people=(1, 4),
        cloth_saturation=(0.5, 1.0),
        cloth_value=(0.3, 1.0),
        sun_elevation_deg=(40, 75),
        shadow=0.35,
        contrast=1.15,
        blur_px=0.0,
        noise=0.0,
        jpeg_quality=None,
        computer_graphics=True,
        ambient=0.62,
        gloss=0.35,
    ),
}

# Further shifted targets, so that a law over targets can be asked for (experiment=questions).
DOMAINS |= {
    "meadow": Domain(
        stream=5,
        ground=("lawn", "drygrass"),
        altitude_m=(24, 38),
        pitch_deg=(34, 60),
        poses=_EVERY_POSE,
        num_people=(1, 4),
        clutter={"bush": 2.2, "dog": 0.6},
        cloth_saturation=(0.1, 0.6),
        sun_elevation_deg=(15, 35),
        shadow=0.5,
        haze=0.14,
        gain=(0.97, 1.02, 1.02),
        contrast=0.9,
    ),
    "gorge": Domain(
        stream=6,
        ground=("gravel", "scree"),
        altitude_m=(28, 44),
        pitch_deg=(50, 80),
        poses=_UPRIGHT,
        num_people=(1, 4),
        clutter={"rock": 3.0, "pole": 0.8, "bollard": 0.5},
        cloth_value=(0.2, 1.0),
        sun_elevation_deg=(40, 70),
        shadow=0.65,
        gain=(1.08, 1.0, 0.88),
        contrast=1.1,
        noise=0.03,
    ),
}

# Pools that play against `virtual`, with its random numbers and so, poses apart, its scenes.
DOMAINS |= {
    "virtual_null": replace(DOMAINS["virtual"], boxes_on_ground=True),
    "virtual_source_like": replace(
        DOMAINS["virtual"],
        altitude_m=DOMAINS["town"].altitude_m,
        pitch_deg=DOMAINS["town"].pitch_deg,
        poses=DOMAINS["town"].poses,
    ),
    "virtual_other_renderer": replace(
        DOMAINS["virtual"],
        shadow=0.6,
        contrast=0.9,
        ambient=0.25,
        gloss=0.0,
        person_height=(0.74, 0.88),
        person_girth=(1.4, 1.8),
    ),
}
