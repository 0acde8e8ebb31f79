"""The COCO matching rule and ignored regions."""

import numpy as np

from ptl_sweep.detection.matching import IOU_THRESHOLDS, match_image

NONE = np.zeros((0, 4))
HALF = np.array([0.5])


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
