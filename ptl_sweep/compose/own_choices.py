"""Choices of the user's own: YAML files below ./conf, PTL_CONF, or what --config-dir names.

Hydra looks for a choice in the conf/ of the package first, so a file here adds and never changes.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from ptl_sweep.config.checks import identifier
from ptl_sweep.config.schema import ConfigError, conf_dir

OWN = "conf"  # in the working directory, beside outputs/
VARIABLE = "PTL_CONF"  # names another folder, once for all commands
_KEY = "hydra.searchpath"


def search_word(folder: Path) -> str:
    """Write the word by which Hydra looks into a folder too. Raises: ConfigError if not there."""
    if not folder.is_dir():
        raise ConfigError(f"--config-dir {folder} is not a folder")
    path = str(folder.absolute()).replace("\\", "\\\\").replace("'", "\\'")
    return f"{_KEY}=['file://{path}']"


def default_folder() -> Path:
    """Name the folder that PTL_CONF names, else ./conf, whether it is there or not."""
    return Path(os.environ.get(VARIABLE) or OWN)


def own_folder() -> Path | None:
    """Find PTL_CONF or ./conf; None where ./conf is not there, or is that of the package.

    Raises: ConfigError where PTL_CONF is not there.
    """
    own = default_folder()
    if os.environ.get(VARIABLE) and not own.is_dir():
        raise ConfigError(f"{VARIABLE}={own} is not a folder: make it, or unset {VARIABLE}")
    return own if own.is_dir() and own.resolve() != conf_dir().resolve() else None


def with_own_choices(overrides: Sequence[str]) -> list[str]:
    """Add the word for the own folder, unless another folder is named."""
    own = own_folder()
    named = any(override.startswith(f"{_KEY}=") for override in overrides)
    return list(overrides) if named or own is None else [*overrides, search_word(own)]


def with_own_flag(arguments: Sequence[str]) -> list[str]:
    """Put Hydra's flag for the own folder in front; another one wins."""
    own = own_folder()
    return list(arguments) if own is None else [f"--config-dir={own.absolute()}", *arguments]


def new_choice(group: str, name: str, folder: Path) -> Path:
    """Name the file of a choice that does not exist yet. Raises: ConfigError for one that does."""
    identifier("NAME", name)
    for place in (conf_dir(), folder):
        path = place / group / f"{name}.yaml"
        if path.exists():
            raise ConfigError(f"{path} is there already: choose another name, or delete the file")
    return folder.absolute() / group / f"{name}.yaml"
