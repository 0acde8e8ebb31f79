"""One detector on its targets, from files: each number is that of the function that defines it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptl_sweep.config.analysis import AnalysisConfig, ApT2tConfig
from ptl_sweep.detection.table import DetectionTable, save_detections
from ptl_sweep.distance.gaussian import fit_gaussian, squared_mahalanobis
from ptl_sweep.metrics.ap_t2t import ap_t2t
from ptl_sweep.metrics.average_precision import average_precision
from ptl_sweep.metrics.bootstrap import Replicates
from ptl_sweep.metrics.measure import DetectorJob, Evaluation, measure_detector
from ptl_sweep.study.schemas import (
    CURVES,
    ERRORS,
    FALSE_POSITIVES,
    GAUSSIANS,
    MISSED_PERSONS,
    TRAIN2TEST,
    results_schema,
)
from ptl_sweep.vocabulary import FALSE_POSITIVE_TYPES

THRESHOLDS = (0.01, 0.1, 0.5)
OF_THE_REDUCER = {
    "dataset", "real_count", "synthetic", "target", "seed", "iteration", "status", "reason",
    "num_train_images", "num_synthetic", "AP50", "AP", "train_key", "evaluate_key", "domain",
}  # fmt: skip
SETTINGS = AnalysisConfig(num_resamples=200, ap_t2t=ApT2tConfig(equal_counts=[10, 5, 1]))
MakeJob = Callable[..., DetectorJob]


def training_features(num: int = 120, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1.1, (num, 6)).astype(np.float32)


@pytest.fixture
def make_job(tmp_path: Path, random_table: DetectionTable) -> MakeJob:
    """A detector with files: `num` training features; one target, and the same as validation."""
    save_detections(tmp_path, random_table)

    def make(num: int = 120, settings: AnalysisConfig = SETTINGS, **changes: object) -> DetectorJob:
        features = tmp_path / f"features-{num}.npz"
        np.savez(features, features=training_features(num), images=np.arange(num) // 4)
        job = DetectorJob(
            key="train-x",
            training_features=features,
            validation=tmp_path,
            evaluations=(Evaluation("evaluate-x", tmp_path, True, 5),),
            settings=settings,
            score_thresholds=THRESHOLDS,
            equal_n=60,
            seed=3,
        )
        return replace(job, **changes)

    return make


def test_every_column_of_the_results_comes_from_somewhere(make_job: MakeJob) -> None:
    found = measure_detector(make_job())
    (cell,) = found.cells.values()
    assert set(cell.columns) | OF_THE_REDUCER == set(results_schema(THRESHOLDS, (10, 5, 1)))
    assert not set(cell.columns) & OF_THE_REDUCER
    assert tuple(found.gaussian) == tuple(GAUSSIANS)[6:]
    for rows, columns in (
        (cell.spreads, TRAIN2TEST),
        (cell.false_positives, FALSE_POSITIVES),
        (cell.errors, ERRORS),
        (cell.missed_persons, MISSED_PERSONS),
        (cell.curves, CURVES),
    ):
        assert rows
        assert {tuple(row) for row in rows} == {tuple(columns)[6:]}


def test_shrunk_columns_are_those_of_an_oas_gaussian_of_the_training_features(
    make_job: MakeJob, random_table: DetectionTable
) -> None:
    (cell,) = measure_detector(make_job()).cells.values()
    distance = squared_mahalanobis(random_table.features, fit_gaussian(training_features(), "oas"))
    hit = random_table.true_positive[random_table.featured]
    assert cell.columns["t2t_tp_mean_shrunk"] == pytest.approx(distance[hit].mean())
    expected = ap_t2t(random_table, distance, 0.1)
    assert cell.columns["AP_t2t_010_shrunk"] == pytest.approx(expected)


def test_calibrated_is_a_multiple_of_what_true_positives_of_the_validation_split_have(
    make_job: MakeJob,
) -> None:
    """The validation split is the target here, so true positives lie at 1 on average."""
    found = measure_detector(make_job())
    (cell,) = found.cells.values()
    assert cell.columns["t2t_tp_mean_calibrated"] == pytest.approx(1)
    ratio = cell.columns["t2t_fp_mean_shrunk"] / found.gaussian["calibration_scale"]
    assert cell.columns["t2t_fp_mean_calibrated"] == pytest.approx(ratio)


def test_without_a_validation_split_only_distances_in_its_unit_are_missing(
    make_job: MakeJob,
) -> None:
    (cell,) = measure_detector(make_job(validation=None)).cells.values()
    missing = {name for name, value in cell.columns.items() if np.isnan(value)}
    calibrated = {f"t2t_{k}_{m}_calibrated" for k in ("tp", "fp") for m in ("mean", "median")}
    assert missing == calibrated | {"d_relative", "d_knn", "d_rmd"}
    for kind in ("calibrated", "relative"):
        assert f"no {kind} distances: no validation split was evaluated" in cell.reasons


def test_relative_is_a_multiple_of_what_all_persons_of_the_validation_split_have(
    make_job: MakeJob, random_table: DetectionTable
) -> None:
    """The validation split is the target here, found or not: 1 on average, person by person."""
    found = measure_detector(make_job())
    (cell,) = found.cells.values()
    assert cell.columns["d_relative"] == pytest.approx(1)
    assert cell.columns["d_knn"] == pytest.approx(1)
    assert np.isfinite(cell.columns["neg_log_p"])
    assert np.isfinite(cell.columns["d_rmd"])
    assert (found.gaussian["relative_n"], found.gaussian["num_relative"]) == (8, 200)


def test_the_scores_are_judged_on_the_validation_split(
    make_job: MakeJob, random_table: DetectionTable
) -> None:
    (kept,) = np.nonzero(random_table.counted & (random_table.score >= THRESHOLDS[1]))
    score = random_table.score[kept].astype(float)
    gap = random_table.true_positive[kept] - score
    bins = [gap[(score >= low) & (score < low + 0.1)].sum() for low in np.arange(10) / 10]
    found = measure_detector(make_job()).gaussian
    assert found["num_scores"] == len(kept)
    assert found["score_error"] == pytest.approx(np.abs(bins).sum() / len(kept))
    without = measure_detector(make_job(validation=None)).gaussian
    assert (without["num_scores"], without["score_check"]) == (0, "not judged")
    assert without["gaussian_check"] == "not judged"


def test_relative_needs_features_on_as_many_images_and_nothing_else_does(
    make_job: MakeJob,
) -> None:
    """30 images of 4 features each; the n of the comparison is no other detector's."""
    few, enough = (
        measure_detector(make_job(settings=replace(SETTINGS, relative_n=n), equal_n=60))
        for n in (31, 30)
    )
    (without,), (with_it,) = few.cells.values(), enough.cells.values()
    names = {"d_relative", "neg_log_p"}
    assert {name for name, value in without.columns.items() if np.isnan(value)} == names
    assert any("at most 1 an image; there are 30" in reason for reason in without.reasons)
    assert with_it.columns.items() - without.columns.items() == {
        (name, with_it.columns[name]) for name in names
    }
    assert few.gaussian["relative_n"] is None


def test_a_detector_without_a_gaussian_has_reasons_and_no_distances(make_job: MakeJob) -> None:
    (cell,) = measure_detector(make_job(num=1, equal_n=None)).cells.values()
    assert np.isnan(cell.columns["AP_t2t_010_shrunk"])
    assert cell.columns["gaussian_n"] == 1
    assert any("a Gaussian needs 2 training features" in reason for reason in cell.reasons)
    assert cell.curves  # by score
    assert {row["ranking"] for row in cell.curves} == {"score"}
    assert cell.replicates is not None
    assert np.isfinite(cell.replicates.AP50).all()
    assert np.isnan(cell.replicates.AP_t2t).all()


def test_an_iteration_that_is_no_cells_last_has_columns_only(make_job: MakeJob) -> None:
    job = make_job()
    last, other = (
        measure_detector(job),
        measure_detector(replace(job, evaluations=(job.evaluations[0]._replace(is_final=False),))),
    )
    (full,), (light,) = last.cells.values(), other.cells.values()
    assert light.columns == full.columns
    assert (light.spreads, light.errors, light.curves, light.boxes) == ([], [], [], ())
    assert light.replicates is None


def test_measuring_targets_together_or_alone_gives_the_same_numbers(make_job: MakeJob) -> None:
    job = make_job()
    two = (job.evaluations[0], job.evaluations[0]._replace(key="evaluate-y", seed=6))
    together = measure_detector(replace(job, evaluations=two)).cells
    for one in two:
        (alone,) = measure_detector(replace(job, evaluations=(one,))).cells.values()
        assert alone.columns == together[one.key].columns
        np.testing.assert_equal(alone.replicates, together[one.key].replicates)


def test_resamples_are_those_of_the_target_whatever_the_detector(make_job: MakeJob) -> None:
    """AP50 needs no Gaussian, so another training set changes nothing of it."""
    cells = [next(iter(measure_detector(make_job(num=num)).cells.values())) for num in (120, 100)]
    first, second = (cell.replicates for cell in cells)
    assert isinstance(first, Replicates)
    assert isinstance(second, Replicates)
    np.testing.assert_array_equal(first.AP50, second.AP50)
    assert not np.array_equal(first.AP_t2t, second.AP_t2t)
    assert first.num_blocks == 5  # scenes of four images
    other = make_job()
    elsewhere = replace(other, evaluations=(other.evaluations[0]._replace(seed=6),))
    (moved,) = measure_detector(elsewhere).cells.values()
    assert moved.replicates is not None
    assert not np.array_equal(moved.replicates.AP50, first.AP50)


def test_resamples_scatter_around_the_number_itself(
    make_job: MakeJob, random_table: DetectionTable
) -> None:
    (cell,) = measure_detector(make_job()).cells.values()
    order = np.lexsort((random_table.box_index, random_table.image, -random_table.score))
    order = order[random_table.counted[order]]
    ap50 = average_precision(random_table.true_positive[order], random_table.num_truths)
    for replicates, value in (
        (cell.replicates.AP50, ap50),
        (cell.replicates.AP_t2t[1], cell.columns["AP_t2t_010_shrunk"]),
        (cell.replicates.AP_t2t_bands[2], cell.columns["AP_t2t_high"]),
    ):
        assert replicates.min() < value < replicates.max()
        assert abs(np.median(replicates) - value) < replicates.std()


@pytest.mark.parametrize(
    ("rule", "exists"),
    [
        (ApT2tConfig(matching="distance"), True),
        (ApT2tConfig(recall="matched"), False),
        (ApT2tConfig(interpolation="area"), False),
    ],
)
def test_resampled_ap_t2t_is_left_out_where_it_would_be_of_another_rule(
    make_job: MakeJob, rule: ApT2tConfig, exists: bool
) -> None:
    settings = AnalysisConfig(num_resamples=100, ap_t2t=rule)
    (cell,) = measure_detector(make_job(settings=settings)).cells.values()
    assert np.isfinite(cell.replicates.AP_t2t).all() == exists


def test_boxes_to_look_at_are_false_positives_with_their_score_and_distance(
    make_job: MakeJob, random_table: DetectionTable
) -> None:
    (cell,) = measure_detector(make_job()).cells.values()
    wrong = random_table.counted & ~random_table.true_positive
    surest = [box for box in cell.boxes if box.group == "most confident"]
    assert surest[0].score == pytest.approx(random_table.score[wrong].max())
    assert {box.type for box in cell.boxes} <= set(FALSE_POSITIVE_TYPES)
    nearest = [box.distance for box in cell.boxes if box.group == "nearest"]
    assert nearest == sorted(nearest)
