"""A store of 10,000 published stages: how long the commands that only look at it take.

`python tests/bench/looking.py` runs it alone. Each command is a process of its own, whose seconds
of CPU are counted from the end of its imports; the files are in the page cache.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.pipeline.plan import Plan, plan_sweep, save_plan
from ptl_sweep.stages.base import Stage

GRID = [  # one train, five ptl and 24 evaluate stages for each pair of real count and seed
    "real_count=10,20,30,40",
    "synthetic=off,on",
    "target=field,karst,yard,source",
    "synthetic.num_iterations=5",
    "evaluate.iterations=all",
]
NUM_SEEDS, STAGES_PER_SEED = 84, 120
WEIGHTS_BYTES = 98 * 2**20  # of a ResNet-50
COMMAND = """
import contextlib, io, sys, time
from ptl_sweep.__main__ import main
from ptl_sweep.cli import commands
begun = time.process_time()
with contextlib.redirect_stdout(io.StringIO()):
    code = main(sys.argv[1:])
print(time.process_time() - begun)
sys.exit(code)
"""
READING = """
import sys, time
from pathlib import Path
from ptl_sweep.pipeline.plan import load_plan
from ptl_sweep.pipeline.plan_text import kind_counts
from ptl_sweep.reduce.measure import detector_jobs
from ptl_sweep.reduce.report_context import report_context
from ptl_sweep.reduce.rows import Reducer
begun = time.process_time()
plan = load_plan(Path(sys.argv[1]))
reducer = Reducer(plan, None)
list(detector_jobs(plan, reducer.states))
report_context(plan, None, states=reducer.states, jobs=None, cells={})
kind_counts(plan)
print(time.process_time() - begun)
"""


class Look(NamedTuple):
    """One measurement."""

    what: str
    seconds: float


class PublishedStore(NamedTuple):
    """A plan whose stages are all in its store, and the words that it is made of."""

    words: list[str]
    plan: Plan


def looking(num_seeds: int = NUM_SEEDS) -> Iterator[Look]:
    """Plan, status and what a report reads; then a plan with a large file of initial weights."""
    with published_store(num_seeds) as store:
        cells = f"{len(store.plan.stages):,} stages, {len(store.plan.cells):,} cells"
        folder = str(store.plan.folder)
        yield Look(f"plan of {cells}", seconds_of(COMMAND, "plan", *store.words))
        yield Look("status", seconds_of(COMMAND, "status", folder))
        yield Look("reading for the report", seconds_of(READING, folder))
    with tempfile.TemporaryDirectory(prefix="ptl-bench-") as name:
        weights = Path(name, "weights.pth")
        weights.write_bytes(bytes(WEIGHTS_BYTES))
        words = ["experiment=paper", f"detector.weights={weights}", f"sweep.root={name}/paper"]
        yield Look("plan of the paper grid, 98 MB weights", seconds_of(COMMAND, "plan", *words))


@contextmanager
def published_store(num_seeds: int) -> Iterator[PublishedStore]:
    """The grid with so many seeds, every stage of it published, in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="ptl-bench-") as name:
        words = [*GRID, f"seed=range(0,{num_seeds})", f"sweep.root={name}/outputs"]
        plan = plan_sweep(compose_grid(words), "bench")
        assert len(plan.stages) == STAGES_PER_SEED * num_seeds
        plan.first_planned = 0.0  # its stages are its own, so that a plan reads all of them
        save_plan(plan)
        for stage in plan.stages.values():
            publish(plan, stage)
        yield PublishedStore(words, plan)


def publish(plan: Plan, stage: Stage) -> None:
    """What a plan, status and the report read of a stage, without its files."""
    summary = {"gaussian_n": 500, "num_train_images": 40, "num_synthetic": 0}
    meta = {"status": "ok", "summary": summary, "drops": {}, "started": 1.0, "seconds": 30.0,
            "sha256": {f"file{i}": "0" * 64 for i in range(8)}}  # fmt: skip
    folder = plan.store.path(stage.key)
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text(json.dumps(meta | stage.identity(), indent=1))
    (folder / "manifest.json").write_text('{"real": [], "transformed": []}')


def seconds_of(program: str, *arguments: str) -> float:
    """What a process prints last. Raises: CalledProcessError."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[-1])


def shown(look: Look) -> str:
    """One line of the table, in milliseconds like the others."""
    return f"{look.what:54} {look.seconds * 1e3:9.1f}"


if __name__ == "__main__":
    for one in looking():
        print(shown(one), flush=True)
