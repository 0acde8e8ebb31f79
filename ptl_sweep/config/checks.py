"""Checks of config values: each raises a ConfigError that names key, value and what is allowed."""

import math
import re

from omegaconf import MISSING

LARGEST_SHARE = 0.99  # of an effective sample size; 1 would need an infinite temperature


class ConfigError(ValueError):
    """A value that no run can use; the message names key, value and what is allowed."""


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a word that is not among `allowed`. Raises: ConfigError."""
    if value not in (*allowed, MISSING):
        raise ConfigError(f"{key} must be one of {', '.join(allowed)}; got {value!r}")


def at_least(key: str, value: float | None, low: float) -> None:
    """Refuse a number below `low`, NaN and infinity; null passes. Raises: ConfigError."""
    if value not in (None, MISSING) and not low <= value < math.inf:
        raise ConfigError(f"{key} must be at least {low}{_or_finite(value)}, got {value}")


def positive(key: str, value: float | None) -> None:
    """Refuse zero, a negative number, NaN and infinity; null passes. Raises: ConfigError."""
    if value is not None and not 0 < value < math.inf:
        raise ConfigError(f"{key} must be positive{_or_finite(value)}, got {value}")


def a_temperature(key: str, value: float | str) -> float | str:
    """A number, or `ess:SHARE`: the temperature for an effective sample size of that share.

    Raises: ConfigError for any other text, and for a number that is not positive.
    """
    if not isinstance(value, str):
        positive(key, value)
        return float(value)
    if ess_share(value) is None:
        raise ConfigError(
            f"{key} must be a positive number, or ess:SHARE with a share of the pool images of at "
            f"most {LARGEST_SHARE}, as in ess:0.3; got {value!r}"
        )
    return value


def ess_share(temperature: float | str) -> float | None:
    """SHARE of `ess:SHARE` where it lies in (0, LARGEST_SHARE]; None for everything else."""
    found = re.fullmatch(r"ess:(0?\.\d+)", str(temperature))
    return float(found[1]) if found and 0 < float(found[1]) <= LARGEST_SHARE else None


def in_range(key: str, value: float | None, low: float, high: float) -> None:
    """Refuse a number outside [low, high]; null passes. Raises: ConfigError."""
    if value is not None and not low <= value <= high:
        raise ConfigError(f"{key} must lie in [{low}, {high}], got {value}")


def identifier(key: str, value: str) -> None:
    """Refuse a name that cannot be part of a folder's and a W&B run's. Raises: ConfigError."""
    if value != MISSING and not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
        raise ConfigError(f"{key} may hold letters, digits and . _ - only; got {value!r}")


def _or_finite(value: float) -> str:
    return "" if math.isfinite(value) else " and finite"
