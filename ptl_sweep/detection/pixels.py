"""Stored pixels -> the float image a detector sees: whole or a tile, then torchvision's resize.

And the way to the device of the detector and back, on which the host waits as little as it can.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from ptl_sweep.config.schema import TilingConfig

CPU = torch.device("cpu")
Resize = tuple[int, int] | None  # shorter side, upper bound of the longer one; None: native


class CropWindow(NamedTuple):
    """Part of an image, pixels."""

    left: int
    top: int
    width: int
    height: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """Its rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


class View(NamedTuple):
    """What the detector sees at once of a stored image, and at which scale."""

    resize: Resize  # of a whole image or of a tile, whichever is seen at once
    tiling: TilingConfig

    def tile_side(self, height: int, width: int) -> int | None:
        """Side of the tiles of an image of this size, stored pixels; None: it is seen whole."""
        side = self.tiling.size
        return side if side is not None and max(height, width) > side else None


def resized_size(height: int, width: int, resize: Resize) -> tuple[int, int]:
    """Height and width after the resize: the shorter side becomes min_size, unless the longer one
    would then exceed max_size (torchvision's GeneralizedRCNNTransform).
    """
    if resize is None:
        return height, width
    scale = min(resize[0] / min(height, width), resize[1] / max(height, width))
    return max(1, math.floor(height * scale)), max(1, math.floor(width * scale))


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to a device; the host does not wait for it on CUDA."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def on_cpu(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors on the CPU, copied in one transfer; those that are there already stay."""
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return list(tensors)
    return _unpacked(_packed(tensors).cpu(), tensors)


def _by_element(tensors: Sequence[Tensor]) -> list[int]:
    """Places, larger elements first: so each part begins at a multiple of its element size."""
    return sorted(range(len(tensors)), key=lambda place: -tensors[place].element_size())


def _packed(tensors: Sequence[Tensor]) -> UInt8[Tensor, " n"]:
    """The bytes of all, one behind the other."""
    ordered = [tensors[place] for place in _by_element(tensors)]
    return torch.cat([one.contiguous().flatten().view(torch.uint8) for one in ordered])


def _unpacked(packed: UInt8[Tensor, " n"], like: Sequence[Tensor]) -> list[Tensor]:
    """The tensors of `_packed`; only types and shapes of `like` are looked at."""
    order = _by_element(like)
    sizes = [like[place].numel() * like[place].element_size() for place in order]
    found = dict(zip(order, torch.split(packed, sizes), strict=True))
    return [found[place].view(one.dtype).view(one.shape) for place, one in enumerate(like)]


def load_image(
    pixels: UInt8[ndarray, "h w 3"], resize: Resize, device: torch.device = CPU
) -> Float[Tensor, "3 h2 w2"]:
    """RGB in [0, 1], float32, resized bilinearly as torchvision does (no antialiasing).

    The device gets the stored bytes, a quarter of the floats, and makes all else of them.
    """
    stored = to_device(torch.from_numpy(np.require(pixels, requirements="W")), device)
    image = stored.permute(2, 0, 1).contiguous().float() / 255
    size = resized_size(pixels.shape[0], pixels.shape[1], resize)
    if size == tuple(image.shape[1:]):
        return image
    return functional.interpolate(image[None], size=size, mode="bilinear")[0]
