"""How images are composed: the keys below `pool.options` of `pool=cutouts`."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from ptl_sweep.config.schema import ConfigError, PoolConfig

MIN_HEIGHT_PX = 4
MAX_PERSONS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class CutoutRecipe:
    """Everything but the files that decides an image. Ours: no paper has such a pool."""

    height_px: tuple[float, float] = (12.0, 40.0)  # of the persons; log-uniform over the images
    height_spread: float = 0.15  # of the persons of one image, as a share of their height
    persons: tuple[int, int] = (1, 4)  # in an image, uniform
    min_visible: float = 0.6  # share of a person that nearer ones must leave uncovered
    shadow: float = 0.4  # how dark the soft shadow at a person's feet is; 0: none
    blur_px: tuple[float, float] = (0.0, 0.7)  # sigma of a person's blur, uniform
    colour_jitter: float = 0.1  # gain of each channel of a person lies in 1 -+ this
    flip: bool = True  # mirror half of the persons

    @classmethod
    def of(cls, config: PoolConfig) -> "CutoutRecipe":
        """Read the options of a pool. Raises: ConfigError for one that no image can be made of."""
        known = {item.name for item in fields(cls)}
        unknown = sorted(config.options.keys() - known)
        if unknown:
            raise ConfigError(
                f"pool.options.{unknown[0]}: pool=cutouts has no such option; it has "
                f"{', '.join(sorted(known))}"
            )
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in config.options.items()
        }
        _check({item.name: item.default for item in fields(cls)} | values, config.image_size)
        return cls(**values)

    def content(self) -> Mapping[str, Any]:
        """Every parameter, as JSON has it."""
        return asdict(self)


def _check(values: Mapping[str, Any], image_size: int) -> None:
    """Refuse values that no image can be made of. Raises: ConfigError."""
    _pair("height_px", values["height_px"], (MIN_HEIGHT_PX, image_size), "up to pool.image_size")
    _pair("persons", values["persons"], (1, MAX_PERSONS), "whole numbers", whole=True)
    _pair("blur_px", values["blur_px"], (0, image_size), "pixels")
    for name in ("min_visible", "shadow", "colour_jitter", "height_spread"):
        if not _is_number(values[name]) or not 0 <= values[name] <= 1:
            raise ConfigError(f"pool.options.{name} must lie in [0, 1], got {values[name]}")
    if not isinstance(values["flip"], bool):
        raise ConfigError(f"pool.options.flip must be true or false, got {values['flip']}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _pair(
    name: str, value: object, bounds: tuple[float, float], words: str, *, whole: bool = False
) -> None:
    """Refuse what is no [low, high] within bounds. Raises: ConfigError."""
    low, high = bounds
    fits = (
        isinstance(value, tuple)
        and len(value) == 2
        and all(_is_number(part) and (isinstance(part, int) or not whole) for part in value)
        and low <= value[0] <= value[1] <= high
    )
    if not fits:
        shown = list(value) if isinstance(value, tuple) else value
        raise ConfigError(
            f"pool.options.{name} must be [low, high] within [{low:g}, {high:g}] ({words}), "
            f"got {shown}"
        )
