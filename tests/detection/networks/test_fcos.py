"""What FCOS is built of, what it refuses, and that it learns."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.closeness import SCORE
from torch import Tensor, nn
from torchvision.ops import box_iou

from ptl_sweep.config.schema import ConfigError, DetectorConfig, EvaluateConfig, TilingConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detector, build_detector
from ptl_sweep.detection.pixels import View, load_image
from ptl_sweep.detection.training import train_detector

SETTING = EvaluateConfig(score_thresholds=[0.05, 0.1, 0.5], score_threshold=0.05)


def test_score_is_the_root_of_probability_times_centerness(fcos: Detector) -> None:
    """Both recomputed from the towers around the cell of each detection."""
    towers: dict[str, list[Tensor]] = {"cls_logits": [], "bbox_ctrness": []}
    classifier, regressor = fcos.head.classification_head, fcos.head.regression_head
    layers = {"cls_logits": classifier.cls_logits, "bbox_ctrness": regressor.bbox_ctrness}
    for name, layer in layers.items():
        layer.register_forward_pre_hook(lambda _, inputs, name=name: towers[name].append(inputs[0]))
    images = torch.rand(1, 3, 90, 150, generator=torch.Generator().manual_seed(5))
    (found,) = fcos.detect(images, SETTING)
    assert len(found.scores) > 10
    for level, cell, score in zip(found.levels, found.cells, found.scores, strict=True):
        chances = []
        for name, layer in layers.items():
            padded = nn.functional.pad(towers[name][int(level)][0], (1, 1, 1, 1))
            y, x = divmod(int(cell), padded.shape[2] - 2)
            logit = (layer.weight * padded[:, y : y + 3, x : x + 3]).sum() + layer.bias
            chances.append(logit.sigmoid())
        assert ((chances[0] * chances[1]).sqrt() - score).abs() <= SCORE


def test_fcos_learns_to_find_a_person_in_a_drawn_picture(
    fcos_with: Callable[..., DetectorConfig],
    training_with: Callable,
    draw: Callable[..., ImageRecord],
    cache: ImageCache,
    tmp_path: Path,
) -> None:
    records = [draw(seed) for seed in range(4)]
    detector = build_detector(fcos_with(), torch.Generator().manual_seed(0))
    losses: list[float] = []
    train_detector(
        detector,
        records,
        training_with(num_steps=80, batch_size=4),
        seed=0,
        folder=tmp_path,
        cache=cache,
        on_step=lambda _, row: losses.append(row["train/loss"]),
        view=View(None, TilingConfig()),
    )
    assert losses[-1] < 0.7 * losses[0]
    for record in records:
        (found,) = detector.detect(load_image(record.pixels.read(), None)[None], SETTING)
        best = found.boxes[found.scores.argmax()]
        assert box_iou(best[None], torch.from_numpy(record.boxes)).max() > 0.5


def test_initial_weights_depend_on_the_generator_alone(
    fcos_with: Callable[..., DetectorConfig],
) -> None:
    states = []
    for seed, noise in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(noise)
        states.append(build_detector(fcos_with(), torch.Generator().manual_seed(seed)).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not all(torch.equal(states[0][name], states[2][name]) for name in states[0])


def test_r50_has_the_weights_of_torchvisions_and_freezes_what_it_freezes(
    fcos_r50_with: Callable[..., DetectorConfig],
) -> None:
    from torchvision.models.detection import fcos_resnet50_fpn

    ours = build_detector(fcos_r50_with(weights="imagenet"), torch.Generator())
    theirs = fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=1)
    assert {name: value.shape for name, value in ours.state_dict().items()} == {
        name: value.shape
        for name, value in theirs.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    frozen = {name for name, p in ours.named_parameters() if not p.requires_grad}
    assert {name.split(".")[2] for name in frozen} == {"conv1", "layer1"}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in ours.modules())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"anchor_sizes": [[8.0]]}, "one list for each of the 2 levels"),
        ({"anchor_sizes": [[8.0, 12.0], [16.0, 24.0]]}, "fcos_tiny has no anchors: .* one size"),
        ({"aspect_ratios": [1.0, 2.0]}, r"aspect_ratios is \[1.0\], got"),
        ({"anchor_sizes": [[8.0], [18.0]]}, "at most twice the one before"),
        ({"anchor_sizes": [[7.0], [14.0]]}, "even"),
        ({"anchor_sizes": [[4.0], [6.0]]}, r"at least half the strides \(\[4.0, 8.0\]\)"),
        ({"weights": "coco"}, "weights=coco does not fit fcos_tiny: none or a path"),
    ],
)
def test_sizes_and_weights_that_do_not_fit_are_refused(
    fcos_with: Callable[..., DetectorConfig], changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        build_detector(fcos_with(**changes), torch.Generator())


@pytest.mark.parametrize("changes", [{"channels": 48}, {"weights": "coco", "channels": 128}])
def test_channels_that_do_not_fit_torchvisions_heads_are_refused(
    fcos_r50_with: Callable[..., DetectorConfig], changes: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=r"detector\.channels"):
        build_detector(fcos_r50_with(**changes), torch.Generator())
