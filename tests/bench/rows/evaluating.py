"""AP of random detections, against the COCO evaluators; and the bootstrap over test images."""

import contextlib
import io
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from case import Case, Setting
from rows.making import random_boxes

from ptl_sweep.detection.matching import IOU_THRESHOLDS, match_image
from ptl_sweep.metrics.average_precision import average_precision, ranking
from ptl_sweep.metrics.bootstrap import RankedHits, block_weights, resampled_ap

MAX_DETECTIONS = 100
NUM_TRUTHS = 40


def ap(setting: Setting) -> Case:
    """Matching and AP@[.5:.95]; every evaluator is given its own form of the same boxes."""
    data = Evaluation(setting.choose(small=10, cpu=1000))
    peers = {"pycocotools": data.pycocotools}
    if find_spec("faster_coco_eval") is not None:
        peers["faster-coco-eval"] = data.faster_coco_eval
    return Case(
        what=f"AP@[.5:.95] of {len(data.truths):,} images, {MAX_DETECTIONS} detections each",
        ours=data.ours,
        peers=peers,
        agree=lambda ours, theirs: np.testing.assert_allclose(ours, theirs, atol=1e-6),
        turns=3,
        needs=("pycocotools", "faster-coco-eval"),
    )


class Evaluation:
    """Random detections of random persons, in the form that each evaluator reads."""

    def __init__(self, num_images: int) -> None:
        rng = np.random.default_rng(0)
        self.truths, self.boxes, self.scores = [], [], []
        for _ in range(num_images):
            truths = random_boxes(rng, NUM_TRUTHS, 1344, 800)
            found = truths[: NUM_TRUTHS * 4 // 5]
            found = found + rng.normal(0, 2, found.shape).astype(np.float32)
            false = random_boxes(rng, MAX_DETECTIONS - len(found), 1344, 800)
            self.truths.append(truths)
            self.boxes.append(np.concatenate([found, false]))
            scores = [rng.beta(4, 2, len(found)), rng.beta(2, 5, len(false))]
            self.scores.append(np.concatenate(scores))
        self.dataset, self.results = self._coco_dataset(), self._coco_results()

    def ours(self) -> float:
        """AP@[.5:.95] of our matcher."""
        none = np.zeros((0, 4), np.float32)
        matches = [
            match_image(boxes, scores, truths, none, IOU_THRESHOLDS)
            for boxes, scores, truths in zip(self.boxes, self.scores, self.truths, strict=True)
        ]
        hits = np.concatenate([match.truth >= 0 for match in matches], axis=1)
        scores = np.concatenate(self.scores)
        counts = [len(boxes) for boxes in self.boxes]
        image = np.repeat(np.arange(len(counts)), counts)
        index = np.concatenate([np.arange(count) for count in counts])
        order = ranking(-scores, scores, image, index)
        num_truths = sum(len(truths) for truths in self.truths)
        return float(np.mean([average_precision(hit[order], num_truths) for hit in hits]))

    def pycocotools(self) -> float:
        """The same by pycocotools, one area range."""
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        return self._evaluated(COCO, COCOeval)

    def faster_coco_eval(self) -> float:
        """The same by faster-coco-eval, whose matching is in C++."""
        from faster_coco_eval import COCO, COCOeval_faster

        return self._evaluated(COCO, COCOeval_faster)

    def _evaluated(self, coco: Callable[[], Any], evaluator: Callable[..., Any]) -> float:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = coco()
            truth.dataset = self.dataset
            truth.createIndex()
            evaluation = evaluator(truth, truth.loadRes(self.results), "bbox")
            evaluation.params.maxDets = [1, 10, MAX_DETECTIONS]
            evaluation.params.areaRng = [[0, 1e10]]
            evaluation.params.areaRngLbl = ["all"]
            evaluation.evaluate()
            evaluation.accumulate()
        return float(evaluation.eval["precision"][:, :, 0, 0, -1].mean())

    def _coco_dataset(self) -> dict[str, Any]:
        boxes = [(image, box) for image, truths in enumerate(self.truths) for box in _xywh(truths)]
        annotations = [
            {"id": number, "image_id": image, "category_id": 1, "bbox": box, "iscrowd": 0}
            | {"area": box[2] * box[3]}
            for number, (image, box) in enumerate(boxes, start=1)
        ]
        images = [{"id": image} for image in range(len(self.truths))]
        categories = [{"id": 1, "name": "person"}]
        return {"images": images, "annotations": annotations, "categories": categories, "info": {}}

    def _coco_results(self) -> list[dict[str, Any]]:
        return [
            {"image_id": image, "category_id": 1, "bbox": box, "score": float(score)}
            for image, (boxes, scores) in enumerate(zip(self.boxes, self.scores, strict=True))
            for box, score in zip(_xywh(boxes), scores, strict=True)
        ]


def _xywh(boxes: np.ndarray) -> list[list[float]]:
    exact = boxes.astype(np.float64)
    return np.concatenate([exact[:, :2], exact[:, 2:] - exact[:, :2]], axis=1).tolist()


def bootstrap(setting: Setting) -> Case:
    """1,000 resamples of the test images for the AP difference of two detectors."""
    num_images, per_image = setting.choose(small=(20, 10), cpu=(2000, 100))
    rng = np.random.default_rng(0)
    image = np.repeat(np.arange(num_images), per_image)
    truths = np.full(num_images, 15)
    weights = block_weights(np.arange(num_images), 1000, rng)
    detectors = []
    for _ in range(2):
        order = rng.permutation(len(image))
        detectors.append(RankedHits(rng.random(len(image)) < 0.1, image[order]))

    def difference() -> np.ndarray:
        first, second = (resampled_ap(ranked, truths, weights) for ranked in detectors)
        return first - second

    num = num_images * per_image
    what = f"1,000 resamples of {num_images:,} images, 2 x {num:,} detections"
    return Case(what=what, ours=difference, turns=1)
