"""Divides a data set by whole scenes where it has no splits of its own, or none that can be used.

Copies that a tool made of a picture are in its scene, so they never lie in two parts.
"""

from collections.abc import Collection, Sequence
from typing import TypeVar

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.subsets import SPLITS, assign_scenes, split_role

SHARES = [0.8, 0.2, 0.0]  # of train, validation and test where `resplit` comes without shares
UNUSED_SHARES = "scene_fractions not used, the folder has splits of its own"

Item = TypeVar("Item")


def is_divided(config: DatasetConfig, own: Collection[str]) -> bool:
    """Say whether scenes decide the splits; `own` are those that the files have."""
    return config.resplit or (config.scene_fractions is not None and not own)


def refuse_unused_shares(config: DatasetConfig, own: Collection[str]) -> None:
    """Refuse shares beside splits of the files' own. Raises: ConfigError."""
    if config.scene_fractions is not None and not is_divided(config, own):
        raise ConfigError(
            f"{config.name}.scene_fractions divides what has no splits of its own, and its files "
            f"have {', '.join(own)}: set it to null, or resplit=true to divide all images anew"
        )


def divide(
    items: Sequence[Item], scenes: Sequence[str], config: DatasetConfig, split: str
) -> list[Item]:
    """Take the items whose scenes are given to a split; `all` takes every one.

    Raises: ConfigError for a split without a share, and for fewer scenes than splits.
    """
    if split == "all":
        return list(items)
    shares = config.scene_fractions or SHARES
    wanted = split_role(split)
    if wanted is None or shares[SPLITS.index(wanted)] == 0:
        raise ConfigError(
            f"{config.name}.scene_fractions={list(shares)} gives no image to split {split!r}; "
            f"splits are {', '.join(SPLITS)} and all"
        )
    assigned = assign_scenes(scenes, shares)
    return [item for item, name in zip(items, assigned, strict=True) if name == wanted]
