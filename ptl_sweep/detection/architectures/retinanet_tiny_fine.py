"""The small RetinaNet with a level of stride 4 as well: for persons of 8 to 16 pixels."""

from ptl_sweep.detection.architectures.base import StageSeconds
from ptl_sweep.detection.architectures.retinanet_tiny import TinyRetinaNet


class FineTinyRetinaNet(TinyRetinaNet):
    """Three times the cost of strides 8 and 16, which have no anchor near every small person."""

    num_levels = 3
    finest_stride = 4
    default_seconds = StageSeconds(train=90.0, ptl=120.0, evaluate=25.0)  # one core, miniature
