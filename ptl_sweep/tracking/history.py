"""history.jsonl: the record of a stage's metrics, one JSON object per line."""

import json
import logging
import math
import os
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path

log = logging.getLogger(__name__)

Value = float | int | str | None
Row = dict[str, Value]


def plain_value(value: Value) -> Value:
    """The value as JSON has it: NaN and infinity become null, NumPy scalars become Python's."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Integral):
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None


def plain_row(row: Mapping[str, Value]) -> Row:
    """The row as history.jsonl and W&B both hold it."""
    return {name: plain_value(value) for name, value in row.items()}


class History:
    """Append-only history.jsonl of one stage: one JSON object per line, one writer."""

    def __init__(self, path: Path) -> None:
        """Open `path`, which need not exist; a last line that a killed writer left torn is cut."""
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                log.warning("%s: dropped a torn last line of a killed run", path)
                os.truncate(path, whole)

    def append(self, row: Mapping[str, Value]) -> None:
        """Write one row; it is with the operating system when this returns."""
        with self.path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(plain_row(row), allow_nan=False) + "\n")

    def rows(self) -> list[Row]:
        """All rows, oldest first.

        Raises: ValueError that names the line when one is not a JSON object.
        """
        rows: list[Row] = []
        for number, line in enumerate(self._lines(), start=1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{self.path}:{number}: not JSON ({error})") from error
            if not isinstance(row, dict):
                raise ValueError(f"{self.path}:{number}: not a JSON object: {line[:80]!r}")  # noqa: TRY004
            rows.append(row)
        return rows

    def _lines(self) -> list[bytes]:
        return self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []
