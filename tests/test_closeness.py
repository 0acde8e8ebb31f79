"""The tolerances of the other tests forgive rounding and nothing else."""

import pytest
import torch
from helpers.closeness import UNIT, assert_detections_close, assert_gradients_close
from torch import Tensor

from ptl_sweep.detection.detector import Detections

BOXES = torch.tensor([[900.0, 10, 990, 60], [20, 30, 40, 70], [500, 0, 530, 90]])
SCORES = torch.tensor([0.7, 0.5, 0.5])
FEATURES = torch.tensor([[3.0, -0.01], [0.5, 2.0], [-1.0, 0.0]])


def detections(boxes: Tensor = BOXES, scores: Tensor = SCORES, features: Tensor = FEATURES):
    places = torch.arange(len(scores))
    return Detections(boxes, scores, features, torch.zeros_like(places), places)


def test_rounding_is_forgiven_and_so_is_the_order_of_scores_that_it_swaps() -> None:
    order = torch.tensor([0, 2, 1])
    rounded = detections(BOXES[order] * (1 + UNIT), SCORES, FEATURES[order] + 10 * UNIT)
    assert_detections_close(rounded, detections())
    empty = detections(BOXES[:0], SCORES[:0], FEATURES[:0])
    assert_detections_close(empty, empty)


@pytest.mark.parametrize(
    "wrong",
    [
        detections(boxes=BOXES + torch.tensor([0.0, 0, 0.01, 0])),
        detections(scores=SCORES + 1e-4),
        detections(features=FEATURES + 1e-3),
        detections(BOXES[:2], SCORES[:2], FEATURES[:2]),
        detections(BOXES[[0, 1, 1]], SCORES, FEATURES[[0, 1, 1]]),
        detections(BOXES.flip(0), SCORES.flip(0), FEATURES.flip(0)),
    ],
    ids=["box", "score", "feature", "fewer", "one twice", "unsorted"],
)
def test_a_difference_that_is_no_rounding_fails(wrong: Detections) -> None:
    with pytest.raises(AssertionError):
        assert_detections_close(wrong, detections())


def test_small_entries_are_measured_against_the_largest() -> None:
    gradient = torch.tensor([1.0, 1e-6])
    assert_gradients_close(gradient + torch.tensor([0.0, 4e-6]), gradient)
    for wrong in (gradient * 1.0001, gradient + torch.tensor([0.0, 2e-5]), -gradient):
        with pytest.raises(AssertionError):
            assert_gradients_close(wrong, gradient)
