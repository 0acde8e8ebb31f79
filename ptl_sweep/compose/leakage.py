"""Refuses a target that shows pictures from which the real subsets are drawn."""

from pathlib import Path

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.images import FileImage
from ptl_sweep.datasets.records import ImageSet


def shared_images(source: ImageSet, target: ImageSet) -> list[str]:
    """List the target's images, by id, whose file is one of the source's as well."""
    files = {r.pixels.path.resolve() for r in source.records if isinstance(r.pixels, FileImage)}
    return [
        record.image_id
        for record in target.records
        if isinstance(record.pixels, FileImage) and record.pixels.path.resolve() in files
    ]


def require_separate(dataset: DatasetConfig, target: DatasetConfig) -> None:
    """Refuse a target that shares an image with the split that subsets are drawn from.

    Reads the two only where one folder lies in the other. Raises: ConfigError; DataError as
    `registry.read_split`.
    """
    if "miniature" in (dataset.reader, target.reader):
        shared = ["every one"] if _world(dataset) == _world(target) else []
    elif _may_share_files(dataset, target):
        sets = (registry.read_split(config, config.split) for config in (dataset, target))
        shared = shared_images(*sets)
    else:
        shared = []
    if shared:
        raise ConfigError(
            f"target {target.name} ({target.split}) shares images with {dataset.name} "
            f"({dataset.split}), from which training subsets are drawn (first: {shared[0]})\n"
            "  fix: set target.split or dataset.split to another part, or use target=source, "
            "which tests on the held-out part of the source"
        )


def _world(config: DatasetConfig) -> tuple[str, str | None, int, str]:
    return config.reader, config.domain, config.world_seed, config.split


def _may_share_files(dataset: DatasetConfig, target: DatasetConfig) -> bool:
    if dataset.root is None or target.root is None:
        return False
    one, other = (Path(root).expanduser().resolve() for root in (dataset.root, target.root))
    return one.is_relative_to(other) or other.is_relative_to(one)
