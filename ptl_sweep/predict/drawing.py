"""Detections drawn into a picture: a box and its score, from amber (low) to red (1)."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

LOW, HIGH = (255, 190, 0), (225, 0, 60)  # colours of scores 0 and 1
DARK, BRIGHT = (0, 0, 0), (255, 255, 255)  # of the text
MIN_FONT_PX = 10
PICTURE_PER_FONT = 64  # shorter side of the picture over the height of the text
PICTURE_PER_LINE = 480  # the same over the width of a line
JPEG_QUALITY = 92

Colour = tuple[int, int, int]


def draw_detections(
    pixels: UInt8[ndarray, "h w 3"], boxes: Float[ndarray, "n 4"], scores: Float[ndarray, " n"]
) -> Image.Image:
    """Draw boxes (xyxy pixels, by falling score) around what they show; the best come last."""
    image = Image.fromarray(pixels)
    shorter = min(image.size)
    width = max(1, round(shorter / PICTURE_PER_LINE))
    font = ImageFont.load_default(max(MIN_FONT_PX, shorter // PICTURE_PER_FONT))
    draw = ImageDraw.Draw(image)
    rows = list(zip(boxes.tolist(), scores.tolist(), strict=True))[::-1]
    for box, score in rows:
        left, top, right, bottom = _around(box, width)
        draw.rectangle((left, top, right, bottom), outline=_colour(score), width=width)
    for box, score in rows:  # no box is drawn over a score
        _label(draw, _around(box, width), f"{score:.2f}", _colour(score), font)
    return image


def save_picture(image: Image.Image, path: Path) -> None:
    """Write a JPEG or a PNG by the suffix. Raises: OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".png":
        image.save(path, format="PNG")
    else:
        image.save(path, format="JPEG", quality=JPEG_QUALITY)


def _around(box: list[float], width: int) -> tuple[int, int, int, int]:
    """The outer pixels of a line of this width around the box."""
    left, top, right, bottom = box
    return (
        int(np.floor(left)) - width,
        int(np.floor(top)) - width,
        int(np.ceil(right)) - 1 + width,
        int(np.ceil(bottom)) - 1 + width,
    )


def _label(
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    text: str,
    colour: Colour,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
) -> None:
    """Write the score on a plate above the box; below it where the picture ends."""
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = int(right - left) + 4, int(bottom - top) + 4
    x = min(max(box[0], 0), max(int(draw.im.size[0]) - width, 0))
    y = box[1] - height if box[1] >= height else box[3] + 1
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
    bright = sum(colour) < 350
    draw.text((x + 2 - left, y + 2 - top), text, fill=BRIGHT if bright else DARK, font=font)


def _colour(score: float) -> Colour:
    red, green, blue = (
        round(low + score * (high - low)) for low, high in zip(LOW, HIGH, strict=True)
    )
    return red, green, blue
