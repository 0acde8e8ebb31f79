"""Made-up scenes in which boxes and persons overlap, so that the order of matching matters."""

from dataclasses import replace

import numpy as np
from numpy import ndarray

from ptl_sweep.detection.matching import IOU_THRESHOLDS, match_image
from ptl_sweep.detection.table import (
    FEATURE_MIN_SCORE,
    DetectionTable,
    EvaluatedImage,
    ImageDetections,
    stack_detections,
)


def scene(
    boxes: ndarray, scores: ndarray, truths: ndarray, features: ndarray, regions: ndarray
) -> ImageDetections:
    """One image as the evaluate stage stores it; `features` gives one value per detection."""
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order].astype(np.float32), scores[order].astype(np.float32)
    match = match_image(boxes, scores, truths, regions, IOU_THRESHOLDS)
    return ImageDetections(
        boxes=boxes,
        scores=scores,
        features=features[order, None],
        levels=np.zeros(len(boxes), np.int64),
        cells=np.arange(len(boxes)),
        truth=match.truth,
        iou=match.iou,
        ignored=match.ignored,
        truths=truths,
        truth_places=np.zeros((len(truths), 2), np.int64),
        truth_anchor_iou=np.ones(len(truths)),
        truth_features=np.zeros((len(truths), 1)),
    )


def stacked(scenes: list[ImageDetections]) -> DetectionTable:
    about = [
        EvaluatedImage(f"im{index}", f"s{index}", 100, 100, len(one.truths), len(one.scores), False)
        for index, one in enumerate(scenes)
    ]
    return stack_detections(scenes, about)


def crowded_scenes(seed: int, num_images: int = 6, most: int = 16) -> list[ImageDetections]:
    """Quarter-pixel boxes, so that widths are exact and equal IoUs occur; few distinct scores.

    The feature of a detection is a distance that no other has; some images are empty.
    """
    rng = np.random.default_rng(seed)
    distances = iter(rng.permutation(num_images * 2 * most) + 1.0)
    scenes = []
    for _ in range(num_images):
        corner = rng.integers(0, 160, (rng.integers(0, 9), 2)) / 4
        truths = np.concatenate([corner, corner + rng.integers(20, 60, corner.shape) / 4], 1)
        chosen = rng.integers(0, len(truths), rng.integers(0, most)) if len(truths) else []
        near = truths[chosen] + rng.integers(-8, 9, (len(chosen), 4)) / 4
        corner = rng.integers(0, 160, (rng.integers(0, most), 2)) / 4
        far = np.concatenate([corner, corner + rng.integers(20, 60, corner.shape) / 4], 1)
        boxes = np.concatenate([near, far])
        scores = rng.choice([0.005, 0.02, 0.1, 0.3, 0.5, 0.8, 0.9], len(boxes))
        features = np.array([next(distances) for _ in boxes])
        regions = truths[:1] + np.array([0, 0, 12, 12])
        scenes.append(scene(boxes, scores, truths, features, regions))
    return scenes


def crowded_table(seed: int, num_images: int = 6, most: int = 16) -> DetectionTable:
    return stacked(crowded_scenes(seed, num_images, most))


def without(table: DetectionTable, dropped: ndarray) -> DetectionTable:
    """The table as if these rows had never been detected; nothing is matched again."""
    rows = ("image", "box_index", "boxes", "score", "level", "cell", "matched_truth", "iou")
    kept = {
        name: getattr(table, name)[~dropped]
        for name in (*rows, "true_positive", "hit_bits", "ignored")
    }
    features = table.features[~dropped[table.score >= FEATURE_MIN_SCORE]]
    return replace(table, features=features, **kept)
