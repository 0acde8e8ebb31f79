"""Several processes on one store: each stage is computed once, and all end with the same tables."""

import json
from pathlib import Path

import pytest
from helpers.fault_trials import Tally, broken_stages, start_child

from ptl_sweep.store import Store

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

PROCESSES = 8


def together(commands: list[list[str]], folder: Path) -> list[int]:
    """Exit codes of commands that run at the same time."""
    children = [
        start_child(arguments, folder / f"log-{number}")
        for number, arguments in enumerate(commands)
    ]
    for child in children:
        child.join()
    return [child.exitcode or 0 for child in children]


def test_eight_processes_run_one_sweep(tiny_grid: list[str], tmp_path: Path, tally: Tally) -> None:
    tally.fault = f"{PROCESSES} processes run one sweep"
    tally.tries = PROCESSES
    codes = together([[*tiny_grid, f"sweep.root={tmp_path}"]] * PROCESSES, tmp_path)
    tally.lost += [
        f"process {number} ends with {code}" for number, code in enumerate(codes) if code
    ]
    tally.lost += computed_twice(Store(tmp_path / "store"))
    assert tally.lost == []


def test_two_overlapping_grids_at_once_are_both_complete(
    tiny_grid: list[str], tmp_path: Path, tally: Tally
) -> None:
    tally.fault = "two sweeps that share stages run at once"
    tally.tries = 2
    other = [word.replace("target=field,karst", "target=karst,yard") for word in tiny_grid]
    assert other != tiny_grid
    commands = [
        [*words, f"sweep.root={tmp_path}", f"sweep.name=sweep{number}"]
        for number, words in enumerate((tiny_grid, other))
    ]
    codes = together(commands, tmp_path)
    tally.lost += [f"sweep {number} ends with {code}" for number, code in enumerate(codes) if code]
    tally.lost += computed_twice(Store(tmp_path / "store"))
    assert len(list(tmp_path.glob("sweeps/*/report.html"))) == 2
    assert tally.lost == []


def computed_twice(store: Store) -> list[str]:
    found = broken_stages(store)
    for path in store.root.glob("*/meta.json"):
        attempts = json.loads(path.read_text())["attempts"]
        if len(attempts) != 1:
            found.append(f"{path.parent.name} was begun {len(attempts)} times")
    return [*found, *(f"{path.name} is left" for path in store.root.glob("*.claim"))]
