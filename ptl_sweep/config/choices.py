"""Choices that are classes, one a file: the file's name is what the configuration calls it.

A translator, synthetic method or launcher is added by one file in its folder; nothing else lists
them.
"""

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, ClassVar, Self

from ptl_sweep.config.checks import ConfigError

BASE = "base"  # the module of a folder that holds what its choices are made of


class Choice:
    """A frozen dataclass of parameters, all of them part of the key of the stage that has it."""

    key: ClassVar[str]  # of the configuration: translator, synthetic

    @property
    def method(self) -> str:
        """What the configuration calls this class: the name of its file."""
        return type(self).__module__.rpartition(".")[2]

    @classmethod
    def read(cls, config: object, options: Mapping[str, object]) -> Self:
        """Take each parameter from the key of its name, else from `options`, else its default.

        Raises: ConfigError for an option that this method does not have, or lacks.
        """
        own = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
        unknown = options.keys() - own.keys()
        if unknown:
            raise ConfigError(
                f"{cls.key}.options.{min(unknown)}: this method has no such parameter; it has "
                f"{', '.join(own) or 'none'}"
            )
        known = {name: getattr(config, name) for name in own if hasattr(config, name)}
        given = {**known, **options}
        for name, item in own.items():
            has_default = (item.default, item.default_factory) != (MISSING, MISSING)
            if name not in given and not has_default:
                raise ConfigError(
                    f"{cls.key}.options.{name} is missing: this method has no default for it"
                )
        return cls(**given)


def choice_names(package: str) -> tuple[str, ...]:
    """List the choices in a folder of the package by name; imports none of them."""
    folder = importlib.import_module(package)
    return tuple(sorted(m.name for m in pkgutil.iter_modules(folder.__path__) if m.name != BASE))


@functools.cache
def find_choice(package: str, key: str, name: str, base: type) -> Any:
    """Find the subclass of `base` in the file or folder `name`.

    Raises: ConfigError that names all choices.
    """
    known = choice_names(package)
    if name not in known:
        raise ConfigError(f"{key} must be one of {', '.join(known)}; got {name}")
    module = importlib.import_module(f"{package}.{name}")
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and f"{value.__module__}.".startswith(f"{module.__name__}.")
    ]
    assert len(own) == 1, f"{module.__name__} must define one {base.__name__}"
    return own[0]
