"""Stored pixels -> the float image a detector sees: whole or a tile, then torchvision's resize."""

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from ptl_sweep.config.schema import TilingConfig

Resize = tuple[int, int] | None  # shorter side, upper bound of the longer one; None: native


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


def load_image(pixels: UInt8[ndarray, "h w 3"], resize: Resize) -> Float[Tensor, "3 h2 w2"]:
    """RGB in [0, 1], float32, resized bilinearly as torchvision does (no antialiasing)."""
    image = torch.from_numpy(np.array(pixels)).permute(2, 0, 1).contiguous().float() / 255
    size = resized_size(pixels.shape[0], pixels.shape[1], resize)
    if size == tuple(image.shape[1:]):
        return image
    return functional.interpolate(image[None], size=size, mode="bilinear")[0]
