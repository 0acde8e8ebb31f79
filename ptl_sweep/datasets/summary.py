"""What an image set holds, in numbers and as a contact sheet: what the verb `check` shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from PIL import Image, ImageDraw

from ptl_sweep.datasets.records import ImageRecord, ImageSet
from ptl_sweep.datasets.subsets import spread

TILE_PX = (480, 360)  # width and height of one picture of the sheet, without its caption
CAPTION_PX = 16
NUM_COLUMNS = 4
_BACKGROUND, _TEXT = (24, 24, 24), (235, 235, 235)
_PERSON, _IGNORED = (255, 64, 64), (64, 160, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSummary:
    """Counts and box sizes of one split."""

    name: str
    split: str
    num_images: int
    num_images_with_persons: int
    num_persons: int
    num_ignored: int  # regions
    num_scenes: int
    width_quartiles: Float[ndarray, "3"]  # of the persons' boxes, pixels; NaN without persons
    height_quartiles: Float[ndarray, "3"]
    drops: Mapping[str, int]
    warnings: tuple[str, ...]
    fingerprint: str


def summarise(image_set: ImageSet) -> SetSummary:
    """Counts, quartiles of the box sizes, drops and warnings; reads no pixels."""
    records = image_set.records
    boxes = np.concatenate([np.zeros((0, 4)), *(record.boxes for record in records)])
    sides = boxes[:, 2:] - boxes[:, :2] if len(boxes) else np.full((1, 2), np.nan)
    quartiles = np.percentile(sides, [25, 50, 75], axis=0)
    return SetSummary(
        name=image_set.name,
        split=image_set.split,
        num_images=len(records),
        num_images_with_persons=sum(len(record.boxes) > 0 for record in records),
        num_persons=image_set.num_persons,
        num_ignored=sum(len(record.ignored) for record in records),
        num_scenes=len({record.scene for record in records}),
        width_quartiles=quartiles[:, 0],
        height_quartiles=quartiles[:, 1],
        drops=image_set.drops,
        warnings=image_set.warnings,
        fingerprint=image_set.fingerprint,
    )


def sample_sheet(image_set: ImageSet, path: Path, num_images: int = 12) -> None:
    """Write a PNG of `num_images` images with persons (red) and regions to ignore (blue).

    The images are taken at even distances from those with a person, or from all without any.
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


def _tile(record: ImageRecord) -> Image.Image:
    """One image scaled into its place, boxes drawn on it, its id and number of persons above."""
    tile = Image.new("RGB", (TILE_PX[0], TILE_PX[1] + CAPTION_PX), _BACKGROUND)
    scale = min(TILE_PX[0] / record.width, TILE_PX[1] / record.height)
    size = (max(1, round(record.width * scale)), max(1, round(record.height * scale)))
    tile.paste(Image.fromarray(record.pixels.read()).resize(size), (0, CAPTION_PX))
    draw = ImageDraw.Draw(tile)
    for boxes, colour in ((record.ignored, _IGNORED), (record.boxes, _PERSON)):
        for left, top, right, bottom in (boxes * scale).tolist():
            draw.rectangle((left, top + CAPTION_PX, right, bottom + CAPTION_PX), outline=colour)
    caption = f"{record.image_id}: {len(record.boxes)}".encode("ascii", "replace").decode()
    draw.text((2, 2), caption[-76:], fill=_TEXT)
    return tile
