"""Training of FastCUT on person crops (Park et al., "Contrastive Learning for Unpaired
Image-to-Image Translation", ECCV 2020), resumable to the bit.

From the paper and the authors' code: LSGAN + 10 PatchNCE; temperature 0.07; 256 patches a layer;
layers of the generator's encoder; projections of 256 dimensions; negatives of the same picture; no
identity term; no pool of earlier fakes; half of the steps translate mirrored pictures; the
discriminator is updated first; Adam 2e-4 with betas (0.5, 0.999). Ours: the networks are those of
our CycleGAN (six residual blocks instead of nine, no anti-aliased resampling, weights from
N(0, 0.02) instead of Xavier's), pixels are compared without the padding of the first layer, the
learning rate does not decay, and later PTL iterations start from the networks before.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor, nn

from ptl_sweep.ptl.adversarial import (
    Training,
    adam,
    discriminator_loss,
    place,
    resume,
    squared_error,
    take_steps,
    update,
)
from ptl_sweep.ptl.networks import discriminator_network, generator_network, initialised
from ptl_sweep.ptl.patch_nce import (
    PatchProjections,
    draw_places,
    encoder_features,
    encoder_layers,
    patch_nce,
)
from ptl_sweep.ptl.translators.base import FitRun
from ptl_sweep.ptl.translators.fastcut import FastCut


class FastCutNetworks(nn.Module):
    """One generator, one discriminator, and the projections of patches; nothing leads back."""

    def __init__(self, config: FastCut) -> None:
        super().__init__()
        self.to_real = generator_network(config)
        self.judge_real = discriminator_network(config)
        layers = encoder_layers(self.to_real)
        self.places = tuple(layers)
        self.project = PatchProjections([3, *layers.values()], config.projection_dim)

    @property
    def generators(self) -> list[nn.Parameter]:
        """Parameters of the generator and the projections, which minimise the same losses."""
        return [*self.to_real.parameters(), *self.project.parameters()]

    @property
    def discriminators(self) -> list[nn.Parameter]:
        """Parameters of the discriminator."""
        return [*self.judge_real.parameters()]


def build_fastcut(config: FastCut, generator: torch.Generator) -> FastCutNetworks:
    """The networks, weights from N(0, 0.02), biases 0; see `initialised`."""
    return initialised(lambda: FastCutNetworks(config), generator)


def train_fastcut(
    config: FastCut,
    source: UInt8[ndarray, "n s s 3"],
    target: UInt8[ndarray, "m s s 3"],
    run: FitRun,
) -> FastCutNetworks:
    """Train new networks, or those of the iteration before; see `take_steps`.

    Raises: TranslationDiverged, Interrupted.
    """
    networks = build_fastcut(config, torch.Generator().manual_seed(run.seed))
    place(networks, run)
    training = Training(
        networks, adam(networks.generators, config), adam(networks.discriminators, config)
    )
    resume(training, run)
    take_steps(
        training,
        lambda virtual, real, rng: train_step(training, virtual, real, config, rng),
        (source, target),
        config,
        run,
    )
    return networks


def train_step(
    training: Training[FastCutNetworks],
    virtual: Float[Tensor, "b 3 s s"],
    real: Float[Tensor, "b 3 s s"],
    config: FastCut,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Update the discriminator, then generator and projections; the losses stay on the device."""
    networks = training.networks
    mirror = bool(rng.random() < 0.5)
    fake = networks.to_real(virtual.flip(3) if mirror else virtual)
    for parameter in networks.discriminators:
        parameter.requires_grad_(True)
    judged = discriminator_loss(networks.judge_real, real, fake.detach())
    update(training.discriminator_optimizer, judged)

    for parameter in networks.discriminators:
        parameter.requires_grad_(False)
    nce = nce_loss(networks, virtual, fake, mirror=mirror, config=config, rng=rng)
    losses = {
        "translate/loss_adversarial": squared_error(networks.judge_real(fake), 1.0),
        "translate/loss_nce": config.lambda_nce * nce,
    }
    update(training.generator_optimizer, torch.stack(list(losses.values())).sum())
    losses["translate/loss_discriminator"] = judged
    return {name: value.detach() for name, value in losses.items()}


def nce_loss(
    networks: FastCutNetworks,
    virtual: Float[Tensor, "b 3 s s"],
    fake: Float[Tensor, "b 3 s s"],
    *,
    mirror: bool,
    config: FastCut,
    rng: np.random.Generator,
) -> Float[Tensor, ""]:
    """Mean of PatchNCE over the layers (eq. 3); `mirror`: the crops were mirrored to make `fake`.

    Then the features of `fake` are mirrored back: the generator learns to treat both sides alike.
    """
    translated = encoder_features(networks.to_real, networks.places, fake)
    if mirror:
        translated = [feature.flip(3) for feature in translated]
    places = draw_places(translated, config.num_patches, rng)
    with torch.no_grad():
        drawn = encoder_features(networks.to_real, networks.places, virtual)
        keys = networks.project(drawn, places)
    queries = networks.project(translated, places)
    pairs = zip(queries, keys, strict=True)
    return torch.stack([patch_nce(q, k, config.nce_temperature) for q, k in pairs]).mean()
