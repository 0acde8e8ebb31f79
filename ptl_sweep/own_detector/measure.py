"""AP, train2test distance and AP_t2t of any detector, by the functions that measure a sweep's."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ptl_sweep.config.schema import AnalysisConfig, FeatureConfig
from ptl_sweep.datasets.validation import data_error
from ptl_sweep.distance.gaussian import GaussianRefusal, StoredFeatures, fit_gaussian
from ptl_sweep.metrics.bootstrap import Replicates, few_blocks_note, percentile_interval
from ptl_sweep.metrics.measure import CellMetrics, DetectorJob, Evaluation, measure_detector
from ptl_sweep.own_detector.layout import TRUTH_FEATURES, VALIDATION, find_splits
from ptl_sweep.own_detector.split import Split, read_split
from ptl_sweep.own_detector.stored import has_truth_features, store_split
from ptl_sweep.own_detector.training import num_real_of, training_features
from ptl_sweep.seeds import derive_seed
from ptl_sweep.stages.base import Summary
from ptl_sweep.stages.train import FEATURES
from ptl_sweep.vocabulary import ApT2t, Value, bounded

Rows = list[dict[str, Value]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOrder:
    """How detections are measured; the defaults are those of a sweep."""

    analysis: AnalysisConfig
    features: FeatureConfig  # which training detections the Gaussian is fitted to
    score_thresholds: tuple[float, ...]  # s of AP_t2t, rising
    category: str | None = None  # which is measured; None: the only one, or `person`
    equal_n: int | None = None  # training features of the equal_n distance; None: all there are


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of one detector."""

    training: str  # which features its Gaussian is fitted to, in words
    gaussian: dict[str, Value]  # columns of gaussians.csv from `n` on
    targets: Rows  # one for each target: columns of results.csv, and bounds over test images


class _Stored(NamedTuple):
    """A split as a stage would leave it."""

    split: Split
    folder: Path
    metrics: Summary  # AP


def measure_folder(folder: Path, order: MeasureOrder) -> Measured:
    """Measure the detector whose detections a folder holds, on each of its targets.

    Raises: ConfigError, DataError for what cannot be measured.
    """
    splits = find_splits(folder)
    training, what = training_features(splits.train, order.features, order.category)
    _require_gaussian(training, what, order, splits.train)
    with tempfile.TemporaryDirectory(prefix="ptl-sweep-") as name:
        work = Path(name)
        np.savez(work / FEATURES, **training._asdict())
        held_out = None
        if splits.validation is not None:
            split = read_split(splits.validation, order.category)
            held_out = _store(split, work / VALIDATION, training).folder
        targets = [
            _store(_target(path, order.category), work / "targets" / path.name, training)
            for path in splits.targets
        ]
        job = _job(work / FEATURES, held_out, targets, order)
        found = measure_detector(replace(job, num_real=num_real_of(splits.train)))
    rows = [
        _row(one, found.cells[one.folder.name], order, _lacking(splits.validation, one.split))
        for one in targets
    ]
    return Measured(training=what, gaussian=found.gaussian, targets=rows)


def _job(
    training: Path, validation: Path | None, targets: Sequence[_Stored], order: MeasureOrder
) -> DetectorJob:
    """What the reducer would ask of these files if a sweep had written them."""
    with np.load(training) as stored:
        num = len(stored["images"])
    return DetectorJob(
        key="own",
        training_features=training,
        validation=validation,
        evaluations=tuple(map(_evaluation, targets)),
        settings=order.analysis,
        score_thresholds=order.score_thresholds,
        equal_n=None if num < order.analysis.equal_n_min else order.equal_n or num,
        seed=derive_seed(0, "analysis"),
    )


def _require_gaussian(
    training: StoredFeatures, what: str, order: MeasureOrder, folder: Path
) -> None:
    """Refuse training features without a shrunk Gaussian. Raises: DataError."""
    fit = fit_gaussian(training.features, order.analysis.shrinkage)
    if isinstance(fit, GaussianRefusal):
        raise data_error(
            folder,
            f"gives no Gaussian: {fit.reason}; {what}",
            "export more training images, or lower gaussian.min_score=... or gaussian.min_iou=...",
        )


def _target(folder: Path, category: str | None) -> Split:
    """Read a target. Raises: DataError for one without ground truth."""
    split = read_split(folder, category)
    if split.num_truths == 0:
        raise data_error(
            folder,
            f"none of {split.num_annotations} annotations is a ground truth of category "
            f"{split.category}, so there is no AP",
            "name the category with --category, or move the folder away",
        )
    return split


def _store(split: Split, folder: Path, training: StoredFeatures) -> _Stored:
    """Write a split as a stage does. Raises: DataError for features of another detector."""
    metrics = store_split(split, folder)
    num = np.load(folder / "features.npy", mmap_mode="r").shape[1]
    wanted = training.features.shape[1]
    if num != wanted:
        raise data_error(
            split.folder,
            f"its features have {num} channels, those of training have {wanted}",
            "export all splits with one detector",
        )
    return _Stored(split, folder, metrics)


def _evaluation(target: _Stored) -> Evaluation:
    """One target; equal images are resampled alike, whatever the detector and their order."""
    seed = derive_seed(0, "bootstrap", sorted(image.image_id for image in target.split.images))
    return Evaluation(target.folder.name, target.folder, is_final=True, seed=seed)


def _lacking(validation: Path | None, target: Split) -> list[str]:
    """Splits without features of the ground truths, by name."""
    needed = [path for path in (validation, target.folder) if path is not None]
    return [path.name for path in needed if not has_truth_features(path)]


def _row(
    target: _Stored, cell: CellMetrics, order: MeasureOrder, lacking: Sequence[str]
) -> dict[str, Value]:
    assert cell.replicates is not None  # every target is final
    return {
        "target": target.folder.name,
        "num_images": len(target.split.images),
        "num_blocks": cell.replicates.num_blocks,
        "AP50": target.metrics["AP50"],
        "AP": target.metrics["AP"],
        **cell.columns,
        **_bounds(cell.replicates, order.score_thresholds),
        "reason": "; ".join(_reasons(cell, cell.replicates.num_blocks, lacking)) or None,
    }


def _bounds(replicates: Replicates, thresholds: tuple[float, ...]) -> dict[str, Value]:
    """95 % over test images, or scenes, of what a sweep resamples: AP50 and AP_t2t."""
    resampled = {"AP50": replicates.AP50}
    resampled |= {
        ApT2t(score).name: values
        for score, values in zip(thresholds, replicates.AP_t2t, strict=True)
    }
    columns: dict[str, Value] = {}
    for name, values in resampled.items():
        columns |= dict(zip(bounded(name)[1:], percentile_interval(values), strict=True))
    return columns


def _reasons(cell: CellMetrics, num_blocks: int, lacking: Sequence[str]) -> Iterator[str]:
    """Why a column is empty, and what to know of the intervals."""
    for reason in cell.reasons:
        if not (lacking and reason.startswith("no relative distances")):
            yield reason
    if lacking:
        yield f"no relative distances: no {TRUTH_FEATURES}.npy in {' and '.join(lacking)}"
    if note := few_blocks_note(num_blocks):
        yield note
