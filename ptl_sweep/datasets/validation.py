"""What every reader says about data that cannot be used: file, line, field, value and fix."""

import difflib
import json
import math
import re
import reprlib
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ptl_sweep.config.checks import ConfigError
from ptl_sweep.config.schema import DatasetConfig

LFS_HEADER = b"version https://git-lfs"
LFS_FIX = "run `git lfs pull` where the file came from, or download it again"
MIN_SIDE_PX = 1.0  # shorter boxes are dropped
ROUNDING_PX = 0.01  # of a share of the image that is written with six decimals
MAX_COORDINATE_PX = 1e5  # no image is that large: a number beyond it is a mistake
CLIP_TOLERANCE_PX = 1.0  # boxes that leave the image by less are not worth a warning

# A few kilobytes of YAML with anchors can stand for billions of entries.
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxlist, _BRIEF.maxdict, _BRIEF.maxstring = 3, 60, 60, 1000

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class DataError(ValueError):
    """Data on disk that cannot be used; the message names file, line, field, value and fix."""


def data_error(path: Path, problem: str, fix: str, line: int | None = None) -> DataError:
    """Make an error of two lines: where and what, then how to fix it."""
    where = str(path) if line is None else f"{path}, line {line}"
    return DataError(f"{where}: {problem}\n  fix: {fix}")


def quoted(value: object) -> str:
    """Quote the value as an error message does: one line, never long."""
    try:
        text = _BRIEF.repr(value) if isinstance(value, list | dict) else repr(value)
    except ValueError:  # Python writes no integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Find the allowed name that looks most like `name`."""
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    best = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.0)
    return by_lower[best[0]] if best else "none"


def require_root(config: DatasetConfig, holds: str) -> Path:
    """Find the data set's folder; its absolute path.

    Raises: DataError that names the key to set and the path tried.
    """
    path = None if config.root is None else Path(config.root).expanduser().absolute()
    if path is not None and path.is_dir():
        return path
    tried = "root is not set" if path is None else f"{path} is not a folder"
    raise DataError(
        f"data set {config.name!r}: {tried}\n  fix: set root of data set {config.name!r} "
        f"(dataset.root or target.root) to the folder that holds {holds}"
    )


def refuse_scene_fractions(config: DatasetConfig, instead: str) -> None:
    """Refuse them, and `resplit`, for a data set that is never divided; `instead` says what to do.

    Raises: ConfigError.
    """
    if config.scene_fractions is not None:
        raise ConfigError(
            f"{config.name}.scene_fractions divides images of reader=yolo, coco or voc; {instead}"
        )
    if config.resplit:
        raise ConfigError(
            f"{config.name}.resplit divides images of reader=yolo, coco or voc, and this one is "
            f"{config.reader}: leave it out"
        )


def refuse_categories(config: DatasetConfig, data_set: str) -> None:
    """Refuse them for a data set whose boxes have no class. Raises: ConfigError."""
    if config.categories:
        raise ConfigError(
            f"{config.name}.categories does not fit {data_set}, where every box is a person: "
            "leave it empty"
        )


def number(text: str) -> float:
    """Parse a finite decimal number; NaN for anything else, as in `1_0`, `0x1` or `inf`."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    return value if math.isfinite(value) else math.nan


def read_bytes(path: Path, limit: int = -1) -> bytes:
    """Read the first `limit` bytes of a file, or all.

    Raises: DataError when it cannot be read or is a git-LFS pointer.
    """
    require_regular(path)
    try:
        with path.open("rb") as file:
            data = file.read(limit)
    except OSError as error:
        raise data_error(
            path, f"cannot be read: {error.strerror}", "check the path and its permissions"
        ) from error
    if data.startswith(LFS_HEADER):
        raise data_error(path, "is a git-LFS pointer, not the file itself", LFS_FIX)
    return data


def require_regular(path: Path) -> None:
    """Refuse a pipe, a socket or a device, whose reading may never end. Raises: DataError."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # who opens it says why
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise data_error(path, "is no regular file", "delete it, or put the real file there")


def parse_json(text: str, path: Path, fix: str, line: int | None = None) -> Any:
    """Parse the content of `path`, or one line of it. Raises: DataError for anything but JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        problem, line = error.msg, error.lineno if line is None else line
    except RecursionError:
        problem = "lists within lists without end"
    except ValueError:
        problem = "a number of thousands of digits"
    raise data_error(path, f"is not valid JSON: {problem}", fix, line)


def read_text(path: Path) -> str:
    """Read a file as text.

    Raises: DataError when it is missing, a git-LFS pointer or not UTF-8.
    """
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        value = quoted(data[error.start : error.start + 1])
        raise data_error(
            path, f"byte {value} is not UTF-8 text", "save the file as UTF-8", line
        ) from error
