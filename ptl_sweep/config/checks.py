"""Checks of config values: each raises a ConfigError that names key, value and what is allowed."""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator

from omegaconf import MISSING

LARGEST = 2**53  # of any number: larger integers are no longer exact as floats, in JSON and YAML
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SECRET = re.compile(r"api_?key|token|secret|passw(?:or)?d", re.IGNORECASE)
ASSIGNED = re.compile(r"\b(\w++)\s*+=\s*+(?=\S)")  # in linear time, however long
LARGEST_SHARE = 0.99  # of an effective sample size; 1 would need an infinite temperature


class ConfigError(ValueError):
    """A value that no run can use; the message names key, value and what is allowed."""


def one_of(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Refuse a word that is not among `allowed`. Raises: ConfigError."""
    if value not in (*allowed, MISSING):
        raise ConfigError(f"{key} must be one of {', '.join(allowed)}; got {value!r}")


def usable(where: str, part: object) -> None:
    """Refuse what no key may hold, in every value of a part of the config, at any depth.

    Raises: ConfigError for NaN, infinity and numbers beyond 2^53; for control characters, which
    would break out of their line in a job script; and for a text that sets a password or key, which
    plan.json, the report and W&B would show (the message does not repeat it).
    """
    for key, value in _values(where, part):
        if isinstance(value, float | int) and not abs(value) <= LARGEST:
            raise ConfigError(f"{key} must be finite and at most 2^53, got {value}")
        if not isinstance(value, str):
            continue
        refuse_secret(key, value)
        if CONTROL.search(value):
            raise ConfigError(f"{key} holds a control character, such as a line break: {value!r}")


def refuse_secret(key: str, value: str) -> None:
    """Refuse a text that sets a password or key. Raises: ConfigError, which does not repeat it."""
    found = next((name for name in ASSIGNED.findall(value) if SECRET.search(name)), None)
    if found:
        raise ConfigError(
            f"{key} sets {found}, which plan.json and the report would show: set it in the "
            "shell, in ~/.netrc, or in a file of yours that launcher.setup sources"
        )


def _values(where: str, part: object) -> Iterator[tuple[str, object]]:
    """Every value with the name of its key; a key of a mapping is a value, too."""
    if dataclasses.is_dataclass(part):
        for field in dataclasses.fields(part):
            yield from _values(f"{where}.{field.name}", getattr(part, field.name))
    elif isinstance(part, dict):
        for name, value in part.items():
            yield where, name
            yield from _values(f"{where}.{name}", value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from _values(where, value)
    else:
        yield where, part


def at_least(key: str, value: float | None, low: float, high: float = math.inf) -> None:
    """Refuse a number outside [low, high], NaN and infinity; null passes. Raises: ConfigError."""
    if value in (None, MISSING) or (low <= value <= high and value < math.inf):
        return
    limit = f"at least {low}" if high == math.inf or value < low else f"at most {high}"
    raise ConfigError(f"{key} must be {limit}{_or_finite(value)}, got {value}")


def positive(key: str, value: float | None, high: float = math.inf) -> None:
    """Refuse zero, a negative number, one above `high`, NaN and infinity; null passes.

    Raises: ConfigError.
    """
    if value is None or (0 < value <= high and value < math.inf):
        return
    limit = f"at most {high}" if value > high else "positive"
    raise ConfigError(f"{key} must be {limit}{_or_finite(value)}, got {value}")


def positive_list(key: str, values: Iterable[float]) -> None:
    """Refuse an empty list, and one with anything but positive finite numbers.

    Raises: ConfigError.
    """
    numbers = list(values)
    if not numbers or not all(0 < value < math.inf for value in numbers):
        raise ConfigError(f"{key} must list positive numbers, one or more; got {numbers}")


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
