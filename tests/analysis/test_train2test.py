import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from ptl_sweep.analysis.train2test import (
    FEATURE_MIN_SCORE,
    DetectionTable,
    EvaluatedImage,
    ImageDetections,
    distance_histogram,
    distances,
    expected_raw_distance,
    load_detections,
    nearer_probability,
    save_detections,
    stack_detections,
    summarise_distances,
)
from ptl_sweep.ptl.gaussian import GaussianRefusal, fit_gaussian


def test_a_table_comes_back_from_disk_as_it_was(
    random_table: DetectionTable, tmp_path: Path
) -> None:
    save_detections(tmp_path, random_table)
    loaded = load_detections(tmp_path)
    for name in DetectionTable.__slots__:
        left, right = getattr(random_table, name), getattr(loaded, name)
        if name == "images":
            assert left == right
        else:
            np.testing.assert_array_equal(left, right, err_msg=name)
            assert left.dtype == right.dtype, name
    assert loaded.features.dtype == np.float16
    assert (loaded.num_images, loaded.num_truths) == (20, 200)


def test_the_files_have_the_columns_other_tools_read(
    random_table: DetectionTable, tmp_path: Path
) -> None:
    save_detections(tmp_path, random_table)
    columns = set(pq.read_schema(tmp_path / "detections.parquet").names)
    wanted = {"image", "x1", "y1", "x2", "y2", "score", "level", "cell", "truth", "iou"}
    assert wanted | {"true_positive"} <= columns
    assert pq.read_schema(tmp_path / "images.parquet").names == list(EvaluatedImage._fields)


def test_an_image_without_detections_stays_an_image(make_table, tmp_path: Path) -> None:
    table = make_table(([], []), ([0.9, 0.2], [True, False]))
    save_detections(tmp_path, table)
    loaded = load_detections(tmp_path)
    assert loaded.num_images == 2
    np.testing.assert_array_equal(loaded.image, [1, 1])
    np.testing.assert_array_equal(loaded.box_index, [0, 1])


def test_a_table_without_any_detection_works(make_table, tmp_path: Path) -> None:
    save_detections(tmp_path, make_table(([], [])))
    loaded = load_detections(tmp_path)
    assert loaded.features.shape == (0, 2)
    summary = summarise_distances(loaded, np.zeros(0))
    assert summary.counted.num == 0
    assert np.isnan(summary.auroc)


def test_features_are_kept_from_the_lowest_threshold_on(make_table) -> None:
    table = make_table(([0.5, FEATURE_MIN_SCORE, 0.009], [True, False, True]))
    np.testing.assert_array_equal(table.features[:, 0], [0, 1])


def test_a_feature_file_of_another_length_is_refused(
    random_table: DetectionTable, tmp_path: Path
) -> None:
    save_detections(tmp_path, random_table)
    np.save(tmp_path / "features.npy", random_table.features[:-1])
    with pytest.raises(ValueError, match="run again"):
        load_detections(tmp_path)


def test_values_beyond_half_precision_are_clipped_and_named(
    caplog: pytest.LogCaptureFixture,
) -> None:
    none = np.zeros(1, np.int64)
    huge = ImageDetections(
        np.zeros((1, 4)), np.ones(1), np.array([[1e6, 1.0]]), none, none, none, np.ones(1),
        np.zeros(1, bool),
    )  # fmt: skip
    with caplog.at_level(logging.WARNING):
        table = stack_detections([huge], [EvaluatedImage("a", "s", 1, 1, 1, 1, False)])
    assert np.isfinite(table.features).all()
    assert "1 feature values" in caplog.text


def test_raw_distance_of_the_fitted_features_has_mean_d() -> None:
    features = np.random.default_rng(0).normal(size=(400, 12)) @ np.diag(np.arange(1.0, 13.0))
    assert distances(features, fit_gaussian(features, "ml")).mean() == pytest.approx(12)


def test_unseen_data_of_the_same_distribution_reads_as_derived() -> None:
    rng, n, dimension = np.random.default_rng(1), 60, 20
    means = []
    for _ in range(60):
        fit = fit_gaussian(rng.normal(size=(n, dimension)), "ml")
        means.append(distances(rng.normal(size=(500, dimension)), fit).mean())
    assert np.mean(means) == pytest.approx(expected_raw_distance(n, dimension), rel=0.04)
    assert np.isnan(expected_raw_distance(22, 20))
    published = {270: 5781, 330: 1177, 500: 530, 3300: 278}  # method.md, section 2, D = 256
    for count, value in published.items():
        assert expected_raw_distance(count, 256) == pytest.approx(value, rel=0.004)


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
