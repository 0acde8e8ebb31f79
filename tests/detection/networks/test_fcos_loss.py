"""Losses of FCOS: their parts against torchvision, ignored regions, and no host waits."""

import pytest
import torch
from helpers.closeness import (
    assert_elementwise_close,
    assert_gradients_close,
    assert_losses_close,
)
from torch import Tensor
from torchvision.models.detection._utils import BoxLinearCoder
from torchvision.models.detection.fcos import FCOSHead
from torchvision.ops import generalized_box_iou_loss

from ptl_sweep.detection.networks import loss
from ptl_sweep.detection.networks.fcos_loss import (
    Outputs,
    decode_boxes,
    fcos_losses,
    giou_loss,
    inside_ignored,
)
from ptl_sweep.detection.networks.fcos_matching import Locations, locations_of, match_locations

LEVEL_SIZES = [64, 16]


def squares() -> Tensor:
    """On 64 x 64 pixels, strides 8 and 16."""
    levels = []
    for stride in (8, 16):
        steps = torch.arange(0.0, 64, stride)
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        centres = torch.stack([x, y, x, y], -1).reshape(-1, 4)
        levels.append(centres + stride / 2 * torch.tensor([-1.0, -1.0, 1.0, 1.0]))
    return torch.cat(levels)


def locations() -> Locations:
    return locations_of(squares(), LEVEL_SIZES)


def boxes_from(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 40
    return torch.cat([corner, corner + 4 + 20 * torch.rand(count, 2, generator=generator)], 1)


def outputs_from(seed: int, num_images: int) -> Outputs:
    generator = torch.Generator().manual_seed(seed)
    size = (num_images, sum(LEVEL_SIZES))
    logits, centerness = (torch.randn(*size, generator=generator) for _ in range(2))
    offsets = torch.randn(*size, 4, generator=generator).relu()
    return Outputs(*(part.requires_grad_() for part in (logits, offsets, centerness)))


def nothing(count: int) -> list[Tensor]:
    return [torch.zeros(0, 4) for _ in range(count)]


BATCHES = {
    "several": [boxes_from(1, 3), boxes_from(2, 0), boxes_from(3, 9)],
    "no boxes": nothing(2),
    "overlapping": [torch.tensor([[8.0, 8, 40, 40], [8.0, 8, 40, 36], [20.0, 20, 30, 30]])],
}


@pytest.mark.parametrize("at_once", [1, 10**6])
@pytest.mark.parametrize("boxes", BATCHES.values(), ids=BATCHES)
def test_losses_and_gradients_equal_torchvision_however_many_images_are_computed_at_once(
    boxes: list[Tensor], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loss._ANCHORS_AT_ONCE, "cpu", at_once)
    outputs = outputs_from(0, len(boxes))
    head = FCOSHead(32, 1, 1)
    matched = [match_locations(locations(), box[None])[0] for box in boxes]
    named = {
        "cls_logits": outputs.logits[..., None],
        "bbox_regression": outputs.offsets,
        "bbox_ctrness": outputs.centerness[..., None],
    }
    targets = [{"boxes": box, "labels": torch.zeros(len(box), dtype=torch.long)} for box in boxes]
    theirs = head.compute_loss(targets, named, [squares()] * len(boxes), matched)
    ours = fcos_losses(outputs, locations(), boxes, nothing(len(boxes)))
    assert_losses_close(ours.classification, theirs["classification"])
    both = theirs["bbox_regression"] + theirs["bbox_ctrness"]
    assert_losses_close(ours.box_regression, both)
    expected = torch.autograd.grad(sum(theirs.values()), outputs)
    for found, one in zip(torch.autograd.grad(sum(ours), outputs), expected, strict=True):
        assert_gradients_close(found, one)


def test_giou_loss_is_torchvisions_also_for_boxes_apart_and_without_an_area() -> None:
    found, target = boxes_from(4, 200), boxes_from(5, 200)
    found[:50, 2:] = found[:50, :2]
    found[50:100] += 60
    expected = generalized_box_iou_loss(found, target)
    assert expected.max() > 1.5
    assert_elementwise_close(giou_loss(found, target), expected)


def test_boxes_are_decoded_as_torchvision_decodes_them() -> None:
    offsets = outputs_from(6, 2).offsets
    expected = BoxLinearCoder(normalize_by_size=True).decode(offsets, squares().expand(2, -1, -1))
    place = locations()
    assert_elementwise_close(decode_boxes(offsets, place.x, place.y, place.size), expected)


def test_ignored_region_silences_the_locations_inside() -> None:
    region = torch.tensor([[4.0, 4.0, 20.0, 12.0]])
    inside = inside_ignored(locations(), region[None])[0]
    places = torch.stack([locations().x, locations().y], 1)[inside].tolist()
    assert places == [[8, 8], [16, 8]]  # of the finest level; the next has (0, 0) and (16, 16)
    padded = torch.stack([torch.zeros(2, 4), torch.cat([torch.zeros(1, 4), region])])
    assert torch.equal(inside_ignored(locations(), padded), torch.stack([inside & False, inside]))


def test_ignored_region_removes_background_loss_and_nothing_else() -> None:
    outputs, person = outputs_from(7, 1), torch.tensor([[10.0, 10.0, 30.0, 34.0]])
    everywhere = torch.tensor([[-10.0, -10.0, 100.0, 100.0]])
    found = fcos_losses(outputs, locations(), [person], [everywhere])
    (gradient,) = torch.autograd.grad(found.classification, outputs.logits, retain_graph=True)
    learns = match_locations(locations(), person[None]) == 0
    assert learns.any()
    assert (gradient[learns] < 0).all()  # the person is still learnt
    assert (gradient[~learns] == 0).all()
    without = fcos_losses(outputs, locations(), [person], nothing(1))
    assert found.box_regression == without.box_regression
    assert found.classification < without.classification


def test_losses_need_no_value_on_the_host() -> None:
    """Meta tensors have shapes and no values: whatever waits for a GPU fails on them."""
    with torch.device("meta"):
        size = (2, sum(LEVEL_SIZES))
        outputs = Outputs(
            torch.zeros(size, requires_grad=True),
            torch.zeros(*size, 4, requires_grad=True),
            torch.zeros(size, requires_grad=True),
        )
        place = locations_of(torch.zeros(sum(LEVEL_SIZES), 4), LEVEL_SIZES)
        boxes, ignored = [torch.zeros(5, 4), torch.zeros(0, 4)], [torch.zeros(0, 4)] * 2
        found = fcos_losses(outputs, place, boxes, ignored)
        torch.autograd.backward(sum(found))
    assert found.classification.is_meta
