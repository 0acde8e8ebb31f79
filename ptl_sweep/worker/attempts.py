"""When each attempt at a stage began and how long it worked: ``attempts.jsonl`` in its folder."""

import json
import logging
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptl_sweep.ownership import slurm_job
from ptl_sweep.store import write_atomically

log = logging.getLogger(__name__)

ATTEMPTS = "attempts.jsonl"


@dataclass(slots=True)
class Attempts:
    """Every start of a stage, oldest first; the last one is this process's."""

    path: Path
    rows: list[dict[str, Any]]

    @classmethod
    def begin(cls, folder: Path) -> "Attempts":
        """Add this attempt to those of a work folder.

        An attempt that was killed could not say how long it worked: until it last wrote a file of
        the stage (a row of its history, a checkpoint).
        """
        path = folder / ATTEMPTS
        rows = _rows(path)
        for row in rows:
            row.setdefault("seconds", max(0.0, _last_written(folder) - row["time"]))
        now = {"time": time.time(), "host": socket.gethostname(), "pid": os.getpid()}
        attempts = cls(path, [*rows, {**now, **slurm_job()}])
        attempts._write()
        return attempts

    def end(self) -> None:
        """Note how long this attempt worked."""
        self.rows[-1]["seconds"] = time.time() - self.rows[-1]["time"]
        self._write()

    @property
    def seconds(self) -> float:
        """Of all attempts together, as far as they are known."""
        return float(sum(row.get("seconds", 0.0) for row in self.rows))

    def _write(self) -> None:
        write_atomically(self.path, "".join(json.dumps(r) + "\n" for r in self.rows).encode())


def _rows(path: Path) -> list[dict[str, Any]]:
    """The attempts that can be read: a line that a power cut damaged costs its own time only."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows.append({**row, "time": float(row["time"])})
        except (ValueError, TypeError, KeyError):
            log.warning("%s:%d: dropped a line that is no attempt", path, number)
    return rows


def _last_written(folder: Path) -> float:
    """Seconds since 1970; 0 for a folder in which no stage has written."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ATTEMPTS]
    return max((path.stat().st_mtime for path in files), default=0.0)
