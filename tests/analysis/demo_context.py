"""A made-up sweep with plausible numbers, two gaps and sample pictures, for tests of the report."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ptl_sweep.analysis.figures import CellHistogram
from ptl_sweep.analysis.report import (
    Provenance,
    ReportContext,
    SamplePicture,
    StageCost,
    StageFailure,
)
from ptl_sweep.analysis.tables import RESULT_COLUMNS, Group, summarise
from ptl_sweep.analysis.train2test import DISTANCE_EDGES, DistanceHistogram

TARGETS = {"field": 1.0, "karst": 0.7, "yard": 1.2}
DIMENSION = 48


def result_row(count: int, synthetic: str, target: str, seed: int, iteration: int) -> dict:
    """One cell; the effect of synthetic shrinks with the real count."""
    rng = np.random.default_rng([count, iteration, len(target), seed])
    level = TARGETS[target] * (0.08 + 0.05 * np.log2(count / 10))
    level += 0.05 * iteration * 20 / count + 0.012 * rng.standard_normal()
    row = dict.fromkeys(RESULT_COLUMNS)
    row |= {
        "dataset": "town", "real_count": count, "synthetic": synthetic, "target": target,
        "seed": seed, "iteration": iteration, "status": "ok", "reason": "",
        "num_train_images": count + 40 * iteration, "num_synthetic": 40 * iteration,
        "num_ground_truth": 400, "num_detections": 5000, "AP50": level, "AP": level / 3,
        "gaussian_n": count * 4 + 40 * iteration, "gaussian_rank": DIMENSION,
        "t2t_auroc": 0.7 + 0.02 * rng.standard_normal(),
        "train_key": f"train-town-n{count}-s{seed}-3f21a9c0de11",
        "evaluate_key": f"evaluate-{target}-n{count}-s{seed}-t{iteration}-91b2c3d4e5f6",
    }  # fmt: skip
    for label, factor in (("001", 0.6), ("010", 0.55), ("050", 0.2)):
        row[f"AP_t2t_{label}_shrunk"] = level * factor
        row[f"AP_t2t_{label}"] = level * factor * 0.95
        row[f"AP_t2t_{label}_lift"] = level * factor * 0.5
    for name, value in (("tp_mean", 60), ("fp_mean", 140), ("tp_median", 52), ("fp_median", 118)):
        row[f"t2t_{name}_shrunk"] = value * (1 + 0.1 * rng.random())
        row[f"t2t_{name}"] = value * 1.6
    return row


def _histogram(row: dict) -> CellHistogram:
    rng = np.random.default_rng([int(row["real_count"]), int(row["iteration"]), int(row["seed"])])
    counts = np.zeros((3, 2, len(DISTANCE_EDGES) - 1), np.int64)
    for band, kind in np.ndindex(3, 2):
        shift = 1.7 + 0.35 * kind - 0.1 * band - 0.06 * row["iteration"]
        values = 10 ** (shift + 0.2 * rng.standard_normal(400))
        counts[band, kind] = np.histogram(values, DISTANCE_EDGES)[0]
    bands = ((0.01, 0.1), (0.1, 0.5), (0.5, 1.0))
    group = Group(row["dataset"], row["real_count"], row["synthetic"], row["target"])
    return CellHistogram(group, DistanceHistogram(DISTANCE_EDGES, counts, bands))


def _picture(path: Path, tint: tuple[int, int, int]) -> Path:
    rng = np.random.default_rng(len(path.name))
    ground = rng.normal((96, 120, 70), 9, (128, 128, 3)).clip(0, 255).astype(np.uint8)
    image = Image.fromarray(ground)
    draw = ImageDraw.Draw(image)
    draw.ellipse((58, 46, 68, 56), fill=tint)
    draw.rectangle((57, 56, 69, 84), fill=tint)
    draw.rectangle((53, 42, 73, 88), outline=(255, 220, 0))
    image.save(path)
    return path


def _samples(folder: Path, num: int) -> list[SamplePicture]:
    return [
        SamplePicture(
            _picture(folder / f"selected-{index}.png", (225, 205, 190)),
            _picture(folder / f"transformed-{index}.png", (90 + 12 * index, 70, 60)),
            f"iteration {index // 3 + 1}, 20 real, seed 0: domain gap {41.5 + index:.1f}",
        )
        for index in range(num)
    ]


def _leave_gap(row: dict, status: str, reason: str) -> None:
    kept = {"dataset", "real_count", "synthetic", "target", "seed"}
    row |= {name: None for name in row if name not in kept} | {"status": status, "reason": reason}


def demo_context(folder: Path, num_seeds: int = 3, counts: tuple[int, ...] = (20, 50, 100)):
    """The context of a sweep of off and on over three targets; pictures go to `folder`."""
    cells = [(c, t, s) for c in counts for t in TARGETS for s in range(num_seeds)]
    off = [result_row(count, "off", target, seed, 0) for count, target, seed in cells]
    on = [[result_row(c, "on", t, s, step) for c, t, s in cells] for step in (1, 2)]
    rows = [*off, *on[-1]]
    rows[0] |= {"reason": "no raw distances: the ML covariance needs more than D + 2 = 50 features"}
    rows[0] |= {"t2t_tp_mean": np.nan, "AP_t2t_001": np.nan}
    histograms = [_histogram(row) for row in rows]
    if num_seeds > 1:
        _leave_gap(rows[-1], "failed", "ptl 2 failed: CUDA out of memory at CycleGAN step 412")
        _leave_gap(rows[-num_seeds - 1], "missing", "not computed yet")
    return ReportContext(
        title="demo: miniature world, 20, 50 and 100 real images",
        rows=rows,
        iteration_rows=[*off, *on[0], *on[1]],
        summary_rows=summarise(rows),
        stage_costs=[
            StageCost("train", 2 * len(cells), len(counts) * num_seeds, 0, 9, 0, 361.0),
            StageCost("ptl", 2 * len(cells), 2 * len(counts) * num_seeds, 4, 13, 1, 4321.0),
            StageCost("evaluate", 3 * len(cells), 3 * len(cells), 0, 79, 0, 42.4),
        ],
        histograms=histograms,
        provenance=Provenance(
            command="python -m ptl_sweep -m experiment=demo real_count=20,50,100 seed=0,1,2",
            commit="0f3c2d1e9a8b7c6d5e4f30213243546576879800",
            created="2026-01-02 03:04 UTC",
            versions={"python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"},
            stage_keys=sorted({row["evaluate_key"] for row in rows if row["evaluate_key"]}),
        ),
        feature_dim=DIMENSION,
        is_miniature=True,
        samples=_samples(folder, 6),
        failures=[
            StageFailure(
                "ptl-town-n100-s2-t2-7c1e9a41be07",
                "OutOfMemoryError: CUDA out of memory at CycleGAN step 412",
                "logs/ptl-town-n100-s2.log",
            )
        ],
        drops={"town": {"outside the image": 2, "under 2 pixels": 5}},
        warnings=["ptl-town-n20-s0: 3 of 40 images selected uniformly (no finite domain gap)"],
    )
