"""Choices that are classes, one a file: the file's name is what the configuration calls it.

A translator or synthetic method is added by one file in its folder; nothing else lists them.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
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
    def read(cls, config: object, options: Mapping[str, Any]) -> Self:
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
        return cls(**{name: _value(cls.key, item, config, options) for name, item in own.items()})


def _value(key: str, item: Field[Any], config: object, options: Mapping[str, Any]) -> Any:
    if item.name in options:
        return options[item.name]
    if hasattr(config, item.name):
        return getattr(config, item.name)
    if item.default is not MISSING:
        return item.default
    if item.default_factory is not MISSING:
        return item.default_factory()
    raise ConfigError(f"{key}.options.{item.name} is missing: this method has no default for it")


def choice_names(package: str) -> list[str]:
    """Names of the choices in a folder of the package, sorted; imports none of them."""
    folder = importlib.import_module(package)
    return sorted(m.name for m in pkgutil.iter_modules(folder.__path__) if m.name != BASE)


def find_choice(package: str, key: str, name: str) -> Any:
    """The class of a choice. Raises: ConfigError that names all choices."""
    known = choice_names(package)
    if name not in known:
        raise ConfigError(f"{key}.method must be one of {', '.join(known)}; got {name}")
    module = importlib.import_module(f"{package}.{name}")
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Choice)
        and value.__module__ == module.__name__
    ]
    assert len(own) == 1, f"{module.__name__} must define one choice"
    return own[0]
