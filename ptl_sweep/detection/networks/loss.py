"""What the losses of all families share: focal loss, and how much is computed at once.

Every tensor has a shape that is known before the values are: nothing waits for the GPU. A batch is
one set of kernels, whatever its number of images: boxes are padded to the longest list.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

BACKGROUND = -1  # in place of the index of a box
ALPHA = 0.25  # of the focal loss, whose gamma is 2
# boxes x anchors compared at once: what fits the caches of a CPU, what fills a GPU
_PAIRS_PER_CHUNK = {"cpu": 2**17, "gpu": 2**27}
_ANCHORS_AT_ONCE = {"cpu": 2**16, "gpu": 2**24}  # images x anchors whose losses are one batch


def chunk_length(anchors: Tensor, num_boxes: int) -> int:
    """Anchors that are compared with so many boxes at once."""
    pairs = _PAIRS_PER_CHUNK["cpu" if anchors.is_cpu else "gpu"]
    return max(1024, pairs // max(1, num_boxes))


def image_slices(logits: Float[Tensor, "b s"]) -> list[slice]:
    """Images whose losses are computed at once, in order."""
    size = max(1, _ANCHORS_AT_ONCE["cpu" if logits.is_cpu else "gpu"] // logits.shape[1])
    return [slice(first, first + size) for first in range(0, len(logits), size)]


def focal_loss(
    logits: Float[Tensor, "*b s"], positive: Bool[Tensor, "*b s"], counted: Bool[Tensor, "*b s"]
) -> Float[Tensor, "*b"]:
    """Sum of the focal loss over the counted anchors; gamma = 2, alpha = 0.25."""
    probability, softplus = logits.sigmoid(), functional.softplus(logits)
    background = (1 - ALPHA) * probability.square() * softplus
    person = ALPHA * (1 - probability).square() * (softplus - logits)
    return (torch.where(positive, person, background) * counted).sum(-1)
