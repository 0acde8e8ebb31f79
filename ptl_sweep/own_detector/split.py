"""One split of any data set, image by image: its ground truths and what any detector found."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypedDict

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.datasets.readers.coco.entries import Entry, id_of, is_set
from ptl_sweep.datasets.subsets import frame_runs
from ptl_sweep.own_detector.documents import GroundTruth, Key, read_ground_truth, read_results
from ptl_sweep.own_detector.layout import ground_truth_file, results_file

OTHER = -1.0  # score of a detection of another category


class Marked(NamedTuple):
    """Boxes of one image, and where each stands in its file."""

    boxes: Float[ndarray, "n 4"]  # xyxy pixels, float32
    rows: Int[ndarray, " n"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnImage:
    """One image: what is in it and what was found, detections by falling score."""

    image_id: str
    scene: str  # the unit of the block bootstrap
    width: int  # 0: not said; no measure needs it
    height: int
    truths: Marked  # rows of the annotations
    regions: Float[ndarray, "k 4"]  # where no detection is a false positive
    found: Marked  # rows of the results
    scores: Float[ndarray, " n"]  # float32
    ignored: Bool[ndarray, " n"]  # marked as lying in such a region


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """What two COCO files say of the category that is measured."""

    folder: Path
    category: str
    images: tuple[OwnImage, ...]
    num_annotations: int  # entries of the file, of every category
    num_results: int

    @property
    def num_truths(self) -> int:
        """Count the ground truths, without regions to ignore."""
        return sum(len(image.truths.rows) for image in self.images)

    @property
    def truth_rows(self) -> Int[ndarray, " m"]:
        """Annotations that are ground truths, image after image."""
        return np.concatenate([image.truths.rows for image in self.images])

    @property
    def scores(self) -> Float[ndarray, " n"]:
        """Score of each entry of the results, OTHER for those of another category."""
        scores = np.full(self.num_results, OTHER, dtype=np.float32)
        for image in self.images:
            scores[image.found.rows] = image.scores
        return scores


def read_split(folder: Path, category: str | None) -> Split:
    """Read ground_truth.json and results.json; other categories are passed over.

    `category` names the one that is measured; None: the only one, or `person`.
    Raises: DataError for files that cannot be used.
    """
    truth = read_ground_truth(ground_truth_file(folder), category)
    results = read_results(results_file(folder), truth)
    return Split(
        folder=folder,
        category=truth.category,
        images=tuple(_images(truth, results)),
        num_annotations=len(truth.annotations),
        num_results=len(results),
    )


def _images(truth: GroundTruth, results: Sequence[Entry]) -> Iterator[OwnImage]:
    """Each image with what belongs to it, in the order of the file."""
    names = [str(entry["file_name"]) for entry in truth.images.values()]
    runs = frame_runs([str(PurePosixPath(name).with_suffix("")) for name in names])
    persons = _by_image(truth.annotations, truth, lambda entry: not _is_region(entry))
    regions = _by_image(truth.annotations, truth, _is_region)
    found = _by_image(results, truth)
    rows = zip(truth.images.values(), names, runs, persons, regions, found, strict=True)
    for entry, name, run, own, ignored, boxes in rows:
        yield OwnImage(
            image_id=name,
            scene=str(entry.get("scene", run)),
            width=_side(entry, "width"),
            height=_side(entry, "height"),
            truths=own,
            regions=ignored.boxes,
            **_by_score(boxes, results),
        )


def _by_image(
    entries: Sequence[Entry],
    truth: GroundTruth,
    is_kept: Callable[[Entry], bool] = lambda _: True,
) -> list[Marked]:
    """Boxes of the measured category, for each image in the order of the file."""
    rows: dict[Key | None, list[int]] = {key: [] for key in truth.images}
    for row, entry in enumerate(entries):
        if truth.is_wanted(entry) and is_kept(entry):
            rows[id_of(entry["image_id"])].append(row)
    return [
        Marked(_corners([entries[row]["bbox"] for row in own]), np.array(own, dtype=np.int64))
        for own in rows.values()
    ]


def _corners(boxes: Sequence[Sequence[float]]) -> Float[ndarray, "n 4"]:
    """Corners of boxes as COCO has them (x, y, width, height)."""
    sized = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    corners: Float[ndarray, "n 4"] = np.concatenate(
        [sized[:, :2], sized[:, :2] + sized[:, 2:]], axis=1
    ).astype(np.float32)
    return corners


class _Found(TypedDict):
    found: Marked
    scores: Float[ndarray, " n"]
    ignored: Bool[ndarray, " n"]


def _by_score(found: Marked, results: Sequence[Entry]) -> _Found:
    """Detections of one image by falling score; equal scores keep their order."""
    scores = np.array([results[row]["score"] for row in found.rows], dtype=np.float32)
    order = np.argsort(-scores, kind="stable")
    rows = found.rows[order]
    ignored = np.array([is_set(results[row], "ignored") for row in rows], dtype=bool)
    return _Found(found=Marked(found.boxes[order], rows), scores=scores[order], ignored=ignored)


def _is_region(entry: Entry) -> bool:
    """Whether an annotation is a crowd or a region to ignore."""
    return is_set(entry, "iscrowd") or is_set(entry, "ignore")


def _side(entry: Entry, side: str) -> int:
    value = entry.get(side)
    is_length = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31
    return int(value) if is_length and value is not None else 0
