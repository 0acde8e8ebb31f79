"""What is wrong with a choice file of the user's own, where Hydra ends in Python's own errors."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ptl_sweep.compose.own_choices import own_folder
from ptl_sweep.config.schema import GROUPS, ConfigError

# Hydra and OmegaConf let these through for files that they cannot use
RAISED = (yaml.YAMLError, ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError)


def name_fault(words: Sequence[str], *, of_named: bool) -> ConfigError | None:
    """Find the own file that Hydra could not use, `of_named` only among those that a word names.

    None: no file is at fault.
    """
    folder = _folder(words)
    named = {word.partition("=")[2] for word in words}
    files = sorted(folder.glob("*/*.yaml")) if folder else []
    for path in sorted(files, key=lambda path: path.stem not in named):
        fault = _fault(path) if path.stem in named or not of_named else ""
        if fault:
            return ConfigError(f"{path}: {fault}")
    return None


def _folder(words: Sequence[str]) -> Path | None:
    """Find what --config-dir names, as a flag or as the word that commands make of it; ./conf."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        found = re.match(r"hydra\.searchpath=\['file://(.*)'\]$|--config-dir=(.*)", word)
        if found or word == "--config-dir":
            return Path((found[1] or found[2]) if found else following)
    return own_folder()


def _fault(path: Path) -> str:
    """Say what is wrong and how to write it; empty: nothing that Hydra ends at."""
    try:
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except UnicodeDecodeError as error:
        return f"no UTF-8 (byte {error.start})\n  fix: save the file in UTF-8"
    except RecursionError:
        return "lists or mappings within each other without end"
    except yaml.YAMLError as error:
        return _yaml_fault(error)
    except (OSError, ValueError, OmegaConfBaseException) as error:
        return str(error).split("\n", maxsplit=1)[0]
    return next(iter(_content_faults(content)), "")


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
        if not isinstance(content.get(group, {}), dict):
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
            if not all(name is None or isinstance(name, str) for name in names):
                word = {True: "on", False: "off"}.get(value, value) if key else item
                group = key.split("/")[-1]
                known = group if group in GROUPS else "a choice"
                yield f'defaults: the name of {known} needs quotes: `- {key}: "{word}"`'
