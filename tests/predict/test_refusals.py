"""`predict` refuses what it cannot use, replaces nothing foreign, and leaves nothing half done."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.stores import contents
from helpers.sweeps import Sweep, command_line
from PIL import Image

from ptl_sweep.predict import predict as running

Files = dict[str, bytes]


MISTAKES: dict[str, tuple[list[str], list[str]]] = {
    "unknown stage": (["tarin-mini", "{pictures}"], ["no stage tarin-mini", "did you mean train-"]),
    "several stages": (["evaluate-", "{pictures}"], ["2 detectors are called that", "train-"]),
    "unknown axis": (["sed=0", "{pictures}"], ["sed is not an axis", "real_count"]),
    "several cells": (["seed=0", "{pictures}"], ["2 detectors of", "synthetic=off"]),
    "no such cell": (["seed=7", "{pictures}"], ["0 detectors of", "for example: dataset="]),
    "no folder": (["train-"], ["needs a STAGE or a cell, and a FOLDER", "usage: "]),
    "two stages": (["seed=0", "train-", "{pictures}"], ["needs a STAGE or a cell"]),
    "a folder that is not there": (["train-", "{tmp}/nowhere"], ["nowhere: no such folder"]),
    "an empty folder": (["train-", "{tmp}/empty"], ["holds no .jpg, .jpeg or .png file"]),
    "no picture": (["train-", "{tmp}/notes.txt"], ["is none of .jpg", "fix: "]),
    "output among the pictures": (
        ["train-", "{pictures}", "--out", "{pictures}/out"],
        ["lie in one another", "--out"],
    ),
    "a folder of somebody else": (
        ["train-", "{pictures}", "--out", "{tmp}/full"],
        ["holds something else (mine.txt)", "--out"],
    ),
    "a file": (["train-", "{pictures}", "--out", "{tmp}/notes.txt"], ["is no folder", "--out"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_with_2_names_the_fix_and_writes_nothing(
    mistake: str, run: Any, tiny_sweep: Sweep, target: Any, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    for file in (tmp_path / "notes.txt", tmp_path / "full" / "mine.txt"):
        file.write_text("mine")
    before = contents(tmp_path), contents(target.pictures), contents(tiny_sweep.root)
    words, expected = MISTAKES[mistake]
    filled = [word.format(pictures=target.pictures, tmp=tmp_path) for word in words]
    outcome = run("predict", *filled, f"sweep.root={tiny_sweep.root}")
    assert outcome.code == 2
    for word in expected:
        assert word in outcome.errors
    assert 1 <= len(outcome.errors.splitlines()) <= 3
    assert "Traceback" not in outcome.errors
    assert (contents(tmp_path), contents(target.pictures), contents(tiny_sweep.root)) == before


@pytest.mark.parametrize("file", ["model.safetensors", "training_features.npz", "meta.json"])
def test_a_damaged_stage_is_refused_with_its_path(
    file: str, run: Any, tiny_sweep: Sweep, copy_of: Callable, target: Any, flip_byte: Callable
) -> None:
    sweep = copy_of(tiny_sweep)
    path = sweep.plan.store.path(target.readings[0].detector) / file
    flip_byte(path)
    outcome = run("predict", "train-", str(target.pictures), f"sweep.root={sweep.root}")
    assert outcome.code == 1  # as of every command: the files are wrong, not the words
    assert str(path) in outcome.errors
    assert "move" in outcome.errors
    assert not (sweep.root / "predictions").exists()


def test_a_stage_that_was_not_finished_is_refused(
    run: Any, tiny_sweep: Sweep, copy_of: Callable, target: Any
) -> None:
    sweep = copy_of(tiny_sweep)
    store, key = sweep.plan.store, target.readings[0].detector
    store.path(key).rename(store.work_folder(key))
    for words in (["train-"], ["evaluate-miniature-n3-s0-field"], ["synthetic=off"]):
        outcome = run("predict", *words, str(target.pictures), f"sweep.root={sweep.root}")
        assert outcome.code == 2
        assert f"{key} is not published" in outcome.errors


def test_predictions_of_another_stage_or_folder_are_never_replaced(
    predict: Callable, target: Any, tmp_path: Path
) -> None:
    assert predict(target.readings[0].detector, target.pictures).code == 0
    before = contents(tmp_path / "out")
    other = tmp_path / "other"
    shutil.copytree(target.pictures, other)
    refused = predict(target.readings[1].detector, target.pictures)
    assert (refused.code, "predictions of another stage" in refused.errors) == (2, True)
    refused = predict(target.readings[0].detector, other)
    assert (refused.code, "predictions of another folder" in refused.errors) == (2, True)
    assert contents(tmp_path / "out") == before
    (tmp_path / "out" / "notes.txt").write_text("mine")
    refused = predict(target.readings[0].detector, target.pictures)
    assert (refused.code, "notes.txt" in refused.errors) == (2, True)


def test_a_run_that_ends_early_leaves_what_was_there(
    predict: Callable, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, saved = target.readings[0].detector, []

    def interrupted(image: Image.Image, path: Path) -> None:
        saved.append(path)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(running, "save_picture", interrupted)
    assert predict(detector, target.pictures).code == 130
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert predict(detector, target.pictures).code == 0
    before = contents(tmp_path / "out")
    saved.clear()
    monkeypatch.setattr(running, "save_picture", interrupted)
    assert predict(detector, target.pictures).code == 130
    assert contents(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_was_filled_meanwhile_is_kept(
    predict: Callable, target: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(image: Image.Image, path: Path) -> None:
        (tmp_path / "out").mkdir(exist_ok=True)
        (tmp_path / "out" / "mine.txt").write_text("mine")

    monkeypatch.setattr(running, "save_picture", fill)
    outcome = predict(target.readings[0].detector, target.pictures)
    assert (outcome.code, "holds something else (mine.txt)" in outcome.errors) == (2, True)
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_a_killed_run_leaves_no_document(
    target: Any, tiny_sweep: Sweep, start: Callable, wait_for: Callable, tmp_path: Path
) -> None:
    pictures = tmp_path / "mine"
    pictures.mkdir()
    for index in range(40):
        for path in target.pictures.iterdir():
            (pictures / f"{index}-{path.name}").hardlink_to(path)
    words = ["predict", target.readings[0].detector, str(pictures), "--out", str(tmp_path / "out")]
    process = start(*command_line([*words, f"sweep.root={tiny_sweep.root}"]), env=os.environ)
    wait_for(lambda: len(list(tmp_path.glob(".out.*.tmp/pictures/*"))) > 3)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "out").exists()
    done = subprocess.run(
        command_line([*words, f"sweep.root={tiny_sweep.root}"]), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    drawn = {path.name for path in (tmp_path / "out" / "pictures").iterdir()}
    assert drawn == {path.name for path in pictures.iterdir()}


@pytest.mark.parametrize("flag", [["--score", "2"], ["--score", "x"], ["--threads", "0"]])
def test_a_flag_with_an_impossible_value_is_refused(flag: list[str], predict: Callable) -> None:
    answer = predict("train-", "pictures", *flag)
    assert answer.code == 2
    assert f"argument {flag[0]}: " in answer.errors


def test_help_of_both_commands_loads_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom ptl_sweep.cli.commands import COMMANDS\n"
        "for name in ('predict', 'export'):\n"
        "    try:\n        COMMANDS[name](['--help'])\n    except SystemExit:\n        pass\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, capture_output=True)
