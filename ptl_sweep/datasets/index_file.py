"""An image set as two lines of JSON: a header, which a plan reads alone, and the images.

No pickle. Each line is guarded by a hash, as a file system does not notice every flipped bit.
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ptl_sweep.datasets.images import FileImage
from ptl_sweep.datasets.readers.archangel.reader import PersonMask, PoolImage
from ptl_sweep.datasets.records import ImageRecord, ImageSet, PixelSource


class NotIndexedError(ValueError):
    """An image set that no index can hold, or an index that holds something else."""


class Summary(NamedTuple):
    """What a plan asks about an image set."""

    fingerprint: str
    num_eligible: int  # images with a person

    @classmethod
    def of(cls, image_set: ImageSet) -> "Summary":
        """Count the images with a person."""
        num_eligible = sum(len(record.boxes) > 0 for record in image_set.records)
        return cls(image_set.fingerprint, num_eligible)


def encode(image_set: ImageSet, root: Path, key: str) -> bytes:
    """Write an image set whose files lie below `root`.

    Raises: NotIndexedError for pixels that lie in no file, or in one outside `root`.
    """
    boxes = [part for record in image_set.records for part in (record.boxes, record.ignored)]
    content = {
        "rows": [_row(record, f"{root}/") for record in image_set.records],
        "boxes": base64.b64encode(np.concatenate(boxes).astype("<f4").tobytes()).decode(),
    }
    images = json.dumps(content).encode()
    header = {
        "key": key,
        "name": image_set.name,
        "split": image_set.split,
        **Summary.of(image_set)._asdict(),
        "drops": dict(image_set.drops),
        "warnings": image_set.warnings,
        "num_bytes": len(images),
        "images": _sha256(images),
    }
    line = json.dumps(header).encode()
    return b"%s %s\n%s" % (_sha256(line).encode(), line, images)


def peek(path: Path, key: str) -> Summary:
    """Read the header alone. Raises: anything for a file that `encode` did not write."""
    with path.open("rb") as file:
        line = file.readline()
    header = _header(line, key)
    if path.stat().st_size != len(line) + header["num_bytes"]:
        raise NotIndexedError("it is not as long as it was")
    return Summary(header["fingerprint"], header["num_eligible"])


def decode(path: Path, root: Path, key: str) -> ImageSet:
    """Read what `encode` was given. Raises: anything for a file that it did not write."""
    line, _, images = path.read_bytes().partition(b"\n")
    header = _header(line, key)
    if header["images"] != _sha256(images):
        raise NotIndexedError("its images are not what was written there")
    return ImageSet(
        name=header["name"],
        split=header["split"],
        records=tuple(_records(json.loads(images), f"{root}/")),
        fingerprint=header["fingerprint"],
        drops=header["drops"],
        warnings=tuple(header["warnings"]),
    )


def _header(line: bytes, key: str) -> dict[str, Any]:
    """What is not by image. Raises: NotIndexedError when it was changed, or is of another key."""
    sha256, _, content = line.strip().partition(b" ")
    if sha256.decode("latin-1") != _sha256(content):
        raise NotIndexedError("its header is not what was written there")
    header: dict[str, Any] = json.loads(content)
    if header["key"] != key:
        raise NotIndexedError("it is the index of other files")
    return header


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _row(record: ImageRecord, folder: str) -> dict[str, Any]:
    """One image as JSON has it; `folder` ends in a slash, and paths are below it."""
    return {
        "image_id": record.image_id,
        "width": record.width,
        "height": record.height,
        "boxes": len(record.boxes),
        "ignored": len(record.ignored),
        "scene": record.scene,
        "attributes": dict(record.attributes),
        "content": record.content,
        "pixels": _place(record.pixels, folder),
    }


def _records(content: dict[str, Any], folder: str) -> Iterator[ImageRecord]:
    """Images of the rows; their boxes stand in `boxes`, each image's persons first."""
    data = bytearray(base64.b64decode(content["boxes"]))  # torch warns of read-only arrays
    boxes, start = np.frombuffer(data, dtype="<f4").reshape(-1, 4), 0
    for row in content["rows"]:
        middle = start + row["boxes"]
        end = middle + row["ignored"]
        pixels = _source(row["pixels"], (row["width"], row["height"]), folder)
        parts = {"boxes": boxes[start:middle], "ignored": boxes[middle:end], "pixels": pixels}
        yield ImageRecord(**row | parts)
        start = end


def _place(source: PixelSource, folder: str) -> dict[str, Any]:
    """Where the pixels of an image, and the masks of a virtual one, lie."""
    if isinstance(source, FileImage):
        return {"path": _below(source.path, folder)}
    if isinstance(source, PoolImage):
        masks = [(_below(path, folder), window) for path, window in source.masks]
        return {"path": _below(source.path, folder), "masks": masks}
    raise NotIndexedError(f"its pixels are {type(source).__name__}")


def _source(place: dict[str, Any], size: tuple[int, int], folder: str) -> PixelSource:
    path = _path(folder + place["path"])
    if "masks" not in place:
        return FileImage(path)
    masks = (
        PersonMask(_path(folder + name), window and tuple(window))
        for name, window in place["masks"]
    )
    return PoolImage(path, size, tuple(masks))


def _below(path: Path, folder: str) -> str:
    """The path below the folder, as text. Raises: NotIndexedError when it lies elsewhere."""
    text = str(path)
    if not text.startswith(folder):
        raise NotIndexedError(f"{path} is not below {folder}")
    return text[len(folder) :]


def _path(text: str) -> Path:
    """The path; a Path takes its time for every part, so folders are kept."""
    parent, _, name = text.rpartition("/")
    return _folder(parent) / name


_folder = lru_cache(maxsize=1024)(Path)
