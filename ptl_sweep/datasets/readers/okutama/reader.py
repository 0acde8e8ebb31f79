"""Okutama-Action: frames of 4K drone videos, one label file per sequence in 3840x2160 pixels."""

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ptl_sweep.config.checks import one_of
from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.boxes import box_iou
from ptl_sweep.datasets.images import IMAGE_SUFFIXES, image_size
from ptl_sweep.datasets.readers.delimited import FIX_ROW, DelimitedTable, parse_table
from ptl_sweep.datasets.readers.okutama.layout import (
    LABEL_SIZE,
    NUM_SEQUENCES,
    frame_folders,
    label_files,
    nothing_there,
    of_split,
    the_one,
)
from ptl_sweep.datasets.readers.validator import Labels, Validator
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import spread
from ptl_sweep.datasets.validation import (
    data_error,
    quoted,
    refuse_categories,
    refuse_scene_fractions,
    require_root,
)

NUMBERS = (
    "track_id", "xmin", "ymin", "xmax", "ymax", "frame", "lost", "occluded", "generated",
)  # fmt: skip
ROW = f'{" ".join(NUMBERS)} "Person" ["action" ...]'
TRACK_FRAMES = 180  # annotators changed here, and with them every track id
MIN_CHANGE_IOU = 0.2  # of the last box of one annotator with the first box of the next one
MAX_WHOLE = 10**9
_LABELS = re.compile(r'[ \t]"Person"([ \t]+"[^"]*")*[ \t]*')


class _Sequence(NamedTuple):
    name: str
    frames: dict[int, Path]  # every image, by frame number
    labels: Path


class _Persons(NamedTuple):
    """The rows of one sequence that show somebody."""

    frame: Float[ndarray, " n"]
    boxes: Float[ndarray, "n 4"]  # xyxy, pixels of LABEL_SIZE


def read_okutama(config: DatasetConfig, split: str) -> ImageSet:
    """Read the frames of the split (train, test, all) whose number `frame_stride` divides.

    `root` holds TrainSetFrames/ and TestSetFrames/, or is one of them, or holds what both zips
    contain; the split follows from the official list of sequences. Boxes are scaled to the size of
    the stored frame. Rows with lost=1 are dropped, interpolated ones kept; a frame without row is
    a negative. Scene: the sequence.
    Raises: DataError for files that cannot be used, ConfigError for keys that do not fit them.
    """
    one_of(f"{config.name}.split", split, tuple(NUM_SEQUENCES))
    refuse_scene_fractions(config, "Okutama-Action has splits of its own: set it to null")
    refuse_categories(config, "Okutama-Action")
    root = require_root(config, "TestSetFrames/ or TrainSetFrames/ with Drone1, Drone2 and Labels")
    validator = Validator(config, split)
    sequences = {sequence.name: sequence for sequence in _sequences(root, config, split, validator)}
    listed = [
        (name, number)
        for name, sequence in sequences.items()
        for number in sorted(sequence.frames)
        if number % config.frame_stride == 0
    ]
    chosen = groupby(spread(listed, config.num_images), key=lambda item: item[0])
    for name, items in chosen:
        numbers = [number for _, number in items]
        _add_sequence(sequences[name], numbers, config.frame_stride, validator)
    return validator.image_set()


def _sequences(
    root: Path, config: DatasetConfig, split: str, validator: Validator
) -> Iterator[_Sequence]:
    """The sequences of the split that have frames and labels, by name; counts the others."""
    folders = of_split(frame_folders(root), split)
    if not folders:
        raise nothing_there(root, config, split)
    labels = of_split(label_files(root, config, validator), split)
    for name in sorted(labels.keys() - folders.keys()):
        validator.warn("label files without frames", f"{name}.txt")
    validator.warn(
        "official sequences that are not here",
        f"split {split}",
        max(0, NUM_SEQUENCES[split] - len(folders)),
    )
    for name, places in sorted(folders.items()):
        frames = _frames(the_one(places), validator)
        if name in labels:
            yield _Sequence(name, frames, the_one(labels[name]))
        else:
            validator.drop("image of a sequence without label file", len(frames))
            validator.warn("sequences without label file, left out", name)


def _frames(folder: Path, validator: Validator) -> dict[int, Path]:
    """The images by frame number; other images are noted. Raises: DataError for a number twice."""
    frames: dict[int, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem.isascii() and path.stem.isdigit():
            frames.setdefault(int(path.stem), []).append(path)
        else:
            validator.warn("images that are named after no frame number, left out", path.name)
    return {number: the_one(paths) for number, paths in frames.items()}


def _add_sequence(
    sequence: _Sequence, numbers: list[int], stride: int, validator: Validator
) -> None:
    """Add the frames `numbers`; counts the rows that are left out."""
    table = _read_rows(sequence.labels, validator)
    frame = table.column("frame")
    missing = ~np.isin(frame, list(sequence.frames)) & (frame % stride == 0)
    validator.warn("rows without frame, left out", sequence.labels.name, int(missing.sum()))
    persons = _persons(table, np.isin(frame, numbers), validator)
    for number in numbers:
        path = sequence.frames[number]
        size = image_size(path)
        _require_shape(path, size)
        boxes = persons.boxes[persons.frame == number] * (
            np.array([*size, *size]) / (LABEL_SIZE * 2)
        )
        labels = Labels.of_persons(sequence.labels, boxes)
        validator.add(f"{sequence.name}/{number:05d}", sequence.name, path, size, labels)


def _require_shape(path: Path, size: tuple[int, int]) -> None:
    """Raise DataError for a frame of another aspect ratio: the boxes would not fit."""
    width, height = LABEL_SIZE
    if abs(size[0] - size[1] * width / height) > 1:
        raise data_error(
            path,
            f"is {size[0]}x{size[1]}, must have the shape of {width}x{height}, as the labels have",
            "take the official frames of 1280x720, or scale them without cutting",
        )


def _read_rows(path: Path, validator: Validator) -> DelimitedTable:
    """The numbers of a label file, checked. Raises: DataError that names the line."""
    rows = [line.partition('"') for line in validator.read_text(path).split("\n")]
    _require_labels(path, rows)
    table = parse_table(path, "\n".join(numbers for numbers, _, _ in rows), NUMBERS, None)
    table.require_pixels(("xmin", "ymin", "xmax", "ymax"))
    for name in ("track_id", "frame"):
        value = table.column(name)
        whole = (value == np.round(value)) & (value >= 0) & (value <= MAX_WHOLE)
        table.require(name, whole, "a whole number from 0 on", FIX_ROW)
    for name in ("lost", "occluded", "generated"):
        table.require(name, np.isin(table.column(name), (0, 1)), "0 or 1", FIX_ROW)
    return table


def _require_labels(path: Path, rows: list[tuple[str, str, str]]) -> None:
    """Raise DataError for the first row that does not end in "Person" and quoted actions."""
    seen: set[str] = set()  # a file has few endings, so each is looked at once
    for number, (numbers, quote, rest) in enumerate(rows, 1):
        if not numbers.strip() and not quote:
            continue
        ending = numbers[-1:] + quote + rest
        if ending not in seen and not _LABELS.fullmatch(ending):
            raise data_error(
                path,
                f'ends in {quoted(quote + rest)}, must end in "Person" and actions in quotes',
                f"one box a line: {ROW}",
                number,
            )
        seen.add(ending)


def _persons(table: DelimitedTable, wanted: Bool[ndarray, " n"], validator: Validator) -> _Persons:
    """The rows of the wanted frames without the lost, the doubled and the ones with no area."""
    boxes = table.values[:, 1:5]
    lost = table.column("lost") == 1
    doubled = ~lost & _doubled(table, boxes, ~lost)
    turned = ~lost & ~doubled & (boxes[:, 2:] < boxes[:, :2]).any(axis=1)
    validator.drop("lost: outside the picture", int((lost & wanted).sum()))
    validator.drop("second box where the track ids change", int((doubled & wanted).sum()))
    validator.drop("maximum below minimum", int((turned & wanted).sum()))
    validator.warn(
        "boxes turned inside out, dropped", table.path.name, int((turned & wanted).sum())
    )
    kept = wanted & ~lost & ~doubled & ~turned
    return _Persons(table.column("frame")[kept], boxes[kept])


def _doubled(
    table: DelimitedTable, boxes: Float[ndarray, "n 4"], visible: Bool[ndarray, " n"]
) -> Bool[ndarray, " n"]:
    """Last rows of tracks whose person has the first row of the next track in the same frame.

    At every TRACK_FRAMES-th frame both annotators drew a box of the same person.
    """
    frame = table.column("frame")
    _, track = np.unique(table.column("track_id"), return_inverse=True)
    first = np.full(len(frame), np.inf)
    np.minimum.at(first, track, frame)
    changing = visible & (frame > 0) & (frame % TRACK_FRAMES == 0)
    starting = changing & (first[track] == frame)
    doubled = np.zeros(len(frame), dtype=np.bool_)
    for number in np.unique(frame[starting]):
        old = np.flatnonzero(changing & ~starting & (frame == number))
        new = np.flatnonzero(starting & (frame == number))
        doubled[old] = (box_iou(boxes[old], boxes[new]) >= MIN_CHANGE_IOU).any(axis=1)
    return doubled
