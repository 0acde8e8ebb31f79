"""The reducer on a grid of the paper's size: generated stages, the files of a real sweep.

96 cells = 4 real counts x 2 synthetic x 4 targets x 3 seeds, 100,000 detections each with 256
features. `python tests/bench/reducing.py [detections per cell]` runs it alone.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.detection.table import (
    ARTIFACTS,
    EvaluatedImage,
    ImageDetections,
    save_detections,
    stack_detections,
)
from ptl_sweep.pipeline.plan import Plan, plan_sweep, save_plan
from ptl_sweep.pipeline.status import last_reduction
from ptl_sweep.reduce.measure import FEATURES
from ptl_sweep.stages.base import Stage

NUM_IMAGES = 1000
DIMENSION = 256
PERSONS_PER_IMAGE = 20
PERSON = np.array([12, 30])  # width, height, pixels
GRID = [
    "real_count=20,50,100,200",
    "synthetic=off,on",
    "target=field,karst,yard,source",
    "seed=0,1,2",
    "synthetic.num_iterations=1",
    f"detector.channels={DIMENSION}",
]


class Reduction(NamedTuple):
    """What the reducer took."""

    num_cells: int
    num_detections: int  # of a cell
    seconds: float
    reading_seconds: float  # the same files read once more, by one process, from the disk
    peak_memory_mb: float  # of this process and its workers together


def reducing(num_detections: int = 100_000, *words: str) -> Reduction:
    """Publish every stage of a grid without computing it, then reduce the grid.

    `words` change the grid.
    """
    with tempfile.TemporaryDirectory() as folder:
        cells = compose_grid([*GRID, *words, f"sweep.root={folder}"])
        plan = plan_sweep(cells, "bench")
        save_plan(plan)
        rng = np.random.default_rng(0)
        for stage in plan.stages.values():
            publish(plan, stage, num_detections, rng)
        forget_files(plan)
        start = time.perf_counter()
        peak_mb = peak_memory([sys.executable, "-m", "ptl_sweep", "report", str(plan.folder)])
        seconds = time.perf_counter() - start
        reduction = last_reduction(plan)
        assert reduction is not None
        assert reduction.num_failed == 0, reduction.text
        forget_files(plan)
        start = time.perf_counter()
        for path in stage_files(plan):
            path.read_bytes()
        reading = time.perf_counter() - start
    return Reduction(len(plan.cells), num_detections, seconds, reading, peak_mb)


def publish(plan: Plan, stage: Stage, num_detections: int, rng: np.random.Generator) -> None:
    """The files that the reducer reads, with made-up numbers."""
    with plan.store.claim(stage.key) as folder:
        if stage.kind == "evaluate":
            summary = write_evaluation(folder, num_detections, rng)
        else:
            summary = write_detector(folder, stage, rng)
        now = time.time()
        meta = {"status": "ok", "summary": summary, "started": now, "seconds": 1.0}
        plan.store.publish(stage.key, meta | stage.identity())


def write_detector(folder: Path, stage: Stage, rng: np.random.Generator) -> dict[str, object]:
    """17 persons an image, and a selection where virtual images were selected."""
    num_images = int(stage.real_count) + 100 * (stage.kind == "ptl")
    num = 17 * num_images
    features = rng.normal(0, 1, (num, DIMENSION)).astype(np.float32)
    np.savez(folder / FEATURES, features=features, images=np.arange(num) // 17)
    (folder / "manifest.json").write_text(json.dumps({"real": [], "transformed": []}))
    if stage.kind == "ptl":
        pool = [{"image_id": str(i), "gap": float(g)} for i, g in enumerate(rng.gamma(9, 30, 300))]
        chosen = [str(i) for i in range(100)]
        (folder / "selection.json").write_text(json.dumps({"pool": pool, "selected": chosen}))
    return {"num_train_images": num_images, "num_synthetic": 0, "gaussian_n": num, "reason": None}


def write_evaluation(
    folder: Path, num_detections: int, rng: np.random.Generator
) -> dict[str, object]:
    """Detections with IoU 0.8 around persons, and boxes where nobody is."""
    per_image = num_detections // NUM_IMAGES
    parts = [made_up(per_image, rng) for _ in range(NUM_IMAGES)]
    images = [
        EvaluatedImage(str(i), str(i), 1000, 800, PERSONS_PER_IMAGE, per_image, False)
        for i in range(NUM_IMAGES)
    ]
    save_detections(folder, stack_detections(parts, images))
    summary = {"AP50": 0.3, "AP": 0.1}
    (folder / "metrics.json").write_text(json.dumps(summary))
    return summary


def made_up(count: int, rng: np.random.Generator) -> ImageDetections:
    """One image; the first 14 of 20 persons are found."""
    corner = rng.uniform(0, 700, (PERSONS_PER_IMAGE, 2))
    truths = np.concatenate([corner, corner + PERSON], axis=1).astype(np.float32)
    anywhere = rng.uniform(0, 700, (count, 2))
    boxes = np.concatenate([anywhere, anywhere + PERSON], axis=1).astype(np.float32)
    found = rng.choice(count, 14, replace=False)
    boxes[found] = truths[:14] + np.array([0, 0, 0, -6], np.float32)
    truth = np.full(count, -1)
    truth[found] = np.arange(14)
    strict = np.arange(10) > 6
    scores = np.sort(rng.beta(0.6, 3, count).clip(0.011, 1))[::-1].astype(np.float32)
    return ImageDetections(
        boxes=boxes,
        scores=scores,
        features=rng.standard_normal((count, DIMENSION), dtype=np.float32) * 1.1,
        levels=np.zeros(count, np.int64),
        cells=np.arange(count),
        truth=np.where(strict[:, None], -1, truth),
        iou=np.where(truth >= 0, 0.8, 0.0),
        ignored=np.zeros(count, bool),
        truths=truths,
        truth_places=np.zeros((PERSONS_PER_IMAGE, 2), np.int64),
        truth_anchor_iou=np.full(PERSONS_PER_IMAGE, 0.6),
        truth_features=rng.standard_normal((PERSONS_PER_IMAGE, DIMENSION), dtype=np.float32),
    )


def stage_files(plan: Plan) -> list[Path]:
    """What the reducer reads of the store."""
    names = {*ARTIFACTS, FEATURES}
    return [path for path in plan.store.root.glob("*/*") if path.name in names]


def forget_files(plan: Plan) -> None:
    """Drop the files from the page cache, so that they are read from the disk again."""
    for path in stage_files(plan):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peak_memory(command: list[str]) -> float:
    """Run a command; the most memory, MB, that it and its children held, seen ten times a second.

    A page that several of them share counts once; mapped files count while they are resident.
    """
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        peak = 0.0
        while process.poll() is None:
            pids = [process.pid, *descendants(process.pid)]
            peak = max(peak, sum(proportional_kb(pid) for pid in pids) / 1024)
            time.sleep(0.1)
    assert process.returncode == 0
    return peak


def proportional_kb(pid: int) -> int:
    """Proportional set size; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def descendants(pid: int) -> list[int]:
    """Processes below one, as /proc knows them."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(c) for t in tasks for c in (t / "children").read_text().split()]
    except OSError:
        return []
    return [*children, *(below for child in children for below in descendants(child))]


def shown(found: Reduction) -> str:
    """One line of the table of `make bench`."""
    share = found.reading_seconds / found.seconds
    return (
        f"reduce {found.num_cells} cells x {found.num_detections:,} detections x {DIMENSION}: "
        f"{found.seconds:.0f} s, {found.peak_memory_mb:.0f} MB, reading the files alone "
        f"{found.reading_seconds:.0f} s ({share:.0%})"
    )


if __name__ == "__main__":
    print(shown(reducing(*(int(argument) for argument in sys.argv[1:]))))
