"""PatchNCE (Park et al., ECCV 2020, eq. 2-3): by its features, each patch of a translated picture
must be recognised among all patches of the picture as it was before.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from ptl_sweep.detection.pixels import to_device
from ptl_sweep.ptl.networks import GeneratorBlock

FIRST_AND_FIFTH = (0, 4)  # residual blocks whose output is looked at


class PatchProjections(nn.Module):
    """One two-layer perceptron for each layer of the encoder (H_l of the paper)."""

    def __init__(self, channels: Sequence[int], dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(width, dim), nn.ReLU(), nn.Linear(dim, dim))
            for width in channels
        )

    def forward(
        self, features: Sequence[Float[Tensor, "b _ _ _"]], places: Sequence[Int[Tensor, " _"]]
    ) -> list[Float[Tensor, "b _ d"]]:
        """Features at the places of each layer, projected to vectors of length 1."""
        found = []
        for layer, feature, place in zip(self.layers, features, places, strict=True):
            patches = feature.flatten(2).index_select(2, place).transpose(1, 2)
            found.append(functional.normalize(layer(patches), dim=2))
        return found


def encoder_layers(generator: nn.Sequential) -> dict[int, int]:
    """Channels of the layers whose output is looked at, by their place in the generator.

    The strided convolutions, before their norm, and the first and the fifth residual block, as in
    the paper; ours: the last block where a generator has fewer than five.
    """
    found = {
        place: layer.out_channels
        for place, layer in enumerate(generator)
        if isinstance(layer, nn.Conv2d) and layer.stride == (2, 2)
    }
    blocks = [place for place, layer in enumerate(generator) if isinstance(layer, GeneratorBlock)]
    width = max(found.values())  # of the last strided convolution, which the blocks keep
    last = len(blocks) - 1
    return found | {blocks[min(index, last)]: width for index in FIRST_AND_FIFTH}


def encoder_features(
    generator: nn.Sequential, places: Sequence[int], images: Float[Tensor, "b 3 s s"]
) -> list[Float[Tensor, "b _ _ _"]]:
    """The pixels, then the output of each of these layers; the rest of the generator is not run."""
    return [images, *_outputs(generator, places, images)]


def draw_places(
    features: Sequence[Float[Tensor, "b _ _ _"]], num_patches: int, rng: np.random.Generator
) -> list[Int[Tensor, " _"]]:
    """`num_patches` places of each layer without repetition, or all of a smaller one.

    The same places in every picture of the batch; one copy to the device, which nobody waits for.
    """
    areas = [feature.shape[2] * feature.shape[3] for feature in features]
    drawn = [rng.choice(area, size=min(num_patches, area), replace=False) for area in areas]
    placed = to_device(torch.from_numpy(np.concatenate(drawn)), features[0].device)
    return list(torch.split(placed, [len(one) for one in drawn]))


def patch_nce(
    queries: Float[Tensor, "b k d"], keys: Float[Tensor, "b k d"], temperature: float
) -> Float[Tensor, ""]:
    """Mean of -log(exp(q_i k_i / tau) / sum_j exp(q_i k_j / tau)), eq. 3; q, k of length 1.

    The positive of patch i is patch i of the picture before, its negatives are the others of that
    picture. No gradient reaches the keys.
    """
    similarity = queries @ keys.detach().transpose(1, 2) / temperature
    return -torch.log_softmax(similarity, dim=2).diagonal(dim1=1, dim2=2).mean()


def _outputs(
    generator: nn.Sequential, places: Sequence[int], images: Float[Tensor, "b 3 s s"]
) -> Iterator[Tensor]:
    values = images
    for place, layer in enumerate(generator[: max(places) + 1]):
        values = layer(values)
        if place in places:
            yield values
