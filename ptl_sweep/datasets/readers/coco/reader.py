"""COCO instances JSON: images/ and annotations/instances_SPLIT.json; crowds are ignored regions."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.images import image_size
from ptl_sweep.datasets.readers.classes import class_meanings
from ptl_sweep.datasets.readers.coco.entries import (
    FIX,
    Entry,
    by_id,
    coco_content,
    entries_of,
    is_box,
    is_set,
    known_id,
)
from ptl_sweep.datasets.readers.coco.layout import Part, find_parts, image_file
from ptl_sweep.datasets.readers.division import divide
from ptl_sweep.datasets.readers.validator import Labels, Validator
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import frame_runs, spread
from ptl_sweep.datasets.validation import data_error, number, quoted, require_root


class _Image(NamedTuple):
    """One entry of a file, with its boxes."""

    part: Part
    entry: Entry
    rows: list[tuple[float, ...]]  # x, y, width, height, is person, is ignored

    @property
    def name(self) -> str:
        name: str = self.entry["file_name"]
        return name


def read_coco(config: DatasetConfig, split: str) -> ImageSet:
    """Read the images of annotations/instances_SPLIT.json (or SPLIT.json), ordered by name.

    SPLIT/_annotations.coco.json is read as well, and SPLIT may be called as other tools call it:
    valid or val2017 for validation; `all` is every file. Images lie in images/, images/SPLIT/,
    SPLIT/, SPLIT/images/ or the root. `scene_fractions` divides files that are of no split, and
    with `resplit` all. An image without annotation is a negative. Without `categories`, the
    category called person is one, and all others are other.
    Raises: DataError for files that cannot be used; it names the entry, as in annotations[3].bbox;
    ConfigError for keys that do not fit them.
    """
    root = require_root(config, "images/ and annotations/instances_<split>.json")
    parts, is_divided = find_parts(root, config, split)
    listed = [image for part in parts for image in _listed(part, config)]
    stems = [
        f"{'' if is_divided else image.part.prefix}{PurePosixPath(image.name).with_suffix('')}"
        for image in listed
    ]
    scenes = frame_runs(stems)
    chosen = list(zip(listed, scenes, strict=True))
    if is_divided:
        chosen = divide(chosen, scenes, config, split)
    validator = Validator(config, split)
    for image, scene in spread(chosen, config.num_images):
        _add(image, scene, root, validator)
    return validator.image_set()


def _listed(part: Part, config: DatasetConfig) -> list[_Image]:
    """The images of one file by name. Raises: DataError."""
    content = coco_content(part.path)
    images = _images(content, part.path)
    categories = _categories(content, part.path, config)
    boxes = _boxes_by_image(content, part.path, set(images), categories)
    found = [_Image(part, entry, boxes[image_id]) for image_id, entry in images.items()]
    return sorted(found, key=lambda image: image.name)


def _add(image: _Image, scene: str, root: Path, validator: Validator) -> None:
    part = image.part
    path = image_file(root, part, image.name)
    size = image_size(path)
    _require_declared_size(image.entry, size, path, part.path)
    labels = _labels(part.path, image.rows)
    validator.add(f"{part.prefix}{image.name}", scene, path, size, labels)


def _images(content: Entry, path: Path) -> dict[int | str, Entry]:
    """The images by id; their file names are unique and stay inside the root."""
    entries = entries_of(content, "images", ("id", "file_name"), path)
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        name = entry["file_name"]
        inside = isinstance(name, str) and name and name not in seen
        if not inside or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise data_error(
                path,
                f"images[{index}].file_name is {quoted(name)}, must be a path inside the data "
                "set that no other image has",
                FIX,
            )
        seen.add(name)
    if not entries:
        raise data_error(path, "images is an empty list", "export the split again")
    return by_id(entries, "images", path)


def _categories(content: Entry, path: Path, config: DatasetConfig) -> dict[int | str, str]:
    """person, other or ignore by category id."""
    entries = entries_of(content, "categories", ("id", "name"), path)
    categories = by_id(entries, "categories", path, ("name",))  # VIA writes one for each file
    names = {key: str(entry["name"]) for key, entry in categories.items()}
    meanings = class_meanings(names.values(), config, path)
    return {key: meanings[name] for key, name in names.items()}


def _boxes_by_image(
    content: Entry, path: Path, images: set[int | str], categories: Mapping[int | str, str]
) -> dict[int | str, list[tuple[float, ...]]]:
    """Per image id rows of x, y, width, height, is person, is ignored."""
    rows: dict[int | str, list[tuple[float, ...]]] = {image_id: [] for image_id in images}
    fields = ("image_id", "category_id", "bbox")
    for index, entry in enumerate(entries_of(content, "annotations", fields, path)):
        image_id = known_id(entry, "image_id", rows, index, path)
        category_id = known_id(entry, "category_id", categories, index, path)
        if not is_box(entry["bbox"]):
            raise data_error(
                path,
                f"annotations[{index}].bbox is {quoted(entry['bbox'])}, must be [x, y, width, "
                "height] in pixels",
                FIX,
            )
        rows[image_id].append((*entry["bbox"], *_meaning(entry, categories[category_id])))
    return rows


def _meaning(entry: Entry, meaning: str) -> tuple[bool, bool]:
    """Say whether an annotation is a person, and whether it is a region to ignore."""
    is_region = is_set(entry, "iscrowd") or is_set(entry, "ignore")
    if meaning == "person" and is_region:
        return False, True
    return meaning == "person", meaning == "ignore"


def _require_declared_size(entry: Entry, size: tuple[int, int], image: Path, path: Path) -> None:
    declared = tuple(
        _declared_side(entry.get(side, real))
        for side, real in zip(("width", "height"), size, strict=True)
    )
    if declared == size:
        return
    turned = declared == size[::-1]
    raise data_error(
        image,
        f"is {size[0]}x{size[1]}, but {path.name} says "
        f"{entry.get('width', size[0])}x{entry.get('height', size[1])}",
        "remove the EXIF orientation from the image; it was labelled without"
        if turned
        else "use the images the boxes were drawn on, or scale the boxes to these",
    )


def _declared_side(value: object) -> object:
    """The number of a side that is written as text; anything else as it stands."""
    return number(value.strip()) if isinstance(value, str) else value


def _labels(path: Path, rows: list[tuple[float, ...]]) -> Labels:
    values = np.array(rows, dtype=np.float64).reshape(-1, 6)
    boxes = np.concatenate([values[:, :2], values[:, :2] + values[:, 2:4]], axis=1)
    return Labels(path, boxes, values[:, 4] == 1, values[:, 5] == 1)
