"""YOLO folders: images/, labels/ (`class cx cy width height`, shares of the image), data.yaml."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.images import image_size, list_images
from ptl_sweep.datasets.readers.classes import class_meanings
from ptl_sweep.datasets.readers.delimited import DelimitedTable
from ptl_sweep.datasets.readers.validator import Labels, Validator
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import SPLITS, assign_scenes, frame_runs, spread
from ptl_sweep.datasets.validation import (
    DataError,
    data_error,
    quoted,
    read_text,
    require_root,
)

COLUMNS = ("class", "cx", "cy", "width", "height")
TOLERANCE = 0.01  # how far outside [0, 1] a rounded share may lie
_FOLDERS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}


class _Folder(NamedTuple):
    """Images and labels of one split; `prefix` keeps ids of several splits apart."""

    prefix: str
    images: Path
    labels: Path


class ListedImage(NamedTuple):
    """One image, and where its labels are if it has any."""

    image_id: str
    scene: str
    image: Path
    labels: Path


def read_yolo(config: DatasetConfig, split: str) -> ImageSet:
    """Read one split: SPLIT/images, images/SPLIT, or one flat images/; `all` is every image.

    `scene_fractions` divides a flat folder and nothing else. An image without label file is a
    negative.
    Raises: DataError for files that cannot be used, ConfigError for keys that do not fit them.
    """
    root = require_root(config, "data.yaml, images/ and labels/")
    meanings = class_numbers(root, config)
    validator = Validator(config, split)
    listed = list_split(root, config, split, validator)
    add_yolo(spread(listed, config.num_images), meanings, validator)
    return validator.image_set()


def add_yolo(
    images: Iterable[ListedImage], meanings: Mapping[int, str], validator: Validator
) -> None:
    """Check every image with its labels and keep it; `meanings` is that of `class_numbers`.

    Raises: DataError for files that cannot be used; it names file, line, field and value.
    """
    for image_id, scene, path, labels in images:
        size = image_size(path)
        if labels.exists():
            found = _labels(validator.read_table(labels, COLUMNS, None), size, meanings)
        else:
            validator.warn("images without label file, taken as negatives", path.name)
            found = Labels.of_persons(labels, np.zeros((0, 4)))
        validator.add(image_id, scene, path, size, found)


def list_split(
    root: Path, config: DatasetConfig, split: str, validator: Validator
) -> list[ListedImage]:
    """List the images of the split in the order of their ids. Raises: DataError, ConfigError."""
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


def _images(folder: _Folder, validator: Validator) -> Iterator[ListedImage]:
    """The images of one folder; label files without image are noted."""
    images = list_images(folder.images)
    names = [path.relative_to(folder.images).with_suffix("") for path in images]
    scenes = frame_runs([f"{folder.prefix}{name.as_posix()}" for name in names])
    for path in sorted(folder.labels.rglob("*.txt")):
        if path.relative_to(folder.labels).with_suffix("") not in set(names):
            validator.warn("label files without image", path.name)
    for path, name, scene in zip(images, names, scenes, strict=True):
        labels = folder.labels / f"{name}.txt"
        yield ListedImage(f"{folder.prefix}{name.as_posix()}", scene, path, labels)


def _share(listed: list[ListedImage], config: DatasetConfig, split: str) -> list[ListedImage]:
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


def _data_file(root: Path) -> Path:
    return root / "data.yml" if (root / "data.yml").is_file() else root / "data.yaml"


def class_numbers(root: Path, config: DatasetConfig) -> dict[int, str]:
    """Say for each class number of data.yaml whether it is a person, other or ignore.

    Raises: DataError when data.yaml cannot be used, or has a class that `categories` lacks.
    """
    names = class_names(root)
    meanings = class_meanings(names.values(), config, _data_file(root))
    return {number: meanings[name] for number, name in names.items()}


def class_names(root: Path) -> dict[int, str]:
    """Read the class names of data.yaml, which has them as a list or as {number: name}.

    Raises: DataError when there are none.
    """
    path = _data_file(root)
    if not path.is_file():
        raise data_error(path, "not found", "write it with the line `names: {0: person}`")
    fix = "write the line `names: {0: person}` or `names: [person]`"
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise data_error(path, f"is not valid YAML: {quoted(str(error))}", fix) from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not all(
        isinstance(number, int) and isinstance(name, str) for number, name in names.items()
    ):
        raise data_error(path, f"names is {quoted(names)}, must be class names by number", fix)
    return names


def _labels(table: DelimitedTable, size: tuple[int, int], meanings: Mapping[int, str]) -> Labels:
    """Boxes in pixels. Raises: DataError for an unknown class or a share outside [0, 1]."""
    number = table.column("class")
    table.require(
        "class",
        np.isin(number, list(meanings)),
        f"a class number of data.yaml ({', '.join(map(str, meanings))})",
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
    person, ignored = (
        np.isin(number, [number for number, found in meanings.items() if found == wanted])
        for wanted in ("person", "ignore")
    )
    return Labels(table.path, boxes, person, ignored)
