"""Write a virtual pool to files that `pool=archangel` reads: images, masks and a manifest."""

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path

from ptl_sweep.datasets.images import write_png
from ptl_sweep.datasets.readers.archangel.manifest import COLUMNS, CORNERS, MEASURES, TEXTS
from ptl_sweep.datasets.records import ImageRecord, ImageSet
from ptl_sweep.datasets.validation import data_error
from ptl_sweep.store import write_atomically

MANIFEST = "manifest.csv"  # written last: a folder without it is not whole


def export_pool(
    pool: ImageSet, folder: Path, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write every image, a mask for each person and the manifest; returns the manifest's path.

    `progress` is told (images done, images in all). Images without a person are left out, as a
    manifest has a row per person.
    Raises: DataError for a folder that holds something, and as the pool's pixels do; OSError.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise data_error(folder, "is not an empty folder", "name another one, or empty it")
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
    table.writeheader()
    for done, record in enumerate(pool.records, 1):
        table.writerows(_write(record, folder))
        if progress is not None:
            progress(done, len(pool.records))
    path = folder / MANIFEST
    write_atomically(path, text.getvalue().encode())
    return path


def _write(record: ImageRecord, folder: Path) -> Iterator[dict[str, str]]:
    """Write an image and its masks; the rows of its persons."""
    if not len(record.boxes):
        return
    image = f"images/{record.image_id}.png"
    (folder / image).parent.mkdir(parents=True, exist_ok=True)
    write_png(folder / image, record.pixels.read())
    for number, (box, mask) in enumerate(
        zip(record.boxes, record.pixels.read_masks(), strict=True)
    ):
        name = f"masks/{record.image_id}-{number}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_png(folder / name, mask)
        corners = {corner: f"{value:.9g}" for corner, value in zip(CORNERS, box, strict=True)}
        yield {"image": image, "mask": name, **corners, **_attributes(record, number)}


def _attributes(record: ImageRecord, number: int) -> dict[str, str]:
    """Those that a manifest has a column for; texts that name every person are taken apart."""
    found = {
        name: f"{float(record.attributes[name]):.17g}"
        for name in MEASURES
        if name in record.attributes
    }
    for name in TEXTS:
        texts = str(record.attributes.get(name, "")).split("+")
        if len(texts) == len(record.boxes):
            found[name] = texts[number]
    return found
