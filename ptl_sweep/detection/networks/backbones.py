"""Image -> feature pyramid: ResNet-50 with FPN as torchvision builds it, and a small one."""

from collections import OrderedDict
from functools import partial

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet50
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FeaturePyramidNetwork, FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

TINY_WIDTHS = (16, 32, 64, 96)
TRAINED_STAGES = ("layer2", "layer3", "layer4")  # of a pretrained ResNet, torchvision's default
group_norm = partial(nn.GroupNorm, 8)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with GroupNorm that halve the resolution, beside a 1x1 shortcut."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=2, padding=1, bias=False)
        self.norm1 = group_norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = group_norm(out_channels)
        self.shortcut = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride=2, bias=False), group_norm(out_channels)
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        """Features at half the resolution, rounded up."""
        y = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class TinyBackbone(nn.Module):
    """Stem and three residual blocks; FPN on strides 8 and 16, with `finest_stride` 4 on 4 as well.

    GroupNorm: no batch statistics.
    """

    def __init__(self, out_channels: int, *, finest_stride: int) -> None:
        super().__init__()
        width = TINY_WIDTHS
        self.stem = nn.Sequential(
            nn.Conv2d(3, width[0], 3, stride=2, padding=1, bias=False),
            group_norm(width[0]),
            nn.ReLU(),
        )
        self.block1 = ResidualBlock(width[0], width[1])
        self.block2 = ResidualBlock(width[1], width[2])
        self.block3 = ResidualBlock(width[2], width[3])
        self.has_stride_4 = finest_stride == 4
        inputs = width[1:] if self.has_stride_4 else width[2:]
        self.fpn = FeaturePyramidNetwork(list(inputs), out_channels)
        self.out_channels = out_channels

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> OrderedDict[str, Tensor]:
        """Levels of `out_channels`, finest first."""
        finest = self.block1(self.stem(x))
        fine = self.block2(finest)
        found = OrderedDict(fine=fine, coarse=self.block3(fine))
        if self.has_stride_4:
            found = OrderedDict(finest=finest, **found)
        levels: OrderedDict[str, Tensor] = self.fpn(found)
        return levels


def resnet50_fpn(out_channels: int, *, pretrained: bool) -> BackboneWithFPN:
    """Levels P3..P7 of `retinanet_resnet50_fpn` (v1: P6 from P5), randomly initialised.

    `pretrained` announces that weights will be loaded: batch norm is then frozen, and so are the
    stem and the first stage, as torchvision does.
    """
    body = resnet50(weights=None, norm_layer=FrozenBatchNorm2d if pretrained else nn.BatchNorm2d)
    if pretrained:
        for name, parameter in body.named_parameters():
            parameter.requires_grad_(name.startswith(TRAINED_STAGES))
    return BackboneWithFPN(
        body,
        return_layers={"layer2": "0", "layer3": "1", "layer4": "2"},
        in_channels_list=[512, 1024, 2048],
        out_channels=out_channels,
        extra_blocks=LastLevelP6P7(out_channels, out_channels),
    )
