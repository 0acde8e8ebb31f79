"""The focal loss against torchvision's."""

import torch
from helpers.closeness import assert_losses_close
from torchvision.ops import sigmoid_focal_loss

from ptl_sweep.detection.networks.loss import focal_loss


def test_focal_loss_is_torchvisions_also_for_extreme_logits() -> None:
    logits = torch.linspace(-60, 60, 97)
    for positive in (torch.ones(97, dtype=torch.bool), torch.zeros(97, dtype=torch.bool)):
        expected = sigmoid_focal_loss(logits, positive.float(), reduction="sum")
        found = focal_loss(logits, positive, torch.ones_like(positive))
        assert_losses_close(found, expected)
