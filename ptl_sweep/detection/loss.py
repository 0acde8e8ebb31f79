"""Losses of RetinaNet (Lin et al. 2017, eq. 5) for one class, equal to torchvision's.

Every tensor has a shape that is known before the values are: nothing waits for the GPU.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

BACKGROUND = -1  # this and the next as in torchvision's Matcher
BETWEEN = -2  # no classification loss
HIGH_IOU = 0.5
LOW_IOU = 0.4
ALPHA = 0.25  # of the focal loss, whose gamma is 2
# boxes x anchors compared at once: what fits the caches of a CPU, what fills a GPU
_PAIRS_PER_CHUNK = {"cpu": 2**17, "cuda": 2**25}


class Losses(NamedTuple):
    """Means over the images of the batch, each normalised by its number of positive anchors."""

    classification: Float[Tensor, ""]
    box_regression: Float[Tensor, ""]


def _chunks(anchors: Float[Tensor, "s 4"], num_boxes: int) -> tuple[Tensor, ...]:
    pairs = _PAIRS_PER_CHUNK.get(anchors.device.type, 2**17)
    return torch.split(anchors, max(1024, pairs // num_boxes))


def _intersections(boxes: Float[Tensor, "m 4"], anchors: Float[Tensor, "s 4"]) -> Tensor:
    """Area that box and anchor share, m x s, square pixels."""
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    x1, y1, x2, y2 = anchors.t().contiguous().unbind(0)
    width = torch.minimum(right, x2).sub_(torch.maximum(left, x1)).clamp_(min=0)
    height = torch.minimum(bottom, y2).sub_(torch.maximum(top, y1)).clamp_(min=0)
    return width.mul_(height)


def _areas(boxes: Float[Tensor, "n 4"]) -> Tensor:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def match_anchors(anchors: Float[Tensor, "s 4"], boxes: Float[Tensor, "m 4"]) -> Int[Tensor, " s"]:
    """Box of each anchor, or BACKGROUND (best IoU < 0.4), or BETWEEN (< 0.5).

    The rule of torchvision's Matcher with `allow_low_quality_matches`: an anchor that is the best
    one of some box is positive at any IoU, for the box it overlaps most.
    """
    if len(boxes) == 0:
        return torch.full((len(anchors),), BACKGROUND, device=anchors.device)
    best, index, ious = [], [], []
    for chunk in _chunks(anchors, len(boxes)):
        shared = _intersections(boxes, chunk)
        iou = shared / (_areas(boxes)[:, None] + _areas(chunk) - shared)
        value, argument = iou.max(0)
        best.append(value)
        index.append(argument)
        ious.append(iou)
    best_of_box = torch.stack([iou.amax(1) for iou in ious]).amax(0)
    rescued = torch.cat([(iou == best_of_box[:, None]).any(0) for iou in ious])
    best_iou, matched = torch.cat(best), torch.cat(index)
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
    for chunk in _chunks(anchors, max(1, len(boxes))) if len(boxes) else ():
        shared = _intersections(boxes, chunk)
        value, argument = (shared / (_areas(boxes)[:, None] + _areas(chunk) - shared)).max(1)
        better = value > iou
        iou = torch.where(better, value, iou)
        index = torch.where(better, argument + start, index)
        start += len(chunk)
    return iou, index


def inside_ignored(
    anchors: Float[Tensor, "s 4"], ignored: Float[Tensor, "k 4"]
) -> Bool[Tensor, " s"]:
    """Whether at least half of the anchor's area lies in one ignored region."""
    if len(ignored) == 0:
        return torch.zeros(len(anchors), dtype=torch.bool, device=anchors.device)
    return torch.cat(
        [
            _intersections(ignored, chunk).amax(0) >= 0.5 * _areas(chunk)
            for chunk in _chunks(anchors, len(ignored))
        ]
    )


def encode_boxes(boxes: Float[Tensor, "n 4"], anchors: Float[Tensor, "n 4"]) -> Tensor:
    """Offsets (dx, dy, dw, dh) that the box branch learns (Girshick 2014), unit weights, n x 4."""
    size, anchor_size = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    centre, anchor_centre = boxes[:, :2] + 0.5 * size, anchors[:, :2] + 0.5 * anchor_size
    return torch.cat([(centre - anchor_centre) / anchor_size, torch.log(size / anchor_size)], 1)


def focal_loss(
    logits: Float[Tensor, " s"], positive: Bool[Tensor, " s"], counted: Bool[Tensor, " s"]
) -> Float[Tensor, ""]:
    """Sum of the focal loss over the counted anchors; gamma = 2, alpha = 0.25."""
    probability, softplus = logits.sigmoid(), functional.softplus(logits)
    background = (1 - ALPHA) * probability.square() * softplus
    person = ALPHA * (1 - probability).square() * (softplus - logits)
    return (torch.where(positive, person, background) * counted).sum()


def retinanet_losses(
    logits: Float[Tensor, "b s"],
    offsets: Float[Tensor, "b s 4"],
    anchors: Float[Tensor, "s 4"],
    boxes: list[Float[Tensor, "_ 4"]],
    ignored: list[Float[Tensor, "_ 4"]],
) -> Losses:
    """Focal loss and L1 box loss of a batch; anchors in ignored regions are never background."""
    classification, regression = [], []
    for logit, offset, truth, region in zip(logits, offsets, boxes, ignored, strict=True):
        label = match_anchors(anchors, truth)
        counted = (label >= 0) | ((label == BACKGROUND) & ~inside_ignored(anchors, region))
        positive = label >= 0
        num_positive = positive.sum().clamp(min=1)
        classification.append(focal_loss(logit, positive, counted) / num_positive)
        # an anchor without a box learns nothing: it is compared with itself and masked
        target = truth[label.clamp(min=0)] if len(truth) else anchors
        target = torch.where(positive[:, None], target, anchors)
        error = (offset - encode_boxes(target, anchors)).abs().sum(1)
        regression.append((error * positive).sum() / num_positive)
    return Losses(torch.stack(classification).mean(), torch.stack(regression).mean())
