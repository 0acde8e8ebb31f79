"""HERIDAL: photographs of about 4000x3000 with tiny persons, as its owner ships it or re-packed."""

from pathlib import Path

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.readers.pairs import (
    Pairs,
    annotation_files,
    data_folder,
    image_files,
    labelled,
    only_listed,
)
from ptl_sweep.datasets.readers.validator import Validator
from ptl_sweep.datasets.readers.voc.xml import Classes, add_voc
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import spread
from ptl_sweep.datasets.validation import (
    DataError,
    data_error,
    refuse_scene_fractions,
    require_root,
)

CLASSES = {"human": "person", "person": "person"}
_FOLDERS = {"train": "trainImages", "trainval": "trainImages", "test": "testImages"}
_LISTS = {  # in ImageSets/Main of the re-pack
    "train": "train",
    "trainval": "trainval",
    "validation": "val",
    "val": "val",
    "test": "test",
}
_HOLDS = "trainImages/ and testImages/, or JPEGImages/, Annotations/ and ImageSets/Main/"


def read_heridal(config: DatasetConfig, split: str) -> ImageSet:
    """Read the photographs of one split that have an annotation file; those without are counted.

    They are left out because HERIDAL is counted by annotation files everywhere: its own lists
    and the published evaluations start from the XML, and one without objects is a negative.
    `root` or one folder in it holds trainImages/ and testImages/ (splits train and test), or
    JPEGImages/, Annotations/ and ImageSets/Main/ (a split is a list there; `train` is
    trainval.txt when train and validation are not listed apart). A scene is a location.
    Raises: DataError for files that cannot be used, ConfigError for keys that do not fit them.
    """
    refuse_scene_fractions(config, "HERIDAL has splits of its own: set it to null")
    if config.frame_stride != 1:
        raise ConfigError(
            f"{config.name}.frame_stride={config.frame_stride} thins out video frames; HERIDAL is "
            "single photographs: set it to 1 (num_images takes fewer of them)"
        )
    validator = Validator(config, split)
    folder = data_folder(
        require_root(config, _HOLDS),
        lambda path: _is_original(path) or _is_repack(path),
        _HOLDS,
    )
    find = _original if _is_original(folder) else _repack
    pairs = find(folder, split, validator)
    names = spread(labelled(pairs, validator), config.num_images)
    add_voc(names, pairs, _location, Classes(CLASSES, config), validator)
    return validator.image_set()


def _is_original(folder: Path) -> bool:
    return any((folder / name).is_dir() for name in _FOLDERS.values())


def _is_repack(folder: Path) -> bool:
    return (folder / "JPEGImages").is_dir() and (folder / "ImageSets" / "Main").is_dir()


def _original(folder: Path, split: str, _: Validator) -> Pairs:
    if split not in _FOLDERS:
        raise _no_such_split(folder, split, ["train", "test"])
    images = folder / _FOLDERS[split]
    if not images.is_dir():
        raise data_error(images, f"not found, so there is no split {split!r}", "unpack it there")
    labels = images / "labels"
    inner = images / "images"
    return Pairs(
        image_files(inner if inner.is_dir() else images),
        annotation_files(labels if labels.is_dir() else images),
    )


def _repack(folder: Path, split: str, validator: Validator) -> Pairs:
    lists = folder / "ImageSets" / "Main"
    stem = _LISTS.get(split, "")
    apart = (lists / "train.txt").is_file() or (lists / "val.txt").is_file()
    if stem == "train" and not apart:
        stem = "trainval"
    path = lists / f"{stem}.txt"
    if not path.is_file():
        listed = [name for name, stem in _LISTS.items() if (lists / f"{stem}.txt").is_file()]
        raise _no_such_split(lists, split, listed)
    pairs = Pairs(image_files(folder / "JPEGImages"), annotation_files(folder / "Annotations"))
    return only_listed(path, pairs, validator)


def _no_such_split(where: Path, split: str, there: list[str]) -> DataError:
    return data_error(
        where,
        f"no split {split!r}; it has {', '.join(there) or 'none'}",
        "set split to one of these, or unpack the data set again",
    )


def _location(name: str) -> str:
    """BLI of test_BLI_0001; of a name in another form, what comes before its number."""
    stem = name.rsplit("/", 1)[-1]
    parts = stem.split("_")
    if len(parts) > 2 and parts[1].isalpha():
        return parts[1].upper()
    return stem.rstrip("0123456789").rstrip("_- ") or stem
