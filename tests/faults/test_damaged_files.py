"""Every kind of file of a finished sweep, damaged in five ways: named, and no number changes."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fault_trials import Tally, damages, unexplained
from helpers.sweeps import Sweep

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

PARTS = 4


@pytest.mark.usefixtures("blank_figures")
@pytest.mark.parametrize("part", range(PARTS))
def test_a_damaged_file_is_named_and_changes_no_number(
    part: int, tiny_sweep: Sweep, copy_of: Any, run: Any, tally: Tally, share: float
) -> None:
    tally.fault = f"a file of the store is damaged, part {part + 1} of {PARTS}"
    sweep = copy_of(tiny_sweep)
    expected = sweep.file("results.csv")
    trials = [
        (path, how, content)
        for path in one_of_each_kind(sweep.plan.store.root)
        for how, content in damages(path.read_bytes()).items()
        if content != path.read_bytes()
    ]
    np.random.default_rng(0).shuffle(trials)  # so that a share has every kind
    own = trials[part::PARTS]
    for path, how, content in own[: math.ceil(share * len(own))]:
        before = path.read_bytes()
        _write(path, content)
        tally.tries += 1
        tally.note(how)
        where = f"{path.relative_to(sweep.plan.store.root)}, {how}"
        outcome = run("report", sweep.plan.name, f"sweep.root={sweep.root}")
        text = outcome.output + outcome.errors
        if "Traceback" in text or outcome.code not in (0, 1):
            tally.lost.append(f"{where}: exit {outcome.code}, {text[-300:]}")
        tally.lost += [
            f"{where}: other numbers in {row}, and nothing says why"
            for row in unexplained(expected, sweep.file("results.csv"))
        ]
        _write(path, before)
    assert run("report", sweep.plan.name, f"sweep.root={sweep.root}").code == 0
    assert sweep.file("results.csv") == expected
    assert tally.lost == []


def one_of_each_kind(store: Path) -> list[Path]:
    """Stages of one kind hold the same files; numbers in a name count images or iterations."""
    files = sorted(path for path in store.rglob("*") if path.is_file() and path.name[0] != ".")
    kinds = {}
    for path in files:
        stage, *inner = path.relative_to(store).parts
        kinds[stage.split("-")[0], re.sub(r"\d+", "#", "/".join(inner))] = path
    return [kinds[kind] for kind in sorted(kinds)]


def _write(path: Path, content: bytes | None) -> None:
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_bytes(content)
