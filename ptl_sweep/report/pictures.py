"""Pictures inside the page: thumbnails as data URIs, as many as the page may carry."""

import base64
import io
import itertools
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from ptl_sweep.report.context import SamplePicture
from ptl_sweep.study.study import ErrorCrop

log = logging.getLogger(__name__)

THUMBNAIL_PX = 320  # longer side
CROP_PX = 160


class EmbeddedPicture(NamedTuple):
    """An image inside the page."""

    uri: str
    width: int
    height: int


class Plate(NamedTuple):
    """Pictures that share a caption: one, or before and after."""

    group: str
    pictures: tuple[EmbeddedPicture, ...]
    caption: str


class Plates(NamedTuple):
    """What the page has room for, and how many did not fit."""

    kept: list[Plate]
    num_left_out: int


def thumbnail(path: Path, longest: int = THUMBNAIL_PX) -> EmbeddedPicture:
    """The picture at most `longest` px wide or high, as JPEG in a data URI."""
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((longest, longest))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=88, subsampling=0)
    encoded = base64.b64encode(buffer.getvalue()).decode()
    return EmbeddedPicture(f"data:image/jpeg;base64,{encoded}", *small.size)


def sample_plates(samples: Sequence[SamplePicture], budget: int) -> Plates:
    """Selected and transformed, side by side, in at most `budget` bytes."""
    plates = (
        _plate("", (one.selected_png, one.transformed_png), THUMBNAIL_PX, one.caption)
        for one in samples
    )
    return _within(plates, len(samples), budget)


def crop_plates(crops: Sequence[ErrorCrop], budget: int) -> Plates:
    """False positives in at most `budget` bytes; groups take turns, so that each has some."""
    groups = [
        [crop for crop in crops if crop.group == group]
        for group in dict.fromkeys(crop.group for crop in crops)
    ]
    turns = itertools.zip_longest(*groups)
    plates = (
        _plate(crop.group, (Path(crop.path),), CROP_PX, crop.caption)
        for crop in itertools.chain.from_iterable(turns)
        if crop
    )
    return _within(plates, len(crops), budget)


def _plate(group: str, paths: Sequence[Path], longest: int, caption: str) -> Plate | None:
    """None, with a warning, where a picture is missing or damaged: it costs itself alone."""
    try:
        return Plate(group, tuple(thumbnail(path, longest) for path in paths), caption)
    except (OSError, SyntaxError, ValueError) as error:
        log.warning("%s: not shown: %s", paths[0], error)
        return None


def _within(plates: Iterable[Plate | None], num: int, budget: int) -> Plates:
    kept: list[Plate] = []
    used = 0
    for plate in filter(None, plates):
        used += sum(len(picture.uri) for picture in plate.pictures)
        if used > budget:
            break
        kept.append(plate)
    return Plates(kept, num - len(kept))
