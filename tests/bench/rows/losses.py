"""Loss and gradient of RetinaNet given the heads' outputs, against torchvision's."""

import numpy as np
import torch
from case import Case, Setting
from rows.making import random_boxes
from torch import Tensor
from torchvision.models.detection import retinanet_resnet50_fpn

from ptl_sweep.detection.networks.retinanet_loss import retinanet_losses

STRIDES = (8, 16, 32, 64, 128)


def loss(setting: Setting) -> Case:
    """Four images of 512 px, 100 persons each."""
    return _loss(setting, 512, 512, 4, 100)


def loss_few(setting: Setting) -> Case:
    """Four images of 512 px, 20 persons each."""
    return _loss(setting, 512, 512, 4, 20)


def loss_large(setting: Setting) -> Case:
    """Two images of 1344x800 px, 60 persons each."""
    return _loss(setting, 800, 1344, 2, 60)


def _loss(setting: Setting, height: int, width: int, batch: int, num_boxes: int) -> Case:
    if setting.small:
        height = width = 128
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    net = retinanet_resnet50_fpn(weights=None, weights_backbone=None, num_classes=1).train()
    grids = [[-(-height // stride), -(-width // stride)] for stride in STRIDES]
    strides = [[torch.tensor(stride), torch.tensor(stride)] for stride in STRIDES]
    anchors = torch.cat(net.anchor_generator.grid_anchors(grids, strides))
    logits = (torch.randn(batch, len(anchors), generator=generator) - 4.6).requires_grad_()
    offsets = (torch.randn(batch, len(anchors), 4, generator=generator) * 0.1).requires_grad_()
    boxes = [torch.from_numpy(random_boxes(rng, num_boxes, width, height)) for _ in range(batch)]
    targets = [{"boxes": b, "labels": torch.zeros(len(b), dtype=torch.long)} for b in boxes]

    def stock() -> list[Tensor]:
        outputs = {"cls_logits": logits[..., None], "bbox_regression": offsets}
        total = sum(net.compute_loss(targets, outputs, [anchors] * batch).values())
        return [total.detach(), *torch.autograd.grad(total, [logits, offsets])]

    def ours() -> list[Tensor]:
        losses = retinanet_losses(logits, offsets, anchors, boxes, [torch.zeros(0, 4)] * batch)
        total = losses.classification + losses.box_regression
        return [total.detach(), *torch.autograd.grad(total, [logits, offsets])]

    return Case(
        what=f"loss {width}x{height}, {batch} images, {num_boxes} persons each",
        ours=ours,
        peers={"torchvision": stock},
        # float32 sums over up to 200,000 anchors, in another order: hundreds of units
        agree=lambda a, b: torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5),
    )
