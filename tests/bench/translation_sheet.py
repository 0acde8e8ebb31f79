"""What a translator makes of virtual persons: a sheet of crops, and how much contrast is left.

`python tests/bench/translation_sheet.py SWEEP PICTURE.png` reads the first PTL iteration of a
finished sweep's folder. Rows of the sheet: persons of the pool as drawn, the same translated, and
persons of the real training images, each cut as the translator sees them.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy import ndarray
from PIL import Image, ImageDraw, ImageFont

from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.datasets.registry import read_pool, read_split
from ptl_sweep.pipeline.plan import Plan, load_plan
from ptl_sweep.ptl.crops import person_crops
from ptl_sweep.stages.ptl import PtlStage
from ptl_sweep.stages.train import MANIFEST
from ptl_sweep.stages.training_set import read_training_set

COLUMNS, SIDE, GAP, MARGIN = 12, 60, 4, 84  # crops a row, their pixels, between them, for names
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
PERSON = 128  # of 255, the coverage from which a pixel is the person's
ROWS = ("as drawn", "translated", "real")


class Iteration:
    """Pictures of one published PTL iteration: before, after, and the real ones."""

    def __init__(self, plan: Plan, stage: PtlStage) -> None:
        folder = plan.store.path(stage.key)
        source = read_split(stage.data.config(), stage.data.split).records
        training = read_training_set(folder / MANIFEST, source)
        own = [one for one in training.transformed if one.stage == stage.key]
        pool = {one.image_id: one for one in read_pool(stage.pool.config()).records}
        self.drawn: list[ImageRecord] = [pool[one.pool_id] for one in own]
        self.translated: list[ImageRecord] = [one.record(folder / one.file) for one in own]
        self.real: Sequence[ImageRecord] = training.real


def draw_sheet(found: Iteration) -> Image.Image:
    """The three rows; columns of the first two are the same persons."""
    size = (MARGIN + COLUMNS * (SIDE + GAP), len(ROWS) * (SIDE + GAP) + GAP)
    sheet = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for row, name in enumerate(ROWS):
        top = GAP + row * (SIDE + GAP)
        draw.text((GAP, top + SIDE // 2 - 8), name, fill="black", font=font)
        records = (found.drawn, found.translated, found.real)[row]
        for column, crop in enumerate(crops_of(records)):
            sheet.paste(Image.fromarray(crop), (MARGIN + column * (SIDE + GAP), top))
    return sheet


def crops_of(records: Sequence[ImageRecord]) -> ndarray:
    """Of as many persons as a row holds, from the whole length of the records."""
    crops = person_crops(records, side=SIDE, min_crop_px=1, cache=ImageCache(2**26)).pixels
    return crops[np.linspace(0, len(crops) - 1, COLUMNS).round().astype(int)]


def contrasts(found: Iteration) -> Iterator[tuple[float, float]]:
    """Per person: contrast left, and brightness change, of the pixels under its mask.

    Contrast is the standard deviation of the luma, translated over as drawn; brightness is the
    difference of mean lumas, of 255.
    """
    for drawn, translated in zip(found.drawn, found.translated, strict=True):
        before, after = (one.pixels.read() @ LUMA for one in (drawn, translated))
        for mask in drawn.pixels.read_masks():
            inside = mask >= PERSON
            old, new = before[inside], after[inside]
            if len(old) > 1 and old.std() > 0:
                yield new.std() / old.std(), new.mean() - old.mean()


def main(sweep: str, picture: str) -> None:
    """Write the sheet, and print what it cannot say."""
    plan = load_plan(Path(sweep))
    found = Iteration(plan, next(iter(plan.ptl_stages())))
    draw_sheet(found).save(picture, optimize=True)
    ratio, change = np.median(list(contrasts(found)), axis=0)
    low, high = np.quantile([one for one, _ in contrasts(found)], (0.25, 0.75))
    print(f"contrast left: median {ratio:.2f}, quartiles {low:.2f} and {high:.2f}")
    print(f"brightness: {change:+.1f} of 255, median over persons")


if __name__ == "__main__":
    main(*sys.argv[1:])
