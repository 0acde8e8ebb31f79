"""The context of a made-up sweep, with pictures, failures and costs, for tests of the report."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from helpers.demo_study import DIMENSION, demo_histograms, demo_study
from ptl_sweep.distance.sample_size_bias import simulate
from ptl_sweep.pipeline.toy import WORLD
from ptl_sweep.report import (
    Provenance,
    ReportContext,
    SamplePicture,
    StageCost,
    StageFailure,
)
from ptl_sweep.study.study import ErrorCrop


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


def _crops(folder: Path, num: int) -> list[ErrorCrop]:
    return [
        ErrorCrop(
            str(_picture(folder / f"crop-{group[:4]}-{index}.png", (60, 70 + 20 * index, 60))),
            group,
            f"on, 20 real, karst, seed 0: score {0.9 - 0.02 * index:.2f}, distance "
            f"{31 + index}, background",
        )
        for group in ("most confident", "nearest")
        for index in range(num)
    ]


def demo_context(folder: Path, num_seeds: int = 3, counts: tuple[int, ...] = (20, 50, 100)):
    """A sweep of off, on and random over three targets; pictures go to `folder`."""
    study = demo_study(num_seeds=num_seeds, counts=counts, with_gaps=num_seeds > 1)
    study = dataclasses.replace(study, crops=_crops(folder, 4))
    num = len(study.rows)
    return ReportContext(
        title=f"demo: miniature world, {', '.join(map(str, counts))} real images",
        study=study,
        stage_costs=[
            StageCost("train", num, len(counts) * num_seeds, 0, 9, 0, 361.0),
            StageCost("ptl", num, 2 * len(counts) * num_seeds, 4, 13, 1, 4321.0),
            StageCost("evaluate", num, num, 0, num - 2, 0, 42.4),
        ],
        histograms=demo_histograms(study),
        provenance=Provenance(
            command="python -m ptl_sweep -m experiment=demo real_count=20,50,100 seed=0,1,2",
            commit="0f3c2d1e9a8b7c6d5e4f30213243546576879800",
            created="2026-01-02 03:04 UTC",
            versions={"python": "3.11.7", "torch": "2.15.0", "numpy": "2.4.6"},
            computed_with={
                "commit 0f3c2d1e9a8b, ptl_sweep 0.1.0, torch 2.15.0": 40,
                "commit 1a2b3c4d5e6f, ptl_sweep 0.1.0, torch 2.15.0": 2,
            },
            stage_keys=study.rows["evaluate_key"].drop_nulls().unique().sort().to_list(),
        ),
        feature_dim=DIMENSION,
        toy_note=WORLD,
        settings={"synthetic.temperature": "5.0", "analysis.shrinkage": "oas", "seed": "0,1,2"},
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
        drift=simulate(8, (50, 200), np.random.default_rng(0)),
    )
