"""What is wrong with a choice file of the user's own, where Hydra ends in Python's own errors."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ptl_sweep.compose.own_choices import own_folder
from ptl_sweep.config.schema import GROUPS, OVERLAYS, ConfigError, conf_dir

# Hydra and OmegaConf let these through for files that they cannot use
RAISED = (
    yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, AssertionError, RecursionError,
    OSError,
)  # fmt: skip
_FOLDER = re.compile(r"(?:--config-dir|-cd)=(.*)|hydra\.searchpath=\[['\"]?file://(.*?)['\"]?\]")
_NAME = re.compile(r"[\w.-]{1,200}")
_WORDS = {True: "on", False: "off"}  # as YAML reads them without quotes


def name_fault(words: Sequence[str]) -> ConfigError | None:
    """Find the own file among those that the words use which Hydra could not use.

    None: no file is at fault.
    """
    folder = _folder(words)
    named = _named(words)
    known: set[Path] = set()
    while folder and named:
        path = folder / named.pop()
        if path in known or (conf_dir() / path.relative_to(folder)).exists() or not path.exists():
            continue
        known.add(path)
        content, fault = _load(path)
        fault = fault or next(iter(_content_faults(content)), "")
        if fault:
            return ConfigError(f"{path}: {fault}")
        named += _defaults_of(content, path.parent.name)
    return None


def _folder(words: Sequence[str]) -> Path | None:
    """Find the folder of own choices: as a flag or a word names it, or ./conf."""
    for word, following in pairwise([*words, ""]):
        found = _FOLDER.match(word)
        if found:
            return Path(re.sub(r"\\(.)", r"\1", found[1] or found[2]))
        if word in ("--config-dir", "-cd"):
            return Path(following)
    return own_folder()


def _named(words: Iterable[str]) -> list[Path]:
    """List the files, below a folder of choices, that words such as `target=mine,field` name."""
    pairs = [word.lstrip("+").partition("=") for word in words]
    choices = [(key, value) for key, _, value in pairs if key in {*GROUPS, *OVERLAYS}]
    return [_file_of(group, name) for group, value in choices for name in value.split(",")]


def _file_of(group: str, name: str) -> Path:
    """Name the file of a choice below a folder; what is no name of a file names none."""
    return Path(group, f"{name}.yaml" if _NAME.fullmatch(name) else ".yaml")


def _defaults_of(content: Any, group: str) -> Iterator[Path]:
    """List the files that a file's defaults name."""
    for item in content.get("defaults", []):
        pairs = item.items() if isinstance(item, dict) else [(group, item)]
        for key, value in pairs:
            for name in value if isinstance(value, list) else [value]:
                yield _file_of(str(key).split("/")[-1].split("@")[0], str(name))


def _load(path: Path) -> tuple[Any, str]:
    """Read a file: its content, and what is wrong with it."""
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False), ""
    except UnicodeDecodeError as error:
        return None, f"no UTF-8 (byte {error.start})\n  fix: save the file in UTF-8"
    except RecursionError:
        return None, "lists or mappings within each other without end"
    except yaml.YAMLError as error:
        return None, _yaml_fault(error)
    except (OSError, ValueError, OmegaConfBaseException) as error:
        return None, str(error).split("\n", maxsplit=1)[0]


def _yaml_fault(error: yaml.YAMLError) -> str:
    """Say line and problem in one line."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error).split("\n", maxsplit=1)[0]
    place = f"line {mark.line + 1}: " if mark else ""
    tab = "\n  fix: indent with blanks" if "\\t" in problem else ""
    return f"{place}no YAML: {problem}{tab}"


def _content_faults(content: Any) -> Iterator[str]:
    if not isinstance(content, dict):
        yield "a choice is a mapping of keys to values"
        return
    for group in GROUPS:
        value = content.get(group, {})
        if not isinstance(value, dict) and not str(value).startswith("${"):
            yield f'{group} is a group: write `- override /{group}: "NAME"` below `defaults:`'
    defaults = content.get("defaults", [])
    if not isinstance(defaults, list):
        yield f"defaults: {defaults} is no list; write `- override /GROUP: NAME` below it"
    else:
        yield from _unquoted_names(defaults)
    params = content.get("hydra", {})
    for name in ("sweeper", "params"):
        params = params.get(name, {}) if isinstance(params, dict) else params
    if not isinstance(params, dict):
        yield f'hydra.sweeper.params: {params} is no mapping; write `KEY: "a,b"` below it'


def _unquoted_names(defaults: Iterable[Any]) -> Iterator[str]:
    """Find names such as off and 5, which YAML reads as false and as a number."""
    for item in defaults:
        for key, value in item.items() if isinstance(item, dict) else [("", item)]:
            names = value if isinstance(value, list) else [value]
            if isinstance(key, str) and all(
                name is None or isinstance(name, str) for name in names
            ):
                continue
            shown = ", ".join(f'"{_as_typed(name)}"' for name in names)
            group = str(key).split("/")[-1]
            known = group if group in GROUPS else "a choice"
            yield f"defaults: the name of {known} needs quotes: `- {_as_typed(key)}: {shown}`"


def _as_typed(name: Any) -> Any:
    return _WORDS[name] if isinstance(name, bool) else name
