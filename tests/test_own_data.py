"""docs/own-data.md, word by word, on exports of each tool that it names."""

import csv
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from helpers.exports import EXPORTS, cutouts
from helpers.sweeps import TINY

from ptl_sweep.pipeline.plan import newest_sweep

PAGE = Path(__file__).resolve().parent.parent / "docs" / "own-data.md"
PROGRAM = "python -m ptl_sweep "

Run = Callable[..., Any]


class Word(NamedTuple):
    """What the page says, and what stands for it here."""

    page: str
    here: str


def words(exports: Path) -> list[Word]:
    """The table of all that differs from the page."""
    return [
        Word("$DATA", str(exports)),
        Word("seed=0,1,2,3,4,5", "seed=0,1"),
        Word("real_count=10,20", "real_count=3,4"),
        Word("plan experiment=paper", "plan experiment=paper real_count=3"),  # exports are small
    ]


def commands(exports: Path) -> list[list[str]]:
    """Every command of the page's blocks, in their order."""
    found = []
    for block in PAGE.read_text().split("```\n")[1::2]:
        for line in block.removeprefix("DATA=/path/to/exports\n").splitlines():
            assert line.startswith(PROGRAM)
            text = line.removeprefix(PROGRAM)
            for word in words(exports):
                text = text.replace(word.page, word.here)
            found.append(shlex.split(text))
    return found


def write(tool: str, exports: Path) -> None:
    """Source, target and cut-outs."""
    for seed, name in enumerate(("people", "quarry")):
        EXPORTS[tool].write(exports / name, seed)
    cutouts(exports / "cutouts")


@pytest.mark.parametrize("tool", EXPORTS)
def test_the_page_leads_to_a_plan_from_an_export_of(
    tool: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tool, tmp_path / "exports")
    first = commands(tmp_path / "exports")[:4]
    assert [command[0] for command in first] == ["new-dataset", "new-target", "check", "plan"]
    for command in first:
        outcome = run(*command)
        assert outcome.code == 0, f"{command}: {outcome.errors}{outcome.output}"
    source = yaml.safe_load((tmp_path / "conf" / "dataset" / "people.yaml").read_text())
    target = yaml.safe_load((tmp_path / "conf" / "target" / "quarry.yaml").read_text())
    keys = ("reader", "split", "validation_split", "scene_fractions", "resplit")
    assert {key: source[key] for key in keys if key in source} == EXPORTS[tool].source
    assert {key: target[key] for key in keys if key in target} == EXPORTS[tool].target


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["Roboflow, COCO, copies in two parts", "CVAT, YOLO 1.1"])
def test_the_page_ends_with_a_report(
    tool: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tool, tmp_path / "exports")
    small = [word for word in TINY if not word.startswith(("dataset.", "target."))]
    for command in commands(tmp_path / "exports"):
        outcome = run(*command, *(small if command[0] == "-m" else ()))
        assert outcome.code == 0, f"{command}: {outcome.errors}{outcome.output}"
        if command[0] != "-m":
            continue
        folder = newest_sweep(Path("outputs"))
        assert folder is not None
        page = (folder / "report.html").read_text()
        assert "<html" in page
        if "pool=cutouts" in command:
            assert "Backgrounds of the images that on selected" in page
            assert "figure0" in page  # a cut-out
        with (folder / "results.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert {row["target"] for row in rows} == {"quarry", "people-validation"}
        assert {row["status"] for row in rows} == {"ok"}


def test_the_page_names_every_tool_that_is_tried_here() -> None:
    text = PAGE.read_text()
    for tool in EXPORTS:
        assert f"| {tool.split(',')[0]} |" in text
