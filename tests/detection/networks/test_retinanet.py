"""Detections and losses against stock torchvision; features; random initial weights."""

from collections.abc import Callable

import pytest
import torch
from helpers.closeness import (
    SCORE,
    assert_gradients_close,
    assert_losses_close,
    assert_scored_boxes_close,
)
from torch import Tensor, nn

from ptl_sweep.config.schema import ConfigError, EvaluateConfig
from ptl_sweep.detection.detector import Detector, build_detector

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
    assert_losses_close(ours.box_regression, theirs["bbox_regression"])
    found = torch.autograd.grad(sum(ours), parameters)
    for a, b in zip(found, expected, strict=True):
        assert_gradients_close(a, b)


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


def test_feature_and_its_eight_neighbours_give_the_score(tiny: Detector) -> None:
    images = random_images(1)
    towers: list[Tensor] = []
    layer = tiny.head.classification_head.cls_logits
    hook = layer.register_forward_pre_hook(lambda _, inputs: towers.append(inputs[0]))
    (found,) = tiny.detect(images, SETTING)
    hook.remove()
    for level, cell, score in zip(found.levels, found.cells, found.scores, strict=True):
        padded = nn.functional.pad(towers[int(level)][0], (1, 1, 1, 1))
        y, x = divmod(int(cell), padded.shape[2] - 2)
        logits = (layer.weight * padded[:, y : y + 3, x : x + 3]).sum((1, 2, 3)) + layer.bias
        assert (logits.sigmoid() - score).abs().min() <= SCORE


def test_detections_before_nms_contain_those_after_it(tiny: Detector) -> None:
    images = random_images(1)
    (before,) = tiny.detect(images, SETTING, nms=False)
    (after,) = tiny.detect(images, SETTING)
    assert len(before.scores) > len(after.scores)
    assert (before.scores.diff() <= 0).all()
    rows = {tuple(box) for box in before.boxes.tolist()}
    assert {tuple(box) for box in after.boxes.tolist()} <= rows


def test_boxes_lie_on_the_image_and_not_on_its_padding(tiny: Detector) -> None:
    for found in tiny.detect(random_images(), SETTING):
        assert found.boxes.min() >= 0
        assert found.boxes[:, 2].max() <= SIZE[1]
        assert found.boxes[:, 3].max() <= SIZE[0]


def test_image_without_detections_gives_empty_ones(tiny: Detector) -> None:
    tiny.head.classification_head.cls_logits.bias.data.fill_(-100.0)
    (found,) = tiny.detect(random_images(1), SETTING)
    assert found.boxes.shape == (0, 4)
    assert found.features.shape == (0, 48)


def test_initial_weights_depend_on_the_generator_alone(
    tiny_with: Callable, r50_with: Callable
) -> None:
    for config in (tiny_with(), r50_with()):
        states = []
        for seed, noise in ((0, 1), (0, 2), (1, 1)):
            torch.manual_seed(noise)
            before = torch.get_rng_state()
            built = build_detector(config, torch.Generator().manual_seed(seed))
            assert torch.equal(torch.get_rng_state(), before)
            states.append(built.state_dict())
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
        assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_pretrained_r50_freezes_what_torchvision_freezes(r50_with: Callable) -> None:
    from torchvision.models.detection import retinanet_resnet50_fpn
    from torchvision.models.detection.backbone_utils import _validate_trainable_layers

    assert _validate_trainable_layers(True, None, 5, 3) == 3
    ours = build_detector(r50_with(weights="imagenet"), torch.Generator())
    theirs = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=1)
    shapes = {name: value.shape for name, value in theirs.state_dict().items()}
    batches = {name for name in shapes if name.endswith("num_batches_tracked")}
    assert {n: v.shape for n, v in ours.state_dict().items()} == {
        name: shape for name, shape in shapes.items() if name not in batches
    }
    frozen = {name for name, p in ours.named_parameters() if not p.requires_grad}
    assert {name.split(".")[2] for name in frozen} == {"conv1", "layer1"}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ours.modules())


def test_published_weights_of_another_network_are_refused(tiny_with: Callable) -> None:
    with pytest.raises(ConfigError, match="weights=imagenet does not fit retinanet_tiny: none or"):
        build_detector(tiny_with(weights="imagenet"), torch.Generator())


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"anchor_sizes": [[16.0, 20.0, 25.0]] * 4}, "anchor_sizes"),
        ({"weights": "coco", "aspect_ratios": [1.0]}, "weights=coco"),
        ({"weights": "coco", "channels": 128}, "channels"),
    ],
)
def test_anchors_that_do_not_fit_are_refused(
    r50_with: Callable, changes: dict[str, object], key: str
) -> None:
    with pytest.raises(ConfigError, match=key):
        build_detector(r50_with(**changes), torch.Generator())
