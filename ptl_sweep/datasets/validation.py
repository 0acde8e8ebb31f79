"""The validator that every reader goes through: an error names file, line, field, value and fix;
whatever is left out is counted by reason.
"""

import difflib
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.records import ImageRecord, ImageSet, PixelSource

LFS_HEADER = b"version https://git-lfs"
LFS_FIX = "run `git lfs pull` where the file came from, or download it again"
MIN_SIDE_PX = 1.0  # shorter boxes are dropped
MAX_COORDINATE_PX = 1e5  # no image is that large: a number beyond it is a mistake
CLIP_TOLERANCE_PX = 1.0  # boxes that leave the image by less are not worth a warning

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class DataError(ValueError):
    """Data on disk that cannot be used; the message names file, line, field, value and fix."""


def data_error(path: Path, problem: str, fix: str, line: int | None = None) -> DataError:
    """An error of two lines: where and what, then how to fix it."""
    where = str(path) if line is None else f"{path}, line {line}"
    return DataError(f"{where}: {problem}\n  fix: {fix}")


def shown(value: object) -> str:
    """The value as an error message quotes it: one line, never long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(name: str, allowed: Iterable[str]) -> str:
    """The allowed name that looks most like `name`."""
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    best = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.0)
    return by_lower[best[0]] if best else "none"


def require_root(config: DatasetConfig, holds: str) -> Path:
    """The data set's folder, absolute.

    Raises: DataError that names the key to set and the path tried.
    """
    path = None if config.root is None else Path(config.root).expanduser().absolute()
    if path is not None and path.is_dir():
        return path
    tried = "root is not set" if path is None else f"{path} is not a folder"
    raise DataError(
        f"data set {config.name!r}: {tried}\n  fix: set root of data set {config.name!r} "
        f"(dataset.root or target.root) to the folder that holds {holds}"
    )


def class_meanings(names: Iterable[str], config: DatasetConfig, path: Path) -> dict[str, str]:
    """What each class of the files means: person, other or ignore.

    Without `categories`, the class called person is one and every other class is other.
    Raises: DataError for a class that `categories` lacks, and when no class is a person.
    """
    allowed = config.categories
    meanings: dict[str, str] = {}
    for name in names:
        if not allowed:
            meanings[name] = "person" if name.lower() == "person" else "other"
        elif name in allowed:
            meanings[name] = allowed[name]
        else:
            raise data_error(
                path,
                f"class {shown(name)} is not in categories of data set {config.name!r}; "
                f"the nearest is {nearest(name, allowed)!r}",
                f"add it to categories as person, other or ignore (now: {', '.join(allowed)})",
            )
    if "person" not in meanings.values():
        raise data_error(
            path,
            f"none of its classes is a person: {', '.join(meanings) or 'there are none'}",
            f"set categories of data set {config.name!r}, for example "
            "+dataset.categories.NAME=person (or +target.categories.NAME=person)",
        )
    return meanings


def read_text(path: Path) -> str:
    """The file as text.

    Raises: DataError when it is missing, a git-LFS pointer or not UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise data_error(
            path, f"cannot be read: {error.strerror}", "check the path and its permissions"
        ) from error
    if data.startswith(LFS_HEADER):
        raise data_error(path, "is a git-LFS pointer, not the file itself", LFS_FIX, line=1)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        value = shown(data[error.start : error.start + 1])
        raise data_error(
            path, f"byte {value} is not UTF-8 text", "save the file as UTF-8", line
        ) from error


@dataclass(frozen=True, slots=True)
class DelimitedTable:
    """The numbers of one annotation file and the line each row stands on."""

    path: Path
    columns: tuple[str, ...]
    values: Float[ndarray, "n c"]
    lines: Int[ndarray, " n"]

    def column(self, name: str) -> Float[ndarray, " n"]:
        """One column by name."""
        return self.values[:, self.columns.index(name)]

    def require(self, name: str, valid: Bool[ndarray, " n"], allowed: str, fix: str) -> None:
        """Raise DataError that names the first row whose field `name` is not valid."""
        if valid.all():
            return
        row = int(np.argmin(valid))
        raise data_error(
            self.path,
            f"{name} is {self.column(name)[row]:g}, must be {allowed}",
            fix,
            int(self.lines[row]),
        )

    def require_pixels(self, names: Iterable[str]) -> None:
        """Raise DataError for a coordinate that no image has, or a negative width or height."""
        for name in names:
            low = 0 if name in ("width", "height") else -MAX_COORDINATE_PX
            value = self.column(name)
            self.require(
                name,
                (value >= low) & (value <= MAX_COORDINATE_PX),
                f"pixels in [{low:g}, {MAX_COORDINATE_PX:g}]",
                "correct the row or delete it",
            )


def parse_table(
    path: Path, text: str, columns: tuple[str, ...], delimiter: str | None
) -> DelimitedTable:
    """The rows of a text of numbers; blank lines and one trailing delimiter are allowed.

    Raises: DataError for a wrong number of columns and for anything that is no finite number.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    kept = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    kept = [(number, line) for number, line in kept if line]
    rows = [line.removesuffix(delimiter) if delimiter else line for _, line in kept]
    numbers = np.array([number for number, _ in kept], dtype=np.int64)
    if not rows:
        return DelimitedTable(path, columns, np.zeros((0, len(columns))), numbers)
    try:
        values = np.loadtxt(rows, delimiter=delimiter, comments=None, ndmin=2)
    except ValueError:
        values = _parse_exactly(path, rows, numbers, columns, delimiter)
    if values.shape[1] != len(columns) or not np.isfinite(values).all():
        values = _parse_exactly(path, rows, numbers, columns, delimiter)
    return DelimitedTable(path, columns, values, numbers)


def _parse_exactly(
    path: Path,
    rows: Sequence[str],
    numbers: Int[ndarray, " n"],
    columns: tuple[str, ...],
    delimiter: str | None,
) -> Float[ndarray, "n c"]:
    """Field by field, so that the first bad one can be named."""
    for number, row in zip(numbers.tolist(), rows, strict=True):
        fields = [field.strip() for field in row.split(delimiter)]
        if len(fields) != len(columns):
            raise data_error(
                path,
                f"has {len(fields)} columns, must have {len(columns)}: {shown(row)}",
                f"one box a line: {(delimiter or ' ').join(columns)}",
                number,
            )
        for name, field in zip(columns, fields, strict=True):
            if not _NUMBER.fullmatch(field) or not np.isfinite(float(field)):
                raise data_error(
                    path,
                    f"{name} is {shown(field)}, must be a finite number",
                    "correct the row or delete it",
                    number,
                )
    return np.array([[float(field) for field in row.split(delimiter)] for row in rows])


def first_other_line_end(text: str) -> int | None:
    """The first line that ends otherwise than the line before it; None when all are alike."""
    ends = re.findall(r"\r\n|\n|\r", text)
    return next((line for line, end in enumerate(ends, 1) if end != ends[0]), None)


@runtime_checkable
class StoredImage(PixelSource, Protocol):
    """Pixels that lie in a file."""

    @property
    def path(self) -> Path:
        """The image file."""
        ...


class Labels(NamedTuple):
    """The boxes of one image as its annotation file has them."""

    path: Path
    boxes: Float[ndarray, "n 4"]  # xyxy, pixels; not yet clipped
    person: Bool[ndarray, " n"]
    ignored: Bool[ndarray, " n"]  # neither of both: another category


class Validator:
    """Collects the checked images of one split, and counts what it leaves out; one per reading."""

    def __init__(self, config: DatasetConfig, split: str) -> None:
        self._name = config.name
        self._split = split
        self._records: dict[str, ImageRecord] = {}
        self._num_bytes: dict[str, int] = {}
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

    def read_table(
        self, path: Path, columns: tuple[str, ...], delimiter: str | None
    ) -> DelimitedTable:
        """The numbers of an annotation file; warns of mixed line ends. Raises: DataError."""
        text = read_text(path)
        if "\r" in text and (line := first_other_line_end(text)) is not None:
            self.warn("mixed line ends: was the file edited?", f"{path.name}, line {line}")
        return parse_table(path, text, columns, delimiter)

    def add(
        self, image_id: str, scene: str, image: StoredImage, size: tuple[int, int], labels: Labels
    ) -> None:
        """Check the boxes of one image of `size` (width, height) and keep it.

        Raises: DataError for a second image of the same id.
        """
        if image_id in self._records:
            raise data_error(
                image.path,
                f"image id {shown(image_id)} occurs twice",
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
            pixels=image,
        )
        self._num_bytes[image_id] = image.path.stat().st_size

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
        small = ((clipped[:, 2:] - clipped[:, :2]) < MIN_SIDE_PX).any(axis=1) & ~outside
        self.drop("outside the image", int(outside.sum()))
        self.drop("under 1 px", int(small.sum()))
        kept = ~outside & ~small
        past = (np.abs(clipped - boxes) > CLIP_TOLERANCE_PX).any(axis=1) & kept
        self.warn("boxes past the image border, clipped", where, int(past.sum()))
        checked: Float[ndarray, "m 4"] = clipped[kept].astype(np.float32)
        return checked

    def image_set(self) -> ImageSet:
        """The images by id, their fingerprint, what was dropped and what was odd.

        Raises: DataError when no image is left.
        """
        if not self._records:
            raise DataError(
                f"data set {self._name!r}, split {self._split!r}: no image has annotations\n"
                "  fix: put the annotation files where the reader expects them (docs/datasets.md)"
            )
        records = tuple(self._records[image_id] for image_id in sorted(self._records))
        return ImageSet(
            name=self._name,
            split=self._split,
            records=records,
            fingerprint=_fingerprint(records, self._num_bytes),
            drops=dict(sorted(self._drops.items())),
            warnings=tuple(
                f"{kind}: {places.total()} (files: {len(places)}, first: {next(iter(places))})"
                for kind, places in self._odd.items()
            ),
        )


def _fingerprint(records: Sequence[ImageRecord], num_bytes: dict[str, int]) -> str:
    """16 hex digits over name, file size, width, height and boxes of every image."""
    digest = hashlib.sha256()
    for record in records:
        shape = (record.width, record.height, len(record.boxes), len(record.ignored))
        digest.update(f"{record.image_id}\0{num_bytes[record.image_id]}\0{shape}\0".encode())
        digest.update(record.boxes.astype("<f4").tobytes())
        digest.update(record.ignored.astype("<f4").tobytes())
    return digest.hexdigest()[:16]
