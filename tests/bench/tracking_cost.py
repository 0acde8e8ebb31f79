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
from ptl_sweep.stages.worker import worker_environment
from ptl_sweep.store import HISTORY

GRID = ["experiment=demo", "real_count=20", "synthetic=off", "target=field"]
# The worker, with the time that the stage spends in its mirror.
WORKER = """
import json, sys, time
from pathlib import Path
from ptl_sweep.stages import wandb_media, worker
from ptl_sweep.tracking import Recorder, StageMirror

spent, depth = [0.0], [0]
def timed(function):
    def wrapper(*args, **kwargs):
        depth[0] += 1
        begun = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            depth[0] -= 1
            spent[0] += (time.perf_counter() - begun) * (depth[0] == 0)
    return wrapper
Recorder.open_mirror = timed(Recorder.open_mirror)
StageMirror._guarded = timed(StageMirror._guarded)
wandb_media.log_model = timed(wandb_media.log_model)
code = worker.main(sys.argv[2:])
result = {"in_mirror": spent[0], "has_wandb": "wandb" in sys.modules}
Path(sys.argv[1]).write_text(json.dumps(result))
sys.exit(code)
"""


class Training(NamedTuple):
    """One training stage in a process of its own."""

    seconds: float
    in_mirror: float  # seconds of it that its mirror took
    num_rows: int
    has_wandb: bool  # whether the process has loaded W&B


class TrackingCost(NamedTuple):
    """The same training without tracking and with it: the best of its turns."""

    off: Training
    offline: Training
    in_mirror: float  # seconds, the worst of the turns


def tracking_cost(turns: int = 3) -> TrackingCost:
    """Train with `tracking=off` and `tracking=offline` in turns."""
    runs = [(training("off"), training("offline")) for _ in range(turns)]
    off, offline = zip(*runs, strict=True)
    return TrackingCost(min(off), min(offline), max(run.in_mirror for run in offline))


def training(tracking: str) -> Training:
    """Train one detector of the demo."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "outputs")
        cells = compose_grid([*GRID, f"tracking={tracking}", f"sweep.root={root}"]).cells
        plan = plan_sweep(cells, "bench")
        save_plan(plan)
        (task,) = (task for task in plan.tasks if task.kind == "train")
        result = Path(folder, "result.json")
        words = [sys.executable, "-c", WORKER, str(result), str(plan.folder), task.name]
        subprocess.run(words, env=worker_environment(1), check=True, capture_output=True)
        (key,) = task.stages
        found = json.loads(result.read_text())
        num_rows = len((plan.store.path(key) / HISTORY).read_text().splitlines())
        seconds = float(plan.store.meta(key)["seconds"])
    return Training(seconds, found["in_mirror"], num_rows, found["has_wandb"])


def shown(cost: TrackingCost) -> str:
    """The lines of `make bench`."""
    off, offline = cost.off, cost.offline
    return (
        f"training, tracking=off {off.seconds:.2f} s, offline {offline.seconds:.2f} s: "
        f"{offline.seconds / off.seconds - 1:+.1%}; its mirror of {offline.num_rows} rows took "
        f"{cost.in_mirror:.3f} s of it ({cost.in_mirror / off.seconds:.2%})"
    )


if __name__ == "__main__":
    print(shown(tracking_cost(*map(int, sys.argv[1:]))))
