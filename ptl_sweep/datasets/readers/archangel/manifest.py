"""The manifest of a virtual pool: what its rows mean."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ptl_sweep.datasets.validation import (
    MAX_COORDINATE_PX,
    data_error,
    nearest,
    number,
    parse_json,
    quoted,
    read_text,
)

FILES = ("image", "mask")
CORNERS = ("x1", "y1", "x2", "y2")  # pixels
TEXTS = ("character", "pose")
MEASURES = ("altitude_m", "radius_m", "pitch_deg", "azimuth_deg")
COLUMNS = (*FILES, *CORNERS, *TEXTS, *MEASURES)
GROUPS = (*TEXTS, *MEASURES)  # what the pattern of `build_manifest` may name
FIX = "correct the row, or let `python -m ptl_sweep manifest` write the file again"


class ManifestRow(NamedTuple):
    """One person of a virtual pool."""

    line: int
    image: str  # path below the manifest's folder
    mask: str
    box: tuple[float, ...]  # xyxy, pixels; empty: the mask says
    attributes: dict[str, float | str]  # those of GROUPS that the row has


def read_manifest(path: Path) -> Iterator[ManifestRow]:
    """Read the rows of a CSV file with a header, or of one JSON object a line (.jsonl).

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
        raise data_error(path, f"is not valid CSV: {error}", FIX, reader.line_num) from error


def _json_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(read_text(path).split("\n"), 1):
        if not text.strip():
            continue
        fields = parse_json(text, path, FIX, line)
        if not isinstance(fields, dict):
            raise data_error(path, f"is {quoted(fields)}, must be an object", FIX, line)
        _require_columns(path, line, list(fields))
        yield line, fields


def _require_columns(path: Path, line: int, names: Sequence[str]) -> None:
    """Raise DataError for a column that is unknown, twice there, or missing."""
    for position, name in enumerate(names):
        if name not in COLUMNS:
            problem = f"column {quoted(name)} is unknown; the nearest is {nearest(name, COLUMNS)!r}"
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
        problem = f"x1,y1,x2,y2 are {quoted(tuple(corners))}, must be x1 < x2 and y1 < y2"
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
    raise data_error(path, f"{name} is {quoted(value)}, must be a text", FIX, line)


def _number(path: Path, line: int, name: str, value: object) -> float:
    low, high = -MAX_COORDINATE_PX, MAX_COORDINATE_PX
    if isinstance(value, str) and not math.isnan(parsed := number(value.strip())):
        value = parsed
    if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
        return float(value)
    allowed = f"a number in [{low:g}, {high:g}]"
    raise data_error(path, f"{name} is {quoted(value)}, must be {allowed}", FIX, line)


def _inside(path: Path, line: int, name: str, value: object) -> str:
    """A path below the manifest's folder, as the manifest has it but for `./`."""
    if isinstance(value, str) and value.isprintable():
        relative = PurePosixPath(value.strip())
        if not relative.is_absolute() and ".." not in relative.parts and relative.parts:
            return relative.as_posix()
    problem = f"{name} is {quoted(value)}, must be a path below the manifest's folder"
    raise data_error(path, problem, FIX, line)
