"""FCOS with ResNet-50 and FPN, as torchvision builds it (Tian et al. 2019)."""

from typing import TYPE_CHECKING

from ptl_sweep.config.schema import ConfigError, DetectorConfig
from ptl_sweep.detection.architectures.base import AnchorFree, StageSeconds
from ptl_sweep.detection.initial_weights.published import COCO_FCOS, IMAGENET_R50

if TYPE_CHECKING:
    from ptl_sweep.detection.detector import Detector

NUM_GROUPS = 32  # of the GroupNorm in torchvision's heads


class ResNet50FCOS(AnchorFree):
    """Without anchors, at the papers' size; starts from ImageNet or COCO weights."""

    num_levels = 5
    published_weights = (IMAGENET_R50, COCO_FCOS)
    default_seconds = StageSeconds(train=3240.0, ptl=7560.0, evaluate=290.0)  # RetinaNet's, a guess
    needs_gpu = True

    def check(self, config: DetectorConfig) -> None:
        """COCO's head has 256 channels, and every head 32 groups. Raises: ConfigError."""
        super().check(config)
        if config.channels % NUM_GROUPS:
            raise ConfigError(
                f"detector.channels must be a multiple of {NUM_GROUPS} for {config.architecture}, "
                f"got {config.channels}"
            )
        if config.weights == "coco" and config.channels != 256:
            raise ConfigError(
                f"detector.weights=coco needs detector.channels=256, got {config.channels}"
            )

    def build(self, config: DetectorConfig) -> "Detector":
        """Batch norm is frozen when weights will be loaded."""
        from torchvision.models.detection.fcos import FCOSHead

        from ptl_sweep.detection.networks.backbones import resnet50_fpn
        from ptl_sweep.detection.networks.fcos import FCOS

        backbone = resnet50_fpn(config.channels, pretrained=config.weights != "none")
        head = FCOSHead(config.channels, num_anchors=1, num_classes=1)
        return FCOS(backbone, head, config, stride=32)
