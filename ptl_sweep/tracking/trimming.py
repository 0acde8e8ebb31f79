"""Copies of a run on disk that hold only what the server lacks.

`wandb sync` appends: of a run that the server has in part, it would send every row once more.
"""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ptl_sweep.tracking.transaction_log import (
    BLOCK,
    FILE_HEADER,
    FILE_START,
    FIRST,
    LAST,
    MIDDLE,
    PIECE_HEADER,
    WHOLE,
    records,
)


@dataclass(frozen=True, slots=True)
class Span:
    """The steps of a run that a transaction log holds, up to where a kill tore it."""

    first: int  # step of its first row; 0 without rows
    end: int  # one past the step of its last row
    has_exit: bool  # the run ended by itself


def span_of(path: Path) -> Span:
    """What the log at `path` holds. Raises: OSError; ValueError for a file of another kind."""
    data = path.read_bytes()
    if data[: FILE_HEADER.size] != FILE_HEADER.pack(*FILE_START):
        raise ValueError("not a W&B transaction log")
    steps: list[int] = []
    has_exit = False
    for content, _ in records(data):
        record = _parsed(content)
        kind = record.WhichOneof("record_type")
        has_exit |= kind == "exit"
        if kind == "history":
            steps.append(record.history.step.num)
    first, last = (steps[0], steps[-1]) if steps else (0, -1)
    return Span(first, last + 1, has_exit)


def write_remainder(path: Path, folder: Path, num_rows: int, *, entity: str, project: str) -> Path:
    """Copy the log at `path` into `folder`, less the first `num_rows` steps of the run.

    Steps count from 0 again, as in an offline run that resumes: the server adds what it has.
    Artifacts go to the given place. The run's files are linked, not copied. Raises: OSError.
    """
    folder.mkdir(parents=True)
    files = path.parent / "files"
    if files.is_dir():
        (folder / "files").symlink_to(files.absolute(), target_is_directory=True)
    kept = []
    for content, _ in records(path.read_bytes()):
        record = _parsed(content)
        kind = record.WhichOneof("record_type")
        if kind == "artifact":  # `wandb sync -e -p` moves the run alone
            record.artifact.entity, record.artifact.project = entity, project
            kept.append(record.SerializeToString())
        elif kind != "history":
            kept.append(content)
        elif record.history.step.num >= num_rows:
            kept.append(_renumbered(record, record.history.step.num - num_rows))
    copy = folder / path.name
    copy.write_bytes(_packed(kept))
    return copy


def _parsed(content: bytes) -> Any:
    from wandb.proto import wandb_internal_pb2

    record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
    record.ParseFromString(content)
    return record


def _renumbered(record: Any, step: int) -> bytes:
    record.history.step.num = step
    for item in record.history.item:
        if "_step" in (item.key, *item.nested_key):
            item.value_json = str(step)
    content: bytes = record.SerializeToString()
    return content


def _packed(contents: Iterable[bytes]) -> bytes:
    """A transaction log of these records, each cut into pieces where a block ends."""
    log = bytearray(FILE_HEADER.pack(*FILE_START))
    for content in contents:
        start, is_first = 0, True
        while is_first or start < len(content):
            left = BLOCK - len(log) % BLOCK
            if left < PIECE_HEADER.size:
                log += bytes(left)
                left = BLOCK
            piece = content[start : start + left - PIECE_HEADER.size]
            start += len(piece)
            log += _piece(piece, is_first=is_first, is_last=start >= len(content))
            is_first = False
    return bytes(log)


def _piece(piece: bytes, *, is_first: bool, is_last: bool) -> bytes:
    kind = (LAST if is_last else MIDDLE) if not is_first else (WHOLE if is_last else FIRST)
    checksum = zlib.crc32(piece, zlib.crc32(struct.pack("B", kind)))
    return PIECE_HEADER.pack(checksum, len(piece), kind) + piece
