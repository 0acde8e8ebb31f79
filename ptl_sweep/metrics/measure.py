"""Everything that the reducer wants to know of one detector on its targets, from files alone.

A detector is measured on all its targets at once, so that its Gaussians are fitted once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.config.analysis import AnalysisConfig
from ptl_sweep.detection.table import FEATURE_MIN_SCORE, DetectionTable, load_detections
from ptl_sweep.distance.diagnostics import diagnose
from ptl_sweep.distance.gaussian import GaussianRefusal, StoredFeatures
from ptl_sweep.distance.other_distances import OtherDistances, fit_others
from ptl_sweep.distance.relative import RelativeDistance, fit_relative
from ptl_sweep.distance.train2test import (
    DistanceHistogram,
    DistanceSummary,
    Measures,
    distance_histogram,
    fit_measures,
    spread_rows,
    summarise_distances,
)
from ptl_sweep.metrics.ap_t2t import curve_rows
from ptl_sweep.metrics.ap_t2t_columns import ap_t2t_columns
from ptl_sweep.metrics.bootstrap import Replicates
from ptl_sweep.metrics.error_costs import error_rows, missed_rows, repair
from ptl_sweep.metrics.false_positives import (
    false_positive_rows,
    false_positive_types,
    sheet_rows,
)
from ptl_sweep.metrics.reliability import UNKNOWN, reliability
from ptl_sweep.metrics.replicates import cell_replicates
from ptl_sweep.vocabulary import DISTANCES, FALSE_POSITIVE_TYPES, VARIANTS, Value

ERRORS_PER_SHEET = 4  # false positives of one cell that are cut out, per group

Rows = list[dict[str, Value]]


class Evaluation(NamedTuple):
    """One detector on one target."""

    key: str  # of the evaluate stage
    folder: Path
    is_final: bool  # the last iteration of some cell: the tables of a cell are wanted as well
    seed: int  # of the resampling of this target's images, the same for every detector


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorJob:
    """What is read of one detector, and how it is measured."""

    key: str  # of the train or ptl stage
    training_features: Path
    validation: Path | None  # evaluate stage on what the source holds back
    evaluations: tuple[Evaluation, ...]
    settings: AnalysisConfig
    score_thresholds: tuple[float, ...]
    equal_n: int | None  # features of every compared detector; None: this one has fewer
    seed: int  # of subsets and random orders, the same for every detector
    num_real: int | None = None  # the first training images, which are real; None: all of them


class _Distances(NamedTuple):
    """By what the detections and persons of a detector are measured."""

    measures: Measures
    relative: RelativeDistance
    others: OtherDistances


class ErrorBox(NamedTuple):
    """A false positive worth a look."""

    group: str  # most confident | nearest
    image_id: str
    box: tuple[float, float, float, float]  # xyxy pixels of the stored image
    score: float
    distance: float  # shrunk, squared; NaN when there is none
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellMetrics:
    """What the analysis knows of one detector on one target; rows lack the columns of the cell."""

    columns: dict[str, Value]  # of results.csv
    reasons: tuple[str, ...]  # why a column is NaN
    warnings: tuple[str, ...]
    histogram: DistanceHistogram  # of the shrunk distance; empty when there is no Gaussian
    spreads: Rows
    false_positives: Rows
    errors: Rows
    missed_persons: Rows
    curves: Rows
    boxes: tuple[ErrorBox, ...]
    replicates: Replicates | None  # None for iterations that are no cell's last


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorMetrics:
    """One detector: its Gaussians, and its cells by key of the evaluate stage."""

    key: str
    gaussian: dict[str, Value]  # columns of schemas.GAUSSIANS from `n` on
    cells: dict[str, CellMetrics]


def measure_detector(job: DetectorJob) -> DetectorMetrics:
    """Fit the distances of a detector, then measure it on each of its targets.

    Features are read from the files block by block.
    Raises: OSError, ValueError for files that are damaged.
    """
    training = read_training_features(job.training_features)
    held_out = None if job.validation is None else load_detections(job.validation)
    validation = None if held_out is None else _true_positives(held_out)
    fits = _fit_distances(job, training, held_out, validation)
    scores = UNKNOWN if held_out is None else reliability(held_out, job.score_thresholds[1])
    return DetectorMetrics(
        key=job.key,
        gaussian=diagnose(fits.measures, training, validation)
        | fits.relative.columns()
        | scores.columns(),
        cells={
            evaluation.key: _measure_cell(job, evaluation, fits) for evaluation in job.evaluations
        },
    )


def _fit_distances(
    job: DetectorJob,
    training: StoredFeatures,
    held_out: DetectionTable | None,
    validation: Float[ndarray, "m d"] | None,
) -> _Distances:
    measures = fit_measures(
        training,
        job.settings,
        equal_n=job.equal_n,
        validation=validation,
        rng=np.random.default_rng([job.seed, 0]),
    )
    relative = fit_relative(
        training,
        job.settings,
        validation=None if held_out is None else held_out.truths.features,
        rng=np.random.default_rng([job.seed, 2]),
    )
    others = fit_others(
        training,
        measures.shrunk,
        held_out,
        shrinkage=job.settings.shrinkage,
        num_real=job.num_real,
    )
    return _Distances(measures, relative, others)


def read_training_features(path: Path) -> StoredFeatures:
    """The training features that a train or ptl stage has published."""
    with np.load(path) as stored:
        return StoredFeatures(stored["features"], stored["images"])


def _true_positives(table: DetectionTable) -> Float[ndarray, "m d"]:
    """Features of the true positives that have one."""
    found: Float[ndarray, "m d"] = table.features[table.true_positive[table.featured]]
    return found.astype(np.float32)


def _measure_cell(job: DetectorJob, evaluation: Evaluation, fits: _Distances) -> CellMetrics:
    measures, relative, others = fits
    table = load_detections(evaluation.folder)
    thresholds, rule = job.score_thresholds, job.settings.ap_t2t
    distances, persons = measures.distances(table.features), relative.of(table)
    repairs = repair(table)
    shrunk = distances["shrunk"]
    summaries = {name: summarise_distances(table, distances[name]) for name in VARIANTS}
    by_distance = ap_t2t_columns(
        table, distances, thresholds, rule, np.random.default_rng([job.seed, 1])
    )
    final = evaluation.is_final
    return CellMetrics(
        columns={
            "num_ground_truth": table.num_truths,
            "num_detections": len(table.score),
            **by_distance.columns,
            **_distance_columns(summaries),
            **_gaussian_columns(measures),
            "t2t_auroc": summaries["shrunk"].auroc,
            **persons.means(),
            **others.means(table),
        },
        reasons=(
            *_reasons(table, summaries["shrunk"]),
            *by_distance.reasons,
            *measures.reasons,
            *relative.reasons(),
            *others.reasons(),
        ),
        warnings=by_distance.warnings,
        histogram=distance_histogram(table, shrunk, thresholds),
        spreads=_spreads(table, distances, measures, thresholds) if final else [],
        false_positives=false_positive_rows(table, shrunk, thresholds) if final else [],
        errors=error_rows(table, repairs) if final else [],
        missed_persons=missed_rows(table, repairs, persons.relative) if final else [],
        curves=curve_rows(table, shrunk, thresholds) if final else [],
        boxes=_error_boxes(table, shrunk, thresholds[0]) if final else (),
        replicates=cell_replicates(table, shrunk, job.settings, thresholds, evaluation.seed)
        if final
        else None,
    )


def _spreads(
    table: DetectionTable,
    distances: Mapping[str, Float[ndarray, " n_f"]],
    measures: Measures,
    thresholds: Sequence[float],
) -> Rows:
    truths = measures.distances(table.truths.features)
    return spread_rows(table, distances, truths, thresholds)


def _distance_columns(summaries: Mapping[str, DistanceSummary]) -> dict[str, Value]:
    columns: dict[str, Value] = {}
    for variant, found in summaries.items():
        spreads = {"tp": found.true_positive, "fp": found.false_positive}
        for one in DISTANCES:
            value: float = getattr(spreads[one.kind], one.statistic)
            columns[one._replace(variant=variant).name] = value
    return columns


def _gaussian_columns(measures: Measures) -> dict[str, Value]:
    fit = measures.shrunk
    rank = np.nan if isinstance(fit, GaussianRefusal) else fit.rank
    return {"gaussian_n": fit.n, "gaussian_rank": rank}


def _reasons(table: DetectionTable, summary: DistanceSummary) -> Iterator[str]:
    """Why a target leaves columns without a number."""
    if table.num_truths == 0:
        yield "no ground truth in the target, so no AP"
    for spread, kind in ((summary.true_positive, "true"), (summary.false_positive, "false")):
        if spread.num == 0:
            yield f"no {kind} positive with score >= {FEATURE_MIN_SCORE}"


def _error_boxes(
    table: DetectionTable, distance: Float[ndarray, " n_f"], min_score: float
) -> tuple[ErrorBox, ...]:
    types = false_positive_types(table)
    every = np.full(len(table.score), np.nan)
    every[table.featured] = distance
    groups = sheet_rows(table, distance, ERRORS_PER_SHEET, min_score=min_score)
    return tuple(
        ErrorBox(
            group,
            table.images[table.image[row]].image_id,
            tuple(table.boxes[row].tolist()),
            float(table.score[row]),
            float(every[row]),
            FALSE_POSITIVE_TYPES[types[row]],
        )
        for group, rows in groups.items()
        for row in rows
    )
