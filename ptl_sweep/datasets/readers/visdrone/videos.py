"""VisDrone2019-VID: frames of sequences; categories and regions are those of the DET set."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ptl_sweep.config.checks import one_of
from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.images import image_size, list_images
from ptl_sweep.datasets.readers.delimited import DelimitedTable
from ptl_sweep.datasets.readers.validator import Validator
from ptl_sweep.datasets.readers.visdrone.rows import (
    COLUMNS,
    SUFFIXES,
    category_meanings,
    row_labels,
    split_folder,
)
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import spread
from ptl_sweep.datasets.validation import data_error, refuse_scene_fractions

VID_COLUMNS = ("frame", "target_id", *COLUMNS)


class Frame(NamedTuple):
    """One picture of a sequence; its number is that of its file, from 1."""

    sequence: str
    number: int
    image: Path


def read_visdrone_vid(config: DatasetConfig, split: str) -> ImageSet:
    """Read every `frame_stride`-th frame of the sequences of one split that are annotated.

    `root` holds VisDrone2019-VID-{train,val,test-dev}, or is one of them, with sequences/ and
    annotations/. A scene is a sequence. A frame without rows is a negative.
    Raises: DataError for files that cannot be used, ConfigError for an unknown category.
    """
    refuse_scene_fractions(config, "VisDrone has splits of its own: set it to null")
    one_of(f"{config.name}.split", split, tuple(SUFFIXES))
    meanings = category_meanings(config)
    folder = split_folder(config, split, "VID", "sequences")
    validator = Validator(config, split)
    tables: dict[str, DelimitedTable] = {}
    frames = [
        frame
        for path in sorted((folder / "sequences").iterdir())
        if path.is_dir()
        for frame in _frames(path, config.frame_stride)
    ]
    for name in dict.fromkeys(frame.sequence for frame in frames):
        _read_table(folder / "annotations" / f"{name}.txt", tables, validator)
    for frame in spread([f for f in frames if f.sequence in tables], config.num_images):
        _add(frame, tables[frame.sequence], meanings, validator)
    return validator.image_set()


def _frames(folder: Path, stride: int) -> Iterator[Frame]:
    """The first and then every `stride`-th frame. Raises: DataError for a name without number."""
    for path in list_images(folder)[::stride]:
        if not path.stem.isdecimal():
            raise data_error(
                path, "its name is no frame number", "name frames 0000001.jpg, 0000002.jpg, ..."
            )
        yield Frame(folder.name, int(path.stem), path)


def _read_table(path: Path, tables: dict[str, DelimitedTable], validator: Validator) -> None:
    if path.is_file():
        tables[path.stem] = validator.read_table(path, VID_COLUMNS, ",")
    else:
        validator.warn("sequences without annotation file, left out", path.stem)


def _add(
    frame: Frame, table: DelimitedTable, meanings: Bool[ndarray, "2 c"], validator: Validator
) -> None:
    size = image_size(frame.image)
    here = table.column("frame") == frame.number
    values: Float[ndarray, "n c"] = table.values[here][:, 2:]
    rows = DelimitedTable(table.path, COLUMNS, np.ascontiguousarray(values), table.lines[here])
    labels = row_labels(rows, size, meanings, validator)
    image_id = f"{frame.sequence}/{frame.number:07d}"
    validator.add(image_id, frame.sequence, frame.image, size, labels)
