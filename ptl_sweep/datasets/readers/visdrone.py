"""VisDrone2019-DET: pedestrians and people are persons, category 0 is a region to ignore."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from ptl_sweep.config.schema import ConfigError, DatasetConfig
from ptl_sweep.datasets.images import FileImage, image_size, list_images
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import spread
from ptl_sweep.datasets.validation import (
    DataError,
    DelimitedTable,
    Labels,
    Validator,
    nearest,
    require_root,
)

COLUMNS = ("left", "top", "width", "height", "score", "category", "truncation", "occlusion")
CATEGORIES = {  # in the order of their numbers, from 0
    "ignored regions": "ignore",
    "pedestrian": "person",
    "people": "person",
    "bicycle": "other",
    "car": "other",
    "van": "other",
    "truck": "other",
    "tricycle": "other",
    "awning-tricycle": "other",
    "bus": "other",
    "motor": "other",
    "others": "other",
}
_FOLDER = re.compile(r"VisDrone\d*-DET-(.+)", re.IGNORECASE)
_SUFFIXES = {  # of the split's folder
    "train": "train",
    "validation": "val",
    "val": "val",
    "test": "test-dev",
    "test-dev": "test-dev",
}


def read_visdrone(config: DatasetConfig, split: str) -> ImageSet:
    """The images of one split that have an annotation file; those without are counted.

    `root` holds VisDrone2019-DET-{train,val,test-dev}, or is one of them. `categories` changes
    what a category means; the ones it does not name keep their meaning in CATEGORIES.
    Raises: DataError for files that cannot be used, ConfigError for an unknown category.
    """
    if config.scene_fractions is not None:
        raise ConfigError(
            f"{config.name}.scene_fractions divides a flat folder of reader=yolo; VisDrone has "
            "splits of its own: set it to null"
        )
    meanings = _meanings(config)
    folder = _split_folder(config, split)
    validator = Validator(config, split)
    labelled = _labelled(folder, validator)
    for image in spread(labelled, config.num_images):
        path = folder / "annotations" / f"{image.stem}.txt"
        labels = _labels(validator.read_table(path, COLUMNS, ","), meanings, validator)
        scene = image.stem.split("_")[0]
        validator.add(image.stem, scene, FileImage(image), image_size(image), labels)
    return validator.image_set()


def _meanings(config: DatasetConfig) -> Bool[ndarray, "2 c"]:
    """Row 0: the categories that are persons; row 1: the ones that are regions to ignore."""
    changed = config.categories
    for name in changed:
        if name not in CATEGORIES:
            raise ConfigError(
                f"{config.name}.categories.{name} is no category of VisDrone; the nearest is "
                f"{nearest(name, CATEGORIES)!r} (all: {', '.join(CATEGORIES)})"
            )
    meanings = np.array(list((CATEGORIES | changed).values()))
    return np.stack([meanings == "person", meanings == "ignore"])


def _split_folder(config: DatasetConfig, split: str) -> Path:
    root = require_root(config, "VisDrone2019-DET-train, -val and -test-dev")
    if split not in _SUFFIXES:
        raise ConfigError(
            f"{config.name}.split must be one of {', '.join(_SUFFIXES)}; got {split!r}"
        )
    folders = [root, *_newest_first(root)]
    if _FOLDER.fullmatch(root.name):
        folders += _newest_first(root.parent)
    for folder in folders:
        named = _FOLDER.fullmatch(folder.name)
        if named is None or named[1].lower() != _SUFFIXES[split]:
            continue
        if (folder / "images").is_dir() and (folder / "annotations").is_dir():
            return folder
    raise DataError(
        f"{root}: no folder VisDrone2019-DET-{_SUFFIXES[split]} with images/ and annotations/ "
        f"for split {split!r}\n  fix: unpack the zip of that split there, or set root of data "
        f"set {config.name!r} (dataset.root or target.root) to the folder that holds it"
    )


def _newest_first(parent: Path) -> list[Path]:
    """The folders inside, VisDrone2019 before VisDrone2018."""
    return sorted((path for path in parent.iterdir() if path.is_dir()), reverse=True)


def _labelled(folder: Path, validator: Validator) -> list[Path]:
    """The images that have an annotation file; counts images and files without the other."""
    images = list_images(folder / "images")
    files = {path.stem for path in (folder / "annotations").glob("*.txt")}
    for image in images:
        if image.stem not in files:
            validator.drop("image without annotation file", 1)
            validator.warn("images without annotation file, left out", image.name)
    for stem in sorted(files - {image.stem for image in images}):
        validator.warn("annotation files without image", f"{stem}.txt")
    return [image for image in images if image.stem in files]


def _labels(table: DelimitedTable, meanings: Bool[ndarray, "2 c"], validator: Validator) -> Labels:
    """Boxes of every category; a person of score 0 becomes a region to ignore, and is counted."""
    table.require_pixels(("left", "top", "width", "height"))
    score, category = table.column("score"), table.column("category")
    fix = "correct the row or delete it; detections of a model are no annotations"
    table.require("score", (score == 0) | (score == 1), "0 (ignored) or 1", fix)
    last = len(CATEGORIES) - 1
    known = (category == np.round(category)) & (category >= 0) & (category <= last)
    table.require("category", known, f"a whole number from 0 to {last}", fix)
    person, ignored = meanings[:, category.astype(np.int64)]
    doubtful = person & (score == 0)
    validator.drop("person of score 0, kept as a region to ignore", int(doubtful.sum()))
    added = (score == 0) & (category > 0) & (category < last)  # official files: only 0 and last
    validator.warn("objects of score 0: did a tool add them?", table.path.name, int(added.sum()))
    corner = table.values[:, :2]
    boxes = np.concatenate([corner, corner + table.values[:, 2:4]], axis=1)
    return Labels(table.path, boxes, person & ~doubtful, ignored | doubtful)
