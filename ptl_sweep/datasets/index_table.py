"""An image set as one Parquet table: a row an image, a list where an image has several of a thing.

No pickle: how each kind of pixel source is written and made again stands in KINDS.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Num
from numpy import ndarray

from ptl_sweep.datasets.images import FileImage
from ptl_sweep.datasets.readers.archangel import PersonMask, PoolImage
from ptl_sweep.datasets.records import ImageRecord, ImageSet, PixelSource
from ptl_sweep.store import canonical_json

HEADER = b"ptl_sweep"  # key of our JSON in the metadata of the Parquet file
NO_WINDOW = (-1, -1, -1, -1)


class NotIndexedError(ValueError):
    """An image set that no index can hold, or an index that holds something else."""


class Summary(NamedTuple):
    """What a plan asks about an image set."""

    fingerprint: str
    num_eligible: int  # images with a person

    @classmethod
    def of(cls, image_set: ImageSet) -> "Summary":
        """Counted."""
        num_eligible = sum(len(record.boxes) > 0 for record in image_set.records)
        return cls(image_set.fingerprint, num_eligible)


class IndexColumn(NamedTuple):
    """Values of all rows, one after the other; of a column of lists, where each row starts."""

    values: list[Any] | Num[ndarray, " n"]
    starts: list[int] | None = None  # one more than there are rows; None: one value a row

    def rows(self) -> Iterator[Any]:
        """The list of each row; of an array they are views."""
        starts = self.starts or []
        for row, start in enumerate(starts[:-1]):
            yield self.values[start : starts[row + 1]]


class Kind(NamedTuple):
    """How one kind of pixel source is written and made again; `folder` ends in a slash."""

    source: type
    arrays: Callable[[Sequence[Any], str], dict[str, Any]]  # (sources, folder) -> for pyarrow
    sources: Callable[[dict[str, IndexColumn], str], Iterator[PixelSource]]


def encode(image_set: ImageSet, root: Path, key: str) -> bytes:
    """The Parquet file.

    Raises: NotIndexedError for pixels of no kind of KINDS or outside `root`, another ValueError
    for texts that are no Unicode.
    """
    import pyarrow as pa
    from pyarrow import parquet

    sources = [record.pixels for record in image_set.records]
    kind = _kind_of(sources)
    table = pa.table(_record_arrays(image_set.records) | KINDS[kind].arrays(sources, f"{root}/"))
    header = {
        "key": key,
        "kind": kind,
        "name": image_set.name,
        "split": image_set.split,
        **Summary.of(image_set)._asdict(),
        "drops": dict(image_set.drops),
        "warnings": list(image_set.warnings),
        "columns": _columns_sha256(_columns(table)),
    }
    metadata = {HEADER: json.dumps(header | {"header": _header_sha256(header)})}
    sink = pa.BufferOutputStream()
    parquet.write_table(table.replace_schema_metadata(metadata), sink)
    return bytes(sink.getvalue())


def peek(path: Path, key: str) -> Summary:
    """Without the images. Raises: anything for a file that `encode` did not write."""
    from pyarrow import parquet

    header = _header(parquet.read_metadata(path).metadata, key)
    return Summary(header["fingerprint"], header["num_eligible"])


def decode(path: Path, root: Path, key: str) -> ImageSet:
    """The image set that `encode` was given. Raises: anything for a file that it did not write."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        table = file.read(use_threads=False)
    header = _header(table.schema.metadata, key)
    columns = _columns(table)
    if header["columns"] != _columns_sha256(columns):
        raise NotIndexedError("its images are not what was written there")
    return ImageSet(
        name=header["name"],
        split=header["split"],
        records=tuple(_records(columns, KINDS[header["kind"]].sources(columns, f"{root}/"))),
        fingerprint=header["fingerprint"],
        drops=header["drops"],
        warnings=tuple(header["warnings"]),
    )


def _header(metadata: dict[bytes, bytes], key: str) -> dict[str, Any]:
    """What is not by image. Raises: NotIndexedError when it was changed, or is of another key."""
    header: dict[str, Any] = json.loads(metadata[HEADER])
    if header.pop("header") != _header_sha256(header) or header["key"] != key:
        raise NotIndexedError("its header is not what was written there")
    return header


def _header_sha256(header: dict[str, Any]) -> str:
    return hashlib.sha256(canonical_json(header).encode()).hexdigest()


def _columns_sha256(columns: dict[str, IndexColumn]) -> str:
    """Parquet itself does not see every flipped bit."""
    digest = hashlib.sha256()
    for name, (values, starts) in columns.items():
        if isinstance(values, list):
            kind, content = "text", "\0".join(values).encode()
        else:
            kind, content = values.dtype.str, values.tobytes()
        digest.update(f"\0{name}\0{kind}\0{len(content)}\0".encode() + content)
        digest.update(np.array(starts or [], dtype="<i8").tobytes())
    return digest.hexdigest()


def _columns(table: Any) -> dict[str, IndexColumn]:
    """The columns of a pyarrow table."""
    columns = {}
    for name, chunks in zip(table.column_names, table.columns, strict=True):
        array = chunks.combine_chunks()
        if str(array.type).startswith("list"):
            columns[name] = IndexColumn(_values(array.values), array.offsets.to_pylist())
        else:
            columns[name] = IndexColumn(_values(array))
    return columns


def _values(array: Any) -> Any:
    """Copied, as torch warns of arrays that cannot be written to."""
    return array.to_pylist() if str(array.type) == "string" else array.to_numpy().copy()


def _lists(lengths: Sequence[int], values: Any) -> Any:
    """A pyarrow array of lists, given all their values in one pyarrow array."""
    import pyarrow as pa

    return pa.ListArray.from_arrays(pa.array(np.cumsum([0, *lengths], dtype=np.int32)), values)


def _record_arrays(records: Sequence[ImageRecord]) -> dict[str, Any]:
    """All of the records but their pixels, for a pyarrow table."""
    import pyarrow as pa

    arrays: dict[str, Any] = {
        "image_id": [record.image_id for record in records],
        "scene": [record.scene for record in records],
        "width": [record.width for record in records],
        "height": [record.height for record in records],
        "attributes": [json.dumps(dict(record.attributes)) for record in records],
    }
    for name in ("boxes", "ignored"):
        boxes = [getattr(record, name) for record in records]
        numbers = np.concatenate(boxes).reshape(-1)
        arrays[name] = _lists([box.size for box in boxes], pa.array(numbers))
    return arrays


def _records(
    columns: dict[str, IndexColumn], sources: Iterator[PixelSource]
) -> Iterator[ImageRecord]:
    rows = zip(
        columns["image_id"].values,
        columns["scene"].values,
        np.asarray(columns["width"].values).tolist(),
        np.asarray(columns["height"].values).tolist(),
        json.loads(f"[{','.join(map(str, columns['attributes'].values))}]"),
        columns["boxes"].rows(),
        columns["ignored"].rows(),
        sources,
        strict=True,
    )
    for image_id, scene, width, height, attributes, boxes, ignored, pixels in rows:
        yield ImageRecord(
            image_id=image_id,
            width=width,
            height=height,
            boxes=boxes.reshape(-1, 4),
            ignored=ignored.reshape(-1, 4),
            scene=scene,
            pixels=pixels,
            attributes=attributes,
        )


def _kind_of(sources: Sequence[PixelSource]) -> str:
    types = {type(source) for source in sources}
    for name, kind in KINDS.items():
        if types == {kind.source}:
            return name
    raise NotIndexedError(f"its pixels are {', '.join(sorted(kind.__name__ for kind in types))}")


def _below(path: Path, folder: str) -> str:
    """The path below the folder, as text. Raises: NotIndexedError when it lies elsewhere."""
    text = str(path)
    if not text.startswith(folder):
        raise NotIndexedError(f"{path} is not below {folder}")
    return text[len(folder) :]


def _paths(names: Iterable[str], folder: str) -> Iterator[Path]:
    """`folder` + each name; a Path takes its time for every part, so folders are kept."""
    parents: dict[str, Path] = {}
    for name in names:
        parent, slash, last = name.rpartition("/")
        if parent not in parents:
            parents[parent] = Path(f"{folder}{parent}{slash}")
        yield parents[parent] / last


def _file_arrays(sources: Sequence[FileImage], folder: str) -> dict[str, Any]:
    return {"path": [_below(source.path, folder) for source in sources]}


def _files(columns: dict[str, IndexColumn], folder: str) -> Iterator[FileImage]:
    for path in _paths(columns["path"].values, folder):
        yield FileImage(path)


def _pool_arrays(sources: Sequence[PoolImage], folder: str) -> dict[str, Any]:
    import pyarrow as pa

    masks = [mask for source in sources for mask in source.masks]
    names = [_below(mask.path, folder) for mask in masks]
    windows = [corner for mask in masks for corner in mask.window or NO_WINDOW]
    return {
        "path": [_below(source.path, folder) for source in sources],
        "masks": _lists([len(source.masks) for source in sources], pa.array(names, pa.string())),
        "windows": _lists(
            [4 * len(source.masks) for source in sources], pa.array(windows, pa.int32())
        ),
    }


def _pool_images(columns: dict[str, IndexColumn], folder: str) -> Iterator[PoolImage]:
    """The size of a pool's image is that of its record."""
    corners = np.asarray(columns["windows"].values).reshape(-1, 4).tolist()
    windows = [None if window == list(NO_WINDOW) else tuple(window) for window in corners]
    masks = list(map(PersonMask, _paths(columns["masks"].values, folder), windows))
    rows = zip(
        _paths(columns["path"].values, folder),
        np.asarray(columns["width"].values).tolist(),
        np.asarray(columns["height"].values).tolist(),
        IndexColumn(masks, columns["masks"].starts).rows(),
        strict=True,
    )
    for path, width, height, own in rows:
        yield PoolImage(path, (width, height), tuple(own))


KINDS = {
    "file": Kind(FileImage, _file_arrays, _files),
    "pool": Kind(PoolImage, _pool_arrays, _pool_images),
}
