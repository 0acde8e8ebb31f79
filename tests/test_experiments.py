"""docs/experiments.md: its counts are those of the plans, its hours the guesses of the stages."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.pipeline.plan import plan_sweep

ROOT = Path(__file__).resolve().parent.parent
ROW = re.compile(r"^\| `make ([a-z-]+)` \|[^|]*\|(.*)\|$", re.MULTILINE)
ROWS = dict(ROW.findall((ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")))

pytestmark = [
    pytest.mark.slow,  # half a minute each on a busy machine: thousands of stages are planned
    pytest.mark.skipif(shutil.which("make") is None, reason="needs make"),
]


def overrides(target: str) -> list[str]:
    """What the target asks for in the real world."""
    command = ["make", "-n", target, "WORLD=real", "ARGS=data_root=x"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    line = next(one for one in printed.splitlines() if "ptl_sweep -m " in one)
    return shlex.split(line)[4:]


def test_every_table_of_the_makefile_that_runs_arms_is_there() -> None:
    targets = re.findall(r"^(table-\S+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    own = {"paper", "figure-dose", *targets} - {"table-crossdomain"}  # of the paper's own sweep
    assert set(ROWS) == own


@pytest.mark.parametrize("target", ROWS)
def test_counts_and_hours_are_those_of_the_plan(target: str, tmp_path: Path) -> None:
    plan = plan_sweep(compose_grid([*overrides(target), f"sweep.root={tmp_path}"]), "")
    counts = [len(plan.of_kind(kind)) for kind in ("train", "ptl", "evaluate")]
    hours = sum(stage.default_seconds for stage in plan.stages.values()) / 3600
    shown = [int(text.replace(",", "")) for text in ROWS[target].split("|")]
    assert shown == [len(plan.cells), *counts, round(hours)]
