"""Memory and open files of long trainings and of processes that do many things in turn."""

from pathlib import Path

import numpy as np
import pytest
from helpers.fault_trials import Tally
from helpers.growth import growth, slope
from helpers.sweeps import Sweep

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

STEPS, STEPS_PER_ROW = 2000, 20
STAGE_CELLS = 50  # with two stages each: what a worker does in under two minutes
GRID_CELLS = 500  # with two stages each, which are copied from a sweep
REDUCTIONS = 24  # of one cell, in one process
MOST_KB_PER_STEP = 4.0  # 80 MB in the 20,000 steps of a long training
MOST_KB_PER_STAGE = 400.0  # 400 MB in the thousand stages of a grid
MOST_KB_PER_COPY = 20.0  # 20 MB in the thousand stages of a grid, apart from what computes them
MOST_KB_PER_REDUCTION = 4000.0
SMALL = ("synthetic=off", "target=field", "target.num_images=4", "dataset.num_images=12",
         "train.batch_size=1", "real_count=3", "evaluate.max_detections=60",
         "launcher=inline", "tracking=off", "analysis.calibration=none")  # fmt: skip


def judge(tally: Tally, found: np.ndarray, most_kb: float, events: int = 1) -> None:
    """Name the growth of memory by event in the row, and whether files are left open."""
    memory, files = found.T
    per_event = slope(memory) / events
    tally.fault += f", {per_event:+.1f} kB each (of {most_kb:.0f})"
    if per_event > most_kb:
        tally.lost.append(f"grows by {per_event:.1f} kB each time, at most {most_kb} are expected")
    if files[-1] > files[len(files) // 4]:
        tally.lost.append(f"{files[len(files) // 4]:.0f} open files become {files[-1]:.0f}")


def test_a_long_training_neither_grows_nor_leaves_files_open(
    tmp_path: Path, tally: Tally, share: float
) -> None:
    steps = max(400, round(share * STEPS))
    tally.fault, tally.tries = "steps of a long training", steps
    words = [*SMALL, f"train.num_steps={steps}", f"sweep.root={tmp_path}"]
    found = growth(words, tmp_path / "table", "row of the history")
    judge(tally, found[: steps // STEPS_PER_ROW], MOST_KB_PER_STEP, STEPS_PER_ROW)
    assert tally.lost == []


def test_a_process_that_computes_many_stages_does_not_grow(
    tmp_path: Path, tally: Tally, share: float
) -> None:
    cells = max(8, round(share * STAGE_CELLS))
    words = ["-m", *SMALL, "train.num_steps=1", f"seed=range(0,{cells})", f"sweep.root={tmp_path}"]
    found = growth(words, tmp_path / "table", "stage")
    tally.fault, tally.tries = "stages in one process", len(found)
    judge(tally, found, MOST_KB_PER_STAGE)
    assert tally.lost == []


def test_a_grid_of_500_cells_is_planned_published_and_reduced_without_growth(
    tiny_sweep: Sweep, tmp_path: Path, tally: Tally, share: float
) -> None:
    cells = max(40, round(share * GRID_CELLS))
    words = ["-m", *SMALL, f"seed=range(0,{cells})", f"sweep.root={tmp_path}"]
    found = growth(words, tmp_path / "table", "stage", like=tiny_sweep.plan.store.root)
    assert len(found) == 2 * cells
    (rows,) = tmp_path.glob("sweeps/*/results.csv")
    assert rows.read_text().count(",ok,") == cells
    tally.fault, tally.tries = f"stages of a grid of {cells} cells", len(found)
    judge(tally, found, MOST_KB_PER_COPY)
    assert tally.lost == []


def test_a_process_that_reduces_again_and_again_does_not_grow(
    tmp_path: Path, tally: Tally, share: float
) -> None:
    times = max(6, round(share * REDUCTIONS))
    tally.fault, tally.tries = "reductions in one process", times
    words = [*SMALL, "train.num_steps=1", f"sweep.root={tmp_path}"]
    judge(tally, growth(words, tmp_path / "table", "reduction", times), MOST_KB_PER_REDUCTION)
    assert tally.lost == []
