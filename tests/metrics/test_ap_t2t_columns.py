"""The columns of AP_t2t, at fixed scores and at equal numbers of detections."""

from dataclasses import replace

import numpy as np
import pytest
from helpers.crowded import crowded_table, scene, stacked

from ptl_sweep.config.analysis import ApT2tConfig
from ptl_sweep.config.checks import ConfigError
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.metrics.ap_t2t import ap_t2t, random_order_null
from ptl_sweep.metrics.ap_t2t_columns import ap_t2t_column_names, ap_t2t_columns, score_at
from ptl_sweep.vocabulary import AT_COUNT, ApT2t, ApT2tAtCount

THRESHOLDS = (0.01, 0.1, 0.5)
COUNTS = [5.0, 2.5, 1.0]
RULES = [
    ApT2tConfig(recall=recall, matching=matching, interpolation=interpolation, equal_counts=COUNTS)
    for recall in ("all", "matched")
    for matching in ("score", "distance")
    for interpolation in ("points", "area")
]
RULE_NAMES = [f"{rule.recall}-{rule.matching}-{rule.interpolation}" for rule in RULES]
RULE = ApT2tConfig(equal_counts=COUNTS)
SQUARE = [0.0, 0.0, 10.0, 10.0]


def some_distances(table: DetectionTable, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(3.0, size=len(table.features))


def stored_distances(table: DetectionTable) -> np.ndarray:
    """Those that the crowded scenes give as features."""
    return table.features[:, 0].astype(float)


def measured(table: DetectionTable, rule: ApT2tConfig, **variants: np.ndarray):
    return ap_t2t_columns(table, variants, THRESHOLDS, rule, np.random.default_rng(0))


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
def test_every_column_is_what_its_name_says(rule: ApT2tConfig) -> None:
    table = crowded_table(8)
    raw, equal_n = some_distances(table, 1), some_distances(table, 2)
    near = stored_distances(table)
    found = measured(table, rule, raw=raw, shrunk=near, equal_n=equal_n).columns
    by_score, matched_rule = replace(rule, matching="score"), replace(rule, recall="matched")
    rng = np.random.default_rng(0)
    expected = {
        "AP_t2t_low": ap_t2t(table, near, 0.01, rule, below=0.1),
        "AP_t2t_medium": ap_t2t(table, near, 0.1, rule, below=0.5),
        "AP_t2t_high": ap_t2t(table, near, 0.5, rule),
    }
    for label, s in zip(("001", "010", "050"), THRESHOLDS, strict=True):
        null = random_order_null(table, s, rng, rule)
        headline = ap_t2t(table, near, s, rule)
        matched = ap_t2t(table, near, s, matched_rule)
        matched_null = random_order_null(table, s, rng.spawn(1)[0], matched_rule)
        every = [ap_t2t(table, near, s, by_score, iou=index) for index in range(10)]
        expected |= {
            f"AP_t2t_{label}": ap_t2t(table, raw, s, rule),
            f"AP_t2t_{label}_shrunk": headline,
            f"AP_t2t_{label}_equal_n": ap_t2t(table, equal_n, s, rule),
            f"AP_t2t_{label}_null": null,
            f"AP_t2t_{label}_lift": headline - null,
            f"AP_t2t_{label}_matched": matched,
            f"AP_t2t_{label}_matched_lift": matched - matched_null,
            f"AP_t2t_{label}_rematched": ap_t2t(table, near, s, replace(rule, matching="distance")),
            f"AP_t2t_{label}_50_95": sum(every) / 10,
        }
    for label, per_image, orders in zip(("5", "2.5", "1"), COUNTS, rng.spawn(3), strict=True):
        s = np.sort(table.score[table.counted])[-int(per_image * table.num_images)]
        null = random_order_null(table, float(s), orders, rule)
        headline = ap_t2t(table, near, float(s), rule)
        matched = ap_t2t(table, near, float(s), matched_rule)
        matched_null = random_order_null(table, float(s), orders, matched_rule)
        expected |= {
            f"AP_t2t_{label}_per_image_shrunk": headline,
            f"AP_t2t_{label}_per_image_null": null,
            f"AP_t2t_{label}_per_image_lift": headline - null,
            f"AP_t2t_{label}_per_image_matched": matched,
            f"AP_t2t_{label}_per_image_matched_lift": matched - matched_null,
        }
    assert found == pytest.approx(expected, abs=1e-12)
    assert tuple(found) == ap_t2t_column_names(THRESHOLDS, COUNTS)
    assert len({round(value, 9) for value in found.values()}) > 20  # not one number for all


def test_a_variant_without_distances_leaves_only_its_columns_empty(
    random_table: DetectionTable,
) -> None:
    near = some_distances(random_table)
    found = measured(random_table, RULE, raw=np.full(len(near), np.nan), shrunk=near)
    empty = {name for name, value in found.columns.items() if np.isnan(value)}
    names = {"AP_t2t_001", "AP_t2t_010", "AP_t2t_050"}
    assert empty == names | {f"{name}_equal_n" for name in names}


def test_without_any_distance_the_null_remains(random_table: DetectionTable) -> None:
    found = measured(random_table, RULE)
    known = {name for name, value in found.columns.items() if not np.isnan(value)}
    scores, counts = ("001", "010", "050"), ("5", "2.5", "1")
    assert known == {f"AP_t2t_{s}_null" for s in scores} | {
        f"AP_t2t_{count}_per_image_null" for count in counts
    }
    assert found.warnings == ()


def test_the_same_generator_gives_the_same_columns(random_table: DetectionTable) -> None:
    near = some_distances(random_table)
    one = measured(random_table, RULE, raw=near, shrunk=near, equal_n=near)
    assert one == measured(random_table, RULE, raw=near, shrunk=near, equal_n=near)


@pytest.mark.parametrize("matching", ["score", "distance"])
def test_a_warning_names_the_thresholds_at_which_the_matching_decides(matching: str) -> None:
    """Two boxes on one person, the nearer one with score 0.3: only at 0.5 it does not exist."""
    truths, far = np.array([SQUARE]), np.array([2.0, 1.0])
    boxes, scores = np.array([SQUARE, SQUARE]), np.array([0.9, 0.3])
    table = stacked([scene(boxes, scores, truths, far, np.zeros((0, 4)))])
    found = measured(table, replace(RULE, matching=matching), shrunk=stored_distances(table))
    change = "changes by 50.0 points when matched in distance order"
    assert found.warnings == (f"AP_t2t at s >= 0.01 {change}", f"AP_t2t at s >= 0.10 {change}")


def test_no_warning_where_boxes_do_not_compete(random_table: DetectionTable) -> None:
    assert measured(random_table, RULE, shrunk=some_distances(random_table)).warnings == ()


def rescored(table: DetectionTable, power: float) -> DetectionTable:
    """Scores from 0.01 to 1 bent by a strictly monotone map that leaves both ends."""
    score = table.score.astype(np.float64)
    bent = 0.01 + 0.99 * ((score.clip(0.01) - 0.01) / 0.99) ** power
    return replace(table, score=np.where(score < 0.01, score, bent).astype(np.float32))


@pytest.mark.parametrize("rule", RULES, ids=RULE_NAMES)
@pytest.mark.parametrize("power", [0.5, 2.0])
def test_a_monotone_map_of_the_scores_moves_fixed_scores_and_no_equal_count(
    random_table: DetectionTable, rule: ApT2tConfig, power: float
) -> None:
    near, moved = some_distances(random_table), rescored(random_table, power)
    np.testing.assert_array_equal(moved.featured, random_table.featured)
    np.testing.assert_array_equal(np.argsort(moved.score), np.argsort(random_table.score))
    before, after = (measured(table, rule, shrunk=near).columns for table in (random_table, moved))
    at_count = [ApT2tAtCount(count, kind).name for kind in AT_COUNT for count in COUNTS]
    assert [after[name] for name in at_count] == [before[name] for name in at_count]
    assert np.isfinite([after[name] for name in at_count]).all()
    control = ApT2t(0.5).name
    assert abs(after[control] - before[control]) > 0.01


def test_the_score_at_a_count_by_hand(make_table) -> None:
    """Two images; one detection counts as neither hit nor miss, one has no feature."""
    table = make_table(
        ([0.9, 0.8, 0.7], [True, False, False], [False, True, False]),
        ([0.6, 0.5, 0.001], [False, True, False]),
    )
    assert score_at(table, 0.1) == pytest.approx(0.9)
    assert score_at(table, 1) == pytest.approx(0.7)  # the second of 0.9, 0.7, 0.6, 0.5
    assert score_at(table, 2) == pytest.approx(0.5)
    assert np.isnan(score_at(table, 2.5))


def test_equal_scores_are_taken_together(make_table) -> None:
    """Three detections have the score of the second one: all are ranked, whatever their order."""
    table = make_table(([0.9, 0.4, 0.4, 0.4], [True, False, True, False]), num_truths=2)
    rule = ApT2tConfig(equal_counts=[4, 2, 1])
    found = measured(table, rule, shrunk=np.array([1.0, 2.0, 3.0, 4.0])).columns
    assert found["AP_t2t_2_per_image_shrunk"] == found["AP_t2t_4_per_image_shrunk"]


def test_a_count_that_a_detector_does_not_reach_is_nan_and_says_so(make_table) -> None:
    table = make_table(([0.9, 0.8, 0.7], [True, False, True]))
    rule = ApT2tConfig(equal_counts=[4, 3, 0.5])
    found = measured(table, rule, shrunk=np.arange(3.0))
    empty = {name for name, value in found.columns.items() if "per" in name and np.isnan(value)}
    assert empty == {f"AP_t2t_4_per_image{kind}" for kind in AT_COUNT}
    assert found.reasons == (
        "fewer than 4 detections per image with score >= 0.01, so no AP_t2t at that count",
    )


@pytest.mark.parametrize("counts", [[20, 5], [1, 5, 20], [5, 5, 1], [5, 1, 0], [-1, -2, -3]])
def test_counts_are_three_that_fall(counts: list[float]) -> None:
    with pytest.raises(ConfigError, match=r"analysis\.ap_t2t\.equal_counts must be three"):
        ApT2tConfig(equal_counts=counts)


@pytest.mark.parametrize(("threshold", "label"), [(0.01, "001"), (0.1, "010"), (0.5, "050")])
def test_columns_are_named_by_threshold(threshold: float, label: str) -> None:
    assert ApT2t(threshold).name == f"AP_t2t_{label}_shrunk"
