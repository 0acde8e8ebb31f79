"""A detector of a sweep in the format that any detector is measured from."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ptl_sweep import __version__
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.detection.table import ARTIFACTS, DetectionTable, load_detections
from ptl_sweep.metrics.measure import read_training_features
from ptl_sweep.own_detector.layout import (
    ABOUT,
    FEATURES,
    SELECTED,
    TRAIN,
    TRUTH_FEATURES,
    VALIDATION,
)
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.predict.document import GROUND_TRUTH, RESULTS, ground_truth, scored_boxes
from ptl_sweep.predict.folder import replaced_folder
from ptl_sweep.stages.train import FEATURES as TRAINING_FEATURES
from ptl_sweep.stages.train import num_real_images


def export_detections(plan: Plan, detector: str, folder: Path) -> list[str]:
    """Write what a detector found on validation and on each target, and its training features.

    Returns the names of the splits. Features are float16, as a stage stores them; those of the
    training detections are float32, and already selected.
    Raises: ConfigError where nothing is evaluated yet or the folder holds something, StoreError
    for a damaged file, OSError.
    """
    stages = dict(_evaluations(plan, detector))
    if not {*stages} - {VALIDATION}:
        raise ConfigError(
            f"{detector} was not evaluated on any target yet\n"
            "  fix: run the sweep's command again; `status` shows how far it is"
        )
    info = _about(plan, detector, stages)
    with replaced_folder(folder, info) as work:
        (work / TRAIN).mkdir()
        stored = read_training_features(plan.store.artifact(detector, TRAINING_FEATURES))
        num_real = num_real_images(plan.store, detector)
        np.savez(work / TRAIN / SELECTED, **stored._asdict(), num_real=num_real)
        for name, key in stages.items():
            for artifact in ARTIFACTS:
                plan.store.artifact(key, artifact)  # checked
            write_split(load_detections(plan.store.path(key)), work / name, info)
        (work / ABOUT).write_text(json.dumps(info, indent=1))
    return [TRAIN, *stages]


def _about(plan: Plan, detector: str, stages: Mapping[str, str]) -> dict[str, Any]:
    """Where an export is from, and how its sweep measures it."""
    return {
        "tool": "ptl_sweep export-detections",
        "version": __version__,
        "stage": detector,
        "folder": str(plan.folder.resolve()),
        "splits": dict(stages),
        "analysis": asdict(plan.settings.analysis),
        "score_thresholds": list(plan.settings.score_thresholds),
    }


def _evaluations(plan: Plan, detector: str) -> Iterator[tuple[str, str]]:
    """Published evaluations of a detector by the name of their split, validation first.

    A target that was evaluated in several ways has the key of the stage in its later names.
    """
    readings = [
        (cell.id.target, reading)
        for cell in plan.cells
        for reading in cell.readings
        if reading.detector == detector
    ]
    held_out = next((reading.validation for _, reading in readings if reading.validation), None)
    if held_out is not None and plan.store.is_published(held_out):
        yield VALIDATION, held_out
    taken: dict[str, str] = {TRAIN: "", VALIDATION: ""}
    for target, reading in readings:
        key = reading.evaluate
        if key not in taken.values() and plan.store.is_published(key):
            name = target if target not in taken else f"{target}-{key}"
            taken[name] = key
            yield name, key


def write_split(table: DetectionTable, folder: Path, info: Mapping[str, Any]) -> None:
    """Write one split: ground truths, every detection, and a feature for each of both.

    A detection below the score from which features are kept has a row of NaN. One in a region that
    does not count is marked `ignored`.
    """
    folder.mkdir()
    document = ground_truth(table, info)
    for entry, image in zip(document["images"], table.images, strict=True):
        entry["scene"] = image.scene
    (folder / GROUND_TRUTH).write_text(json.dumps(document))
    results = []
    for number in range(table.num_images):
        rows = np.flatnonzero(table.image == number)
        found = scored_boxes(number + 1, table.boxes[rows], table.score[rows])
        marks = table.ignored[rows].tolist()
        results += [
            one | ({"ignored": True} if mark else {})
            for one, mark in zip(found, marks, strict=True)
        ]
    (folder / RESULTS).write_text(json.dumps(results))
    features = np.full((len(table.score), table.features.shape[1]), np.nan, table.features.dtype)
    features[table.featured] = table.features
    np.save(folder / f"{FEATURES}.npy", features)
    np.save(folder / f"{TRUTH_FEATURES}.npy", table.truths.features)
