"""Scores from features, random initial weights, and what an architecture refuses."""

from collections.abc import Callable

import pytest
import torch
from helpers.closeness import SCORE
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


def test_feature_and_its_eight_neighbours_give_the_score(tiny: Detector) -> None:
    images = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(5))
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
