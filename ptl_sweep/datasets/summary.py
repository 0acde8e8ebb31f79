"""What an image set holds, in numbers and as a contact sheet: what the command `check` shows."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image, ImageDraw

from ptl_sweep.config.schema import DetectorConfig
from ptl_sweep.datasets.anchors import SeenBoxes, matched_share
from ptl_sweep.datasets.records import ImageRecord, ImageSet
from ptl_sweep.datasets.subsets import spread

TILE_PX = (480, 360)  # width and height of one picture of the sheet, without its caption
CAPTION_PX = 16
NUM_COLUMNS = 4
MIN_PERSON_PX = 24  # on the sheet: pictures whose persons would be lower are shown in part
MAX_ZOOM = 4.0  # of such a part
_BACKGROUND, _TEXT = (24, 24, 24), (235, 235, 235)
_PERSON, _IGNORED = (255, 64, 64), (64, 160, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSummary:
    """Counts and box sizes of one split; sizes and shares are NaN without persons."""

    name: str
    split: str
    num_images: int
    num_images_with_persons: int
    num_persons: int
    num_ignored: int  # regions
    num_scenes: int
    width_quartiles: Float[ndarray, "3"]  # of the persons' boxes, stored pixels
    height_quartiles: Float[ndarray, "3"]
    input_height_quartiles: Float[ndarray, "3"]  # pixels of the network's input
    matched_share: float  # of the persons, by the detector's anchors; NaN where it has none
    image_sizes: tuple[tuple[int, int], ...]  # width and height, the most frequent first
    drops: Mapping[str, int]
    warnings: tuple[str, ...]
    fingerprint: str

    @property
    def persons_per_image(self) -> float:
        """Average over all images, those without a person included."""
        return self.num_persons / self.num_images


def summarise(image_set: ImageSet, seen: SeenBoxes, anchors: DetectorConfig | None) -> SetSummary:
    """Count and measure the boxes of a split; reads no pixels.

    `seen` holds the persons of the set as the detector sees them; `anchors` None: it has none.
    """
    records = image_set.records
    boxes = np.concatenate([np.zeros((0, 4)), *(record.boxes for record in records)])
    stored, at_input = _quartiles(boxes), _quartiles(seen.boxes)
    sizes = Counter((record.width, record.height) for record in records)
    return SetSummary(
        name=image_set.name,
        split=image_set.split,
        num_images=len(records),
        num_images_with_persons=sum(len(record.boxes) > 0 for record in records),
        num_persons=image_set.num_persons,
        num_ignored=sum(len(record.ignored) for record in records),
        num_scenes=len({record.scene for record in records}),
        width_quartiles=stored[:, 0],
        height_quartiles=stored[:, 1],
        input_height_quartiles=at_input[:, 1],
        matched_share=math.nan if anchors is None else matched_share(seen, anchors),
        image_sizes=tuple(size for size, _ in sizes.most_common()),
        drops=image_set.drops,
        warnings=image_set.warnings,
        fingerprint=image_set.fingerprint,
    )


def _quartiles(boxes: Float[ndarray, "n 4"]) -> Float[ndarray, "3 2"]:
    """Of width and height; NaN without boxes."""
    sides = boxes[:, 2:] - boxes[:, :2] if len(boxes) else np.full((1, 2), np.nan)
    quartiles: Float[ndarray, "3 2"] = np.percentile(sides, [25, 50, 75], axis=0)
    return quartiles


def sample_sheet(image_set: ImageSet, path: Path, num_images: int = 12) -> None:
    """Write a PNG of `num_images` images with persons (red) and regions to ignore (blue).

    The images are taken at even distances from those with a person, or from all without any. One
    whose persons would be hard to see is shown in part, around the middle one of them.
    Raises: DataError when one of them cannot be decoded.
    """
    with_persons = [record for record in image_set.records if len(record.boxes)]
    chosen = spread(with_persons or image_set.records, num_images)
    width, height = TILE_PX[0], TILE_PX[1] + CAPTION_PX
    num_columns = min(NUM_COLUMNS, len(chosen))
    num_rows = -(-len(chosen) // num_columns)
    sheet = Image.new("RGB", (num_columns * width, num_rows * height), _BACKGROUND)
    for position, record in enumerate(chosen):
        row, column = divmod(position, num_columns)
        sheet.paste(_tile(record), (column * width, row * height))
    sheet.save(path, format="PNG")


class Window(NamedTuple):
    """Part of an image, pixels."""

    left: int
    top: int
    width: int
    height: int


def shown_window(record: ImageRecord) -> Window:
    """Choose what the sheet shows: the whole image, or the largest part on which its median person
    has MIN_PERSON_PX, around the person in the middle of all.
    """
    whole = min(TILE_PX[0] / record.width, TILE_PX[1] / record.height)
    corners = record.boxes.astype(np.float64)
    side = float(np.median((corners[:, 2:] - corners[:, :2]).max(1))) if len(corners) else np.inf
    zoom = min(MIN_PERSON_PX / side, MAX_ZOOM)
    if zoom <= whole:
        return Window(0, 0, record.width, record.height)
    centres = (corners[:, :2] + corners[:, 2:]) / 2
    middle = centres[np.abs(centres - np.median(centres, axis=0)).sum(1).argmin()]
    first, sides = [], []
    for axis, length in enumerate((record.width, record.height)):
        part = min(length, int(TILE_PX[axis] / zoom))
        first.append(min(max(0, round(middle[axis] - part / 2)), length - part))
        sides.append(part)
    return Window(*first, *sides)


def _tile(record: ImageRecord) -> Image.Image:
    """One image or a part of it, boxes drawn on it, its id and number of persons above."""
    left, top, width, height = shown_window(record)
    scale = min(TILE_PX[0] / width, TILE_PX[1] / height)
    part = record.pixels.read()[top : top + height, left : left + width]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    picture = Image.fromarray(part).resize(size)
    draw = ImageDraw.Draw(picture)
    for boxes, colour in ((record.ignored, _IGNORED), (record.boxes, _PERSON)):
        for corners in ((boxes - [left, top, left, top]) * scale).tolist():
            draw.rectangle(corners, outline=colour)
    tile = Image.new("RGB", (TILE_PX[0], TILE_PX[1] + CAPTION_PX), _BACKGROUND)
    tile.paste(picture, (0, CAPTION_PX))
    note = "" if (width, height) == (record.width, record.height) else f" (part, x {left} y {top})"
    caption = f"{record.image_id}: {len(record.boxes)}{note}".encode("ascii", "replace").decode()
    ImageDraw.Draw(tile).text((2, 2), caption[-76:], fill=_TEXT)
    return tile
