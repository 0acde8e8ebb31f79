"""The manifest of a virtual pool: what its rows mean, and how one is made from a folder of images
and masks.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.datasets.images import decode, image_size, list_images
from ptl_sweep.datasets.validation import (
    MAX_COORDINATE_PX,
    data_error,
    nearest,
    read_text,
    shown,
)
from ptl_sweep.store import write_atomically

FILES = ("image", "mask")
CORNERS = ("x1", "y1", "x2", "y2")  # pixels
TEXTS = ("character", "pose")
MEASURES = ("altitude_m", "radius_m", "pitch_deg", "azimuth_deg")
COLUMNS = (*FILES, *CORNERS, *TEXTS, *MEASURES)
GROUPS = (*TEXTS, *MEASURES)  # what the pattern of `build_manifest` may name
NUM_EXAMPLES = 3
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_GREY = (b"\x08\x00", b"\x01\x00")  # 8 or 1 bits and colour type 0 in the header of a PNG
FIX = "correct the row, or let `python -m ptl_sweep manifest` write the file again"


class ManifestRow(NamedTuple):
    """One person of a virtual pool."""

    line: int
    image: str  # path below the manifest's folder
    mask: str
    box: tuple[float, ...]  # xyxy, pixels; empty: the mask says
    attributes: dict[str, float | str]  # those of GROUPS that the row has


class ManifestSummary(NamedTuple):
    """What `build_manifest` wrote and what it left out."""

    path: Path
    num_images: int
    num_unmatched: int  # files that do not match the pattern and are no mask of one that does
    num_without_mask: int
    num_empty_masks: int  # nobody to be seen
    examples: tuple[str, ...]  # paths below the folder of some that were left out


class _Image(NamedTuple):
    """One image that matches the pattern; paths below the folder."""

    image: str
    mask: str
    values: tuple[str, ...]  # those of GROUPS


def read_manifest(path: Path) -> Iterator[ManifestRow]:
    """The rows of a CSV file with a header, or of one JSON object a line (.jsonl).

    Raises: DataError that names line and column.
    """
    read = _json_rows if path.suffix.lower() == ".jsonl" else _csv_rows
    for line, fields in read(path):
        yield _row(path, line, fields)


def _csv_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    header: list[str] = []
    for line, fields in _csv_fields(path):
        if not header:
            header = [name.strip() for name in fields]
            _require_columns(path, line, header)
        elif len(fields) != len(header):
            problem = f"has {len(fields)} fields, the header has {len(header)}: {','.join(header)}"
            raise data_error(path, problem, FIX, line)
        else:
            yield line, dict(zip(header, fields, strict=True))


def _csv_fields(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not blank, and their numbers."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise data_error(path, f"is no CSV: {error}", FIX, reader.line_num) from error


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(read_text(path).split("\n"), 1):
        if not text.strip():
            continue
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise data_error(path, f"is not valid JSON: {error}", FIX, line) from error
        if not isinstance(fields, dict):
            raise data_error(path, f"is {shown(fields)}, must be an object", FIX, line)
        _require_columns(path, line, list(fields))
        yield line, fields


def _require_columns(path: Path, line: int, names: Sequence[str]) -> None:
    """Raise DataError for a column that is unknown, twice there, or missing."""
    for position, name in enumerate(names):
        if name not in COLUMNS:
            problem = f"column {shown(name)} is unknown; the nearest is {nearest(name, COLUMNS)!r}"
            raise data_error(path, problem, f"columns are {','.join(COLUMNS)}", line)
        if name in names[:position]:
            raise data_error(path, f"column {name} is there twice", "remove one of the two", line)
    for name in FILES:
        if name not in names:
            raise data_error(
                path, f"has no column {name}", f"columns are {','.join(COLUMNS)}", line
            )


def _row(path: Path, line: int, fields: Mapping[str, Any]) -> ManifestRow:
    """One row, checked. Raises: DataError."""
    given = {name: value for name, value in fields.items() if not _is_empty(value)}
    image, mask = (_inside(path, line, name, given.get(name)) for name in FILES)
    corners = [_number(path, line, name, given[name]) for name in CORNERS if name in given]
    if len(corners) not in (0, len(CORNERS)):
        missing = [name for name in CORNERS if name not in given]
        problem = f"{' and '.join(missing)} are empty, must be there or all four be empty"
        raise data_error(path, problem, FIX, line)
    if corners and not (corners[0] < corners[2] and corners[1] < corners[3]):
        problem = f"x1,y1,x2,y2 are {shown(tuple(corners))}, must be x1 < x2 and y1 < y2"
        raise data_error(path, problem, FIX, line)
    attributes: dict[str, float | str] = {}
    for name in GROUPS:
        if name in given:
            read = _text if name in TEXTS else _number
            attributes[name] = read(path, line, name, given[name])
    return ManifestRow(line, image, mask, tuple(corners), attributes)


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _text(path: Path, line: int, name: str, value: object) -> str:
    if isinstance(value, str) and value.isprintable():
        return value.strip()
    raise data_error(path, f"{name} is {shown(value)}, must be a text", FIX, line)


def _number(path: Path, line: int, name: str, value: object) -> float:
    low, high = -MAX_COORDINATE_PX, MAX_COORDINATE_PX
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return float(value)
    allowed = f"a number in [{low:g}, {high:g}]"
    raise data_error(path, f"{name} is {shown(value)}, must be {allowed}", FIX, line)


def _inside(path: Path, line: int, name: str, value: object) -> str:
    """A path below the manifest's folder, as the manifest has it but for `./`."""
    if isinstance(value, str) and value.isprintable():
        relative = PurePosixPath(value.strip())
        if not relative.is_absolute() and ".." not in relative.parts and relative.parts:
            return relative.as_posix()
    problem = f"{name} is {shown(value)}, must be a path below the manifest's folder"
    raise data_error(path, problem, FIX, line)


def require_mask(path: Path, size: tuple[int, int]) -> None:
    """The file's header is that of a mask for an image of `size` (width, height).

    Raises: DataError for anything but a greyscale PNG of 8 (or 1) bits of that size.
    """
    found = image_size(path)
    with path.open("rb") as file:
        header = file.read(26)
    if not header.startswith(b"\x89PNG") or header[24:26] not in _GREY:
        raise data_error(
            path,
            "is no greyscale PNG of 8 bits",
            "save the mask as one: 0 where nobody is, 255 where the person covers the pixel",
        )
    if found != size:
        raise data_error(
            path,
            f"is {found[0]}x{found[1]}, its image is {size[0]}x{size[1]}",
            "save mask and image at the same size",
        )


def read_mask(path: Path, size: tuple[int, int]) -> UInt8[ndarray, "h w"]:
    """Coverage by the person, 0..255.

    Raises: DataError for an unusable file, another size than `size` (width, height), or a mask of
    zeros and ones, which would cover next to nothing.
    """
    require_mask(path, size)
    coverage: UInt8[ndarray, "h w"] = np.ascontiguousarray(decode(path)[..., 0])
    if coverage.max() == 1:
        raise data_error(path, "has no value above 1", "multiply the mask by 255 and save it again")
    return coverage


def mask_box(coverage: UInt8[ndarray, "h w"]) -> Float[ndarray, "4"] | None:
    """The smallest box (xyxy, pixels) around all pixels that are not 0; None without any."""
    columns, rows = (np.flatnonzero(coverage.any(axis=axis)) for axis in (0, 1))
    if not len(columns):
        return None
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], dtype=np.float64)


def build_manifest(
    folder: Path,
    pattern: str,
    output: Path,
    *,
    masks: str = "masks/{stem}.png",
    progress: Callable[[int, int], None] | None = None,
) -> ManifestSummary:
    r"""Write the manifest of a pool of virtual images: boxes from masks, the rest from file names.

    PATTERN is a regular expression that a file's path below FOLDER, without suffix, must match as
    a whole. Its named groups become columns: character, pose, altitude_m, radius_m, pitch_deg,
    azimuth_deg; all are optional. MASKS says where the mask of an image lies below FOLDER, with
    {stem}, {parent} (the image's folder) and the named groups. For images/anna_stand_10_5_-30.png
    with its mask masks/anna_stand_10_5_-30.png:

        images/(?P<character>\w+)_(?P<pose>\w+)_(?P<altitude_m>\d+)_(?P<radius_m>\d+)_(?P<pitch_deg>-?\d+)

    A mask is a greyscale PNG of 8 bits that shows one person; the box is the smallest one around
    its pixels above 0. OUTPUT must lie in FOLDER or above it, as its paths are relative to it.
    Files that do not match, images without mask and masks without person are left out and counted.

    `progress` is told (images done, images in all). Raises: ConfigError for a pattern or template
    that cannot be used, DataError for files that cannot, and when nothing matches.
    """
    folder, output = folder.absolute(), output.absolute()
    _require_output(folder, output)
    found, unmatched = _found(folder, _compiled(pattern), masks)
    without, empty = [], []
    rows: list[Sequence[str]] = [COLUMNS]
    for done, item in enumerate(found, 1):
        if not (folder / item.mask).is_file():
            without.append(item.image)
        elif (box := _box(folder, item)) is None:
            empty.append(item.image)
        else:
            files = ((folder / name).relative_to(output.parent) for name in item[:2])
            corners = (f"{corner:g}" for corner in box)
            rows.append((*(path.as_posix() for path in files), *corners, *item.values))
        if progress is not None:
            progress(done, len(found))
    if len(rows) == 1:
        raise data_error(
            folder,
            f"no image has a mask that shows a person: {len(without)} have no mask, {len(empty)} "
            f"an empty one; the first is {found[0].image} with its mask {found[0].mask}",
            "correct the template of the masks",
        )
    _write(output, rows)
    examples = tuple([*unmatched, *without, *empty][:NUM_EXAMPLES])
    counts = (len(rows) - 1, len(unmatched), len(without), len(empty))
    return ManifestSummary(output, *counts, examples)


def _write(output: Path, rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomically(output, text.getvalue().encode())


def _require_output(folder: Path, output: Path) -> None:
    """Raise DataError when the manifest cannot be written, before any mask is read."""
    if not folder.is_dir():
        raise data_error(folder, "is not a folder", "name the folder with the images and masks")
    if output.exists():
        raise data_error(output, "is already there", "delete it or name another output")
    if not output.parent.is_dir() or not folder.is_relative_to(output.parent):
        raise data_error(
            output,
            f"does not lie directly in {folder} or in a folder above it",
            "a manifest names its files relative to its own folder: write it there",
        )
    if output.suffix != ".csv":
        raise data_error(output, "does not end in .csv", "name the output manifest.csv")


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ConfigError(f"pattern {shown(pattern)} is no regular expression: {error}") from error
    for name in compiled.groupindex:
        if name not in GROUPS:
            raise ConfigError(
                f"group {name!r} of the pattern is no column; the nearest is "
                f"{nearest(name, GROUPS)!r} (all: {', '.join(GROUPS)})"
            )
    return compiled


def _found(folder: Path, pattern: re.Pattern[str], masks: str) -> tuple[list[_Image], list[str]]:
    """The images that match, and the files that do not; masks of images are neither.

    Raises: DataError when none matches.
    """
    names = [path.relative_to(folder) for path in list_images(folder)]
    images, others = [], []
    for name in names:
        match = pattern.fullmatch(name.with_suffix("").as_posix())
        if match is None:
            others.append(name.as_posix())
        else:
            images.append(_image(name, match.groupdict(default=""), masks))
    targets = {image.mask for image in images}
    images = [image for image in images if image.image not in targets]
    if not images:
        first = ", ".join(name.with_suffix("").as_posix() for name in names[:NUM_EXAMPLES])
        raise data_error(
            folder,
            f"none of {len(names)} images matches {shown(pattern.pattern)}, or each is its own "
            f"mask; without suffix the first are {first}",
            "correct the pattern: it must match such a path as a whole",
        )
    return images, [name for name in others if name not in targets]


def _image(name: Path, groups: Mapping[str, str], masks: str) -> _Image:
    """An image, its mask and its columns. Raises: ConfigError for a group or template."""
    for group in MEASURES:
        text = groups.get(group, "")
        if text and not _NUMBER.fullmatch(text):
            raise ConfigError(
                f"group {group} of the pattern is {text!r} in {name.as_posix()}, must be a number: "
                "leave letters outside the parentheses"
            )
    places = {"stem": name.stem, "parent": name.parent.as_posix(), **groups}
    try:
        mask = PurePosixPath(masks.format(**places))
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise ConfigError(
            f"template of the masks {shown(masks)} cannot be filled in ({error}); it may hold "
            f"{', '.join(f'{{{place}}}' for place in places)}"
        ) from error
    if mask.is_absolute() or ".." in mask.parts:
        raise ConfigError(f"template of the masks {shown(masks)} leads out of the folder")
    return _Image(name.as_posix(), mask.as_posix(), tuple(groups.get(name, "") for name in GROUPS))


def _box(folder: Path, item: _Image) -> Float[ndarray, "4"] | None:
    return mask_box(read_mask(folder / item.mask, image_size(folder / item.image)))
