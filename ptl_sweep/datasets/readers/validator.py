"""The validator that every reader goes through: whatever it leaves out is counted by reason."""

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.contents import hash_files
from ptl_sweep.datasets.images import FileImage
from ptl_sweep.datasets.readers.delimited import DelimitedTable, parse_table
from ptl_sweep.datasets.records import ImageRecord, ImageSet
from ptl_sweep.datasets.validation import (
    CLIP_TOLERANCE_PX,
    MIN_SIDE_PX,
    ROUNDING_PX,
    DataError,
    data_error,
    quoted,
    read_text,
)


class Labels(NamedTuple):
    """The boxes of one image as its annotation file has them."""

    path: Path
    boxes: Float[ndarray, "n 4"]  # xyxy, pixels; not yet clipped
    person: Bool[ndarray, " n"]
    ignored: Bool[ndarray, " n"]  # neither of both: another category

    @classmethod
    def of_persons(cls, path: Path, boxes: Float[ndarray, "n 4"]) -> "Labels":
        """Make labels of a file in which every box is a person."""
        everybody = np.ones(len(boxes), dtype=np.bool_)
        return cls(path, boxes, everybody, ~everybody)


class Validator:
    """Collects the checked images of one split, and counts what it leaves out; one per reading."""

    def __init__(self, config: DatasetConfig, split: str) -> None:
        self._config = config
        self._split = split
        self._records: dict[str, ImageRecord] = {}
        self._paths: dict[str, Path] = {}
        self._drops: Counter[str] = Counter()
        self._odd: dict[str, Counter[str]] = {}

    def drop(self, reason: str, count: int) -> None:
        """Count boxes (or whole images, when the reason says so) that are left out."""
        if count:
            self._drops[reason] += count

    def warn(self, kind: str, where: str, count: int = 1) -> None:
        """Note something odd; one warning per kind, however many files have it."""
        if count:
            self._odd.setdefault(kind, Counter())[where] += count

    def read_text(self, path: Path) -> str:
        """Read an annotation file with uniform line ends; warn of mixed ones. Raises: DataError."""
        text = read_text(path)
        if "\r" not in text:
            return text
        if (line := first_other_line_end(text)) is not None:
            self.warn("mixed line ends: was the file edited?", f"{path.name}, line {line}")
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def read_table(
        self, path: Path, columns: tuple[str, ...], delimiter: str | None
    ) -> DelimitedTable:
        """Read the numbers of an annotation file; warn of mixed line ends. Raises: DataError."""
        return parse_table(path, self.read_text(path), columns, delimiter)

    def add(
        self, image_id: str, scene: str, path: Path, size: tuple[int, int], labels: Labels
    ) -> None:
        """Check the boxes of the image at `path`, of `size` (width, height), and keep it.

        Raises: DataError for a second image of the same id.
        """
        if not image_id.isascii() and image_id != image_id.encode(errors="replace").decode():
            raise data_error(path, "its name is not UTF-8", "rename the file and its annotations")
        if image_id in self._records:
            raise data_error(
                path,
                f"image id {quoted(image_id)} occurs twice",
                "rename one of the two images and its annotations, or delete it",
            )
        self.drop("other category", int((~labels.person & ~labels.ignored).sum()))
        self._records[image_id] = ImageRecord(
            image_id=image_id,
            width=size[0],
            height=size[1],
            boxes=self._checked(labels.boxes[labels.person], size, labels.path.name),
            ignored=self._checked(labels.boxes[labels.ignored], size, labels.path.name),
            scene=scene,
            pixels=FileImage(path),
        )
        self._paths[image_id] = path

    def _checked(
        self, boxes: Float[ndarray, "n 4"], size: tuple[int, int], where: str
    ) -> Float[ndarray, "m 4"]:
        """Without duplicates, clipped to the image, at least 1 px wide and high."""
        _, first = np.unique(boxes, axis=0, return_index=True)
        self.drop("duplicate row", len(boxes) - len(first))
        self.warn("duplicate rows, dropped", where, len(boxes) - len(first))
        boxes = boxes[np.sort(first)]
        clipped = np.clip(boxes, 0, [*size, *size])
        outside = (clipped[:, :2] >= size).any(axis=1) | (clipped[:, 2:] <= 0).any(axis=1)
        sides = clipped[:, 2:] - clipped[:, :2]
        small = (sides < MIN_SIDE_PX - ROUNDING_PX).any(axis=1) & ~outside
        self.drop("outside the image", int(outside.sum()))
        self.drop("under 1 px", int(small.sum()))
        kept = ~outside & ~small
        past = (np.abs(clipped - boxes) > CLIP_TOLERANCE_PX).any(axis=1) & kept
        self.warn("boxes past the image border, clipped", where, int(past.sum()))
        checked: Float[ndarray, "m 4"] = clipped[kept].astype(np.float32)
        return checked

    def image_set(self) -> ImageSet:
        """Return the images by id, their fingerprint, what was dropped and what was odd.

        Raises: DataError when no image is left.
        """
        if not self._records:
            raise DataError(
                f"data set {self._config.name!r}, split {self._split!r}: no image has annotations\n"
                "  fix: put the annotation files where the reader expects them (docs/datasets.md)"
            )
        contents = hash_files(self._paths.values(), self._config)
        records = tuple(
            replace(record, content=contents[self._paths[image_id]])
            for image_id, record in sorted(self._records.items())
        )
        return ImageSet(
            name=self._config.name,
            split=self._split,
            records=records,
            fingerprint=_fingerprint(records),
            drops=dict(sorted(self._drops.items())),
            warnings=tuple(
                f"{kind}: {places.total()} (files: {len(places)}, first: {next(iter(places))})"
                for kind, places in self._odd.items()
            ),
        )


def _fingerprint(records: Sequence[ImageRecord]) -> str:
    """16 hex digits over name, bytes, width, height and boxes of every image."""
    digest = hashlib.sha256()
    for record in records:
        shape = (record.width, record.height, len(record.boxes), len(record.ignored))
        digest.update(f"{record.image_id}\0{record.content}\0{shape}\0".encode())
        digest.update(record.boxes.astype("<f4").tobytes())
        digest.update(record.ignored.astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def first_other_line_end(text: str) -> int | None:
    """Find the first line that ends otherwise than the line before it; None when all are alike."""
    ends = re.findall(r"\r\n|\n|\r", text)
    return next((line for line, end in enumerate(ends, 1) if end != ends[0]), None)
