"""W&B's logs are read up to where a kill tore them."""

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wandb.proto import wandb_internal_pb2

from ptl_sweep.tracking import read_log
from ptl_sweep.tracking.transaction_log import (
    BLOCK,
    FILE_HEADER,
    FILE_START,
    FIRST,
    LAST,
    MIDDLE,
    WHOLE,
    records,
)

HEAD = FILE_HEADER.pack(*FILE_START)


def written(contents: list[bytes]) -> bytes:
    """A log as LevelDB writes it: records cut at blocks of 32 KiB."""
    log = bytearray(HEAD)
    for content in contents:
        rest, is_first = content, True
        while is_first or rest:
            left = BLOCK - len(log) % BLOCK
            if left < 7:
                log += bytes(left)
                left = BLOCK
            piece, rest = rest[: left - 7], rest[left - 7 :]
            kind = {(True, False): WHOLE, (True, True): FIRST, (False, True): MIDDLE}.get(
                (is_first, bool(rest)), LAST
            )
            log += struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece
            is_first = False
    return bytes(log)


def record(**parts: object) -> bytes:
    return wandb_internal_pb2.Record(**parts).SerializeToString()


def row(**values: str) -> bytes:
    items = [
        wandb_internal_pb2.HistoryItem(nested_key=name.split("__"), value_json=value)
        for name, value in values.items()
    ]
    return record(history=wandb_internal_pb2.HistoryRecord(item=items))


RUN = record(
    run=wandb_internal_pb2.RunRecord(run_id="train-k", run_group="sweep-1", job_type="train")
)
END = record(exit=wandb_internal_pb2.RunExitRecord(exit_code=3))
CONTENTS = [RUN, row(a="1", _step="0"), row(a="null", b__c="2.5", _step="1"), END]


@given(st.lists(st.integers(0, 3 * BLOCK), max_size=6))
def test_records_of_every_length_come_back_whole(sizes: list[int]) -> None:
    contents = [bytes([1 + index]) * size for index, size in enumerate(sizes)]
    assert [content for content, _ in records(written(contents))] == contents


def test_a_whole_log_gives_the_run_its_rows_and_its_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "run-k.wandb"
    path.write_bytes(written(CONTENTS))
    run = read_log(path)
    assert (run.run_id, run.group, run.job_type) == ("train-k", "sweep-1", "train")
    assert run.rows == [{"a": 1}, {"a": None, "b": {"c": 2.5}}]
    assert (run.exit_code, run.is_whole) == (3, True)


def test_cut_anywhere_a_log_gives_the_rows_before_the_cut_and_is_whole_only_between_records(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run-k.wandb"
    ends = [len(written(CONTENTS[: count + 1])) for count in range(len(CONTENTS))]
    whole = written(CONTENTS)
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        run = read_log(path)
        num_records = sum(end <= size for end in ends)
        assert len(run.rows) == min(max(num_records - 1, 0), 2)
        assert (run.exit_code == 3) is (size == len(whole))
        assert run.is_whole is (size in ends)


@pytest.mark.parametrize("content", [b"", HEAD[:3], HEAD])
def test_a_log_that_was_killed_before_its_first_flush_has_no_rows(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "run-k.wandb"
    path.write_bytes(content)
    run = read_log(path)
    assert (run.run_id, run.rows, run.summary, run.exit_code) == ("", [], {}, None)
    assert not run.is_whole


def test_reading_stops_at_a_record_that_the_disk_has_spoiled(tmp_path: Path) -> None:
    path = tmp_path / "run-k.wandb"
    content = bytearray(written(CONTENTS))
    content[len(written(CONTENTS[:2])) + 9] ^= 1
    path.write_bytes(content)
    run = read_log(path)
    assert run.rows == [{"a": 1}]
    assert not run.is_whole


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run-k.wandb"
    path.write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ValueError, match=r"run-k\.wandb: not a W&B transaction log"):
        read_log(path)


def test_values_that_wandb_writes_typed_are_read_as_well(tmp_path: Path) -> None:
    item = wandb_internal_pb2.HistoryItem
    items = [item(key="a", number=0.5), item(key="b", integer=3), item(key="c", text="x")]
    items += [item(key="d", json='{"e": [1]}'), item(key="f")]
    path = tmp_path / "run-k.wandb"
    path.write_bytes(written([record(history=wandb_internal_pb2.HistoryRecord(item=items))]))
    assert read_log(path).rows == [{"a": 0.5, "b": 3, "c": "x", "d": {"e": [1]}, "f": None}]
