"""A stage that does nothing but log, run by a process of its own, and the order for its W&B run."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from ptl_sweep.tracking import FiledFiles, History, Order, RunInfo

NUM_ROWS = 12
NUM_STEPS = NUM_ROWS + 1  # the last one is of the table alone
PICTURE_ROWS = (0, 2, 9)  # each of them is shown with a picture of its own name
OWN_EXIT_CODE = 7  # of a stage that is told to stop: whatever it wants, not what W&B makes of it

# Like a worker: history first, a SIGTERM sets a flag that the loop looks at, one rename at the end.
STAGE = f"""
import json, os, signal, sys, time
from pathlib import Path
import numpy as np
from helpers.local_runs import PICTURE_ROWS, order_of
from ptl_sweep.tracking import Companion, History
from ptl_sweep.tracking.media import MediaEntry, ShownBox, ShownImage, add_entry
from ptl_sweep.tracking.media import write_picture, write_rows

root, key, mode, stop, end = Path(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4]), sys.argv[5]
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))
order = order_of(root, key, mode)
folder = order.work_folder
folder.mkdir(parents=True, exist_ok=True)
history = History(folder / "history.jsonl")
with Companion() as companion:
    if mode == "online":
        companion.follow(order)
    for step in range(len(history.rows()), stop):
        if step in PICTURE_ROWS:
            name = f"pictures/{{step}}"
            file = write_picture(folder, name, 0, np.full((8, 8, 3), step, np.uint8), ".png")
            boxes = [ShownBox([1, 2, 5, 6], "person")], [ShownBox([2, 2, 6, 6], "0.75", 0.75)]
            add_entry(folder, MediaEntry(name=name, row=step, images=[ShownImage(file, *boxes)]))
        history.append({{"train/step": step, "train/loss": 1 / (1 + step)}})
        while step == 3 and end == "wait" and not (told or (root / "go").exists()):
            time.sleep(0.05)
        if told:
            companion.end()
            sys.exit({OWN_EXIT_CODE})
    if end == "kill":
        time.sleep(float(sys.argv[6]))
        os.kill(os.getpid(), signal.SIGKILL)
    table = write_rows(folder, "best", {{"name": ["a", "b"], "score": np.array([0.5, np.nan])}})
    add_entry(folder, MediaEntry(name="best", row=stop, table=table))
    (folder / "model.bin").write_bytes(b"weights")
    meta = {{"summary": {{"AP50": 0.5, "reason": None}}, "sha256": {{"model.bin": "0" * 64}}}}
    (folder / "meta.json").write_text(json.dumps(meta))
    folder.rename(order.folder)
    companion.end()
"""


def order_of(root: Path, key: str, mode: str = "online") -> Order:
    """The order for the run of a stage below `root`."""
    run = RunInfo(
        key=key,
        name=f"n20 {key}",
        job_type="train",
        config={"seed": 0},
        step_metrics=["train/step"],
        tags=["sweep-1", "", "t" * 80],
        uses=["model-parent"],
        makes=FiledFiles(name=f"model-{key}", kind="model", files=["model.bin"]),
    )
    return Order(
        run=run,
        sweep="sweep-1",
        folder=root / "store" / key,
        work_folder=root / "store" / f"{key}.wip",
        root=root / "tracking",
        mode=mode,
        project="ptl-sweep",
    )


def start_stage(
    root: Path,
    environment: Mapping[str, str],
    end: str = "finish",
    *,
    key: str = "train-k",
    mode: str = "online",
    stop: int = NUM_ROWS,
    pause: float = 0,
) -> subprocess.Popen[str]:
    """Start a stage in a process group of its own; a `kill` comes after `pause` seconds."""
    words = [str(root), key, mode, str(stop), end, str(pause)]
    return subprocess.Popen(
        [sys.executable, "-c", STAGE, *words],
        env=with_helpers(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(stage: subprocess.Popen[str], expected: int = 0) -> str:
    """Wait for a stage's end and exit code; what it said on standard error."""
    _, errors = stage.communicate(timeout=90)
    assert stage.returncode == expected, errors
    return errors


def run_stage(
    root: Path, environment: Mapping[str, str], end: str = "finish", **how: object
) -> str:
    """Run a stage to its end; what it said on standard error."""
    stage = start_stage(root, environment, end, **how)  # type: ignore[arg-type]
    return finish(stage, -signal.SIGKILL if end == "kill" else 0)


def run_program(
    program: str, *arguments: str, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run Python source to its end, whatever that is."""
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(
        command, env=with_helpers(env), capture_output=True, text=True, check=False, timeout=120
    )


def rows_of(folder: Path) -> list[dict[str, object]]:
    """The rows of a history without their times."""
    rows = History(folder / "history.jsonl").rows()
    return [{name: row[name] for name in row if name != "_timestamp"} for row in rows]


def with_helpers(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process that may import these helpers."""
    return {**environment, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
