"""Words of a command line that Hydra stumbles over, refused one by one before it composes."""

import math
from collections.abc import Iterable

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from ptl_sweep.compose.errors import brief, short_message
from ptl_sweep.compose.grid import declared_keys, is_group, mappings
from ptl_sweep.config.schema import GROUPS, OVERLAYS, ConfigError

MOST_VALUES = 100_000  # of one key, and cells of one sweep


def refuse_unreadable(overrides: Iterable[str]) -> None:
    """Refuse what Hydra's grammar cannot read, and endless ranges. Raises: ConfigError.

    Hydra's parser lets Python's own errors through: of integers of thousands of digits, of lists
    within lists without end, of ranges whose step is 0.
    """
    parser = OverridesParser.create()
    for word in overrides:
        key, _, value = word.partition("=")
        if value.startswith("~"):
            raise ConfigError(f"{brief(word)}: no shell reads ~ there; write {key}=$HOME/...")
        try:
            (override,) = parser.parse_overrides([word])
            count = _num_values(override)
        except HydraException as error:
            raise ConfigError(short_message(error)) from error
        except RecursionError as error:
            raise ConfigError(f"{brief(word)}: lists within lists without end") from error
        except (ValueError, ArithmeticError, TypeError) as error:
            reason = "a number of thousands of digits" if "4300" in str(error) else str(error)
            raise ConfigError(f"{brief(key)}: {brief(value)} cannot be read: {reason}") from error
        _refuse_other_groups(override)
        if count > MOST_VALUES:
            raise ConfigError(f"{brief(word)}: a key takes at most {MOST_VALUES} values")
        if not count:
            raise ConfigError(f"{brief(word)}: a sweep without a single value")


def refuse_too_many(counts: Iterable[int]) -> None:
    """Refuse a grid beyond all bounds, given the number of values of each key.

    Raises: ConfigError.
    """
    count = math.prod(counts)
    if count > MOST_VALUES:
        raise ConfigError(f"the grid has {count} cells, and a sweep at most {MOST_VALUES}")


def _refuse_other_groups(override: Override) -> None:
    """Refuse what is neither a choice nor keys in the place of a group or a mapping.

    Hydra stumbles over a list, a number or null, and takes an interpolation for something else.
    Raises: ConfigError.
    """
    key, value = override.key_or_group, override.value()
    if _has_null_as_key(value):
        written = brief(str(override.input_line))
        raise ConfigError(f"{written}: null is the name of no key; write {{NAME: value}}")
    is_choice = key in {*GROUPS, *OVERLAYS}
    words = value.list if isinstance(value, ChoiceSweep) else [value]
    is_odd = is_choice and any(isinstance(word, int | float | RangeSweep) for word in words)
    is_odd |= key in GROUPS and None in words
    if is_choice or key in mappings() or is_group(declared_keys().get(key)):
        is_odd |= isinstance(value, list) or "${" in str(value)
    if is_odd:
        raise ConfigError(
            f"{brief(str(override.input_line))}: {key} takes "
            f"{'the name of a choice or ' * is_choice}{{key: value}}"
        )


def _has_null_as_key(value: object) -> bool:
    """Whether a mapping somewhere in a value has null for a key, which OmegaConf cannot hold."""
    if isinstance(value, dict):
        return None in value or any(map(_has_null_as_key, value.values()))
    items = value.list if isinstance(value, ChoiceSweep) else value
    return isinstance(items, list) and any(map(_has_null_as_key, items))


def _num_values(override: Override) -> int:
    """How many values a word stands for; 1 where that is not a matter of the word alone."""
    values = override.value()
    if not isinstance(values, RangeSweep) or values.start is None or values.stop is None:
        return 1
    first, last, step = float(values.start), float(values.stop), float(values.step)
    if step == 0 or not all(map(math.isfinite, (first, last, step))):
        raise ValueError("its bounds are finite numbers, and its step is not 0")
    return max(0, math.ceil((last - first) / step))
