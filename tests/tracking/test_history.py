"""history.jsonl survives kills, and every run gets a name that W&B accepts."""

import time
from pathlib import Path

import numpy as np
import pytest
from helpers.local_runs import rows_of

from ptl_sweep.tracking import MAX_RUN_ID, History, RunInfo, run_id
from ptl_sweep.tracking.history import HistoryReader

ROWS = [{"train/step": step, "train/loss": 1 / (1 + step)} for step in range(6)]


def test_history_returns_what_was_appended(tmp_path: Path) -> None:
    history = History(tmp_path / "work" / "history.jsonl")
    for row in ROWS:
        history.append(row)
    assert rows_of(history.path.parent) == ROWS


def test_a_row_tells_when_it_was_written(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    before = time.time()
    history.append(ROWS[0])
    (row,) = history.rows()
    assert before - 0.001 <= row["_timestamp"] <= time.time() + 0.001


def test_a_reader_gives_each_whole_line_once_though_the_file_moves(tmp_path: Path) -> None:
    path, later = tmp_path / "history.jsonl", tmp_path / "published.jsonl"
    reader = HistoryReader(path)
    assert reader.new_rows() == []
    path.write_text('{"a": 0}\n{"a": 1}\n{"a"')
    assert reader.new_rows() == [{"a": 0}, {"a": 1}]
    with path.open("a") as file:
        file.write(": 2}\n")
    path.rename(later)
    assert reader.new_rows(later) == [{"a": 2}]
    assert (reader.new_rows(later), reader.num_rows) == ([], 3)


def test_history_of_a_stage_that_logged_nothing_is_empty(tmp_path: Path) -> None:
    assert History(tmp_path / "history.jsonl").rows() == []


def test_a_torn_last_line_is_dropped_and_appending_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"train/step": 0}\n{"train/st', encoding="utf-8")
    history = History(path)
    history.append({"train/step": 1})
    assert rows_of(tmp_path) == [{"train/step": 0}, {"train/step": 1}]
    assert f"{path}: dropped 1 damaged lines" in caplog.text


@pytest.mark.parametrize("damage", ["oops\n", "\0" * 30 + "\n", "[1]\n", '{"train/st\n'])
def test_a_damaged_line_in_the_middle_costs_its_own_row(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A power cut leaves such lines; the stage would fail at them again and again."""
    path = tmp_path / "history.jsonl"
    path.write_text(f'{{"train/step": 0}}\n{damage}{{"train/step": 2}}\n', encoding="utf-8")
    history = History(path)
    history.append({"train/step": 3})
    assert [row["train/step"] for row in rows_of(tmp_path)] == [0, 2, 3]
    assert "dropped 1 damaged lines" in caplog.text


def test_an_unreadable_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"train/step": 0}\noops\n{"train/step": 1}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"history\.jsonl:2"):
        HistoryReader(path).new_rows()


def test_non_finite_numbers_become_null_and_numpy_scalars_plain(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.append({"a": float("nan"), "b": np.float32("inf"), "c": np.int64(3), "d": "text"})
    text = history.path.read_text(encoding="utf-8")
    assert text.startswith('{"a": null, "b": null, "c": 3, "d": "text", "_timestamp": ')


@pytest.mark.parametrize("key", ["train-a_1", "a/b:c;d,e#f?g'h", "ü" * 80, "k" * 64, "k" * 65])
def test_run_ids_are_accepted_by_wandb_and_deterministic(key: str) -> None:
    made = run_id(key)
    assert len(made) <= MAX_RUN_ID
    assert all(
        character.isascii() and (character.isalnum() or character in "-_") for character in made
    )
    assert made == run_id(key)


def test_different_keys_give_different_run_ids() -> None:
    keys = ["a/b", "a-b", "a:b", "k" * 70 + "1", "k" * 70 + "2", "k" * 64]
    assert len({run_id(key) for key in keys}) == len(keys)
    assert run_id("train-n20-0123456789ab") == "train-n20-0123456789ab"


def test_an_unknown_job_type_is_refused() -> None:
    with pytest.raises(ValueError, match="train, evaluate, reduce"):
        RunInfo(key="a", name="a", job_type="ptl")
