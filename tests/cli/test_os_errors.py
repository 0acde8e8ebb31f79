"""Errors of the operating system: one line with file and fix, exit code 1, never a traceback."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptl_sweep.cli.os_errors import FIXES, os_error_text

WORDS = ["real_count=2", "synthetic=off", "target=field", "train.num_steps=1",
         "dataset.num_images=12", "launcher=inline", "tracking=off"]  # fmt: skip


def a_file(root: Path) -> Path:
    root.write_text("")
    return root


def below_a_file(root: Path) -> Path:
    return a_file(root) / "outputs"


def a_loop(root: Path) -> Path:
    root.symlink_to(root.with_name("other"))
    root.with_name("other").symlink_to(root)
    return root


def a_device(root: Path) -> Path:
    del root
    return Path("/dev/null")


def too_long(root: Path) -> Path:
    return root.with_name("a" * 300)


ROOTS = {
    a_file: "a part of this path is a file",
    below_a_file: "a part of this path is a file",
    a_loop: "go round in a circle",
    a_device: "a part of this path is a file",
    too_long: "choose a shorter one",
}


@pytest.mark.parametrize(("make", "fix"), ROOTS.items(), ids=[make.__name__ for make in ROOTS])
def test_a_root_that_cannot_be_one_is_named_with_its_fix(
    run: Any, tmp_path: Path, make: Callable[[Path], Path], fix: str
) -> None:
    root = make(tmp_path / "root")
    outcome = run(*WORDS, f"sweep.root={root}")
    assert outcome.code == 1
    assert str(root) in outcome.errors
    assert fix in outcome.errors
    assert "Traceback" not in outcome.errors


def test_a_plan_or_a_claim_that_is_a_folder_is_named(run: Any, tmp_path: Path) -> None:
    root = f"sweep.root={tmp_path}"
    assert run(*WORDS, root).code == 0
    (path,) = tmp_path.glob("sweeps/*/plan.json")
    path.unlink()
    path.mkdir()
    for words, code in ((["status"], 2), (["report"], 2), (WORDS, 1)):
        outcome = run(*words, root)
        assert outcome.code == code
        assert str(path) in outcome.errors
    path.rmdir()
    (stage,) = tmp_path.glob("store/train-*")
    stage.rename(tmp_path / "gone")
    claim = stage.with_name(f"{stage.name}.claim")
    claim.mkdir()
    for words in (WORDS, ["status"]):
        outcome = run(*words, root)
        assert outcome.code == 1
        assert str(claim) in outcome.errors


@pytest.mark.parametrize("number", [*FIXES, errno.ENXIO, None])
def test_every_error_names_file_and_fix(number: int | None) -> None:
    error = (
        OSError("odd") if number is None else OSError(number, os.strerror(number), "x", None, "y")
    )
    text = os_error_text(error)
    what, _, fix = text.partition("; ")
    assert what == ("odd" if number is None else f"x -> y: {os.strerror(number)}")
    assert len(fix) > 10


def test_a_full_disk_that_a_library_words_itself_is_told_as_one() -> None:
    assert "free some space" in os_error_text(OSError("write failed: No space left on device"))


def test_a_file_system_without_flock_is_told_when_a_sweep_starts(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    outcome = run(*WORDS, f"sweep.root={tmp_path}")
    assert outcome.code == 0
    assert f"the file system of {tmp_path}/store has no flock" in caplog.text
