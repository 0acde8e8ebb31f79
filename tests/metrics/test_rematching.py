import numpy as np
import pytest
from helpers.crowded import crowded_table, scene, stacked
from hypothesis import given, settings
from hypothesis import strategies as st

from ptl_sweep.detection.matching import IOU_THRESHOLDS, match_image
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.metrics.rematching import candidate_pairs, match_in_order

NONE = np.zeros((0, 4))
SQUARE = [0.0, 0.0, 10.0, 10.0]


def image_by_image(table: DetectionTable, order_rows: np.ndarray, iou: float) -> np.ndarray:
    """Hits of the same rows by the matcher of AP, the place in the order as falling score."""
    hit = np.zeros(len(order_rows), dtype=bool)
    for image in range(table.num_images):
        places = np.flatnonzero(table.image[order_rows] == image)
        truths = table.truths.boxes[table.truths.image == image]
        boxes = table.boxes[order_rows[places]]
        match = match_image(boxes, -places.astype(float), truths, NONE, np.array([iou]))
        hit[places] = match.truth[0] >= 0
    return hit


def rematched(table: DetectionTable, order_rows: np.ndarray, iou: float) -> np.ndarray:
    """Hits of these rows, matched by pairs that were made for this IoU."""
    return match_in_order(candidate_pairs(table, iou), order_rows, iou)


def one_scene(truths: list, boxes: list) -> DetectionTable:
    scores = np.linspace(0.9, 0.5, len(boxes))
    return stacked([scene(np.array(boxes), scores, np.array(truths), scores, NONE)])


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**6), iou=st.sampled_from([*IOU_THRESHOLDS, 1.0]))
def test_any_order_of_any_rows_agrees_with_the_matcher_of_ap(seed: int, iou: float) -> None:
    table, rng = crowded_table(seed), np.random.default_rng(seed)
    order = rng.permutation(len(table.score))[: rng.integers(0, len(table.score) + 1)]
    np.testing.assert_array_equal(
        rematched(table, order, float(iou)), image_by_image(table, order, float(iou))
    )


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_scores_gives_the_stored_matches_from_one_set_of_pairs(seed: int) -> None:
    table = crowded_table(seed)
    pairs = candidate_pairs(table, 0.5)
    order = np.argsort(-table.score, kind="stable")
    for index, iou in enumerate(IOU_THRESHOLDS):
        found = match_in_order(pairs, order, float(iou))
        np.testing.assert_array_equal(found, table.hits_at(index)[order])


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), iou=st.sampled_from([0.3, 0.5, 0.75]))
def test_pairs_are_all_overlaps_within_an_image(seed: int, iou: float) -> None:
    table = crowded_table(seed)
    pairs = candidate_pairs(table, iou)
    expected = set()
    for row, (x1, y1, x2, y2) in enumerate(table.boxes.tolist()):
        for person, (u1, v1, u2, v2) in enumerate(table.truths.boxes.tolist()):
            shared = max(min(x2, u2) - max(x1, u1), 0) * max(min(y2, v2) - max(y1, v1), 0)
            union = (x2 - x1) * (y2 - y1) + (u2 - u1) * (v2 - v1) - shared
            if table.image[row] == table.truths.image[person] and shared / union >= iou:
                expected.add((row, person))
    found = list(zip(pairs.detection.tolist(), pairs.truth.tolist(), strict=True))
    assert len(found) == len(expected)
    assert set(found) == expected


def test_the_first_in_the_order_takes_the_person() -> None:
    table = one_scene([SQUARE], [SQUARE, [0.0, 0.0, 10.0, 6.0]])
    assert rematched(table, np.array([0, 1]), 0.5).tolist() == [True, False]
    assert rematched(table, np.array([1, 0]), 0.5).tolist() == [True, False]
    assert rematched(table, np.array([1, 0]), 0.75).tolist() == [False, True]


@pytest.mark.parametrize(("second", "hit"), [([0.0, 0, 10, 8], True), ([0.0, 2, 10, 10], False)])
def test_of_equally_good_persons_the_last_is_taken(second: list[float], hit: bool) -> None:
    """The first box has IoU 0.9 with either of two persons; the upper one stays free."""
    table = one_scene([[0.0, 0, 10, 9], [0.0, 1, 10, 10]], [SQUARE, second])
    assert candidate_pairs(table, 0.75).truth[:2].tolist() == [1, 0]
    found = rematched(table, np.array([0, 1]), 0.85)
    assert found.tolist() == [True, hit]


def test_the_best_free_person_is_taken_when_the_best_is_gone() -> None:
    table = one_scene([SQUARE, [0.0, 0.0, 10.0, 7.0]], [SQUARE, SQUARE, SQUARE])
    assert rematched(table, np.array([2, 0, 1]), 0.5).tolist() == [True, True, False]


def test_rows_that_are_not_given_take_nobody() -> None:
    table = one_scene([SQUARE], [SQUARE, SQUARE])
    assert rematched(table, np.array([1]), 0.5).tolist() == [True]
    assert rematched(table, np.zeros(0, int), 0.5).tolist() == []


def test_nothing_matches_without_persons_or_without_detections() -> None:
    lonely = stacked([scene(np.array([SQUARE]), np.array([0.9]), NONE, np.ones(1), NONE)])
    assert rematched(lonely, np.array([0]), 0.5).tolist() == [False]
    empty = stacked([scene(NONE, np.zeros(0), np.array([SQUARE]), np.zeros(0), NONE)])
    assert rematched(empty, np.zeros(0, int), 0.5).tolist() == []
