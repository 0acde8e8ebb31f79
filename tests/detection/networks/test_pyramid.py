"""Detections and losses of both families against stock torchvision; features of detections."""

from collections.abc import Callable

import pytest
import torch
from helpers.closeness import (
    assert_gradients_close,
    assert_losses_close,
    assert_scored_boxes_close,
)
from torch import Tensor

from ptl_sweep.config.schema import EvaluateConfig
from ptl_sweep.detection.detector import Detector

SETTING = EvaluateConfig(
    score_thresholds=[0.05, 0.1, 0.5],
    score_threshold=0.05,
    max_detections=50,
    candidates_per_level=200,
)
SIZE = (90, 150)  # a multiple of neither stride


def random_images(count: int = 2, size: tuple[int, int] = SIZE) -> Tensor:
    return torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(5))


def random_boxes(count: int, size: tuple[int, int] = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    limit = torch.tensor([size[1], size[0]]) - 40.0
    corner = torch.rand(count, 2, generator=generator) * limit
    return torch.cat([corner, corner + 5 + 35 * torch.rand(count, 2, generator=generator)], 1)


def nothing(count: int) -> list[Tensor]:
    return [torch.zeros(0, 4) for _ in range(count)]


@pytest.fixture(params=["tiny", "fcos"])
def small(request: pytest.FixtureRequest) -> Detector:
    return request.getfixturevalue(request.param)


def test_detections_equal_stock_torchvision(detector: Detector, stock_of: Callable) -> None:
    images = random_images()
    reference = stock_of(detector, SIZE, SETTING).eval()
    with torch.no_grad():
        expected = reference(list(images))
    for theirs, ours in zip(expected, detector.detect(images, SETTING), strict=True):
        assert len(ours.scores) > 10
        assert_scored_boxes_close(ours.boxes, ours.scores, theirs["boxes"], theirs["scores"])


def test_losses_and_gradients_equal_stock_torchvision(
    detector: Detector, stock_of: Callable
) -> None:
    images, boxes = random_images(3), [random_boxes(4), torch.zeros(0, 4), random_boxes(9)]
    parameters = list(detector.parameters())
    reference = stock_of(detector, SIZE, SETTING)
    reference.train()
    detector.backbone.eval()  # both passes see the same batch statistics
    targets = [{"boxes": box, "labels": torch.zeros(len(box), dtype=torch.long)} for box in boxes]
    theirs = reference(list(images), targets)
    expected = torch.autograd.grad(sum(theirs.values()), parameters)
    ours = detector.losses(images, boxes, nothing(3))
    assert_losses_close(ours.classification, theirs["classification"])
    centerness = theirs.get("bbox_ctrness", torch.tensor(0.0))
    assert_losses_close(ours.box_regression, theirs["bbox_regression"] + centerness)
    found = torch.autograd.grad(sum(ours), parameters)
    for a, b in zip(found, expected, strict=True):
        assert_gradients_close(a, b)


def test_losses_are_float32_under_autocast(small: Detector) -> None:
    images, boxes = random_images(), [random_boxes(4), random_boxes(9)]
    exact = small.losses(images, boxes, nothing(2))
    with torch.autocast("cpu", torch.bfloat16):
        mixed = small.losses(images, boxes, nothing(2))
    for one, other in zip(mixed, exact, strict=True):
        assert one.dtype == torch.float32
        assert one != other  # convolutions have fewer digits
        torch.testing.assert_close(one, other, rtol=0.05, atol=0)


def test_feature_is_the_tower_output_at_level_and_cell(detector: Detector) -> None:
    towers: list[Tensor] = []
    hook = detector.head.classification_head.cls_logits.register_forward_pre_hook(
        lambda _, inputs: towers.append(inputs[0])
    )
    found = detector.detect(random_images(), SETTING)
    hook.remove()
    for image, detections in enumerate(found):
        assert detections.features.shape[1] == detector.feature_dim
        rows = zip(detections.levels, detections.cells, detections.features, strict=True)
        for level, cell, feature in rows:
            tower = towers[int(level)][image]
            y, x = divmod(int(cell), tower.shape[2])
            assert torch.equal(feature, tower[:, y, x])


def test_detections_before_nms_contain_those_after_it(small: Detector) -> None:
    images = random_images(1)
    (before,) = small.detect(images, SETTING, nms=False)
    (after,) = small.detect(images, SETTING)
    assert len(before.scores) > len(after.scores)
    assert (before.scores.diff() <= 0).all()
    rows = {tuple(box) for box in before.boxes.tolist()}
    assert {tuple(box) for box in after.boxes.tolist()} <= rows


def test_boxes_lie_on_the_image_and_not_on_its_padding(small: Detector) -> None:
    for found in small.detect(random_images(), SETTING):
        assert found.boxes.min() >= 0
        assert found.boxes[:, 2].max() <= SIZE[1]
        assert found.boxes[:, 3].max() <= SIZE[0]


def test_image_without_detections_gives_empty_ones(small: Detector) -> None:
    small.head.classification_head.cls_logits.bias.data.fill_(-100.0)
    (found,) = small.detect(random_images(1), SETTING)
    assert found.boxes.shape == (0, 4)
    assert found.features.shape == (0, 48)
