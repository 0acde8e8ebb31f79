"""RetinaNet with ResNet-50 and FPN, as torchvision builds it (Lin et al. 2017)."""

from typing import TYPE_CHECKING

from ptl_sweep.config.schema import ConfigError, DetectorConfig
from ptl_sweep.detection.architectures.base import Architecture, StageSeconds
from ptl_sweep.detection.initial_weights.published import COCO_RETINANET, IMAGENET_R50

if TYPE_CHECKING:
    from ptl_sweep.detection.detector import Detector


class ResNet50RetinaNet(Architecture):
    """The detector of the papers' size; starts from ImageNet or COCO weights."""

    num_levels = 5
    published_weights = (IMAGENET_R50, COCO_RETINANET)
    default_seconds = StageSeconds(train=3240.0, ptl=7560.0, evaluate=290.0)  # one GPU, paper grid
    needs_gpu = True

    def check(self, config: DetectorConfig) -> None:
        """COCO's head has 9 anchors a cell and 256 channels. Raises: ConfigError."""
        super().check(config)
        num_shapes = len(config.anchor_sizes[0]) * len(config.aspect_ratios)
        if config.weights == "coco" and (num_shapes != 9 or config.channels != 256):
            raise ConfigError(
                "detector.weights=coco needs 9 anchors per cell (anchor sizes x aspect ratios) and "
                f"detector.channels=256, got {num_shapes} and {config.channels}"
            )

    def build(self, config: DetectorConfig) -> "Detector":
        """Batch norm is frozen when weights will be loaded."""
        from torchvision.ops import FrozenBatchNorm2d

        from ptl_sweep.detection.networks.backbones import resnet50_fpn
        from ptl_sweep.detection.networks.retinanet import RetinaNet, head_of

        backbone = resnet50_fpn(config.channels, pretrained=config.weights != "none")
        if config.weights == "coco":  # these weights were converted with the epsilon folded in
            for module in backbone.modules():
                if isinstance(module, FrozenBatchNorm2d):
                    module.eps = 0.0
        return RetinaNet(backbone, head_of(config), config, stride=32)
