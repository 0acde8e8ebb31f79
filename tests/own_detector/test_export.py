"""A split that is written and read again is the table that it was written from."""

from pathlib import Path

import numpy as np
from helpers.own_detections import read

from ptl_sweep.detection.matching import IOU_THRESHOLDS, match_image
from ptl_sweep.detection.table import (
    DetectionTable,
    EvaluatedImage,
    ImageDetections,
    load_detections,
    stack_detections,
)
from ptl_sweep.own_detector.export import write_split
from ptl_sweep.own_detector.split import read_split
from ptl_sweep.own_detector.stored import store_split

COLUMNS = ("image", "box_index", "score", "matched_truth", "true_positive", "hit_bits", "ignored")


def a_table() -> DetectionTable:
    """Three images: one with detections in a region that does not count, one without any."""
    rng = np.random.default_rng(0)
    tables, images = [], []
    region = np.array([[50, 0, 100, 100]], dtype=np.float32)
    for number, num in enumerate((7, 0, 9)):
        corners = rng.uniform(0, 80, (num, 2)).astype(np.float32)
        size = np.array([13.3, 20.7], dtype=np.float32)
        boxes = np.concatenate([corners, corners + size], axis=1)
        scores = np.sort(rng.uniform(0.005, 0.03, num).astype(np.float32))[::-1]
        truths = boxes[1::3] + np.float32(1.7)
        match = match_image(boxes, scores, truths, region, IOU_THRESHOLDS)
        tables.append(
            ImageDetections(
                boxes=boxes, scores=scores, features=rng.normal(size=(num, 5)),
                levels=np.zeros(num, int), cells=np.zeros(num, int), truth=match.truth,
                iou=match.iou, ignored=match.ignored, truths=truths,
                truth_places=np.zeros((len(truths), 2), int),
                truth_anchor_iou=np.ones(len(truths)),
                truth_features=rng.normal(size=(len(truths), 5)),
            )
        )  # fmt: skip
        images.append(
            EvaluatedImage(f"{number}.jpg", "s", 100, 100, len(truths), num, capped=False)
        )
    return stack_detections(tables, images)


def test_a_split_that_is_written_and_read_again_is_the_same(tmp_path: Path) -> None:
    table = a_table()
    assert table.ignored.any()
    assert (table.ignored & table.true_positive).any()
    assert 0 < len(table.featured) < len(table.score)
    write_split(table, tmp_path / "quarry", {"tool": "test"})
    split = read_split(tmp_path / "quarry", None)
    store_split(split, tmp_path / "stored")
    again = load_detections(tmp_path / "stored")
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name), err_msg=name)
    np.testing.assert_allclose(again.boxes, table.boxes, rtol=1e-6)
    np.testing.assert_array_equal(again.features, table.features)
    assert again.features.dtype == np.float16
    np.testing.assert_array_equal(again.truths.features, table.truths.features)
    assert again.images == table.images
    marks = [one.get("ignored", False) for one in read(tmp_path / "quarry" / "results.json")]
    assert marks == table.ignored.tolist()
