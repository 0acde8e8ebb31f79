"""media.json: the pictures, tables and pages of a folder, and after which rows they belong.

A shown image is a PNG or JPEG file and boxes over it, xyxy in its pixels; a table is a Parquet
file, a page an HTML file. W&B is one reader of it; nothing here knows W&B.
"""

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from ptl_sweep.store import write_atomically

log = logging.getLogger(__name__)

MEDIA = "media.json"
FILES = "media"  # folder of the files that are made for it
MAX_IMAGES = 8  # under one name
JPEG_QUALITY = 90
Column: TypeAlias = Sequence[str] | Sequence[bytes | None] | ndarray  # bytes: of a picture file


@dataclass(frozen=True, slots=True)
class ShownBox:
    """One box over an image."""

    corners: Sequence[float]  # x1, y1, x2, y2, pixels
    caption: str
    score: float | None = None  # of a detection, in [0, 1]


@dataclass(frozen=True, slots=True)
class ShownImage:
    """One picture; None for a layer of boxes that it has not."""

    file: str  # relative to the folder
    ground_truth: Sequence[ShownBox] | None = None
    detections: Sequence[ShownBox] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaEntry:
    """What is shown under one name: images, or one table, or one page."""

    name: str  # such as "ptl/transformed"
    row: int  # number of rows in the history before it: it is shown with the row of this index
    images: Sequence[ShownImage] = ()
    table: str | None = None
    page: str | None = None


def read_media(folder: Path) -> list[MediaEntry]:
    """Read the entries of a folder; none without a media.json. A damaged one is a warning."""
    path = folder / MEDIA
    try:
        return [_entry(content) for content in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        log.warning("%s cannot be read (%s): its pictures are not shown", path, error)
        return []


def write_media(folder: Path, entries: Sequence[MediaEntry]) -> None:
    """Replace media.json. Raises: OSError."""
    content = json.dumps([asdict(e, dict_factory=_present) for e in entries], indent=1)
    write_atomically(folder / MEDIA, content.encode())


def add_entry(folder: Path, entry: MediaEntry) -> None:
    """Add one entry, in place of an earlier one of its name. Raises: OSError."""
    others = [other for other in read_media(folder) if other.name != entry.name]
    write_media(folder, [*others, entry])


def is_kept(folder: Path, name: str, num_rows: int) -> bool:
    """Whether an attempt before a kill has shown this with one of the `num_rows` rows."""
    return any(entry.name == name and entry.row < num_rows for entry in read_media(folder))


def write_picture(
    folder: Path, name: str, index: int, pixels: UInt8[ndarray, "h w 3"], suffix: str
) -> str:
    """Write a picture below `media/`, as `.png` or `.jpg`; return its path within the folder.

    Raises: OSError.
    """
    file = f"{FILES}/{_plain(name)}-{index}{suffix}"
    (folder / FILES).mkdir(exist_ok=True)
    Image.fromarray(pixels).save(folder / file, quality=JPEG_QUALITY)
    return file


def write_rows(folder: Path, name: str, columns: Mapping[str, Column]) -> str:
    """Write a table below `media/` as Parquet; return its path there. Raises: OSError."""
    import pyarrow as pa
    from pyarrow import parquet

    file = f"{FILES}/{_plain(name)}.parquet"
    (folder / FILES).mkdir(exist_ok=True)
    parquet.write_table(pa.table(dict(columns)), folder / file)
    return file


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", name)


def _present(items: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    """Leave out what an entry, an image or a box does not have."""
    return {k: v for k, v in items if v is not None and (k != "images" or v)}


def _entry(content: Mapping[str, Any]) -> MediaEntry:
    known = dict(content)
    known["images"] = [_image(**image) for image in known.get("images", ())]
    return MediaEntry(**known)


def _image(file: str, **layers: Iterable[Mapping[str, Any]]) -> ShownImage:
    return ShownImage(
        file, **{n: [ShownBox(**box) for box in boxes] for n, boxes in layers.items()}
    )
