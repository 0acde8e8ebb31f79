"""Checks of config values: each raises a ConfigError that names key, value and what is allowed."""

import math
import re

from omegaconf import MISSING


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


def in_range(key: str, value: float, low: float, high: float) -> None:
    """Refuse a number outside [low, high]. Raises: ConfigError."""
    if not low <= value <= high:
        raise ConfigError(f"{key} must lie in [{low}, {high}], got {value}")


def a_name(key: str, value: str) -> None:
    """Names become parts of folder names and of W&B run names. Raises: ConfigError."""
    if value != MISSING and not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
        raise ConfigError(f"{key} may hold letters, digits and . _ - only; got {value!r}")


def _or_finite(value: float) -> str:
    return "" if math.isfinite(value) else " and finite"
