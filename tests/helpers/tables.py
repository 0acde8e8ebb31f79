"""Tables of detections that a test states, and a made-up sweep for figures and report."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from helpers.demo_context import demo_context as demo_context_of
from ptl_sweep.detection.table import (
    DetectionTable,
    EvaluatedImage,
    ImageDetections,
    stack_detections,
)

MakeTable = Callable[..., DetectionTable]


def one_image(
    scores: Sequence[float],
    hits: Sequence[bool],
    features: np.ndarray,
    ignored: Sequence[bool],
    num_missed: int = 0,
) -> ImageDetections:
    """Detection i lies at (10 i, 10 i), 8 px wide; a hit has IoU 0.8, so it counts up to 0.8.

    The persons are those that are hit, in order, then `num_missed` far away; the feature of a
    person is that of its detection, of a missed one all 9.
    """
    num, hit = len(scores), np.array(hits, bool)
    left = np.arange(num, dtype=np.float32) * 10
    boxes = np.stack([left, left, left + 8, left + 8], axis=1)
    truth = np.where(hit, np.cumsum(hit) - 1, -1)
    found = boxes[hit] - np.array([0, 0, 0, 1.6], np.float32)
    far = 5000 + 20 * np.arange(num_missed, dtype=np.float32)
    missed = np.stack([far, far, far + 8, far + 8], axis=1)
    truths = np.concatenate([found, missed])
    strict = np.arange(10) > 6  # IoU 0.85 and above
    return ImageDetections(
        boxes=boxes,
        scores=np.array(scores, np.float32),
        features=features,
        levels=np.zeros(num, np.int64),
        cells=np.arange(num),
        truth=np.where(strict[:, None], -1, truth),
        iou=np.where(hit, 0.8, 0.0),
        ignored=np.array(ignored, bool),
        truths=truths,
        truth_places=np.stack([np.zeros(len(truths), int), np.arange(len(truths))], axis=1),
        truth_anchor_iou=np.full(len(truths), 0.6),
        truth_features=np.concatenate(
            [features[hit], np.full((num_missed, features.shape[1]), 9, np.float32)]
        ),
    )


@pytest.fixture(scope="session")
def demo_context() -> Callable:
    """`demo_context(folder, num_seeds, counts)`: a made-up sweep for figures and report."""
    return demo_context_of


@pytest.fixture
def make_table() -> MakeTable:
    """A table from (scores, hits[, ignored]) per image; the feature of row i is [i, i]."""

    def make(*images: tuple, num_truths: int = 4) -> DetectionTable:
        start, parts, about = 0, [], []
        num_missed = num_truths - sum(sum(hits) for _, hits, *_ in images)
        assert num_missed >= 0, "more hits than ground truths"
        for index, (scores, hits, *rest) in enumerate(images):
            rows = np.arange(start, start + len(scores), dtype=np.float32)
            ignored = rest[0] if rest else [False] * len(scores)
            missed = num_missed if index == 0 else 0
            features = np.stack([rows, rows], axis=1)
            parts.append(one_image(scores, hits, features, ignored, missed))
            truths = len(parts[-1].truths)
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
        ignored = rng.random(15) < 0.1
        hits[np.flatnonzero(hits)[10:]] = False  # ten persons an image
        parts.append(one_image(scores, hits, features, ignored, 10 - int(hits.sum())))
        about.append(EvaluatedImage(f"im{index}", f"s{index // 4}", 64, 48, 10, 15, False))
    return stack_detections(parts, about)
