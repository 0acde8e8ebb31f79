"""Pictures without annotations: a folder or one file, decoded one after the other."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from ptl_sweep.datasets.images import IMAGE_SUFFIXES, decode, list_images
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.datasets.validation import DataError, data_error

log = logging.getLogger(__name__)

NO_BOXES = np.zeros((0, 4), dtype=np.float32)


class Picture(NamedTuple):
    """A file, and its name below the folder that was given."""

    path: Path
    name: str  # posix


class Skipped(NamedTuple):
    """A picture that cannot be read, and why."""

    file_name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DecodedPixels:
    """Pixels that are in memory already."""

    pixels: UInt8[ndarray, "h w 3"]

    def read(self) -> UInt8[ndarray, "h w 3"]:
        """Return them; EXIF orientation is applied."""
        return self.pixels

    def read_masks(self) -> UInt8[ndarray, "n h w"]:
        """Return none: nobody is known in the picture."""
        return np.zeros((0, *self.pixels.shape[:2]), dtype=np.uint8)


def list_pictures(place: Path) -> list[Picture]:
    """List the JPEG and PNG files of a folder and those below it, or the one file that was given.

    Raises: DataError when there is none.
    """
    if place.is_file():
        if place.suffix.lower() not in IMAGE_SUFFIXES:
            raise data_error(
                place, f"is none of {', '.join(IMAGE_SUFFIXES)}", "give a picture or a folder"
            )
        return [Picture(place, place.name)]
    if not place.is_dir():
        raise data_error(place, "no such folder", "give a folder of pictures, or one picture")
    return [Picture(path, path.relative_to(place).as_posix()) for path in list_images(place)]


@dataclass(slots=True)
class PictureReader:
    """Decodes pictures as they are asked for; what cannot be read is skipped with a warning.

    Each picture that was handed out is kept until it is taken, so that memory holds those of one
    batch.
    """

    skipped: list[Skipped] = field(default_factory=list)
    _handed_out: deque[ImageRecord] = field(default_factory=deque)

    def records(self, pictures: Iterable[Picture]) -> Iterator[ImageRecord]:
        """Yield every readable picture, in order."""
        for picture in pictures:
            try:
                pixels = decode(picture.path)
            except DataError as error:
                log.warning("skipped %s", error)
                reason = str(error).partition("\n")[0].removeprefix(f"{picture.path}: ")
                self.skipped.append(Skipped(picture.name, reason))
                continue
            record = _record(picture.name, pixels)
            self._handed_out.append(record)
            yield record

    def take(self) -> ImageRecord:
        """Take the picture that was handed out first."""
        return self._handed_out.popleft()


def _record(name: str, pixels: UInt8[ndarray, "h w 3"]) -> ImageRecord:
    return ImageRecord(
        image_id=name,
        width=pixels.shape[1],
        height=pixels.shape[0],
        boxes=NO_BOXES,
        ignored=NO_BOXES,
        scene=name,
        pixels=DecodedPixels(pixels),
    )
