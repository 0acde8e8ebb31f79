import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptl_sweep.analysis.ap_t2t import ap_t2t, measure_cell, random_order_null, threshold_label
from ptl_sweep.analysis.tables import RESULT_COLUMNS
from ptl_sweep.analysis.train2test import DetectionTable
from ptl_sweep.detection.average_precision import average_precision

THRESHOLDS = (0.01, 0.1, 0.5)


def some_distances(table: DetectionTable, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(3.0, size=len(table.features))


def test_by_hand(make_table) -> None:
    """Nearest first: hit, miss, hit; two of four ground truths found.

    Precision is 1 up to recall 1/4 (26 of the 101 recalls), 2/3 up to 1/2 (25), then 0.
    """
    table = make_table(([0.9, 0.8, 0.7], [True, False, True]), num_truths=4)
    found = ap_t2t(table, np.array([5.0, 2.0, 1.0]), 0.01)
    assert found == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)


def test_every_ground_truth_is_in_the_denominator(make_table) -> None:
    table = make_table(([0.9], [True]), num_truths=100)
    assert ap_t2t(table, np.array([1.0]), 0.5) == pytest.approx(2 / 101)


READ_ONLY = HealthCheck.function_scoped_fixture  # no test changes the table


@settings(deadline=None, max_examples=25, suppress_health_check=[READ_ONLY])
@given(scale=st.floats(1e-3, 1e3), power=st.floats(0.1, 3))
def test_rescaling_or_rooting_the_distances_changes_nothing(
    random_table: DetectionTable, scale: float, power: float
) -> None:
    table = random_table
    distance = some_distances(table)
    for threshold in THRESHOLDS:
        expected = ap_t2t(table, distance, threshold)
        assert ap_t2t(table, scale * distance**power, threshold) == expected


def test_distance_of_minus_score_gives_the_average_precision_above_s(
    random_table: DetectionTable,
) -> None:
    rows = random_table.featured
    for threshold in THRESHOLDS:
        kept = (random_table.score >= threshold) & random_table.counted
        order = np.lexsort(
            (random_table.box_index[kept], random_table.image[kept], -random_table.score[kept])
        )
        expected = average_precision(
            random_table.true_positive[kept][order], random_table.num_truths
        )
        assert ap_t2t(random_table, -random_table.score[rows], threshold) == expected


def test_ties_go_to_the_higher_score_then_the_earlier_image(make_table) -> None:
    table = make_table(([0.5, 0.4], [False, False]), ([0.6, 0.4], [True, True]))
    same = np.ones(4)
    by_score = [True, False, False, True]  # .6, .5, .4 of image 0, .4 of image 1
    assert ap_t2t(table, same, 0.01) == average_precision(np.array(by_score), 4)


def test_a_false_positive_in_an_ignored_region_does_not_count(make_table) -> None:
    plain = make_table(([0.9, 0.7], [True, True]))
    ignored = make_table(([0.9, 0.8, 0.7], [True, False, True], [True, True, False]))
    assert ap_t2t(ignored, np.array([2.0, 1.0, 3.0]), 0.01) == ap_t2t(
        plain, np.array([2.0, 3.0]), 0.01
    )


def test_no_detection_above_s_is_zero(make_table) -> None:
    table = make_table(([0.4, 0.3], [True, False]))
    assert ap_t2t(table, np.ones(2), 0.5) == 0.0
    assert random_order_null(table, 0.5, np.random.default_rng(0)) == 0.0


def test_no_ground_truth_is_nan(make_table) -> None:
    table = make_table(([0.9], [False]), num_truths=0)
    assert np.isnan(ap_t2t(table, np.ones(1), 0.01))


def test_a_threshold_below_the_kept_features_is_refused(random_table: DetectionTable) -> None:
    with pytest.raises(ValueError, match=r"evaluate\.score_thresholds"):
        ap_t2t(random_table, some_distances(random_table), 0.005)


def test_the_null_is_what_random_distances_give(random_table: DetectionTable) -> None:
    null = random_order_null(random_table, 0.1, np.random.default_rng(0), num_draws=200)
    draws = [ap_t2t(random_table, some_distances(random_table, seed), 0.1) for seed in range(200)]
    assert null == pytest.approx(np.mean(draws), abs=4 * np.std(draws) / np.sqrt(200))


def test_a_perfect_distance_beats_the_null_and_the_worst_does_not(
    random_table: DetectionTable,
) -> None:
    hit = random_table.true_positive[random_table.featured]
    null = random_order_null(random_table, 0.01, np.random.default_rng(0))
    assert ap_t2t(random_table, 1.0 - hit, 0.01) > null > ap_t2t(random_table, hit + 0.0, 0.01)


def measured(table: DetectionTable, training: np.ndarray):
    return measure_cell(table, training, THRESHOLDS, np.random.default_rng(0))


def test_a_cell_has_every_column_of_the_analysis(random_table: DetectionTable) -> None:
    training = np.random.default_rng(1).normal(size=(80, 6)).astype(np.float32)
    cell = measured(random_table, training)
    assert set(cell.columns) <= set(RESULT_COLUMNS)
    ours = {name for name in RESULT_COLUMNS if name.startswith(("AP_t2t", "t2t", "gaussian"))}
    assert ours <= set(cell.columns)
    empty = {name for name, value in cell.columns.items() if value is None}
    assert empty == {name for name in ours if name.endswith(("_calibrated", "_equal_n"))}
    assert cell.reasons == ()
    assert cell.columns["gaussian_n"] == 80
    assert cell.columns["gaussian_rank"] == 6
    assert cell.columns["t2t_auroc"] > 0.5


def test_the_lift_is_the_shrunk_value_over_the_null(random_table: DetectionTable) -> None:
    training = np.random.default_rng(1).normal(size=(80, 6))
    columns = measured(random_table, training).columns
    null = random_order_null(random_table, 0.01, np.random.default_rng(0))
    assert columns["AP_t2t_001_lift"] == columns["AP_t2t_001_shrunk"] - null


def test_the_same_generator_gives_the_same_cell(random_table: DetectionTable) -> None:
    training = np.random.default_rng(1).normal(size=(80, 6))
    assert measured(random_table, training).columns == measured(random_table, training).columns


def test_too_few_features_leave_only_the_raw_columns_empty(random_table: DetectionTable) -> None:
    cell = measured(random_table, np.random.default_rng(1).normal(size=(7, 6)))
    assert np.isnan(cell.columns["AP_t2t_010"])
    assert np.isnan(cell.columns["t2t_tp_mean"])
    assert cell.columns["AP_t2t_010_shrunk"] > 0
    assert len(cell.reasons) == 1
    assert cell.reasons[0].startswith("no raw distances: ")


def test_one_feature_gives_no_distance_and_a_reason(random_table: DetectionTable) -> None:
    cell = measured(random_table, np.zeros((1, 6)))
    assert np.isnan(cell.columns["AP_t2t_010_shrunk"])
    assert np.isnan(cell.columns["AP_t2t_010_lift"])
    assert cell.columns["gaussian_n"] == 1
    assert cell.reasons[0].startswith("no distances: ")
    assert not cell.histogram.counts.any()


def test_no_ground_truth_is_named_in_the_reason(make_table) -> None:
    table = make_table(([0.9, 0.5], [False, False]), num_truths=0)
    cell = measured(table, np.random.default_rng(0).normal(size=(9, 2)))
    assert cell.reasons[0] == "no ground truth in the target, so no AP"
    assert np.isnan(cell.columns["AP_t2t_001_shrunk"])


@pytest.mark.parametrize(("threshold", "label"), [(0.01, "001"), (0.1, "010"), (0.5, "050")])
def test_columns_are_named_by_threshold(threshold: float, label: str) -> None:
    assert threshold_label(threshold) == label
