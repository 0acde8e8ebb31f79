"""Average precision against pycocotools, and ranking."""

import contextlib
import io
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray

from ptl_sweep.detection.matching import IOU_THRESHOLDS, match_image
from ptl_sweep.metrics.average_precision import average_precision, precision_recall, ranking

MAX_DETECTIONS = 500


class Case(NamedTuple):
    """Ground truths and detections (boxes, scores) per image."""

    truths: list[ndarray]
    boxes: list[ndarray]
    scores: list[ndarray]


def random_case(rng: np.random.Generator, num_images: int, most: int) -> Case:
    """Quarter-pixel boxes, so that widths are exact; few distinct scores, so that ties occur."""
    truths, boxes, scores = [], [], []
    for _ in range(num_images):
        corner = rng.integers(0, 400, (rng.integers(0, 12), 2)) / 4
        truth = np.concatenate([corner, corner + rng.integers(8, 80, corner.shape) / 4], 1)
        near = truth[rng.integers(0, len(truth), rng.integers(0, most))] if len(truth) else truth
        near = near + rng.integers(-4, 5, near.shape) / 4
        far = rng.integers(0, 400, (rng.integers(0, most), 2)) / 4
        far = np.concatenate([far, far + rng.integers(8, 80, far.shape) / 4], 1)
        found = np.concatenate([near, far])
        truths.append(truth)
        boxes.append(found)
        scores.append(rng.integers(1, 40, len(found)) / 64)
    return Case(truths, boxes, scores)


def annotation(image: int, box: ndarray, **extra: float) -> dict[str, object]:
    xywh = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    return {"image_id": image, "category_id": 1, "bbox": [float(v) for v in xywh], **extra}


def of_pycocotools(case: Case) -> ndarray:
    """AP per IoU threshold, any size, 500 detections per image."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truths = [(i, box) for i, boxes in enumerate(case.truths) for box in boxes]
    found = [
        annotation(i, box, score=float(score))
        for i, pairs in enumerate(zip(case.boxes, case.scores, strict=True))
        for box, score in zip(*pairs, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(case.truths))],
            "categories": [{"id": 1}],
            "annotations": [
                annotation(i, box, id=n + 1, iscrowd=0, area=1.0)
                for n, (i, box) in enumerate(truths)
            ],
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), "bbox")
        evaluation.params.maxDets = [1, 10, MAX_DETECTIONS]
        evaluation.params.areaRng = [[0, 1e10]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation.eval["precision"][:, :, 0, 0, -1].mean(1)


def of_ours(case: Case) -> ndarray:
    """The same, by matching every image and ranking all detections by score."""
    hits, scores, images, places = [], [], [], []
    for image, (truth, boxes, score) in enumerate(zip(*case, strict=True)):
        best = np.argsort(-score, kind="stable")[:MAX_DETECTIONS]
        match = match_image(boxes[best], score[best], truth, np.zeros((0, 4)), IOU_THRESHOLDS)
        hits.append(match.truth >= 0)
        scores.append(score[best])
        images.append(np.full(len(best), image))
        places.append(np.arange(len(best)))
    score = np.concatenate(scores)
    order = ranking(-score, score, np.concatenate(images), np.concatenate(places))
    hit = np.concatenate(hits, 1)[:, order]
    return np.array([average_precision(row, sum(map(len, case.truths))) for row in hit])


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), num_images=st.integers(1, 8))
def test_average_precision_agrees_with_pycocotools(seed: int, num_images: int) -> None:
    case = random_case(np.random.default_rng(seed), num_images, most=25)
    if any(map(len, case.truths)) and any(map(len, case.boxes)):
        np.testing.assert_allclose(of_ours(case), of_pycocotools(case), rtol=0, atol=1e-9)


def test_average_precision_agrees_with_pycocotools_above_500_detections() -> None:
    case = random_case(np.random.default_rng(3), 5, most=450)
    assert max(map(len, case.boxes)) > MAX_DETECTIONS
    np.testing.assert_allclose(of_ours(case), of_pycocotools(case), rtol=0, atol=1e-9)


def test_average_precision_of_known_lists() -> None:
    assert average_precision(np.array([True, True]), 2) == 1.0
    assert average_precision(np.array([False, True]), 1) == 0.5
    assert average_precision(np.array([True, False]), 2) == pytest.approx(51 / 101)
    assert average_precision(np.zeros(0, dtype=bool), 3) == 0.0
    assert average_precision(np.zeros(2, dtype=bool), 3) == 0.0
    assert np.isnan(average_precision(np.zeros(2, dtype=bool), 0))


def test_precision_never_rises_with_recall() -> None:
    hits = np.random.default_rng(0).random(200) < 0.4
    curve = precision_recall(hits, 100)
    assert (np.diff(curve.precision) <= 0).all()
    assert (np.diff(curve.recall) >= 0).all()
    assert curve.recall[-1] == hits.sum() / 100


def test_ranking_breaks_ties_by_score_then_image_then_box() -> None:
    key = np.array([1.0, 0.0, 0.0, 0.0, 0.0, np.nan, np.inf])
    scores = np.array([0.9, 0.5, 0.7, 0.5, 0.5, 0.9, 0.9])
    image = np.array([0, 1, 1, 0, 0, 0, 0])
    box = np.array([0, 0, 1, 2, 1, 3, 4])
    assert ranking(key, scores, image, box).tolist() == [2, 4, 3, 1, 0, 6, 5]
