"""Matching against torchvision's Matcher, ignored regions, and the absence of host waits."""

import pytest
import torch
from helpers.closeness import (
    assert_elementwise_close,
    assert_gradients_close,
    assert_losses_close,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.ops import box_iou

from ptl_sweep.detection.networks import loss
from ptl_sweep.detection.networks.retinanet_loss import (
    BACKGROUND,
    BETWEEN,
    encode_boxes,
    inside_ignored,
    match_anchors,
    retinanet_losses,
)


def boxes_from(seed: int, count: int, *, whole: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 100
    boxes = torch.cat([corner, corner + 4 + 40 * torch.rand(count, 2, generator=generator)], 1)
    return boxes.round() if whole else boxes


def matches(anchors: Tensor, *boxes: Tensor) -> Tensor:
    return match_anchors(anchors, pad_sequence(boxes, batch_first=True))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 30), whole=st.booleans())
def test_matches_are_those_of_torchvision(seed: int, count: int, whole: bool) -> None:
    """Exactly: an IoU takes +, -, * and / alone, which every kernel rounds alike."""
    anchors = boxes_from(seed, 500, whole=whole)
    boxes = boxes_from(seed + 1, count, whole=whole)
    expected = Matcher(0.5, 0.4, allow_low_quality_matches=True)(box_iou(boxes, anchors))
    fewer = boxes[: count // 2]
    found = matches(anchors, boxes, fewer, boxes[:0])
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1], matches(anchors, fewer)[0])
    assert (found[2] == BACKGROUND).all()


def test_matches_do_not_depend_on_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    anchors, boxes = boxes_from(0, 5000), boxes_from(1, 40)
    whole = matches(anchors, boxes)
    monkeypatch.setitem(loss._PAIRS_PER_CHUNK, "cpu", 1)
    assert torch.equal(matches(anchors, boxes), whole)


def test_without_boxes_every_anchor_is_background() -> None:
    assert (matches(boxes_from(0, 7), torch.zeros(0, 4)) == BACKGROUND).all()


@pytest.mark.parametrize("at_once", [1, 1000, 10**6])
def test_a_batch_costs_what_its_images_cost_alone(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradients included, however many images share their kernels."""
    monkeypatch.setitem(loss._ANCHORS_AT_ONCE, "cpu", at_once)
    generator = torch.Generator().manual_seed(0)
    anchors = boxes_from(0, 400)
    logits = torch.randn(5, 400, generator=generator, requires_grad=True)
    offsets = torch.randn(5, 400, 4, generator=generator, requires_grad=True)
    boxes = [boxes_from(count, count) for count in (3, 0, 9, 1, 0)]
    ignored = [boxes_from(10 + count, count) for count in (0, 2, 1, 0, 0)]
    whole = retinanet_losses(logits, offsets, anchors, boxes, ignored)
    alone = [
        retinanet_losses(logits[i : i + 1], offsets[i : i + 1], anchors, [box], [region])
        for i, (box, region) in enumerate(zip(boxes, ignored, strict=True))
    ]
    for name, value in whole._asdict().items():
        apart = torch.stack([getattr(one, name) for one in alone]).mean()
        assert_losses_close(value, apart)
        for given_ in (logits, offsets):
            found, expected = (
                torch.autograd.grad(one, given_, retain_graph=True, allow_unused=True)[0]
                for one in (value, apart)
            )
            assert (found is None) == (expected is None)
            if found is not None:
                assert_gradients_close(found, expected)


def test_offsets_are_those_of_torchvision() -> None:
    boxes, anchors = boxes_from(0, 50), boxes_from(1, 50)
    expected = BoxCoder((1.0, 1.0, 1.0, 1.0)).encode_single(boxes, anchors)
    assert_elementwise_close(encode_boxes(boxes, anchors), expected)


def test_ignored_region_silences_anchors_of_which_half_lies_inside() -> None:
    region = torch.tensor([[0.0, 0.0, 10.0, 20.0]])
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [5.0, 0.0, 15.0, 10.0], [6.0, 0.0, 16.0, 10.0]])
    assert inside_ignored(anchors, region[None]).tolist() == [[True, True, False]]
    padded = torch.stack([torch.zeros(2, 4), torch.cat([torch.zeros(1, 4), region])])
    assert inside_ignored(anchors, padded).tolist() == [[False] * 3, [True, True, False]]
    assert inside_ignored(anchors, torch.zeros(1, 0, 4)).tolist() == [[False] * 3]


def test_ignored_region_removes_background_loss_and_nothing_else() -> None:
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [30.0, 30.0, 40.0, 40.0]])
    truth = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    logits = torch.tensor([[0.3, -0.2]], requires_grad=True)
    offsets = torch.zeros(1, 2, 4)
    everywhere = torch.tensor([[-100.0, -100.0, 100.0, 100.0]])
    found = retinanet_losses(logits, offsets, anchors, [truth], [everywhere])
    (gradient,) = torch.autograd.grad(found.classification, logits)
    assert gradient[0, 0] < 0  # the person is still learnt
    assert gradient[0, 1] == 0


def test_anchors_between_the_thresholds_cost_nothing() -> None:
    anchors = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 0.0, 10.0, 22.0]])
    truth = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    assert matches(anchors, truth).tolist() == [[0, BETWEEN]]


def test_losses_need_no_value_on_the_host() -> None:
    """Meta tensors have shapes and no values: whatever waits for a GPU fails on them."""
    with torch.device("meta"):
        found = retinanet_losses(
            torch.zeros(2, 600, requires_grad=True),
            torch.zeros(2, 600, 4, requires_grad=True),
            torch.zeros(600, 4),
            [torch.zeros(5, 4), torch.zeros(0, 4)],
            [torch.zeros(0, 4), torch.zeros(3, 4)],
        )
        torch.autograd.backward(sum(found))
    assert found.classification.is_meta
