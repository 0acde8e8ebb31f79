"""Losses of FCOS (Tian et al. 2019, eq. 2) for one class, equal to torchvision's, with GIoU."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from ptl_sweep.detection.detector import Losses
from ptl_sweep.detection.networks.fcos_matching import Locations, match_locations
from ptl_sweep.detection.networks.loss import focal_loss, image_slices

EPSILON = 1e-7  # square pixels, in divisions by an area; torchvision's


class Outputs(NamedTuple):
    """What the three branches say at every location."""

    logits: Float[Tensor, "b s"]
    offsets: Float[Tensor, "b s 4"]  # distances to left, top, right and bottom, sizes
    centerness: Float[Tensor, "b s"]  # logits


def fcos_losses(
    outputs: Outputs,
    locations: Locations,
    boxes: list[Float[Tensor, "_ 4"]],
    ignored: list[Float[Tensor, "_ 4"]],
) -> Losses:
    """Focal loss; and GIoU loss plus centerness, which is a part of how boxes are found.

    Sums over the batch, divided by its locations with a box. Locations in ignored regions are
    never background.
    """
    parts = [
        _sums_of_images(
            Outputs(*(field[part] for field in outputs)),
            locations,
            pad_sequence(boxes[part], batch_first=True),
            pad_sequence(ignored[part], batch_first=True),
        )
        for part in image_slices(outputs.logits)
    ]
    classification, regression, num_positive = torch.stack(parts).sum(0).unbind()
    count = num_positive.clamp(min=1)
    return Losses(classification / count, regression / count)


def _sums_of_images(
    outputs: Outputs,
    locations: Locations,
    boxes: Float[Tensor, "b m 4"],
    ignored: Float[Tensor, "b k 4"],
) -> Float[Tensor, "3"]:
    """Both losses and the number of locations with a box; zeros pad boxes and ignored regions."""
    label = match_locations(locations, boxes)
    positive = label >= 0
    counted = positive | ~inside_ignored(locations, ignored)
    # a location without a box is compared with the square around it and masked
    halves = torch.full_like(outputs.offsets, 0.5)
    target = decode_boxes(halves, locations.x, locations.y, locations.size)
    if boxes.shape[1]:
        box = boxes.gather(1, label.clamp(min=0)[..., None].expand_as(target))
        target = torch.where(positive[..., None], box, target)
    found = decode_boxes(outputs.offsets, locations.x, locations.y, locations.size)
    centerness = functional.binary_cross_entropy_with_logits(
        outputs.centerness, centerness_of(target, locations), reduction="none"
    )
    regression = (giou_loss(found, target) + centerness) * positive
    classification = focal_loss(outputs.logits, positive, counted).sum()
    return torch.stack([classification, regression.sum(), positive.sum().to(classification.dtype)])


def inside_ignored(locations: Locations, ignored: Float[Tensor, "b k 4"]) -> Bool[Tensor, "b s"]:
    """Whether the location lies in an ignored region of the image.

    Regions may be padded with boxes without an area: nothing lies in them.
    """
    if not ignored.shape[1]:
        shape = (len(ignored), len(locations.x))
        return torch.zeros(shape, dtype=torch.bool, device=ignored.device)
    x1, y1, x2, y2 = ignored[..., None].unbind(-2)
    inside = [
        ((part.x >= x1) & (part.x < x2) & (part.y >= y1) & (part.y < y2)).any(1)
        for part in locations.chunks(ignored.shape[0] * ignored.shape[1])
    ]
    return torch.cat(inside, 1)


def decode_boxes(
    offsets: Float[Tensor, "*b 4"],
    x: Float[Tensor, "..."],
    y: Float[Tensor, "..."],
    size: Float[Tensor, "..."],
) -> Float[Tensor, "*b 4"]:
    """Boxes, xyxy pixels, whose sides lie so many sizes from the location."""
    left, top, right, bottom = (offsets * size[..., None]).unbind(-1)
    return torch.stack([x - left, y - top, x + right, y + bottom], -1)


def centerness_of(boxes: Float[Tensor, "b s 4"], locations: Locations) -> Float[Tensor, "b s"]:
    """sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b)), eq. 3: 1 in the middle of the box."""
    places = torch.stack([locations.x, locations.y], -1)
    before, after = places - boxes[..., :2], boxes[..., 2:] - places
    across, down = (torch.minimum(before, after) / torch.maximum(before, after)).unbind(-1)
    return (across * down).sqrt()


def giou_loss(found: Float[Tensor, "*b 4"], target: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b"]:
    """1 - GIoU (Rezatofighi et al. 2019) of boxes with boxes, one by one."""
    first, last, low, high = (
        corner for one in (found, target) for corner in torch.split(one, 2, -1)
    )
    shared = _area((torch.minimum(last, high) - torch.maximum(first, low)).clamp(min=0))
    hull = _area(torch.maximum(last, high) - torch.minimum(first, low))
    union = _area(last - first) + _area(high - low) - shared
    return 1 - shared / (union + EPSILON) + (hull - union) / (hull + EPSILON)


def _area(sides: Float[Tensor, "*b 2"]) -> Float[Tensor, "*b"]:
    return sides[..., 0] * sides[..., 1]
