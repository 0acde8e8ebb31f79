"""Reader of W&B's transaction logs (`run-ID.wandb`): what a run has on disk, without W&B's code.

The file is a 7-byte header and then 32 KiB blocks of records as LevelDB writes its log, each a
protobuf of W&B.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE_HEADER = struct.Struct("<4sHB")  # ident, magic number, version
FILE_START = (b":W&B", 0xBEE1, 0)
PIECE_HEADER = struct.Struct("<IHB")  # CRC-32 of type and data, number of bytes, type
BLOCK = 32768  # bytes; the file header counts in the first
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4  # types of a piece of a record


@dataclass(kw_only=True, slots=True)
class RunLog:
    """What a transaction log holds of one run."""

    run_id: str = ""  # empty when the log was cut before the run's own record
    group: str = ""
    job_type: str = ""
    rows: list[dict[str, Any]] = field(default_factory=list)  # without W&B's own `_` columns
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None  # None while it runs, and for ever when it was killed
    is_whole: bool = False  # there are records, and the last one is not torn


def read_log(path: Path) -> RunLog:
    """The run in a `.wandb` file, up to where a kill tore it.

    Raises: ValueError when the file is something else; OSError when it cannot be read.
    """
    run = RunLog()
    data = path.read_bytes()
    if len(data) < FILE_HEADER.size:
        return run
    if FILE_HEADER.unpack_from(data) != FILE_START:
        raise ValueError(f"{path}: not a W&B transaction log (it starts {data[:7]!r})")
    whole = 0
    for record, whole in records(data):  # noqa: B007 - the last one counts
        _add(run, record)
    run.is_whole = whole > 0 and not data[whole:].strip(b"\0")
    return run


def records(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Each record, and the byte where it ends; stops at the first that is torn."""
    record = b""
    position = FILE_HEADER.size
    while True:
        left = BLOCK - position % BLOCK
        if left < PIECE_HEADER.size:  # the rest of a block is zeros
            position += left
        if position + PIECE_HEADER.size > len(data):
            return
        checksum, size, kind = PIECE_HEADER.unpack_from(data, position)
        start = position + PIECE_HEADER.size
        piece = data[start : start + size]
        if len(piece) < size or zlib.crc32(piece, zlib.crc32(bytes([kind]))) != checksum:
            return
        position = start + size
        record = piece if kind in (WHOLE, FIRST) else record + piece
        if kind in (WHOLE, LAST):
            yield record, position


def _add(run: RunLog, data: bytes) -> None:
    from wandb.proto import wandb_internal_pb2

    record = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
    record.ParseFromString(data)
    match record.WhichOneof("record_type"):
        case "run":
            run.run_id = record.run.run_id
            run.group, run.job_type = record.run.run_group, record.run.job_type
        case "history":
            run.rows.append(_values(record.history.item))
        case "summary":
            run.summary |= _values(record.summary.update)
        case "exit":
            run.exit_code = record.exit.exit_code


def _values(items: Sequence[Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for item in items:
        *folders, name = item.nested_key or [item.key]
        target = values
        for folder in folders:
            target = target.setdefault(folder, {})
        target[name] = _value(item)
    return {name: value for name, value in values.items() if not name.startswith("_")}


def _value(item: Any) -> Any:
    """The value of a history or summary item: as JSON, or typed where W&B writes it so."""
    if item.value_json:
        return json.loads(item.value_json)
    kind = item.WhichOneof("value") if "value" in item.DESCRIPTOR.oneofs_by_name else None
    if kind is None or kind == "none":
        return None
    return json.loads(item.json) if kind == "json" else getattr(item, kind)
