"""Words of a command line that Hydra stumbles over, refused one by one before it composes."""

import math
import re
from collections.abc import Iterable, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, RangeSweep
from hydra.errors import HydraException

from ptl_sweep.compose.errors import brief, short_message, unknown_key
from ptl_sweep.compose.grid import all_keys, declared_keys, is_group, mapping_of, mappings
from ptl_sweep.config.schema import GROUPS, OVERLAYS, ConfigError

MOST_VALUES = 100_000  # of one key, and cells of one sweep
LONGEST_NAME = 200  # of a choice; file systems end at 255


def stray_word(word: str) -> str:
    """Answer a word that is no flag and no key=value."""
    if word in all_keys() or word in {*GROUPS, *OVERLAYS}:
        return f"{word} stands alone: write {word}=VALUE, without blanks"
    if word.startswith("#"):
        return f"{brief(word)}: a command line has no comments; leave it out"
    return f"{brief(word) or 'an empty word'} is neither a flag nor key=value"


def refuse_stray_words(arguments: Sequence[str]) -> None:
    """Refuse words without = that belong to no flag before them. Raises: ConfigError."""
    for before, word in zip(["", *arguments], arguments, strict=False):
        if "=" not in word and not word.startswith(("-", "~")) and before[:1] != "-":
            raise ConfigError(_after_comma(before) or stray_word(word))


def _after_comma(word: str) -> str:
    """Answer `real_count=10,`: what follows is another word for the shell."""
    key, _, value = word.partition("=")
    if not value.endswith(",") or value.endswith("\\,"):
        return ""
    return f"{brief(word)}: values of a sweep stand without blanks, {key}={brief(value)}VALUE"


def refuse_unreadable(overrides: Iterable[str]) -> None:
    """Refuse what Hydra's grammar cannot read, and endless ranges. Raises: ConfigError.

    Hydra's parser lets Python's own errors through: of integers of thousands of digits, of lists
    within lists without end, of ranges whose step is 0.
    """
    parser = OverridesParser.create()
    for word in overrides:
        slip = _slip(word)
        if slip:
            raise ConfigError(slip)
        override, count = _read(parser, word)
        _refuse_other_groups(override)
        if count > MOST_VALUES:
            raise ConfigError(f"{brief(word)}: a key takes at most {MOST_VALUES} values")
        if not count:
            raise ConfigError(f"{brief(word)}: a sweep without a single value")


def _slip(word: str) -> str:
    """Answer a word that can be read and is not what its writer meant; empty: none is known."""
    key, _, value = word.partition("=")
    group, dot, _ = key.partition(".")
    if not key.strip("+~"):
        return f"{brief(word)}: the name of a key is missing; write key=value"
    if dot and group in OVERLAYS:
        return f"{brief(word)}: {group} holds no keys; {group}=NAME chooses a file"
    if value.startswith("~"):
        return f"{brief(word)}: no shell reads ~ there; write {key}=$HOME/..."
    is_choice = key in {*GROUPS, *OVERLAYS} and not value.startswith("{")
    if is_choice and max(map(len, value.split(","))) > LONGEST_NAME:
        return f"{brief(word)}: no choice has a name of more than {LONGEST_NAME} letters"
    return _after_comma(word)


def _read(parser: OverridesParser, word: str) -> tuple[Override, int]:
    """Read a word, and how many values it stands for. Raises: ConfigError."""
    key, _, value = word.partition("=")
    try:
        (override,) = parser.parse_overrides([word])
        return override, _num_values(override)
    except HydraException as error:
        raise ConfigError(_unread(word) or short_message(error)) from error
    except RecursionError as error:
        raise ConfigError(f"{brief(word)}: lists within lists without end") from error
    except (ValueError, ArithmeticError, TypeError) as error:
        reason = "a number of thousands of digits" if "4300" in str(error) else str(error)
        raise ConfigError(f"{brief(key)}: {brief(value)} cannot be read: {reason}") from error


def _unread(word: str) -> str:
    """Answer what Hydra's grammar takes in quotes alone, or nowhere."""
    key, _, value = word.partition("=")
    if not re.fullmatch(r"[\w.@/:+~-]+", key, re.ASCII):
        return unknown_key(key)
    odd = re.search(r"[^\w\s./\\:+*%@?|$-]", value, re.ASCII)
    if odd is None or set(value) & set(",\"'[]{}()"):
        return ""
    what = f"{odd[0]} needs" if odd[0].isascii() else "letters beyond ASCII need"
    return f"{brief(word)}: {what} quotes: '{key}=\"{brief(value)}\"'"


def key_of(override: str) -> str:
    """Name the key that a word sets, adds or removes."""
    return override.split("=", maxsplit=1)[0].lstrip("+~")


def refuse_additions(overrides: Iterable[str]) -> None:
    """Refuse ``+key=value`` and ``~key``: all keys exist and are needed. Raises: ConfigError."""
    for override in overrides:
        key = key_of(override)
        if not override.startswith(("+", "~")) or key.startswith("hydra") or mapping_of(key):
            continue
        if override.startswith("+") and key in mappings():
            continue
        if key not in {*all_keys(), *OVERLAYS}:
            raise ConfigError(unknown_key(key))
        raise ConfigError(f"{brief(override)}: no key can be added or removed; write {key}=VALUE")


def refuse_swept_experiment(overrides: Iterable[str]) -> None:
    """Refuse ``experiment=a,b``, of which Hydra drops both grids. Raises: ConfigError."""
    for override in overrides:
        if re.match(r"experiment=.*[,(]", override):
            raise ConfigError(
                f"{brief(override)}: an experiment is a whole grid and cannot be swept; run one "
                "command for each experiment"
            )


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
    _refuse_flat_list(key, value)
    is_choice = key in {*GROUPS, *OVERLAYS}
    words = value.list if isinstance(value, ChoiceSweep) else [value]
    is_odd = is_choice and any(isinstance(word, int | float | RangeSweep) for word in words)
    is_odd |= key in GROUPS and None in words
    if is_choice or key in mappings() or is_group(declared_keys().get(key)):
        is_odd |= isinstance(value, list) or "${" in str(value)
    if is_odd:
        raise ConfigError(
            f"{brief(str(override.input_line))}: {key} takes "
            f"{'the name of a choice or ' * is_choice}{{key: value}}{_meant(key, value)}"
        )


def _meant(key: str, value: object) -> str:
    """Say what brackets and booleans in the place of a choice were probably meant to be."""
    if isinstance(value, list) and key in GROUPS:
        return f"\n  fix: {key}={','.join(map(str, value))} sweeps over them; [ ] makes one value"
    if key == "synthetic" and isinstance(value, bool):
        return f"; did you mean {'on' if value else 'off'}?"
    return ""


def _refuse_flat_list(key: str, value: object) -> None:
    """Refuse `detector.anchor_sizes=[14,20]`, for which OmegaConf names no key."""
    is_nested = declared_keys().get(key) == list[list[float]]
    if is_nested and isinstance(value, list) and not all(isinstance(row, list) for row in value):
        shown = brief(str(value))
        raise ConfigError(f"{key}: {shown} is not a list of lists of numbers; write [{shown}]")


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
