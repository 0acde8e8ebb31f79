"""YOLO folders: images/, labels/ (`class cx cy width height`, shares of the image), data.yaml."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.images import FileImage, image_size, list_images
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import SPLITS, assign_scenes, frame_runs, spread
from ptl_sweep.datasets.validation import (
    DataError,
    DelimitedTable,
    Labels,
    Validator,
    class_meanings,
    data_error,
    read_text,
    require_root,
    shown,
)

COLUMNS = ("class", "cx", "cy", "width", "height")
TOLERANCE = 0.01  # how far outside [0, 1] a rounded share may lie
_FOLDERS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}


class _Folder(NamedTuple):
    """Images and labels of one split; `prefix` keeps ids of several splits apart."""

    prefix: str
    images: Path
    labels: Path


class _Listed(NamedTuple):
    """One image, and where its labels are if it has any."""

    image_id: str
    scene: str
    image: Path
    labels: Path


class _Classes(NamedTuple):
    """Class numbers of data.yaml: all, persons, and regions to ignore."""

    known: list[int]
    person: list[int]
    ignored: list[int]


def read_yolo(config: DatasetConfig, split: str) -> ImageSet:
    """One split: SPLIT/images, images/SPLIT, or one flat images/; `all` is every image.

    `scene_fractions` divides a flat folder and nothing else. An image without label file is a
    negative.
    Raises: DataError for files that cannot be used, ConfigError for keys that do not fit them.
    """
    root = require_root(config, "data.yaml, images/ and labels/")
    classes = _classes(root, config)
    validator = Validator(config, split)
    for image_id, scene, path, labels in spread(
        _listed(root, config, split, validator), config.num_images
    ):
        size = image_size(path)
        if not labels.is_file():
            validator.warn("images without label file, taken as negatives", path.name)
        table = validator.read_table(labels, COLUMNS, None) if labels.is_file() else None
        found = _labels(labels, table, size, classes)
        validator.add(image_id, scene, FileImage(path), size, found)
    return validator.image_set()


def _listed(root: Path, config: DatasetConfig, split: str, validator: Validator) -> list[_Listed]:
    """Every image of the split in the order of its id."""
    own = {
        name: folder
        for name in dict.fromkeys((*SPLITS, split))
        if (folder := _own_folder(root, name)) is not None
    }
    if own and config.scene_fractions is not None:
        validator.warn("scene_fractions not used, the folder has splits of its own", root.name)
    flat = _Folder("", root / "images", root / "labels")
    if split == "all" and own:
        folders = [folder._replace(prefix=f"{name}/") for name, folder in own.items()]
    elif split in own:
        folders = [own[split]]
    elif not own and flat.images.is_dir() and (split == "all" or config.scene_fractions):
        folders = [flat]
    else:
        raise _no_such_split(root, config, split, list(own))
    listed = [image for folder in folders for image in _images(folder, validator)]
    if own or config.scene_fractions is None or split == "all":
        return listed
    return _share(listed, config, split)


def _own_folder(root: Path, split: str) -> _Folder | None:
    for name in _FOLDERS.get(split, (split,)):
        for images, labels in (
            (root / name / "images", root / name / "labels"),
            (root / "images" / name, root / "labels" / name),
        ):
            if images.is_dir():
                return _Folder("", images, labels)
    return None


def _no_such_split(root: Path, config: DatasetConfig, split: str, own: list[str]) -> DataError:
    if own:
        problem = f"no split {split!r}; it has {', '.join(own)}"
        fix = "use one of these, or `all`"
    elif (root / "images").is_dir():
        problem = f"one flat folder, so there is no split {split!r}"
        fix = (
            f"set split=all, or scene_fractions=[0.7,0.15,0.15] of data set {config.name!r} to "
            "divide it by scenes"
        )
    else:
        problem = f"neither {split}/images nor images/ is there"
        fix = "unpack the data set there, or set root to the folder that holds images/"
    return data_error(root, problem, fix)


def _images(folder: _Folder, validator: Validator) -> Iterator[_Listed]:
    """The images of one folder; label files without image are noted."""
    images = list_images(folder.images)
    names = [path.relative_to(folder.images).with_suffix("") for path in images]
    scenes = frame_runs([f"{folder.prefix}{name.as_posix()}" for name in names])
    for path in sorted(folder.labels.rglob("*.txt")):
        if path.relative_to(folder.labels).with_suffix("") not in set(names):
            validator.warn("label files without image", path.name)
    for path, name, scene in zip(images, names, scenes, strict=True):
        labels = folder.labels / f"{name}.txt"
        yield _Listed(f"{folder.prefix}{name.as_posix()}", scene, path, labels)


def _share(listed: list[_Listed], config: DatasetConfig, split: str) -> list[_Listed]:
    """The images of the scenes that `scene_fractions` gives to this split."""
    shares = config.scene_fractions or []
    wanted = next((name for name, aliases in _FOLDERS.items() if split in aliases), None)
    if wanted is None or shares[SPLITS.index(wanted)] == 0:
        raise ConfigError(
            f"{config.name}.scene_fractions={list(shares)} gives no image to split {split!r}; "
            f"splits are {', '.join(SPLITS)} and all"
        )
    assigned = assign_scenes([image.scene for image in listed], shares)
    return [image for image, name in zip(listed, assigned, strict=True) if name == wanted]


def _classes(root: Path, config: DatasetConfig) -> _Classes:
    path = root / "data.yml" if (root / "data.yml").is_file() else root / "data.yaml"
    if not path.is_file():
        raise data_error(path, "not found", "write it with the line `names: {0: person}`")
    names = _names(path)
    meanings = class_meanings(names.values(), config, path)
    return _Classes(
        list(names),
        [number for number, name in names.items() if meanings[name] == "person"],
        [number for number, name in names.items() if meanings[name] == "ignore"],
    )


def _names(path: Path) -> dict[int, str]:
    """The class names of data.yaml, which has them as a list or as {number: name}."""
    fix = "write the line `names: {0: person}` or `names: [person]`"
    try:
        content = yaml.safe_load(read_text(path))
    except yaml.YAMLError as error:
        raise data_error(path, f"is not valid YAML: {shown(str(error))}", fix) from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(
        isinstance(number, int) and isinstance(name, str) for number, name in names.items()
    ):
        raise data_error(path, f"names is {shown(names)}, must be class names by number", fix)
    return names


def _labels(
    path: Path, table: DelimitedTable | None, size: tuple[int, int], classes: _Classes
) -> Labels:
    """Boxes in pixels. Raises: DataError for an unknown class or a share outside [0, 1]."""
    if table is None:
        none = np.zeros(0, dtype=np.bool_)
        return Labels(path, np.zeros((0, 4)), none, none)
    number = table.column("class")
    listed = ", ".join(map(str, classes.known))
    table.require(
        "class",
        np.isin(number, classes.known),
        f"a class number of data.yaml ({listed})",
        "name the class in data.yaml (and in categories), or correct the row",
    )
    for name in COLUMNS[1:]:
        share = table.column(name)
        low = 0 if name in ("width", "height") else -TOLERANCE
        table.require(
            name,
            (share >= low) & (share <= 1 + TOLERANCE),
            "a share of the image in [0, 1]",
            "divide pixels by the width or height of the image, or correct the row",
        )
    centre, half = table.values[:, 1:3], table.values[:, 3:5] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1) * [*size, *size]
    return Labels(path, boxes, np.isin(number, classes.person), np.isin(number, classes.ignored))
