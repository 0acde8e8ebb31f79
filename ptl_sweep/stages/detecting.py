"""A detector run over a target: detections matched, with their features, and AP."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch

from ptl_sweep.config.schema import InferenceConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord, ImageSet
from ptl_sweep.detection.detector import Detections, Detector, Probes
from ptl_sweep.detection.inference import detect_and_probe_records
from ptl_sweep.detection.matching import IOU_THRESHOLDS, ImageMatch, match_image
from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.table import (
    DetectionTable,
    EvaluatedImage,
    ImageDetections,
    stack_detections,
)
from ptl_sweep.detection.training import Interrupted, never
from ptl_sweep.metrics.average_precision import average_precision
from ptl_sweep.stages.base import Summary
from ptl_sweep.stages.context import StageContext
from ptl_sweep.stages.evaluate import EvaluateStage
from ptl_sweep.stages.fitting import load_detector, view_of


class Detected(NamedTuple):
    """What was found on a target."""

    table: DetectionTable
    metrics: Summary


def detect_target(stage: EvaluateStage, ctx: StageContext, target: ImageSet) -> Detected:
    """Detect, match and score every image of a target. Raises: Interrupted."""
    return detect_images(
        load_detector(stage.detector, ctx),
        target.records,
        stage.inference,
        cache=ctx.cache,
        view=view_of(stage.detector, stage.inference),
        should_stop=ctx.should_stop,
    )


def detect_images(
    detector: Detector,
    records: Sequence[ImageRecord],
    inference: InferenceConfig,
    *,
    cache: ImageCache,
    view: View,
    should_stop: Callable[[], bool] = never,
) -> Detected:
    """Detect, match and score labelled images. Raises: Interrupted, DataError."""
    found = detect_and_probe_records(detector, records, inference, cache=cache, view=view)
    images, tables, matches = [], [], []
    for record, (detections, probes) in zip(records, found, strict=True):
        if should_stop():
            raise Interrupted(f"stopped before image {record.image_id}; evaluation starts anew")
        match = _match(record, detections)
        matches.append(match)
        tables.append(_image_detections(record, detections, probes, match))
        images.append(_evaluated(record, detections, inference.max_detections))
    table = stack_detections(tables, images)
    return Detected(table, average_precisions(table, matches))


def average_precisions(table: DetectionTable, matches: Sequence[ImageMatch]) -> Summary:
    """AP at IoU 0.5 and over 0.5:0.05:0.95, with counts."""
    order = np.lexsort((table.box_index, table.image, -table.score))
    hits = np.concatenate([match.truth >= 0 for match in matches], axis=1)[:, order]
    ignored = table.ignored[order]
    by_threshold = [average_precision(hit[hit | ~ignored], table.num_truths) for hit in hits]
    return {
        "AP50": by_threshold[0],
        "AP": float(np.mean(by_threshold)),
        "num_ground_truth": table.num_truths,
        "num_detections": len(table.score),
        "num_capped_images": sum(image.capped for image in table.images),
    }


def _match(record: ImageRecord, detections: Detections) -> ImageMatch:
    return match_image(
        detections.boxes.numpy(),
        detections.scores.numpy(),
        record.boxes,
        record.ignored,
        IOU_THRESHOLDS,
    )


def _image_detections(
    record: ImageRecord, detections: Detections, probes: Probes, match: ImageMatch
) -> ImageDetections:
    return ImageDetections(
        boxes=detections.boxes.numpy(),
        scores=detections.scores.numpy(),
        features=detections.features.numpy(),
        levels=detections.levels.numpy(),
        cells=detections.cells.numpy(),
        truth=match.truth,
        iou=match.iou,
        ignored=match.ignored,
        truths=record.boxes,
        truth_places=torch.stack([probes.levels, probes.cells], dim=1).numpy(),
        truth_anchor_iou=probes.iou.numpy(),
        truth_features=probes.features.numpy(),
    )


def _evaluated(record: ImageRecord, detections: Detections, cap: int) -> EvaluatedImage:
    return EvaluatedImage(
        image_id=record.image_id,
        scene=record.scene,
        width=record.width,
        height=record.height,
        num_truths=len(record.boxes),
        num_detections=len(detections.scores),
        capped=len(detections.scores) >= cap,
    )
