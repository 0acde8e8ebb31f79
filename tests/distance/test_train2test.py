from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from ptl_sweep.config.analysis import AnalysisConfig
from ptl_sweep.detection.table import DetectionTable, load_detections, save_detections
from ptl_sweep.distance.equal_n import mean_quadratic_form
from ptl_sweep.distance.gaussian import GaussianRefusal, StoredFeatures, fit_gaussian
from ptl_sweep.distance.train2test import (
    Measures,
    distance_histogram,
    distances,
    expected_raw_distance,
    fit_measures,
    nearer_probability,
    spread_rows,
    summarise_distances,
)
from ptl_sweep.study.schemas import CELL, TRAIN2TEST
from ptl_sweep.vocabulary import BANDS, VARIANTS


def test_a_table_without_any_detection_works(make_table, tmp_path: Path) -> None:
    save_detections(tmp_path, make_table(([], [])))
    loaded = load_detections(tmp_path)
    assert loaded.features.shape == (0, 2)
    summary = summarise_distances(loaded, np.zeros(0))
    assert summary.counted.num == 0
    assert np.isnan(summary.auroc)


def test_raw_distance_of_the_fitted_features_has_mean_d() -> None:
    features = np.random.default_rng(0).normal(size=(400, 12)) @ np.diag(np.arange(1.0, 13.0))
    assert distances(features, fit_gaussian(features, "ml")).mean() == pytest.approx(12)


@pytest.mark.parametrize(
    ("dimension", "n", "num_fits"), [(8, 40, 400), (20, 60, 300), (256, 600, 8), (256, 2000, 2)]
)
def test_unseen_data_of_the_same_distribution_reads_as_derived(
    dimension: int, n: int, num_fits: int
) -> None:
    rng = np.random.default_rng(1)
    spread = np.arange(1.0, dimension + 1)
    means = []
    for _ in range(num_fits):
        fit = fit_gaussian(rng.normal(size=(n, dimension)) * spread, "ml")
        means.append(distances(rng.normal(size=(500, dimension)) * spread, fit).mean())
    assert np.mean(means) == pytest.approx(expected_raw_distance(n, dimension), rel=0.03)


def test_expected_raw_distances_are_those_of_the_method() -> None:
    assert expected_raw_distance(13, 1) == pytest.approx(1.4)  # 14 / 10
    assert np.isnan(expected_raw_distance(22, 20))
    published = {270: 5781, 330: 1177, 500: 530, 3300: 278}  # docs/method.md, section 2, D = 256
    for count, value in published.items():
        assert expected_raw_distance(count, 256) == pytest.approx(value, rel=0.004)


def test_a_shift_of_the_mean_reads_as_derived() -> None:
    rng, n, dimension = np.random.default_rng(11), 30, 4
    shift = np.array([1.0, 2.0, 0.0, -2.0])  # squared length 9
    means = []
    for _ in range(400):
        fit = fit_gaussian(rng.normal(size=(n, dimension)), "ml")
        means.append(distances(rng.normal(size=(500, dimension)) + shift, fit).mean())
    assert np.mean(means) == pytest.approx(expected_raw_distance(n, dimension, 9.0), rel=0.03)


def training_set(num: int = 90, dimension: int = 5, per_image: int = 10) -> StoredFeatures:
    rng = np.random.default_rng(7)
    features = rng.normal(size=(num, dimension)) @ rng.normal(size=(dimension, dimension))
    return StoredFeatures(features + 3, np.arange(num) // per_image)


def measured(training: StoredFeatures, **changed) -> Measures:
    options = {"equal_n": 30, "validation": training.features[:9] + 0.5}
    settings = AnalysisConfig(**{k: changed.pop(k) for k in tuple(changed) if k not in options})
    return fit_measures(training, settings, rng=np.random.default_rng(8), **(options | changed))


def test_the_four_distances_worked_by_hand() -> None:
    one = np.array([[-1.0], [1.0]] * 3)  # mean 0, variance 1, whatever the shrinkage in one channel
    found = measured(
        StoredFeatures(one, np.arange(6)), equal_n=6, validation=np.array([[2.0], [0.0]])
    )
    assert (found.calibration_scale, found.num_calibration, found.reasons) == (2.0, 2, ())
    distance = found.distances(np.array([[3.0], [-1.0]]))
    assert tuple(distance) == VARIANTS
    expected = {"raw": [9, 1], "shrunk": [9, 1], "calibrated": [4.5, 0.5], "equal_n": [9, 1]}
    for variant, values in expected.items():
        assert distance[variant] == pytest.approx(values), variant


def test_validation_features_are_one_calibrated_on_average() -> None:
    training = training_set()
    validation = training.features[20:50] * 2
    found = measured(training, validation=validation).distances(validation)
    assert found["calibrated"].mean() == pytest.approx(1)
    np.testing.assert_allclose(found["calibrated"] * found["shrunk"].mean(), found["shrunk"])


def test_each_distance_is_that_of_its_own_fit() -> None:
    training = training_set()
    tests = training.features[:7] - 2
    found = measured(training, shrinkage="ledoit_wolf", equal_n_shrinkage=0.4, equal_n_draws=3)
    distance = found.distances(tests)
    for variant, covariance in (("raw", "ml"), ("shrunk", "ledoit_wolf")):
        fit = fit_gaussian(training.features, covariance)
        np.testing.assert_array_equal(distance[variant], distances(tests, fit))
    form = mean_quadratic_form(
        training, n=30, shrinkage=0.4, num_draws=3, rng=np.random.default_rng(8)
    )
    np.testing.assert_array_equal(distance["equal_n"], distances(tests, form))


@pytest.mark.parametrize("num_images", [3, 5, 18])
def test_crossfit_is_the_mean_over_held_out_images(num_images: int) -> None:
    training = training_set(per_image=90 // num_images)
    found = measured(training, calibration="crossfit", equal_n=None, validation=None)
    images = np.random.default_rng(8).permutation(num_images)
    folds = [np.flatnonzero(images % 5 == fold) for fold in range(min(5, num_images))]
    held_out = []
    for fold in folds:
        out = np.isin(training.images, fold)
        fit = fit_gaussian(training.features[~out], "oas")
        held_out += distances(training.features[out], fit).tolist()
    assert len(held_out) == found.num_calibration == 90
    assert found.calibration_scale == pytest.approx(np.mean(held_out))
    assert found.calibration == "crossfit"
    inside = distances(training.features, found.shrunk).mean()
    assert found.calibration_scale > inside


def test_the_calibration_changes_no_other_distance() -> None:
    training = training_set()
    tests = training.features[:5] + 1
    one, other = (
        measured(training, calibration=name).distances(tests) for name in ("none", "crossfit")
    )
    for variant in ("raw", "shrunk", "equal_n"):
        np.testing.assert_array_equal(one[variant], other[variant])
    assert np.isnan(one["calibrated"]).all()
    assert measured(training, calibration="none").reasons == ()


def test_raw_distances_do_not_change_under_invertible_linear_maps() -> None:
    rng = np.random.default_rng(9)
    training, mixing = training_set(), rng.normal(size=(5, 5)) + 3 * np.eye(5)
    tests = training.features[:8] + 1
    moved = StoredFeatures(training.features @ mixing + 5, training.images)
    np.testing.assert_allclose(
        measured(moved).distances(tests @ mixing + 5)["raw"],
        measured(training).distances(tests)["raw"],
        rtol=1e-7,
    )


def test_no_distance_changes_under_rotation_and_scale() -> None:
    training = training_set()
    rotation, _ = np.linalg.qr(np.random.default_rng(10).normal(size=(5, 5)))
    turned = StoredFeatures(7 * training.features @ rotation, training.images)
    validation, tests = training.features[:9] + 0.5, training.features[:8] + 1
    one = measured(training, validation=validation).distances(tests)
    other = measured(turned, validation=7 * validation @ rotation).distances(7 * tests @ rotation)
    for variant in VARIANTS:
        np.testing.assert_allclose(other[variant], one[variant], rtol=1e-8, err_msg=variant)


def test_reasons_say_which_distance_is_missing_and_why() -> None:
    few = training_set(6)
    assert measured(few, equal_n=None, validation=None).reasons == (
        "no raw distances: the ML covariance needs more than D + 2 = 7 features, there are 6",
        "no calibrated distances: no validation split was evaluated",
        "no equal_n distances: fewer than analysis.equal_n_min=50 training features, there are 6",
    )
    nobody = measured(training_set(), validation=np.zeros((0, 5)), equal_n=91)
    assert nobody.reasons == (
        "no calibrated distances: no true positive on the validation split",
        "no equal_n distances: equal_n needs 91 training features, there are 90",
    )
    alone = measured(training_set(per_image=90), calibration="crossfit", equal_n=None)
    assert alone.reasons == (
        "no calibrated distances: crossfit needs training features from 2 images",
        "no equal_n distances: the compared detectors have no common number of training features",
    )
    single = measured(StoredFeatures(np.ones((1, 5)), np.zeros(1, int)), equal_n=1)
    assert single.reasons == ("no distances: a Gaussian needs 2 training features, there are 1",)
    for variant, distance in single.distances(np.ones((4, 5))).items():
        assert np.isnan(distance).all(), variant
        assert len(distance) == 4


def test_a_fold_without_a_gaussian_or_a_scale_of_zero_is_a_reason() -> None:
    two = StoredFeatures(np.array([[0.0], [1.0], [5.0]]), np.array([0, 0, 1]))
    found = measured(two, calibration="crossfit", equal_n=None)
    assert "crossfit: a Gaussian needs 2 training features" in found.reasons[1]
    centre = training_set()
    mean = centre.features.mean(axis=0, keepdims=True)
    exact = measured(StoredFeatures(centre.features - mean, centre.images))
    zero = measured(
        StoredFeatures(centre.features - mean, centre.images), validation=exact.shrunk.mean[None]
    )
    assert zero.reasons == ("no calibrated distances: the mean distance to calibrate by is 0",)
    assert np.isnan(zero.distances(mean)["calibrated"]).all()


def by_variant(distance: np.ndarray) -> dict[str, np.ndarray]:
    """Raw does not exist; the others are multiples of `distance`."""
    return {
        "raw": np.full(len(distance), np.nan),
        "shrunk": distance,
        "calibrated": distance / 10,
        "equal_n": distance + 1,
    }


def test_spread_rows_worked_by_hand(make_table) -> None:
    table = make_table(
        ([0.9, 0.4, 0.3, 0.2, 0.05, 0.005], [1, 1, 0, 0, 0, 1], [0, 0, 0, 1, 0, 0]), num_truths=5
    )
    rows = spread_rows(
        table,
        by_variant(np.array([2.0, 4.0, 9.0, 100.0, 20.0])),
        by_variant(np.array([2.0, 4.0, 7.0, 50.0, 70.0])),
        (0.01, 0.1, 0.5),
    )
    assert len(rows) == (3 * 4 + 1) * 4
    assert all(tuple(row) == tuple(TRAIN2TEST)[len(CELL) :] for row in rows)
    found = {(row["kind"], row["band"], row["variant"]): row for row in rows}
    hits = found["tp", "", "shrunk"]
    assert (hits["num"], hits["mean"], hits["lower_quartile"], hits["median"]) == (2, 3, 2.5, 3)
    assert found["tp", "", "calibrated"]["upper_quartile"] == pytest.approx(0.35)
    assert found["fp", "", "shrunk"]["mean"] == 14.5  # the one in an ignored region is left out
    assert (found["all", "", "shrunk"]["num"], found["all", "", "equal_n"]["mean"]) == (4, 9.75)
    assert (found["tp", "high", "shrunk"]["mean"], found["tp", "medium", "shrunk"]["mean"]) == (
        2,
        4,
    )
    assert found["all", "medium", "shrunk"]["mean"] == 6.5
    assert found["all", "low", "shrunk"]["median"] == 20
    # the hit at 0.005 has no feature but it is no missed person either
    assert (found["missed", "", "shrunk"]["num"], found["missed", "", "shrunk"]["mean"]) == (2, 60)
    for row in (found["tp", "", "raw"], found["tp", "low", "shrunk"], found["missed", "", "raw"]):
        assert row["num"] == 0
        assert np.isnan([row["mean"], row["lower_quartile"], row["median"]]).all()


def test_spread_rows_agree_with_the_summary(random_table: DetectionTable) -> None:
    rng = np.random.default_rng(12)
    distance = rng.gamma(2.0, size=len(random_table.features))
    persons = rng.gamma(2.0, size=len(random_table.truths.image))
    rows = spread_rows(random_table, by_variant(distance), by_variant(persons), (0.01, 0.1, 0.5))
    found = {(row["kind"], row["band"]): row for row in rows if row["variant"] == "shrunk"}
    summary = summarise_distances(random_table, distance)
    for kind, spread in zip(("tp", "fp", "all"), summary[:3], strict=True):
        row = found[kind, ""]
        assert tuple(row[name] for name in spread._fields) == pytest.approx(tuple(spread))
        assert sum(found[kind, band]["num"] for band in BANDS) == spread.num
    assert found["missed", ""]["mean"] == pytest.approx(persons[random_table.missed].mean())
    score, hit = random_table.score[random_table.featured], random_table.true_positive
    medium = (score >= 0.1) & (score < 0.5) & hit[random_table.featured]
    assert found["tp", "medium"]["median"] == pytest.approx(np.median(distance[medium]))


def test_without_a_gaussian_every_distance_is_nan() -> None:
    assert np.isnan(distances(np.zeros((3, 4)), GaussianRefusal("too few", 1))).all()


def test_spread_is_over_counted_detections_only(make_table) -> None:
    table = make_table(
        ([0.9, 0.8, 0.7, 0.6], [True, True, False, False], [True, False, False, True])
    )
    summary = summarise_distances(table, np.array([1.0, 3.0, 10.0, 1000.0]))
    assert (summary.true_positive.mean, summary.true_positive.num) == (2.0, 2)
    assert (summary.false_positive.mean, summary.false_positive.num) == (10.0, 1)
    assert summary.counted.num == 3
    assert summary.auroc == 1.0


def test_quartiles_agree_with_numpy(random_table: DetectionTable) -> None:
    distance = np.random.default_rng(2).gamma(2.0, size=len(random_table.features))
    hit = random_table.true_positive[random_table.featured]
    found = summarise_distances(random_table, distance).true_positive
    expected = np.quantile(distance[hit], (0.25, 0.5, 0.75))
    assert (found.lower_quartile, found.median, found.upper_quartile) == pytest.approx(
        tuple(expected)
    )


def test_auroc_agrees_with_the_mann_whitney_statistic() -> None:
    rng = np.random.default_rng(3)
    near, far = rng.integers(0, 20, 50).astype(float), rng.integers(5, 30, 70).astype(float)
    statistic = stats.mannwhitneyu(far, near).statistic
    assert nearer_probability(near, far) == pytest.approx(statistic / (50 * 70))
    assert nearer_probability(near, near) == pytest.approx(0.5)


def test_the_histogram_counts_every_counted_detection_once(random_table: DetectionTable) -> None:
    rng = np.random.default_rng(4)
    distance = 10 ** rng.uniform(-1, 8, len(random_table.features))  # beyond both ends too
    found = distance_histogram(random_table, distance, (0.01, 0.1, 0.5))
    rows = random_table.featured
    score = random_table.score[rows]
    counted, hit = random_table.counted[rows], random_table.true_positive[rows]
    for index, (low, high) in enumerate(((0.01, 0.1), (0.1, 0.5), (0.5, 1.01))):
        inside = (score >= low) & (score < high) & counted
        assert found.counts[index, 0].sum() == (inside & hit).sum()
        assert found.counts[index, 1].sum() == (inside & ~hit).sum()
    assert found.score_bands == ((0.01, 0.1), (0.1, 0.5), (0.5, 1.0))


def test_distances_that_do_not_exist_are_in_no_bin(random_table: DetectionTable) -> None:
    missing = np.full(len(random_table.features), np.nan)
    assert not distance_histogram(random_table, missing, (0.01, 0.1, 0.5)).counts.any()
