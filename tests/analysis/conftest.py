import runpy
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from ptl_sweep.analysis.train2test import (
    DetectionTable,
    EvaluatedImage,
    ImageDetections,
    stack_detections,
)

MakeTable = Callable[..., DetectionTable]


def one_image(
    scores: Sequence[float], hits: Sequence[bool], features: np.ndarray, ignored: Sequence[bool]
) -> ImageDetections:
    num = len(scores)
    truth = np.where(hits, np.cumsum(hits) - 1, -1)
    left = np.arange(num, dtype=np.float32) * 10
    return ImageDetections(
        boxes=np.stack([left, left, left + 8, left + 8], axis=1),
        scores=np.array(scores, np.float32),
        features=features,
        levels=np.zeros(num, np.int64),
        cells=np.arange(num),
        truth=truth,
        iou=np.where(hits, 0.8, 0.1),
        ignored=np.array(ignored, bool),
    )


@pytest.fixture(scope="session")
def demo_context() -> Callable:
    """`demo_context(folder, num_seeds, counts)`: a made-up sweep for figures and report."""
    return runpy.run_path(str(Path(__file__).with_name("demo_context.py")))["demo_context"]


@pytest.fixture
def make_table() -> MakeTable:
    """A table from (scores, hits[, ignored]) per image; the feature of row i is [i, i]."""

    def make(*images: tuple, num_truths: int = 4) -> DetectionTable:
        start, parts, about = 0, [], []
        for index, (scores, hits, *rest) in enumerate(images):
            rows = np.arange(start, start + len(scores), dtype=np.float32)
            ignored = rest[0] if rest else [False] * len(scores)
            parts.append(one_image(scores, hits, np.stack([rows, rows], axis=1), ignored))
            truths = num_truths if index == 0 else 0
            about.append(
                EvaluatedImage(f"im{index}", f"scene{index}", 64, 48, truths, len(scores), False)
            )
            start += len(scores)
        return stack_detections(parts, about)

    return make


@pytest.fixture
def random_table() -> DetectionTable:
    """300 detections on 20 images, 200 ground truths, 6-d features; hits lie nearer the origin."""
    rng = np.random.default_rng(5)
    parts, about = [], []
    for index in range(20):
        scores = np.sort(rng.uniform(0.005, 1, 15))[::-1]
        hits = rng.random(15) < 0.3 + 0.4 * scores
        features = rng.normal(0, np.where(hits, 1.0, 1.6)[:, None], (15, 6))
        parts.append(one_image(scores, hits, features, rng.random(15) < 0.1))
        about.append(EvaluatedImage(f"im{index}", f"s{index // 4}", 64, 48, 10, 15, False))
    return stack_detections(parts, about)
