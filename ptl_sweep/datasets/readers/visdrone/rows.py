"""What the sets of VisDrone share: categories, folders of splits, and what a row means."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from ptl_sweep.config.checks import ConfigError
from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.boxes import mostly_inside
from ptl_sweep.datasets.readers.delimited import FIX_ROW, DelimitedTable
from ptl_sweep.datasets.readers.validator import Labels, Validator
from ptl_sweep.datasets.validation import (
    DataError,
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
SUFFIXES = {  # of the split's folder
    "train": "train",
    "validation": "val",
    "val": "val",
    "test": "test-dev",
    "test-dev": "test-dev",
}


def category_meanings(config: DatasetConfig) -> Bool[ndarray, "2 c"]:
    """Row 0: the categories that are persons; row 1: the ones that are regions to ignore."""
    changed = config.categories
    for name in changed:
        if name not in CATEGORIES:
            raise ConfigError(
                f"{config.name}.categories.{name} is not a category of VisDrone; the nearest is "
                f"{nearest(name, CATEGORIES)!r} (all: {', '.join(CATEGORIES)})"
            )
    meanings = np.array(list((CATEGORIES | changed).values()))
    return np.stack([meanings == "person", meanings == "ignore"])


def split_folder(config: DatasetConfig, split: str, task: str, images: str) -> Path:
    """Find the folder of a split of a task, DET or VID, with `images` and annotations/ in it.

    Raises: DataError when it is not there.
    """
    root = require_root(config, f"VisDrone2019-{task}-train, -val and -test-dev")
    pattern = re.compile(rf"VisDrone\d*-{task}-(.+)", re.IGNORECASE)
    folders = [root, *_newest_first(root)]
    if pattern.fullmatch(root.name):
        folders += _newest_first(root.parent)
    for folder in folders:
        named = pattern.fullmatch(folder.name)
        if named is None or named[1].lower() != SUFFIXES[split]:
            continue
        if (folder / images).is_dir() and (folder / "annotations").is_dir():
            return folder
    raise DataError(
        f"{root}: no folder VisDrone2019-{task}-{SUFFIXES[split]} with {images}/ and annotations/ "
        f"for split {split!r}\n  fix: unpack the zip of that split there, or set root of data "
        f"set {config.name!r} (dataset.root or target.root) to the folder that holds it"
    )


def _newest_first(parent: Path) -> list[Path]:
    """The folders inside, VisDrone2019 before VisDrone2018."""
    return sorted((path for path in parent.iterdir() if path.is_dir()), reverse=True)


def row_labels(
    table: DelimitedTable,
    size: tuple[int, int],
    meanings: Bool[ndarray, "2 c"],
    validator: Validator,
) -> Labels:
    """Boxes of every category in an image of `size` (width, height); counts the changed persons.

    A person of score 0 becomes a region to ignore. A person of whom at least half lies in the
    union of the category-0 regions is left out, as the official toolkit does with ground truths
    (dropObjectsInIgr) before it evaluates; the regions stay.
    """
    table.require_pixels(("left", "top", "width", "height"))
    score, category = table.column("score"), table.column("category")
    fix = f"{FIX_ROW}; detections of a model are no annotations"
    table.require("score", (score == 0) | (score == 1), "0 (ignored) or 1", fix)
    last = len(CATEGORIES) - 1
    known = (category == np.round(category)) & (category >= 0) & (category <= last)
    table.require("category", known, f"a whole number from 0 to {last}", fix)
    corner = table.values[:, :2]
    boxes = np.concatenate([corner, corner + table.values[:, 2:4]], axis=1)
    person, ignored = meanings[:, category.astype(np.int64)]
    doubtful = person & (score == 0)
    validator.drop("person of score 0, kept as a region to ignore", int(doubtful.sum()))
    added = (score == 0) & (category > 0) & (category < last)  # official files: only 0 and last
    validator.warn("objects of score 0: did a tool add them?", table.path.name, int(added.sum()))
    regions = boxes[ignored & (category == 0)].clip(0, [*size, *size])
    inside = person & ~doubtful & mostly_inside(boxes, regions)
    validator.drop("person at least half in ignored regions", int(inside.sum()))
    kept = ~inside
    return Labels(table.path, boxes[kept], (person & ~doubtful)[kept], (ignored | doubtful)[kept])
