"""What Hydra and OmegaConf refuse, as at most three lines: key, nearest match, what is allowed."""

import functools
import operator
import os
import re
from collections.abc import Iterable
from typing import Any, get_args

from hydra.errors import OverrideParseException
from omegaconf.errors import ValidationError

from ptl_sweep.compose.grid import all_keys, declared_keys, is_group, mapping_of
from ptl_sweep.config.checks import refuse_secret
from ptl_sweep.config.schema import OVERLAYS, ConfigError
from ptl_sweep.terminal import close_match, did_you_mean

NO_SECRETS = (
    "{key}: no config takes a key, since configs are printed and saved; set WANDB_API_KEY, or put "
    "it into netrc with `wandb login`"
)
QUOTES = "a value with commas, brackets or braces needs quotes inside quotes: 'key=\"a,b\"'"
DEVICES = ("gpu", "gpus", "device", "devices", "cuda")
LONGEST = 600  # letters of a line of a message
TYPE_NAMES: dict[object, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a text",
    int | float | str: "a number or a text",
    int | str: "minutes, or a time such as 8h or 2:00:00",
    list[int]: "a list of integers",
    list[str]: "a list of texts",
    list[float]: "a list of numbers",
    list[list[float]]: "a list of lists of numbers",
    dict[Any, str]: "a mapping {NAME: meaning}",
    dict[str, str]: "a mapping {NAME: meaning}",
    dict[str, Any]: "a mapping {NAME: value}",
}


def refuse_secrets(arguments: Iterable[str]) -> None:
    """Refuse an API key as an override of any group, or in its value.

    Raises: ConfigError without the key.
    """
    for argument in arguments:
        answer = _no_secret(argument)
        if answer:
            raise ConfigError(answer)
        key, _, value = argument.partition("=")
        if not key.startswith("-"):  # a flag, whose value may be a pattern
            refuse_secret(brief(key.lstrip("+~")), value)


def _no_secret(word: str) -> str | None:
    """Say what to do with an API key in ``key=value``, and never the value."""
    key = word.partition("=")[0].lstrip("+~-")
    is_secret = re.search(r"(^|[._])api_?key$", key, re.IGNORECASE)
    return NO_SECRETS.format(key=key) if is_secret else None


def short_message(error: BaseException) -> str:
    """Say in at most three lines which key is wrong, the nearest match, and what is allowed."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    text = "\n".join(str(link) for link in reversed(chain))
    told = (
        _own_words(chain)
        or _key_or_choice(text)
        or _several_values(text)
        or _wrong_type(chain)
        or _first_lines(text)
    )
    keys = [key for key in (getattr(link, "full_key", None) for link in chain) if key]
    if keys and keys[0].partition("[")[0] not in told:
        told = f"{keys[0]}: {told}"
    return "\n".join(map(brief, told.split("\n")))


def brief_words(text: str) -> str:
    """Cut the middle out of words without end, such as a path that was typed; lists stay whole."""
    return re.sub(rf"\S{{{LONGEST + 1},}}", lambda word: brief(word[0]), text)


def brief(text: str) -> str:
    """Cut the middle out of a line that nobody would read to its end."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 200]} ... {text[-200:]}"


def _own_words(chain: Iterable[BaseException]) -> str | None:
    """Take the words of a check of ours, or of Hydra's grammar and what it could not read."""
    for link in chain:
        if isinstance(link, ConfigError):
            return str(link)
        if isinstance(link, OverrideParseException):
            told = f"{_first_lines(link.message)}\nin {link.override}: {QUOTES}"
            return _no_secret(str(link.override)) or told
    return None


def _key_or_choice(text: str) -> str | None:
    unknown = re.search(r"Key '([^']+)' (?:not in|is not in struct)", text)
    if unknown:
        full = re.search(r"full_key: (\S+)", text) or re.search(r"override '([^']+)'", text)
        return unknown_key(full.group(1) if full else unknown.group(1))
    choice = re.search(r"Could not find '([^'/]+)/([^']*)'", text)
    if choice:
        return _unknown_choice(choice.group(1), choice.group(2), text)
    missing = re.search(r"You must specify '(\w+)'.*\nAvailable options:\n((?:\t.+\n?)*)", text)
    return _missing_choice(missing.group(1), missing.group(2).split()) if missing else None


def _several_values(text: str) -> str | None:
    swept = re.search(r"Ambiguous value for argument '(.+)'", text)
    if swept is None:
        return None
    word = swept.group(1)
    if mapping_of(word.partition("=")[0].lstrip("+")):
        return f"{word}: {QUOTES}"
    return _no_secret(word) or f"{word}: several values make a sweep, which needs the flag -m"


def _wrong_type(chain: Iterable[BaseException]) -> str | None:
    """Say `real_count: 'x' is not an integer`."""
    for link in chain:
        if isinstance(link, ValidationError) and link.full_key:
            key, _, item = link.full_key.partition("[")
            if key not in declared_keys() and not mapping_of(key):
                continue  # a key of Hydra's own
            value = "null" if link.value is None else repr(link.value)
            return f"{key}: {value} {'does not fit into' if item else 'is not'} {_type_name(key)}"
    return None


def _type_name(key: str) -> str:
    """Say what a key holds."""
    mapping = mapping_of(key)
    declared = get_args(declared_keys()[mapping])[1] if mapping else declared_keys()[key]
    if is_group(declared):
        return f"a group; set its keys: {', '.join(f'{key}.{name}' for name in _names_in(key))}"
    parts = [part for part in get_args(declared) if part is not type(None)]
    if type(None) not in get_args(declared):
        return TYPE_NAMES[declared]
    return TYPE_NAMES[functools.reduce(operator.or_, parts)] + " or null"


def _names_in(group: str) -> list[str]:
    """List the keys of a group without its name; none for what is not a group."""
    below = (key.rpartition(".") for key in all_keys())
    return sorted(name for parent, _, name in below if group and parent == group)


def unknown_key(key: str) -> str:
    """Answer a key that the config does not have: with the nearest, or those of its group."""
    secret = _no_secret(key)
    if secret:
        return secret
    mapping = mapping_of(key)
    if mapping:
        value = "person (or other, or ignore)" if mapping.endswith(".categories") else "VALUE"
        return f"{key} is new: write +{key}={value}"
    group, _, name = key.rpartition(".")
    siblings = _names_in(group)
    if siblings:
        close = close_match(name, siblings)
        hint = f"did you mean {group}.{close}?" if close else f"{group} has: {', '.join(siblings)}"
        return f"unknown key {key}; {hint}"
    if key.partition(".")[0] in OVERLAYS:  # its file set keys below its own name
        return f"{key} holds no keys\n  fix: its file's first line must be `# @package _global_`"
    if key in DEVICES:
        return f"unknown key {key}; GPUs are chosen in front: CUDA_VISIBLE_DEVICES=0 ptl-sweep ..."
    hint = did_you_mean(key, all_keys()) or _like_a_last_word(name)
    return f"unknown key {key}{hint or '; `python -m ptl_sweep --cfg job` lists all'}"


def _like_a_last_word(name: str) -> str:
    """Offer the shortest of the keys whose last word is like `name`; empty: there is none."""
    last_words = {known.rpartition(".")[2]: known for known in sorted(all_keys(), key=len)[::-1]}
    close = close_match(name, last_words)
    return f"; did you mean {last_words[close]}?" if close else ""


def _missing_choice(group: str, choices: list[str]) -> str:
    """Say what an experiment leaves to the user, as own_data does its source."""
    return (
        f"this experiment needs {group}=NAME, one of {', '.join(sorted(choices))}\n"
        f"  fix: name one; `python -m ptl_sweep new-{group} NAME --root DIR` adds a folder of yours"
    )


def _unknown_choice(group: str, choice: str, text: str) -> str:
    """Say what Hydra lists, which has seen the user's own files too."""
    listed = re.search(rf"Available options in '{group}':\n((?:\t.+\n?)*)", text)
    choices = sorted(listed.group(1).split()) if listed else []
    allowed = f"\nallowed: {', '.join(choices)}" if choices else f"\nno group {group}"
    variable = f"PTL_{group.upper()}"
    source = f" (of {variable})" if os.environ.get(variable) == choice else ""
    return f"unknown choice {group}={choice}{source}{did_you_mean(choice, choices)}{allowed}"


def _first_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    noise = re.compile(r"(object_type|reference_type|set |See https:|None$|.*\$VALUE)")
    wanted = [line for line in lines if not noise.match(line)]
    return "\n".join(dict.fromkeys(wanted[:3]))
