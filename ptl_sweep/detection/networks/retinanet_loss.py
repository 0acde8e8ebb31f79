"""Losses of RetinaNet (Lin et al. 2017, eq. 5) for one class, equal to torchvision's."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ptl_sweep.detection.detector import Losses
from ptl_sweep.detection.networks.loss import BACKGROUND, chunk_length, focal_loss, image_slices

BETWEEN = -2  # no classification loss; this and BACKGROUND as in torchvision's Matcher
HIGH_IOU = 0.5
LOW_IOU = 0.4


def _chunks(anchors: Float[Tensor, "s 4"], num_boxes: int) -> tuple[Tensor, ...]:
    return torch.split(anchors, chunk_length(anchors, num_boxes))


def _intersections(boxes: Float[Tensor, "*b m 4"], anchors: Float[Tensor, "s 4"]) -> Tensor:
    """Area that box and anchor share, (b x) m x s, square pixels."""
    left, top, right, bottom = boxes[..., None].unbind(-2)
    x1, y1, x2, y2 = anchors.t().contiguous().unbind(0)
    width = torch.minimum(right, x2).sub_(torch.maximum(left, x1)).clamp_(min=0)
    height = torch.minimum(bottom, y2).sub_(torch.maximum(top, y1)).clamp_(min=0)
    return width.mul_(height)


def _areas(boxes: Float[Tensor, "*b 4"]) -> Tensor:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def match_anchors(
    anchors: Float[Tensor, "s 4"], boxes: Float[Tensor, "b m 4"]
) -> Int[Tensor, "b s"]:
    """Box of each anchor, or BACKGROUND (best IoU < 0.4), or BETWEEN (< 0.5), in each image.

    The rule of torchvision's Matcher with `allow_low_quality_matches`: an anchor that is the best
    one of some box is positive at any IoU, for the box it overlaps most. Zeros pad the boxes of an
    image: nothing overlaps them.
    """
    if not boxes.shape[1]:
        return torch.full((len(boxes), len(anchors)), BACKGROUND, device=anchors.device)
    areas = _areas(boxes)[..., None]
    ious, best, index = [], [], []
    for chunk in _chunks(anchors, boxes.shape[0] * boxes.shape[1]):
        shared = _intersections(boxes, chunk)
        iou = shared / (areas + _areas(chunk) - shared)
        value, argument = iou.max(1)
        best.append(value)
        index.append(argument)
        ious.append(iou)
    best_of_box = torch.stack([iou.amax(2) for iou in ious]).amax(0)
    best_of_box = torch.where(areas[..., 0] > 0, best_of_box, -1.0)[..., None]  # padding: no IoU
    rescued = torch.cat([(iou == best_of_box).any(1) for iou in ious], 1)
    best_iou, matched = torch.cat(best, 1), torch.cat(index, 1)
    label = torch.where(best_iou < HIGH_IOU, BETWEEN, matched)
    label = torch.where(best_iou < LOW_IOU, BACKGROUND, label)
    return torch.where(rescued, matched, label)


def best_anchors(
    anchors: Float[Tensor, "s 4"], boxes: Float[Tensor, "m 4"]
) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
    """IoU and index of the anchor that overlaps each box most; of equals the first."""
    iou = torch.full((len(boxes),), -1.0, device=anchors.device)
    index = torch.zeros(len(boxes), dtype=torch.int64, device=anchors.device)
    start = 0
    for chunk in _chunks(anchors, len(boxes)) if len(boxes) else ():
        shared = _intersections(boxes, chunk)
        value, argument = (shared / (_areas(boxes)[:, None] + _areas(chunk) - shared)).max(1)
        better = value > iou
        iou = torch.where(better, value, iou)
        index = torch.where(better, argument + start, index)
        start += len(chunk)
    return iou, index


def inside_ignored(
    anchors: Float[Tensor, "s 4"], ignored: Float[Tensor, "b k 4"]
) -> Bool[Tensor, "b s"]:
    """Whether at least half of the anchor's area lies in one ignored region of the image.

    Regions may be padded with boxes without an area: nothing lies in them.
    """
    if not ignored.shape[1]:
        return torch.zeros(len(ignored), len(anchors), dtype=torch.bool, device=anchors.device)
    return torch.cat(
        [
            _intersections(ignored, chunk).amax(1) >= 0.5 * _areas(chunk)
            for chunk in _chunks(anchors, ignored.shape[0] * ignored.shape[1])
        ],
        1,
    )


def encode_boxes(boxes: Float[Tensor, "*_ s 4"], anchors: Float[Tensor, "s 4"]) -> Tensor:
    """Offsets (dx, dy, dw, dh) that the box branch learns (Girshick 2014), unit weights."""
    size, anchor_size = boxes[..., 2:] - boxes[..., :2], anchors[..., 2:] - anchors[..., :2]
    centre, anchor_centre = boxes[..., :2] + 0.5 * size, anchors[..., :2] + 0.5 * anchor_size
    shift, growth = (centre - anchor_centre) / anchor_size, torch.log(size / anchor_size)
    return torch.cat([shift, growth], -1)


def retinanet_losses(
    logits: Float[Tensor, "b s"],
    offsets: Float[Tensor, "b s 4"],
    anchors: Float[Tensor, "s 4"],
    boxes: list[Float[Tensor, "_ 4"]],
    ignored: list[Float[Tensor, "_ 4"]],
) -> Losses:
    """Focal loss and L1 box loss of a batch; anchors in ignored regions are never background."""
    parts = [
        _losses_of_images(
            logits[part],
            offsets[part],
            anchors,
            pad_sequence(boxes[part], batch_first=True),
            pad_sequence(ignored[part], batch_first=True),
        )
        for part in image_slices(logits)
    ]
    classification, regression = zip(*parts, strict=True)
    return Losses(torch.cat(classification).mean(), torch.cat(regression).mean())


def _losses_of_images(
    logits: Float[Tensor, "b s"],
    offsets: Float[Tensor, "b s 4"],
    anchors: Float[Tensor, "s 4"],
    boxes: Float[Tensor, "b m 4"],
    ignored: Float[Tensor, "b k 4"],
) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Both losses of each image; zeros pad its boxes and its ignored regions."""
    label = match_anchors(anchors, boxes)
    positive = label >= 0
    counted = positive | ((label == BACKGROUND) & ~inside_ignored(anchors, ignored))
    num_positive = positive.sum(1).clamp(min=1)
    classification = focal_loss(logits, positive, counted) / num_positive
    # an anchor without a box learns nothing: it is compared with itself and masked
    target = anchors.expand_as(offsets)
    if boxes.shape[1]:
        box = boxes.gather(1, label.clamp(min=0)[..., None].expand_as(offsets))
        target = torch.where(positive[..., None], box, target)
    error = (offsets - encode_boxes(target, anchors)).abs().sum(-1)
    return classification, (error * positive).sum(1) / num_positive
