"""The two COCO files of a split: images and ground truths, and what was found there."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from ptl_sweep.datasets.readers.coco.entries import (
    FIX,
    Entry,
    by_id,
    coco_content,
    entries_of,
    id_of,
    is_box,
    known_id,
)
from ptl_sweep.datasets.validation import DataError, data_error, parse_json, quoted, read_text
from ptl_sweep.terminal import did_you_mean

PERSON = "person"  # the category that is meant where there are several
FIELDS = ("image_id", "category_id", "bbox", "score")
Key = int | str  # an id


class GroundTruth(NamedTuple):
    """What ground_truth.json says."""

    path: Path
    images: Mapping[Key, Entry]  # by id, in the order of the file
    categories: Collection[Key]  # ids of all of them
    category: str  # the one that is measured
    wanted: Key  # its id
    annotations: list[Entry]  # of every category

    def is_wanted(self, entry: Entry) -> bool:
        """Whether an annotation or a detection is of the category that is measured."""
        return id_of(entry["category_id"]) == self.wanted


def read_ground_truth(path: Path, category: str | None) -> GroundTruth:
    """Read images, categories and annotations.

    `category` is the name of the one to measure; None: the only one, or `person`.
    Raises: DataError, which names the entry, as in annotations[3].bbox.
    """
    content = coco_content(path)
    images = by_id(entries_of(content, "images", ("id", "file_name"), path), "images", path)
    if not images:
        raise data_error(path, "images is an empty list", "export the split again")
    categories = by_id(entries_of(content, "categories", ("id", "name"), path), "categories", path)
    names = {key: str(entry["name"]) for key, entry in categories.items()}
    wanted = _wanted(names, category, path)
    annotations = entries_of(content, "annotations", ("image_id", "category_id", "bbox"), path)
    for index, entry in enumerate(annotations):
        known_id(entry, "image_id", images, index, path)
        known_id(entry, "category_id", categories, index, path)
        _require_box(entry, f"annotations[{index}]", path)
    return GroundTruth(path, images, categories, names[wanted], wanted, annotations)


def _wanted(names: Mapping[Key, str], category: str | None, path: Path) -> Key:
    """Find the id of the category to measure. Raises: DataError."""
    known = ", ".join(names.values()) or "none"
    asked = category
    if asked is None:
        asked = next(iter(names.values())) if len(names) == 1 else PERSON
    found = [key for key, name in names.items() if name.lower() == asked.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        raise data_error(path, f"has {len(found)} categories {asked!r}", FIX)
    raise DataError(
        f"{path}: no category {asked}{did_you_mean(asked, names.values())} (there: {known})\n"
        "  fix: --category NAME says which of them is measured"
    )


def read_results(path: Path, truth: GroundTruth) -> list[Entry]:
    """Read the list of detections, of every category. Raises: DataError, which names the entry."""
    results = parse_json(read_text(path), path, "write it again")
    if not isinstance(results, list):
        raise data_error(
            path,
            f"is {quoted(results)}, must be a list of detections",
            f"write the list that pycocotools' loadRes reads: {', '.join(FIELDS)} of each",
        )
    for index, entry in enumerate(results):
        _require_result(entry, f"[{index}]", path, truth)
    return results


def _require_result(entry: object, place: str, path: Path, truth: GroundTruth) -> None:
    if not isinstance(entry, dict):
        raise data_error(path, f"{place} is {quoted(entry)}, must be an object", FIX)
    for field in FIELDS:
        if field not in entry:
            raise data_error(path, f"{place} has no {field}", FIX)
    for field, known in (("image_id", truth.images), ("category_id", truth.categories)):
        if id_of(entry[field]) not in known:
            where = f"{'images' if field == 'image_id' else 'categories'} of {truth.path.name}"
            raise data_error(
                path,
                f"{place}.{field} is {quoted(entry[field])}, which is not among the {where}",
                FIX,
            )
    _require_box(entry, place, path)
    score = entry["score"]
    if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
        raise data_error(
            path, f"{place}.score is {quoted(score)}, must be a number from 0 to 1", FIX
        )


def _require_box(entry: Entry, place: str, path: Path) -> None:
    if not is_box(entry["bbox"]):
        raise data_error(
            path,
            f"{place}.bbox is {quoted(entry['bbox'])}, must be [x, y, width, height] in pixels",
            FIX,
        )
