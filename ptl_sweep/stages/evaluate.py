"""The three stages: train on real pictures, one PTL iteration, evaluate on one target."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.datasets.subsets import real_subset
from ptl_sweep.detection.inference import detect_and_probe_records
from ptl_sweep.detection.matching import IOU_THRESHOLDS, ImageMatch, match_image
from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.retinanet import Detections, Probes
from ptl_sweep.detection.table import (
    DetectionTable,
    EvaluatedImage,
    ImageDetections,
    save_detections,
    stack_detections,
)
from ptl_sweep.detection.training import Interrupted
from ptl_sweep.metrics.average_precision import average_precision
from ptl_sweep.stages import wandb_media
from ptl_sweep.stages.context import Workspace
from ptl_sweep.stages.detector import FEATURES, MODEL, Summary, fit_detector, load_detector
from ptl_sweep.stages.ptl import run_ptl
from ptl_sweep.stages.training_set import TrainingSet


def run_train(work: Workspace) -> Summary:
    """Detector of t = 0: a nested subset of real pictures."""
    spec = work.stage.spec["dataset"]
    source = work.read_split(work.config.dataset, spec)
    real = real_subset(source.records, work.config.real_count, work.config.seed)
    return fit_detector(work, TrainingSet(tuple(real))).summary


def run_evaluate(work: Workspace) -> Summary:
    """Detections of one detector on one target, matched; AP; features for the distances."""
    config = work.config
    wandb_media.use_model(work, MODEL)
    target = work.read_split(config.target, work.stage.spec["target"])
    found = detect_and_probe_records(
        load_detector(work),
        target.records,
        config.evaluate,
        cache=work.cache,
        view=View(work.resize, config.tiling),
    )
    images, tables, matches = [], [], []
    for record, (detections, probes) in zip(target.records, found, strict=True):
        if work.should_stop():
            raise Interrupted(f"stopped before image {record.image_id}; evaluation starts anew")
        match = _match(record, detections)
        matches.append(match)
        tables.append(_image_detections(record, detections, probes, match))
        images.append(_evaluated(record, detections, config.evaluate.max_detections))
    table = stack_detections(tables, images)
    save_detections(work.folder, table)
    metrics = average_precisions(table, matches)
    work.write_json("metrics.json", metrics)
    wandb_media.show_measures(work, table, FEATURES)
    wandb_media.show_found(work, table, target.records)
    return metrics


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


RUN: dict[str, Callable[[Workspace], Summary]] = {
    "train": run_train,
    "ptl": run_ptl,
    "evaluate": run_evaluate,
}
