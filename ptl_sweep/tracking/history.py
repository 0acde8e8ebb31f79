"""history.jsonl: the record of a stage's metrics, one JSON object per line."""

import json
import logging
import math
import time
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path

from ptl_sweep.store import write_atomically
from ptl_sweep.vocabulary import Value

log = logging.getLogger(__name__)

TIMESTAMP = "_timestamp"  # seconds since 1970 when a row was written; W&B's own name for it

Row = dict[str, Value]


def plain_value(value: Value) -> Value:
    """Turn a value into JSON's: NaN and infinity become null, NumPy scalars become Python's."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None


def plain_row(row: Mapping[str, Value]) -> Row:
    """Turn a row into what history.jsonl and W&B both hold."""
    return {name: plain_value(value) for name, value in row.items()}


class History:
    """Append-only history.jsonl of one stage: one JSON object per line, one writer."""

    def __init__(self, path: Path) -> None:
        """Open `path`, which need not exist; lines that a kill or a power cut damaged are cut."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            kept = [line for line in lines if _is_row(line)]
            if len(kept) < len(lines):
                log.warning("%s: dropped %d damaged lines", path, len(lines) - len(kept))
                write_atomically(path, b"".join(kept))

    def append(self, row: Mapping[str, Value]) -> None:
        """Write one row and the time; it is with the operating system when this returns."""
        timed = {**plain_row(row), TIMESTAMP: round(time.time(), 3)}
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(timed, allow_nan=False) + "\n")

    def rows(self) -> list[Row]:
        """Read all rows, oldest first.

        Raises: ValueError that names the line when one is not a JSON object.
        """
        return HistoryReader(self.path).new_rows()


def _is_row(line: bytes) -> bool:
    """Whether it is a JSON object and ends."""
    try:
        return line.endswith(b"\n") and isinstance(json.loads(line), dict)
    except ValueError:
        return False


class HistoryReader:
    """Reads a history.jsonl that somebody may be writing, each whole line once."""

    def __init__(self, path: Path) -> None:
        """Start at the first row of `path`, which need not exist."""
        self.num_rows = 0
        self._path = path
        self._position = 0  # bytes

    def new_rows(self, path: Path | None = None) -> list[Row]:
        """Read the rows written since the last call; `path` when the file has moved meanwhile.

        Raises: ValueError that names the line when one is not a JSON object.
        """
        self._path = path or self._path
        rows = []
        for line in self._new_lines():
            self.num_rows += 1
            rows.append(self._row(line))
        return rows

    def _new_lines(self) -> list[bytes]:
        """Read the lines that end; a torn one is left to its writer."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return []
        whole = content.rfind(b"\n") + 1
        self._position += whole
        return content[:whole].splitlines()

    def _row(self, line: bytes) -> Row:
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{self._path}:{self.num_rows}: not JSON ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(f"{self._path}:{self.num_rows}: not a JSON object: {line[:80]!r}")  # noqa: TRY004
        return row
