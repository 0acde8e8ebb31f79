"""How a folder of labelled pictures is a source: what is trained on, and what is held out."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ptl_sweep.compose.detect_format import describe_classes, find_format
from ptl_sweep.compose.leakage import require_clean_validation
from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.readers.division import SHARES
from ptl_sweep.datasets.subsets import SPLITS
from ptl_sweep.datasets.validation import DataError


class DetectedSource(NamedTuple):
    """How a source is read."""

    config: DatasetConfig
    has_validation: bool  # whether some part can be held out
    reason: str  # why a part of its own is not used; empty where that needs no word


def detect_source(root: Path, name: str, persons: Collection[str] = ()) -> DetectedSource:
    """Find the reader, the classes and two parts that share no picture.

    Its own train and validation (or test) parts where they show no picture twice; else all of it
    divided by scenes; else one part alone. `persons` as in `detect_format`.
    Raises: as `detect_format`.
    """
    reader, categories = find_format(root, persons)
    base = DatasetConfig(
        name=name, reader=reader, root=str(root), split="all", categories=categories
    )
    own = _own_parts(base)
    config, reason = _as_it_is(base, own)
    if config is None and reader in registry.DIVIDED:
        config = _divided(base, is_anew=bool(own))
    if config is not None:
        return DetectedSource(config, has_validation=True, reason=reason)
    config = replace(base, split=next(iter(own), "all"))
    registry.read_split(config, config.split)
    return DetectedSource(config, has_validation=False, reason=reason)


def _as_it_is(base: DatasetConfig, own: Collection[str]) -> tuple[DatasetConfig | None, str]:
    """Its own train and validation or test, and why one of these is not taken."""
    reason = ""
    for validation in ("validation", "test"):
        if {"train", validation} <= {*own}:
            config = replace(base, split="train", validation_split=validation)
            try:
                require_clean_validation(config)
            except ConfigError as error:
                reason = reason or str(error).split("\n")[0]
            else:
                return config, reason
    return None, reason


def _divided(base: DatasetConfig, *, is_anew: bool) -> DatasetConfig | None:
    """All of it divided by scenes; None where one part would show nobody."""
    config = replace(base, split="train", scene_fractions=SHARES, resplit=is_anew)
    parts = (config, config.validation_config())
    return config if all(map(_shows_persons, parts)) else None


def _own_parts(base: DatasetConfig) -> list[str]:
    """Which of SPLITS it has, with persons."""
    return [split for split in SPLITS if _shows_persons(replace(base, split=split))]


def _shows_persons(config: DatasetConfig) -> bool:
    try:
        return registry.read_split(config, config.split).num_persons > 0
    except (ConfigError, DataError):
        return False


def describe_source(found: DetectedSource) -> str:
    """Write what was found as a line of text."""
    config = found.config
    texts = [f"format {config.reader}"]
    if config.scene_fractions:
        anew = " anew" if config.resplit else ""
        texts.append(f"divided{anew} by scenes: 80 % to train on, 20 % held out")
    elif found.has_validation:
        texts.append(f"trained on {config.split}, held out {config.validation_split}")
    else:
        texts.append(f"trained on {config.split}, nothing to hold out")
    return "; ".join([*texts, *describe_classes(config.categories)])
