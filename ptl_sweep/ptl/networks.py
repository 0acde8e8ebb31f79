"""Generators and discriminators of the CycleGAN (Zhu et al. 2017, section 7.2), one family for
128 px crops and for the 32 px crops of the miniature world.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ptl_sweep.ptl.translators.base import GanTranslator
from ptl_sweep.ptl.translators.cyclegan import CycleGan

SMALL_CROP_PX = 64  # below it one downsampling less, or the bottleneck keeps no layout
RECEPTIVE_FIELDS = {3: 70, 2: 34, 1: 16}  # of a PatchGAN, pixels, by number of strided layers
INITIAL_SD = 0.02  # of every convolution weight

Network = TypeVar("Network", bound=nn.Module)


class CycleNetworks(nn.Module):
    """The four networks; state-dict names begin with the name of the network."""

    def __init__(self, config: CycleGan) -> None:
        super().__init__()
        self.to_real = generator_network(config)
        self.to_virtual = generator_network(config)
        self.judge_real = discriminator_network(config)
        self.judge_virtual = discriminator_network(config)

    @property
    def generators(self) -> list[nn.Parameter]:
        """Parameters of both generators."""
        return [*self.to_real.parameters(), *self.to_virtual.parameters()]

    @property
    def discriminators(self) -> list[nn.Parameter]:
        """Parameters of both discriminators."""
        return [*self.judge_real.parameters(), *self.judge_virtual.parameters()]


class GeneratorBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(channels, channels, kernel=3), *_convolution(channels, channels, kernel=3)
        )
        del self.layers[-1]  # no ReLU before the sum

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Same shape."""
        change: Tensor = self.layers(x)
        return x + change


def build_networks(config: CycleGan, generator: torch.Generator) -> CycleNetworks:
    """The four networks, weights from N(0, 0.02), biases 0; see `initialised`."""
    return initialised(lambda: CycleNetworks(config), generator)


def initialised(make: Callable[[], Network], generator: torch.Generator) -> Network:
    """What `make` makes, weights from N(0, 0.02), biases 0.

    The same weights for the same generator seed; the global random state is neither read nor moved.
    """
    with torch.device("meta"):
        network = make()
    network.to_empty(device="cpu")
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:
            nn.init.normal_(parameter, 0.0, INITIAL_SD, generator=generator)
    return network


def generator_network(config: GanTranslator) -> nn.Sequential:
    """ResNet generator, [-1, 1] to [-1, 1] of the same size.

    Upsampling is nearest + convolution, which leaves no checkerboard. Crops below SMALL_CROP_PX
    get one downsampling and 5x5 outer convolutions instead of two and 7x7 (ours).
    """
    small = config.crop_size < SMALL_CROP_PX
    num_halvings, kernel = (1, 5) if small else (2, 7)
    channels = config.base_channels
    layers = _convolution(3, channels, kernel=kernel)
    for _ in range(num_halvings):
        layers += _convolution(channels, 2 * channels, kernel=3, stride=2)
        channels *= 2
    layers += [GeneratorBlock(channels) for _ in range(config.num_residual_blocks)]
    for _ in range(num_halvings):
        layers.append(nn.Upsample(scale_factor=2))
        layers += _convolution(channels, channels // 2, kernel=3)
        channels //= 2
    last = nn.Conv2d(channels, 3, kernel, padding=kernel // 2, padding_mode="reflect")
    return nn.Sequential(*layers, last, nn.Tanh())


def discriminator_network(config: GanTranslator) -> nn.Sequential:
    """PatchGAN without a final sigmoid (LSGAN): 70x70, or the largest that fits the crop."""
    fitting = [n for n, field in RECEPTIVE_FIELDS.items() if field <= config.crop_size]
    channels = config.base_channels
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2)]
    strides = [2] * (max(fitting) - 1) + [1]
    for depth, stride in enumerate(strides):
        wide = config.base_channels * min(2 ** (depth + 1), 8)
        layers += [
            nn.Conv2d(channels, wide, 4, stride, 1),
            nn.InstanceNorm2d(wide),
            nn.LeakyReLU(0.2),
        ]
        channels = wide
    return nn.Sequential(*layers, nn.Conv2d(channels, 1, 4, 1, 1))


def _convolution(
    channels_in: int, channels_out: int, *, kernel: int, stride: int = 1
) -> list[nn.Module]:
    """Convolution, InstanceNorm (no affine, no running statistics), ReLU."""
    return [
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, padding_mode="reflect"),
        nn.InstanceNorm2d(channels_out),
        nn.ReLU(),
    ]
