"""Which candidates are left: stock NMS to the last index, whole batches as image by image."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.ops import nms

from ptl_sweep.config.schema import InferenceConfig
from ptl_sweep.detection import detector as module
from ptl_sweep.detection.detector import best_boxes

Scene = Callable[[torch.Generator, int], tuple[Tensor, Tensor]]


def scattered(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Little overlap, all scores differ."""
    corner = torch.rand(count, 2, generator=generator) * 400
    size = 5 + 40 * torch.rand(count, 2, generator=generator)
    return torch.cat([corner, corner + size], 1), torch.rand(count, generator=generator)


def crowded(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Many boxes around few persons, on whole pixels: equal boxes, IoU at the threshold."""
    person = torch.randint(0, 12, (count, 1), generator=generator) * torch.tensor([[17, 9]])
    corner = person + torch.randint(0, 4, (count, 2), generator=generator)
    size = 12 + torch.randint(0, 4, (count, 2), generator=generator)
    boxes = torch.cat([corner, corner + size], 1).float()
    return boxes, torch.rand(count, generator=generator)


def tied(generator: torch.Generator, count: int) -> tuple[Tensor, Tensor]:
    """Few different scores, and boxes without an area."""
    boxes, scores = crowded(generator, count)
    boxes[::7, 2] = boxes[::7, 0]
    return boxes, (scores * 4).round() / 4


@pytest.mark.parametrize("scene", [scattered, crowded, tied])
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_nms_that_stops_early_keeps_what_stock_nms_keeps_first(scene: Scene, limit: int) -> None:
    generator = torch.Generator().manual_seed(limit)
    for count in (0, 1, 2, 9, 150, 1000):
        for threshold in (0.0, 0.3, 0.5, 1.0):
            boxes, scores = scene(generator, count)
            setting = InferenceConfig(nms_threshold=threshold, max_detections=limit)
            expected = nms(boxes, scores, threshold)[:limit]
            assert torch.equal(best_boxes(boxes, scores, setting, nms=True), expected)


def test_nms_looks_at_few_candidates_where_many_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def counting(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
        seen.append(len(boxes))
        return nms(boxes, scores, threshold)

    monkeypatch.setattr(module, "non_maximum_suppression", counting)
    boxes, scores = scattered(torch.Generator().manual_seed(0), 5000)
    best_boxes(boxes, scores, InferenceConfig(max_detections=50), nms=True)
    assert sum(seen) <= 200


@pytest.mark.parametrize("scene", [scattered, crowded, tied])
@pytest.mark.parametrize("per_nms", [1, 60, 10**6])
@pytest.mark.parametrize("suppress", [True, False])
def test_a_batch_treated_together_keeps_what_its_images_keep_one_by_one(
    scene: Scene, per_nms: int, suppress: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some images without any candidate above the threshold; NMS shared by none, some and all."""
    monkeypatch.setattr(module, "_CANDIDATES_PER_NMS", per_nms)
    generator = torch.Generator().manual_seed(per_nms)
    setting = InferenceConfig(score_threshold=0.3, max_detections=9)
    for num_images in (1, 5):
        pairs = [scene(generator, 40) for _ in range(num_images)]
        boxes, scores = (torch.stack(part) for part in zip(*pairs, strict=True))
        for empty in ([], [0], list(range(0, num_images, 2)), list(range(num_images))):
            scores[empty] = 0.1
            each = module._best_each(boxes, scores, setting, nms=suppress)
            together = module._best_together(boxes, scores, setting, nms=suppress)
            assert together.counts == each.counts
            assert torch.equal(together.images, each.images)
            assert torch.equal(together.places, each.places)
