"""A RetinaNet with a small GroupNorm backbone on strides 8 and 16, trained from scratch."""

from typing import TYPE_CHECKING

from ptl_sweep.config.schema import DetectorConfig
from ptl_sweep.detection.architectures.base import Architecture, StageSeconds

if TYPE_CHECKING:
    from ptl_sweep.detection.detector import Detector

NUM_CONVS = 2  # per head; torchvision's head has 4


class TinyRetinaNet(Architecture):
    """For toy worlds: a training takes less than a minute on one core."""

    num_levels = 2
    default_seconds = StageSeconds(train=30.0, ptl=50.0, evaluate=8.0)  # one core, miniature

    def build(self, config: DetectorConfig) -> "Detector":
        """Two convolutions in each head, with GroupNorm."""
        from ptl_sweep.detection.networks.backbones import TinyBackbone, group_norm
        from ptl_sweep.detection.networks.retinanet import RetinaNet, head_of

        head = head_of(config, norm_layer=group_norm)
        for branch in (head.classification_head, head.regression_head):
            branch.conv = branch.conv[:NUM_CONVS]
        return RetinaNet(
            TinyBackbone(config.channels, finest_stride=self.finest_stride),
            head,
            config,
            stride=16,
            normalisation=([0.45, 0.44, 0.42], [0.2, 0.2, 0.2]),
        )
