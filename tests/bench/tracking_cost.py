"""What tracking costs a miniature training: the same stage without it and with it, in turns.

`python tests/bench/tracking_cost.py [turns]` runs it alone. Each training is a worker process of
its own on one thread; W&B works in a process beside it, so a second core should be free.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.pipeline.plan import plan_sweep, save_plan
from ptl_sweep.worker.running import worker_environment

AWAY = {
    "WANDB_BASE_URL": "http://127.0.0.1:9",
    "WANDB_API_KEY": "0" * 40,
    "WANDB_INIT_TIMEOUT": "5",
}
GRID = ["experiment=demo", "real_count=20", "synthetic=off", "target=field"]
# The worker, with the time that its stage spends in telling W&B's process and in its pictures.
WORKER = """
import json, sys, time
from pathlib import Path
from ptl_sweep.stages import media
from ptl_sweep.tracking import Companion
from ptl_sweep.worker import running
from ptl_sweep.worker.__main__ import main

spent = {"telling": 0.0, "showing": 0.0}
def timed(function, part):
    def wrapper(*args, **kwargs):
        begun = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[part] += time.perf_counter() - begun
    return wrapper
running.follow_stage = timed(running.follow_stage, "telling")
Companion.end = timed(Companion.end, "telling")
for name in ("show_selection", "show_transformed", "show_found", "show_detections"):
    setattr(media, name, timed(getattr(media, name), "showing"))
code = main(*sys.argv[2:])
result = {**spent, "has_wandb": "wandb" in sys.modules}
Path(sys.argv[1]).write_text(json.dumps(result))
sys.exit(code)
"""


class Stage(NamedTuple):
    """One stage in a process of its own."""

    seconds: float
    telling: float  # seconds of it that telling W&B's process took
    showing: float  # seconds of it that its pictures and tables took, which off pays as well
    has_wandb: bool  # whether the process has loaded W&B


class TrackingCost(NamedTuple):
    """The same training without tracking and online: the best of its turns."""

    off: Stage
    online: Stage
    telling: float  # seconds, the worst of the turns


def tracking_cost(turns: int = 3, *words: str) -> TrackingCost:
    """Train with `tracking=off` and `tracking=wandb` in turns; W&B's server is away.

    `words` change the training.
    """
    runs = [(training("off", *words), training("wandb", *words)) for _ in range(turns)]
    off, online = zip(*runs, strict=True)
    return TrackingCost(min(off), min(online), max(run.telling for run in online))


def training(tracking: str, *words: str) -> Stage:
    """Train one detector of the demo."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "outputs")
        cells = compose_grid([*GRID, *words, f"tracking={tracking}", f"sweep.root={root}"])
        plan = plan_sweep(cells, "bench")
        save_plan(plan)
        (task,) = (task for task in plan.tasks if task.kind == "train")
        result = Path(folder, "result.json")
        command = [sys.executable, "-c", WORKER, str(result), str(plan.folder), task.name]
        environment = {**worker_environment(1), **AWAY}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        (key,) = task.stages
        found = json.loads(result.read_text())
        return Stage(float(plan.store.meta(key)["seconds"]), **found)


def shown(cost: TrackingCost) -> str:
    """The lines of `make bench`."""
    off, online = cost.off, cost.online
    return (
        f"training, tracking=off {off.seconds:.2f} s, wandb {online.seconds:.2f} s: "
        f"{online.seconds / off.seconds - 1:+.1%}; telling W&B's process took "
        f"{cost.telling:.3f} s of it ({cost.telling / off.seconds:.2%})"
    )


if __name__ == "__main__":
    print(shown(tracking_cost(*map(int, sys.argv[1:]))))
