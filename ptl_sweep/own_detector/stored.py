"""Any detector's detections on a split, written as an evaluate stage leaves those of a sweep."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.detection.matching import IOU_THRESHOLDS, ImageMatch, match_image
from ptl_sweep.detection.table import (
    FEATURE_MIN_SCORE,
    DetectionTable,
    EvaluatedImage,
    ImageDetections,
    save_detections,
    stack_detections,
)
from ptl_sweep.own_detector.features import feature_file, read_features
from ptl_sweep.own_detector.layout import FEATURES, TRUTH_FEATURES
from ptl_sweep.own_detector.split import OwnImage, Split
from ptl_sweep.own_detector.training import DETECTIONS
from ptl_sweep.stages.base import Summary
from ptl_sweep.stages.detecting import average_precisions
from ptl_sweep.stages.evaluate import METRICS

ANNOTATIONS = "annotations of ground_truth.json"


def store_split(split: Split, folder: Path) -> Summary:
    """Match the detections of a split and write them with their features; returns its AP.

    Features keep the precision that they are given in. Without features of the ground truths these
    are NaN, and so is what is measured of them.
    Raises: DataError for features that cannot be used.
    """
    matches = [_match(image) for image in split.images]
    bare = [_detections(image, match) for image, match in zip(split.images, matches, strict=True)]
    table = _with_features(stack_detections(bare, [_evaluated(i) for i in split.images]), split)
    folder.mkdir(parents=True)
    save_detections(folder, table)
    metrics = average_precisions(table, matches)
    (folder / METRICS).write_text(json.dumps(metrics))
    return metrics


def has_truth_features(folder: Path) -> bool:
    """Whether a split has a feature for each ground truth."""
    return feature_file(folder, TRUTH_FEATURES) is not None


def _match(image: OwnImage) -> ImageMatch:
    boxes, regions = image.found.boxes, image.regions
    match = match_image(boxes, image.scores, image.truths.boxes, regions, IOU_THRESHOLDS)
    return match._replace(ignored=match.ignored | image.ignored)


def _with_features(table: DetectionTable, split: Split) -> DetectionTable:
    has_feature = split.scores >= FEATURE_MIN_SCORE
    features = read_features(split.folder, FEATURES, has_feature, DETECTIONS)
    rows = np.concatenate([image.found.rows for image in split.images])[table.featured]
    truths = replace(table.truths, features=_truth_features(split, features.shape[1]))
    return replace(table, features=np.array(features[rows]), truths=truths)


def _truth_features(split: Split, num_channels: int) -> Float[ndarray, "m d"]:
    if not has_truth_features(split.folder):
        return np.full((split.num_truths, num_channels), np.nan, dtype=np.float16)
    used = np.zeros(split.num_annotations, dtype=bool)
    used[split.truth_rows] = True
    features = read_features(split.folder, TRUTH_FEATURES, used, ANNOTATIONS)
    return np.array(features[split.truth_rows])


def _detections(image: OwnImage, match: ImageMatch) -> ImageDetections:
    """Everything but features, levels and cells, which another detector need not have."""
    num, num_truths = len(image.scores), len(image.truths.rows)
    return ImageDetections(
        boxes=image.found.boxes,
        scores=image.scores,
        features=np.zeros((num, 0)),
        levels=np.zeros(num, dtype=np.int64),
        cells=np.zeros(num, dtype=np.int64),
        truth=match.truth,
        iou=match.iou,
        ignored=match.ignored,
        truths=image.truths.boxes,
        truth_places=np.zeros((num_truths, 2), dtype=np.int64),
        truth_anchor_iou=np.zeros(num_truths),
        truth_features=np.zeros((num_truths, 0)),
    )


def _evaluated(image: OwnImage) -> EvaluatedImage:
    return EvaluatedImage(
        image_id=image.image_id,
        scene=image.scene,
        width=image.width,
        height=image.height,
        num_truths=len(image.truths.rows),
        num_detections=len(image.scores),
        capped=False,
    )
