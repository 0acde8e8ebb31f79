"""YOLO folders: images/, labels/ (`class cx cy width height`, shares of the image), data.yaml.

A row may hold a polygon, `class x y x y x y ...`, in the place of a box.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.images import image_size, list_images
from ptl_sweep.datasets.readers.classes import class_meanings
from ptl_sweep.datasets.readers.delimited import DelimitedTable, parse_table
from ptl_sweep.datasets.readers.division import UNUSED_SHARES, divide, is_divided
from ptl_sweep.datasets.readers.validator import Labels, Validator
from ptl_sweep.datasets.readers.yolo.layout import (
    Folder,
    class_names,
    flat_folder,
    has_keypoints,
    label_file,
    names_file,
    own_folders,
)
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import frame_runs, spread
from ptl_sweep.datasets.validation import DataError, data_error, number, quoted, require_root

COLUMNS = ("class", "cx", "cy", "width", "height")
TOLERANCE = 0.01  # how far outside [0, 1] a rounded share may lie


class ListedImage(NamedTuple):
    """One image, and where its labels are if it has any."""

    image_id: str
    scene: str
    image: Path
    labels: Path


def read_yolo(config: DatasetConfig, split: str) -> ImageSet:
    """Read one split: SPLIT/images, images/SPLIT, or one flat images/; `all` is every image.

    SPLIT may be called as other tools call it, labels may lie beside the images, and data.yaml may
    name the folders or lists. `scene_fractions` divides a flat folder and nothing else, unless
    `resplit` takes all folders for one. An image without label file is a negative.
    Raises: DataError for files that cannot be used, ConfigError for keys that do not fit them.
    """
    root = require_root(config, "data.yaml, images/ and labels/")
    meanings = class_numbers(root, config)
    validator = Validator(config, split)
    listed = list_split(root, config, split, validator)
    images = spread(listed, config.num_images)
    add_yolo(images, meanings, validator, has_keypoints=has_keypoints(root))
    return validator.image_set()


def add_yolo(
    images: Iterable[ListedImage],
    meanings: Mapping[int, str],
    validator: Validator,
    *,
    has_keypoints: bool = False,
) -> None:
    """Check every image with its labels and keep it; `meanings` is that of `class_numbers`.

    Raises: DataError for files that cannot be used; it names file, line, field and value.
    """
    for image_id, scene, path, labels in images:
        size = image_size(path)
        if labels.exists():
            text = _boxes_alone(labels, validator.read_text(labels), has_keypoints)
            found = _labels(parse_table(labels, text, COLUMNS, None), size, meanings)
        else:
            validator.warn("images without label file, taken as negatives", path.name)
            found = Labels.of_persons(labels, np.zeros((0, 4)))
        validator.add(image_id, scene, path, size, found)


def list_split(
    root: Path, config: DatasetConfig, split: str, validator: Validator
) -> list[ListedImage]:
    """List the images of the split in the order of their ids. Raises: DataError, ConfigError."""
    own = own_folders(root, "all" if config.resplit else split)
    flat = flat_folder(root)
    if own and config.scene_fractions is not None and not config.resplit:
        validator.warn(UNUSED_SHARES, root.name)
    if own and (config.resplit or split == "all"):
        folders = [folder._replace(prefix=f"{name}/") for name, folder in own.items()]
    elif split in own:
        folders = [own[split]]
    elif flat.images.is_dir() and not own and (split == "all" or is_divided(config, own)):
        folders = [flat]
    else:
        raise _no_such_split(root, config, split, list(own))
    listed = [image for folder in folders for image in _images(folder, validator)]
    if not is_divided(config, own):
        return listed
    if config.resplit:  # a copy may lie in another folder than its original
        listed = _with_scenes_across(listed, [folder.prefix for folder in folders])
    return divide(listed, [image.scene for image in listed], config, split)


def _with_scenes_across(listed: list[ListedImage], prefixes: list[str]) -> list[ListedImage]:
    """Find scenes by the names alone, whatever folder of a split the images lie in."""
    names = [
        next(image.image_id.removeprefix(p) for p in prefixes if image.image_id.startswith(p))
        for image in listed
    ]
    return [
        image._replace(scene=scene) for image, scene in zip(listed, frame_runs(names), strict=True)
    ]


def _no_such_split(root: Path, config: DatasetConfig, split: str, own: list[str]) -> DataError:
    if own:
        problem = f"no split {split!r}; it has {', '.join(own)}"
        fix = "use one of these, or `all`"
    elif flat_folder(root).images.is_dir():
        problem = f"one flat folder, so there is no split {split!r}"
        fix = (
            f"set split=all, or scene_fractions=[0.7,0.15,0.15] of data set {config.name!r} to "
            "divide it by scenes"
        )
    else:
        problem = f"neither {split}/images nor images/ is there"
        fix = "unpack the data set there, or set root to the folder that holds images/"
    return data_error(root, problem, fix)


def _images(folder: Folder, validator: Validator) -> Iterator[ListedImage]:
    """The images of one folder; label files without image are noted.

    Raises: DataError when no image has a label file and no folder is there for them.
    """
    images = list_images(folder.images) if folder.paths is None else list(folder.paths)
    names = [path.relative_to(folder.images).with_suffix("") for path in images]
    labels = [label_file(folder, name.as_posix()) for name in names]
    _require_labels(folder, labels)
    scenes = frame_runs([f"{folder.prefix}{name.as_posix()}" for name in names])
    is_whole = folder.paths is None and folder.labels != folder.images
    apart = sorted(folder.labels.rglob("*.txt")) if is_whole else []
    known = set(names)
    for path in apart:
        if path.relative_to(folder.labels).with_suffix("") not in known | {Path("classes")}:
            validator.warn("label files without image", path.name)
    for path, name, scene, found in zip(images, names, scenes, labels, strict=True):
        yield ListedImage(f"{folder.prefix}{name.as_posix()}", scene, path, found)


def _require_labels(folder: Folder, labels: list[Path]) -> None:
    """Raises: DataError when every image would be a negative for want of label files."""
    is_flat = folder.labels == folder.images
    if any(path.is_file() for path in labels) or (not is_flat and folder.labels.is_dir()):
        return
    where = f"into {folder.images.parent / 'labels'}"
    if is_flat:
        where = f"beside it, or the images into {folder.images / 'images'} and these into labels"
    raise data_error(
        folder.images,
        f"holds {len(labels)} images and no label file is there, neither in {folder.labels} "
        "nor beside them",
        f"put NAME.txt of each image {where}, or read XML files with reader=voc; an empty folder "
        "labels says that no image shows a person",
    )


def class_numbers(root: Path, config: DatasetConfig) -> dict[int, str]:
    """Say for each class number of data.yaml whether it is a person, other or ignore.

    Raises: DataError when data.yaml cannot be used, or has a class that `categories` lacks.
    """
    names = class_names(root)
    meanings = class_meanings(names.values(), config, names_file(root))
    return {number: meanings[name] for number, name in names.items()}


def _boxes_alone(path: Path, text: str, has_keypoints: bool) -> str:
    """Turn rows of polygons into rows of boxes; keypoints after a box are left out.

    Raises: DataError for a corner that is no number.
    """
    rows = text.split("\n")
    if all(len(row.split()) in (0, len(COLUMNS)) for row in rows):
        return text
    found = []
    for line, row in enumerate(rows, 1):
        fields = row.split()
        if has_keypoints:
            fields = fields[: len(COLUMNS)]
        elif len(fields) >= 7 and len(fields) % 2:
            fields = [fields[0], *_box_around(path, fields[1:], line)]
        found.append(" ".join(fields))
    return "\n".join(found)


def _box_around(path: Path, corners: list[str], line: int) -> list[str]:
    """Centre, width and height of a polygon, as text. Raises: DataError."""
    values = [number(corner) for corner in corners]
    for text, value in zip(corners, values, strict=True):
        if math.isnan(value) or not -TOLERANCE <= value <= 1 + TOLERANCE:
            raise data_error(
                path,
                f"a corner of the polygon is {quoted(text)}, must be a share of the image in "
                "[0, 1]",
                "divide pixels by the width or height of the image, or correct the row",
                line,
            )
    sides = [(min(axis), max(axis)) for axis in (values[0::2], values[1::2])]
    centre = [(low + high) / 2 for low, high in sides]
    return [repr(value) for value in (*centre, *(high - low for low, high in sides))]


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
