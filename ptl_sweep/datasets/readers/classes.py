"""What the classes of a data set mean: person, other or ignore; `categories` of its config says."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ptl_sweep.config.checks import ConfigError
from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.validation import data_error, nearest, quoted

ANY = "*"  # in `categories`: every class that it does not name


def class_meanings(names: Collection[str], config: DatasetConfig, path: Path) -> dict[str, str]:
    """Say what each class of the files means: person, other or ignore.

    Without `categories`, the class called person is one and every other class is other. `*` in
    `categories` stands for every class that it does not name.
    Raises: DataError for classes that `categories` lacks, and when no class is a person.
    """
    allowed = config.categories
    meanings: dict[str, str] = {}
    for name in names:
        if not allowed:
            meanings[name] = "person" if name.lower() == "person" else "other"
        elif name in allowed or ANY in allowed:
            meanings[name] = allowed.get(name, allowed.get(ANY, "other"))
    _refuse_unnamed([name for name in names if name not in meanings], config, path)
    if "person" not in meanings.values():
        raise data_error(
            path,
            f"none of its classes is a person: {', '.join(meanings) or 'there are none'}",
            f"set categories of data set {config.name!r}, for example "
            "+dataset.categories.NAME=person (or +target.categories.NAME=person)",
        )
    return meanings


def _refuse_unnamed(unnamed: Sequence[str], config: DatasetConfig, path: Path) -> None:
    """Raises: DataError that names all classes that `categories` lacks."""
    allowed = config.categories
    if unnamed:
        many = len(unnamed) > 1
        raise data_error(
            path,
            f"class{'es' * many} {', '.join(map(quoted, dict.fromkeys(unnamed)))} "
            f"{'are' if many else 'is'} not in categories of data set {config.name!r}; the "
            f"nearest {f'to {unnamed[0]!r} ' * many}is {nearest(unnamed[0], allowed)!r}",
            f"add {'them' if many else 'it'} to categories as person, other or ignore, or all that "
            f"is not named as '*' (now: {', '.join(allowed)})",
        )


def merged_meanings(built_in: Mapping[str, str], config: DatasetConfig) -> dict[str, str]:
    """Say what each class name means: `categories` changes meanings in `built_in` and adds names.

    Names are compared by their `loose` form.
    Raises: ConfigError when no class is a person, and for one class with two meanings.
    """
    changed: dict[str, str] = {}
    for name, meaning in config.categories.items():
        if changed.setdefault(loose(name), meaning) != meaning:
            raise ConfigError(
                f"{config.name}.categories.{name} is a second spelling of one class, which is "
                f"{changed[loose(name)]} already and cannot be {meaning} too: leave one out"
            )
    meanings = {name: changed.get(loose(name), meaning) for name, meaning in built_in.items()}
    meanings |= config.categories
    if "person" not in meanings.values():
        raise ConfigError(f"{config.name}.categories leaves no class that is a person")
    return meanings


def added_names(built_in: Mapping[str, str], config: DatasetConfig) -> dict[str, str]:
    """Find the names in `categories` that `built_in` lacks, by their `loose` form."""
    known = {loose(name) for name in built_in}
    return {loose(name): name for name in config.categories if loose(name) not in {*known, ANY}}


def loose(name: str) -> str:
    """Reduce a name to what names are compared by: no case, spaces, underscores or hyphens."""
    return re.sub(r"[\s_-]+", "", name).lower()
