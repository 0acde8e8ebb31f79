"""COCO instances JSON: images/ and annotations/instances_SPLIT.json; crowds are ignored regions."""

import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.images import image_size
from ptl_sweep.datasets.readers.classes import class_meanings
from ptl_sweep.datasets.readers.validator import Labels, Validator
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import frame_runs, split_names, spread
from ptl_sweep.datasets.validation import (
    MAX_COORDINATE_PX,
    DataError,
    data_error,
    number,
    parse_json,
    quoted,
    read_text,
    refuse_scene_fractions,
    require_root,
)

Entry = dict[str, Any]

_ROBOFLOW = "_annotations.coco.json"  # beside the images, in the folder of the split
_FIX = "correct the file or delete the entry"


def read_coco(config: DatasetConfig, split: str) -> ImageSet:
    """Read the images of annotations/instances_SPLIT.json (or SPLIT.json), ordered by name.

    SPLIT/_annotations.coco.json is read as well, and SPLIT may be called as other tools call it:
    valid or val2017 for validation. Images lie in images/, images/SPLIT/, SPLIT/, SPLIT/images/ or
    the root. An image without annotation is a
    negative. Without `categories`, the category called person is one, and all others are other.
    Raises: DataError for files that cannot be used; it names the entry, as in annotations[3].bbox.
    """
    refuse_scene_fractions(config, "for COCO write one JSON file per split and set it to null")
    root = require_root(config, "images/ and annotations/instances_<split>.json")
    path = _annotation_file(root, config, split)
    content = _content(path)
    images = _images(content, path)
    boxes = _boxes_by_image(content, path, set(images), _categories(content, path, config))
    validator = Validator(config, split)
    order = sorted(images, key=lambda image_id: images[image_id]["file_name"])
    stems = [
        str(PurePosixPath(images[image_id]["file_name"]).with_suffix("")) for image_id in order
    ]
    for image_id, scene in spread(
        list(zip(order, frame_runs(stems), strict=True)), config.num_images
    ):
        name = images[image_id]["file_name"]
        image = _image_file(root, split, name, path)
        size = image_size(image)
        _require_declared_size(images[image_id], size, image, path)
        validator.add(name, scene, image, size, _labels(path, boxes[image_id]))
    return validator.image_set()


def _annotation_file(root: Path, config: DatasetConfig, split: str) -> Path:
    """Find the file of the split. Raises: DataError when none is there."""
    names = split_names(split)
    files = [f"annotations/{stem}{name}.json" for stem in ("instances_", "") for name in names]
    files += [f"{name}/{_ROBOFLOW}" for name in names]
    for name in files:
        if (root / name).is_file():
            return root / name
    found = [*sorted(root.glob("annotations/*.json"))[:5], *sorted(root.glob(f"*/{_ROBOFLOW}"))[:5]]
    there = ", ".join(path.relative_to(root).as_posix() for path in found)
    raise DataError(
        f"{root}: none of {', '.join(files)} (there: {there or 'no .json file'})\n"
        f"  fix: set split of data set {config.name!r} to a file that is there, or rename one"
    )


def _content(path: Path) -> Entry:
    content = parse_json(read_text(path), path, "download or export the file again")
    if not isinstance(content, dict):
        raise data_error(path, "is not a COCO instances file", "export it as COCO detection JSON")
    return content


def _entries(content: Entry, key: str, fields: tuple[str, ...], path: Path) -> list[Entry]:
    """The list under `key`, every entry with all of `fields`."""
    entries = content.get(key)
    if not isinstance(entries, list):
        raise data_error(
            path,
            f"{key} is {quoted(entries)}, must be a list",
            "use an instances file with images, annotations and categories",
        )
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise data_error(path, f"{key}[{index}] is {quoted(entry)}, must be an object", _FIX)
        for field in fields:
            if field not in entry:
                raise data_error(path, f"{key}[{index}] has no {field}", _FIX)
    return entries


def _id(value: object) -> int | str | None:
    """The id that a tool wrote as a number or as its digits; None for anything else."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"0|[1-9][0-9]{0,17}", value) else value
    return value if isinstance(value, int) else None


def _by_id(
    entries: list[Entry], key: str, path: Path, fields: tuple[str, ...] = ()
) -> dict[int | str, Entry]:
    """The entries by id; one that repeats another in `fields`, if any, is the same."""
    found: dict[int | str, Entry] = {}
    for index, entry in enumerate(entries):
        own = _id(entry["id"])
        first = entry if own is None else found.setdefault(own, entry)
        repeats = fields and all(first.get(field) == entry.get(field) for field in fields)
        if own is None or not (first is entry or repeats):
            raise data_error(
                path,
                f"{key}[{index}].id is {quoted(entry['id'])}, must be a number no other entry has",
                _FIX,
            )
    return found


def _images(content: Entry, path: Path) -> dict[int | str, Entry]:
    """The images by id; their file names are unique and stay inside the root."""
    entries = _entries(content, "images", ("id", "file_name"), path)
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        name = entry["file_name"]
        inside = isinstance(name, str) and name and name not in seen
        if not inside or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise data_error(
                path,
                f"images[{index}].file_name is {quoted(name)}, must be a path inside the data "
                "set that no other image has",
                _FIX,
            )
        seen.add(name)
    if not entries:
        raise data_error(path, "images is an empty list", "export the split again")
    return _by_id(entries, "images", path)


def _categories(content: Entry, path: Path, config: DatasetConfig) -> dict[int | str, str]:
    """person, other or ignore by category id."""
    entries = _entries(content, "categories", ("id", "name"), path)
    categories = _by_id(entries, "categories", path, ("name",))  # VIA writes one for each file
    names = {key: str(entry["name"]) for key, entry in categories.items()}
    meanings = class_meanings(names.values(), config, path)
    return {key: meanings[name] for key, name in names.items()}


def _boxes_by_image(
    content: Entry, path: Path, images: set[int | str], categories: Mapping[int | str, str]
) -> dict[int | str, list[tuple[float, ...]]]:
    """Per image id rows of x, y, width, height, is person, is ignored."""
    rows: dict[int | str, list[tuple[float, ...]]] = {image_id: [] for image_id in images}
    fields = ("image_id", "category_id", "bbox")
    for index, entry in enumerate(_entries(content, "annotations", fields, path)):
        image_id = _known(entry, "image_id", rows, index, path)
        category_id = _known(entry, "category_id", categories, index, path)
        if not _is_box(entry["bbox"]):
            raise data_error(
                path,
                f"annotations[{index}].bbox is {quoted(entry['bbox'])}, must be [x, y, width, "
                "height] in pixels",
                _FIX,
            )
        rows[image_id].append((*entry["bbox"], *_meaning(entry, categories[category_id])))
    return rows


def _known(
    entry: Entry, field: str, known: Collection[int | str], index: int, path: Path
) -> int | str:
    """Return the id in a field of annotations[index]. Raises: DataError when it is not known."""
    found = _id(entry[field])
    if found is not None and found in known:
        return found
    where = "images" if field == "image_id" else "categories"
    raise data_error(
        path,
        f"annotations[{index}].{field} is {quoted(entry[field])}, which is not in the file's "
        f"{where}",
        _FIX,
    )


def _meaning(entry: Entry, meaning: str) -> tuple[bool, bool]:
    """Say whether an annotation is a person, and whether it is a region to ignore."""
    is_region = _is_set(entry, "iscrowd") or _is_set(entry, "ignore")
    if meaning == "person" and is_region:
        return False, True
    return meaning == "person", meaning == "ignore"


def _is_set(entry: Entry, flag: str) -> bool:
    """Read a flag that tools write as a number, as a boolean or as text."""
    value = entry.get(flag)
    return str(value).strip().lower() not in ("none", "", "0", "0.0", "false")


def _is_box(value: object) -> bool:
    if not isinstance(value, list) or len(value) != 4:
        return False
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in value):
        return False
    inside = all(math.isfinite(number) and abs(number) <= MAX_COORDINATE_PX for number in value)
    return inside and value[2] >= 0 and value[3] >= 0


def _image_file(root: Path, split: str, name: str, path: Path) -> Path:
    folders = [root / "images", *(root / "images" / alias for alias in split_names(split))]
    for alias in split_names(split):
        folders += [root / alias, root / alias / "images"]
    if path.name == _ROBOFLOW:
        folders = [path.parent, *folders]
    for folder in (*folders, root):
        if (folder / name).is_file():
            return folder / name
    raise data_error(
        path,
        f"file_name {quoted(name)} is not in {root / 'images'}",
        "unpack the images there, or delete the image from the file",
    )


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
