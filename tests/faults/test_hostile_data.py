"""Files of every reader, damaged by chance and on purpose: `check` reads them or names the file."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fault_trials import Tally
from helpers.hostile import complaint
from helpers.hostile_data import Layout, make_hostile, write_sets

from ptl_sweep.datasets.registry import POOL_READERS, READERS

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

TRIALS, PARTS = 300, 2
LIMIT_S = 10.0  # of the processor
FIXED = ("synthetic=off", "tracking=off", "launcher=inline", "real_count=2")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Layout]]:
    root = tmp_path_factory.mktemp("sets")
    return root, write_sets(root)


def command(layout: Layout, root: Path, sheets: Path) -> list[str]:
    words = [word.format(root=root) for word in layout.words]
    return ["check", *FIXED, *words, f"sweep.root={sheets / 'out'}", "--sheet", str(sheets)]


def test_there_is_a_data_set_for_every_reader_and_it_can_be_read(
    sets: Any, run: Any, tmp_path: Path
) -> None:
    root, layouts = sets
    others = {"miniature", "cutouts", "visdrone_vid"}  # drawn; composed; the rows of visdrone
    assert {layout.name for layout in layouts} == {*READERS, *POOL_READERS} - others
    for layout in layouts:
        outcome = run(*command(layout, root / layout.name, tmp_path))
        assert outcome.code == 0, outcome.output + outcome.errors


@pytest.mark.parametrize("part", range(PARTS))
def test_a_hostile_file_is_read_or_named(
    part: int, sets: Any, run: Any, tmp_path: Path, tally: Tally, share: float
) -> None:
    tally.fault = f"a hostile file of a data set, part {part + 1} of {PARTS}"
    root, layouts = sets
    for number in range(math.ceil(share * TRIALS / PARTS)):
        seed = PARTS * number + part
        layout = layouts[seed % len(layouts)]
        copy = tmp_path / str(number)
        shutil.copytree(root / layout.name, copy)
        path, how = make_hostile(copy, np.random.default_rng(seed))
        tally.tries += 1
        outcome, wrong = complaint(
            run, command(layout, copy, tmp_path / "out"), codes=(0, 1, 2), limit_s=LIMIT_S
        )
        tally.note("read" if outcome.code == 0 else "refused")
        if not wrong and outcome.code:
            wrong = unnamed(outcome.output + outcome.errors, path, copy)
        if wrong:
            where = path.relative_to(copy)
            tally.lost.append(f"seed {seed}: {layout.name}/{where}, {how}: {wrong}")
        shutil.rmtree(copy)
    assert not Path("/tmp/hostile").exists()  # of a pickle that runs a command
    assert tally.lost == []


def unnamed(message: str, path: Path, root: Path) -> str:
    """What is wrong with a refusal: it names the file, or its partner, or the folder; one fix."""
    if len(message) > 3000:
        return f"answers with {len(message)} letters"
    names = (path.name, path.stem, str(path.parent), str(root))
    return "" if any(name in message for name in names) else f"names no file: {message[-300:]}"
