"""The calibration error of scores against known cases, and what chance does to few of them."""

import numpy as np
import pytest
from helpers.crowded import scene, stacked
from helpers.tables import MakeTable

from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.metrics.reliability import MAX_ERROR, MIN_SCORES, reliability
from ptl_sweep.vocabulary import Condition


def table_of(scores: np.ndarray, hits: np.ndarray) -> DetectionTable:
    """One person per hit, boxes apart from each other."""
    left = 20.0 * np.arange(len(scores))
    boxes = np.stack([left, 0 * left, left + 10, 0 * left + 10], axis=1)
    return stacked([scene(boxes, scores, boxes[hits], 0 * scores, np.zeros((0, 4)))])


def drawn(num: int, seed: int, truth: float = 1.0) -> DetectionTable:
    """Scores in [0.1, 1] that are hits with probability score ** truth."""
    rng = np.random.default_rng(seed)
    scores = rng.uniform(0.1, 1, num)
    return table_of(scores, rng.random(num) < scores**truth)


def test_the_error_by_hand() -> None:
    """Bins 0.2 and 0.9: one hit of 0.5 expected, one of 0.9; the lowest is left out."""
    scores = np.array([0.25, 0.25, 0.9, 0.05])
    found = reliability(table_of(scores, np.array([True, False, True, True])), 0.1)
    assert found.num == 3
    assert found.error == pytest.approx((0.5 + 0.1) / 3, abs=1e-7)
    assert found.condition is Condition.NOT_JUDGED


def test_a_score_of_one_is_in_the_last_bin() -> None:
    assert reliability(table_of(np.ones(40), np.ones(40, bool)), 0.1).error == 0


def test_detections_in_ignored_regions_do_not_count(make_table: MakeTable) -> None:
    table = make_table(([0.9, 0.8, 0.7], [True, False, False], [False, True, False]))
    assert reliability(table, 0.1).num == 2


def test_scores_that_are_precisions_hold_and_bent_ones_fail() -> None:
    checks = [reliability(drawn(400, seed), 0.1).condition for seed in range(40)]
    assert checks == [Condition.HOLDS] * 40
    bent = [reliability(drawn(400, seed, truth=3.0), 0.1) for seed in range(40)]
    assert {one.condition for one in bent} == {Condition.FAILS}
    assert min(one.error for one in bent) > MAX_ERROR


def test_the_error_of_few_detections_is_large_by_chance_and_is_not_held_against_them() -> None:
    few = [reliability(drawn(MIN_SCORES, seed), 0.1) for seed in range(100)]
    assert np.mean([one.error > MAX_ERROR for one in few]) > 0.5
    assert np.mean([one.condition is Condition.FAILS for one in few]) < 0.06


def test_without_detections_nothing_is_known() -> None:
    found = reliability(drawn(0, 0), 0.1)
    assert np.isnan(found.error)
    assert found.condition is Condition.NOT_JUDGED
