"""Refuses data sets that share images where results need them apart.

Training, validation and targets are compared by the bytes of their image files, so that a copy, a
link and another name do not hide an image; one that was encoded anew is another image here. Parts
of one folder are compared by the names that tools give to copies as well: an export that was
augmented before it was divided shows the same picture in several parts.
"""

from dataclasses import asdict
from pathlib import Path, PurePosixPath

from ptl_sweep.config.schema import ConfigError, DatasetConfig, PoolConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.cutouts import background_contents
from ptl_sweep.datasets.images import IMAGE_SUFFIXES
from ptl_sweep.datasets.index import NOT_CONTENT
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import originals

NOT_COMPARED = NOT_CONTENT - {"split"} | {"num_images"}  # of a target and the validation split

NUM_PAIRS = 3  # that a message names
RESPLIT = (
    "dataset.resplit=true divides all of its images anew by scene, where copies stay together "
    "(readers coco, yolo and voc)"
)


def shared_images(source: ImageSet, target: ImageSet) -> list[str]:
    """List the target's images, by id, whose bytes are those of one of the source's as well."""
    known = {record.content for record in source.records if record.content is not None}
    return [record.image_id for record in target.records if record.content in known]


def shared_originals(source: ImageSet, held_out: ImageSet) -> dict[str, str]:
    """Find images of `held_out` that by name are copies of a picture of `source`: id to id there.

    Both are parts of one data set. Augmented exports have such copies when they are divided after
    the augmentation; only names that a tool gave count.
    """
    one, other = (
        [_bare(record.image_id) for record in part.records] for part in (source, held_out)
    )
    known = dict(zip(reversed(originals(one)), reversed(one), strict=True))
    plain = set(one)
    return {
        name: known[original]
        for name, original in zip(other, originals(other), strict=True)
        if original in known and (original != name or original not in plain)
    }


def _bare(name: str) -> str:
    """Take off the suffix of an image, which ids of COCO have."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name


def require_separate(dataset: DatasetConfig, target: DatasetConfig) -> None:
    """Refuse a target that shares an image with the split that subsets are drawn from.

    Raises: ConfigError; DataError as `registry.read_split`.
    """
    shown = f"target {target.name} ({target.split})"
    training = f"{dataset.name} ({dataset.split}), from which training subsets are drawn"
    shared = _shared(dataset, target)
    if shared:
        raise ConfigError(
            f"{shown} shares images with {training} ({_counted(shared)})\n"
            "  fix: set target.split or dataset.split to another part, or use target=source, "
            "which tests on the held-out part of the source"
        )
    copies = _copies(dataset, target)
    if copies:
        raise ConfigError(
            f"{shown} shows by their names the pictures of {training} ({_paired(copies)})\n"
            f"  fix: {RESPLIT}, and target=source tests on the part that it holds out"
        )


def require_clean_validation(dataset: DatasetConfig) -> None:
    """Refuse a validation split that shares an image with training.

    Raises: ConfigError; DataError as `registry.read_split`.
    """
    validation = dataset.validation_config()
    training = f"{dataset.split}, from which training subsets are drawn"
    shared = _shared(dataset, validation)
    if shared:
        raise ConfigError(
            f"{_shown(dataset)} shares images with {training} ({_counted(shared)})\n"
            "  fix: set dataset.validation_split to a part without them, or "
            "analysis.calibration=crossfit"
        )
    copies = _copies(dataset, validation)
    if copies:
        raise ConfigError(
            f"{_shown(dataset)} shows by their names the pictures of {training} "
            f"({_paired(copies)})\n  fix: {RESPLIT}; or analysis.calibration=crossfit, which needs "
            "no validation split"
        )


def require_held_out(dataset: DatasetConfig, target: DatasetConfig) -> None:
    """Refuse a target that shares an image with the validation split beside it.

    A target that is the validation split itself may be looked at: its rows say `calibration`.
    Raises: ConfigError; DataError as `registry.read_split`.
    """
    validation = dataset.validation_config()
    if _is_validation(target, validation):
        return
    shared, copies = _shared(validation, target), _copies(validation, target)
    if shared or copies:
        raise ConfigError(
            f"target {target.name} ({target.split}) shares images with {_shown(dataset)}, on which "
            f"distances are calibrated ({_counted(shared) if shared else _paired(copies)})\n"
            "  fix: set target.split or dataset.validation_split to another part, or "
            "analysis.calibration=crossfit"
        )


def require_clean_pool(pool: PoolConfig, held_out: DatasetConfig, use: str = "tested on") -> None:
    """Refuse a pool whose pictures or backgrounds are images of a target or a validation split.

    Raises: ConfigError; DataError as `registry.read_split`.
    """
    if "miniature" in (pool.reader, held_out.reader):
        return
    tested = registry.read_split(held_out, held_out.split)
    shown = f"{held_out.name} ({held_out.split})"
    if pool.reader == "cutouts":
        known = background_contents(pool)
        shared = [known[r.content] for r in tested.records if r.content in known]
        if shared:
            raise ConfigError(
                f"pool {pool.name} puts persons on images of {shown}, which are {use} "
                f"({_counted(shared)})\n  fix: take them out of pool.backgrounds={pool.backgrounds}"
            )
        return
    shared = shared_images(registry.read_pool(pool), tested)
    if shared:
        raise ConfigError(
            f"pool {pool.name} shares images with {shown}, which are {use} "
            f"({_counted(shared)})\n  fix: take them out of {pool.root} and of its manifest"
        )


def _shown(dataset: DatasetConfig) -> str:
    return f"the validation split of {dataset.name} ({dataset.validation_split})"


def _shared(one: DatasetConfig, other: DatasetConfig) -> list[str]:
    """List the images of `other`, by id, that `one` has too."""
    if "miniature" in (one.reader, other.reader):  # its images are drawn, and lie in no file
        return ["every one"] if _world(one) == _world(other) else []
    return shared_images(*(registry.read_split(config, config.split) for config in (one, other)))


def _copies(one: DatasetConfig, other: DatasetConfig) -> dict[str, str]:
    """Find images of `other` that are copies of one in `one`, where both are of one folder."""
    if one.root is None or other.root is None or _folder(one) != _folder(other):
        return {}  # names of two data sets may be equal by chance
    return shared_originals(*(registry.read_split(config, config.split) for config in (one, other)))


def _folder(config: DatasetConfig) -> Path:
    return Path(str(config.root)).expanduser().resolve()


def _world(config: DatasetConfig) -> tuple[str, str | None, int, str]:
    return config.reader, config.domain, config.world_seed, config.split


def _is_validation(target: DatasetConfig, validation: DatasetConfig) -> bool:
    """Whether the target is the validation split, a copy of it, or a number of its images."""
    one, other = (
        {key: value for key, value in asdict(config).items() if key not in NOT_COMPARED}
        for config in (target, validation)
    )
    if one != other or target.root == validation.root:
        return one == other
    prints = {registry.fingerprint(config, config.split) for config in (target, validation)}
    return len(prints) == 1 and target.num_images == validation.num_images


def _counted(shared: list[str]) -> str:
    return f"{len(shared)}, first: {shared[0]}" if len(shared) > 1 else shared[0]


def _paired(copies: dict[str, str]) -> str:
    pairs = [f"{name} and {known}" for name, known in copies.items()]
    more = f"; and {len(pairs) - NUM_PAIRS} pairs more" if len(pairs) > NUM_PAIRS else ""
    return "copies: " + "; ".join(pairs[:NUM_PAIRS]) + more
