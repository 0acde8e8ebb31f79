"""An FCOS with the small GroupNorm backbone on strides 8 and 16, trained from scratch."""

from typing import TYPE_CHECKING

from ptl_sweep.config.schema import DetectorConfig
from ptl_sweep.detection.architectures.base import AnchorFree, StageSeconds

if TYPE_CHECKING:
    from ptl_sweep.detection.detector import Detector

NUM_CONVS = 2  # per head; torchvision's head has 4
NUM_GROUPS = 32  # channels must be a multiple of it in torchvision's own heads


class TinyFCOS(AnchorFree):
    """For toy worlds, beside the small RetinaNet."""

    num_levels = 2
    # one core, miniature: a guess, those of retinanet_tiny times 1.2 as measured for a training
    default_seconds = StageSeconds(train=36.0, ptl=60.0, evaluate=10.0)

    def build(self, config: DetectorConfig) -> "Detector":
        """Two convolutions in each head, with GroupNorm."""
        from torch import nn
        from torchvision.models.detection.fcos import (
            FCOSClassificationHead,
            FCOSHead,
            FCOSRegressionHead,
        )

        from ptl_sweep.detection.networks.backbones import TinyBackbone, group_norm
        from ptl_sweep.detection.networks.fcos import FCOS

        # torchvision's heads take a norm, and the pair of them does not: both are put in its place
        head = FCOSHead(NUM_GROUPS, num_anchors=1, num_classes=1, num_convs=0)
        sizes = {"num_anchors": 1, "num_convs": NUM_CONVS, "norm_layer": group_norm}
        head.classification_head = FCOSClassificationHead(config.channels, num_classes=1, **sizes)
        head.regression_head = FCOSRegressionHead(config.channels, **sizes)
        # a distance that starts at or below zero learns nothing through its ReLU; ours
        nn.init.ones_(head.regression_head.bbox_reg.bias)
        return FCOS(
            TinyBackbone(config.channels, finest_stride=self.finest_stride),
            head,
            config,
            stride=16,
            normalisation=([0.45, 0.44, 0.42], [0.2, 0.2, 0.2]),
        )
