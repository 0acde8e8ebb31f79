"""The COCO matching rule and ignored regions."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import ndarray

from ptl_sweep.detection.matching import IOU_THRESHOLDS, box_iou, covered_area, match_image

NONE = np.zeros((0, 4))
HALF = np.array([0.5])


def pixel_boxes(seed: int, count: int, side: int = 24) -> ndarray:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, side - 1, (count, 2))
    return np.concatenate([corner, corner + rng.integers(1, 10, (count, 2))], 1).astype(float)


def test_iou_of_known_boxes() -> None:
    boxes = np.array([[0.0, 0.0, 2.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
    others = np.array([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]])
    np.testing.assert_allclose(box_iou(boxes, others), [[1 / 3, 0], [0, 0]])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), num_boxes=st.integers(0, 6), num_regions=st.integers(0, 6))
def test_covered_area_counts_the_pixels_of_the_union(
    seed: int, num_boxes: int, num_regions: int
) -> None:
    boxes, regions = pixel_boxes(seed, num_boxes), pixel_boxes(seed + 1, num_regions)
    raster = np.zeros((40, 40))
    for x1, y1, x2, y2 in regions.astype(int):
        raster[y1:y2, x1:x2] = 1
    expected = [raster[y1:y2, x1:x2].sum() for x1, y1, x2, y2 in boxes.astype(int)]
    np.testing.assert_array_equal(covered_area(boxes, regions), np.array(expected))


def test_half_of_a_box_under_two_overlapping_regions_is_ignored() -> None:
    boxes = np.array([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 12.0], [3.0, 3.0, 3.0, 3.0]])
    regions = np.array([[0.0, 0.0, 10.0, 4.0], [0.0, 2.0, 10.0, 5.0]])
    match = match_image(boxes, np.array([0.9, 0.8, 0.7]), NONE, regions, HALF)
    assert match.ignored.tolist() == [True, False, False]
    assert match.counted.tolist() == [[False, True, True]]


def test_matched_detection_counts_inside_an_ignored_region() -> None:
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    match = match_image(box, np.array([0.9]), box, box, np.array([0.5, 0.75]))
    assert match.ignored.all()
    assert match.counted.all()


def test_higher_score_takes_the_ground_truth_and_the_order_given_is_kept() -> None:
    truth = np.array([[0.0, 0.0, 10.0, 10.0]])
    boxes = np.array([[0.0, 0.0, 10.0, 9.0], [0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 8.0]])
    match = match_image(boxes, np.array([0.2, 0.1, 0.9]), truth, NONE, np.array([0.5, 0.85]))
    assert match.truth.tolist() == [[-1, -1, 0], [0, -1, -1]]
    np.testing.assert_allclose(match.iou, [0.9, 1.0, 0.8])


def test_equal_scores_keep_their_order_and_the_last_of_equal_truths_is_taken() -> None:
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    match = match_image(box.repeat(3, 0), np.full(3, 0.5), box.repeat(2, 0), NONE, HALF)
    assert match.truth.tolist() == [[1, 0, -1]]


def test_images_without_detections_or_truths() -> None:
    box, score = np.array([[0.0, 0.0, 10.0, 10.0]]), np.array([0.5])
    lonely = match_image(box, score, NONE, NONE, IOU_THRESHOLDS)
    assert (lonely.truth == -1).all()
    assert lonely.iou.tolist() == [0.0]
    empty = match_image(NONE, np.zeros(0), box, box, IOU_THRESHOLDS)
    assert empty.truth.shape == (10, 0)
    assert empty.counted.shape == (10, 0)
