"""Training of a CycleGAN on person crops (Zhu et al. 2017; PTL section 3.3), resumable to the bit.

LSGAN losses, cycle and identity terms in L1, discriminators shown earlier fakes (Shrivastava 2017).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

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
from ptl_sweep.ptl.networks import CycleNetworks, build_networks
from ptl_sweep.ptl.translators.base import FitRun
from ptl_sweep.ptl.translators.cyclegan import CycleGan


class ImagePool:
    """Earlier fakes: half of those shown to a discriminator are swapped for older ones."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.images: list[Float[Tensor, "3 s s"]] = []

    def exchange(
        self, fakes: Float[Tensor, "b 3 s s"], rng: np.random.Generator
    ) -> Float[Tensor, "b 3 s s"]:
        """Fakes to show in place of these; a size of 0 shows these."""
        if self.size == 0:
            return fakes
        shown = []
        for fake in fakes:
            slot = int(rng.integers(self.size))
            if len(self.images) < self.size:
                self.images.append(fake)
                shown.append(fake)
            elif rng.random() < 0.5:
                shown.append(self.images[slot])
                self.images[slot] = fake
            else:
                shown.append(fake)
        return torch.stack(shown)


@dataclass
class CycleTraining(Training[CycleNetworks]):
    """The networks, their optimizers, and the earlier fakes of both directions."""

    real_pool: ImagePool = field(kw_only=True)
    virtual_pool: ImagePool = field(kw_only=True)

    def state(self) -> dict[str, Any]:
        """Tensors and numbers only: `torch.load(weights_only=True)` reads it."""
        return super().state() | {
            "real_pool": self.real_pool.images,
            "virtual_pool": self.virtual_pool.images,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        super().restore(state)
        self.real_pool.images = list(state["real_pool"])
        self.virtual_pool.images = list(state["virtual_pool"])


def train_cyclegan(
    config: CycleGan,
    source: UInt8[ndarray, "n s s 3"],
    target: UInt8[ndarray, "m s s 3"],
    run: FitRun,
) -> CycleNetworks:
    """Train new networks, or those of the iteration before; see `take_steps`.

    Raises: TranslationDiverged, Interrupted.
    """
    training = _begin(config, run)
    take_steps(
        training,
        lambda virtual, real, rng: train_step(training, virtual, real, config, rng),
        (source, target),
        config,
        run,
    )
    return training.networks


def train_step(
    training: CycleTraining,
    virtual: Float[Tensor, "b 3 s s"],
    real: Float[Tensor, "b 3 s s"],
    config: CycleGan,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Update the generators, then the discriminators; the losses stay on the device."""
    networks = training.networks
    for parameter in networks.discriminators:
        parameter.requires_grad_(False)
    losses, fake_real, fake_virtual = _generator_losses(networks, virtual, real, config)
    update(training.generator_optimizer, torch.stack(list(losses.values())).sum())

    for parameter in networks.discriminators:
        parameter.requires_grad_(True)
    shown_real = training.real_pool.exchange(fake_real.detach(), rng)
    shown_virtual = training.virtual_pool.exchange(fake_virtual.detach(), rng)
    loss = discriminator_loss(networks.judge_real, real, shown_real) + discriminator_loss(
        networks.judge_virtual, virtual, shown_virtual
    )
    update(training.discriminator_optimizer, loss)
    losses["translate/loss_discriminator"] = loss
    return {name: value.detach() for name, value in losses.items()}


def _begin(config: CycleGan, run: FitRun) -> CycleTraining:
    """New, warm-started, or resumed from the checkpoint in the folder."""
    networks = build_networks(config, torch.Generator().manual_seed(run.seed))
    place(networks, run)
    training = CycleTraining(
        networks,
        adam(networks.generators, config),
        adam(networks.discriminators, config),
        real_pool=ImagePool(config.image_pool_size),
        virtual_pool=ImagePool(config.image_pool_size),
    )
    resume(training, run)
    return training


def _generator_losses(
    networks: CycleNetworks,
    virtual: Float[Tensor, "b 3 s s"],
    real: Float[Tensor, "b 3 s s"],
    config: CycleGan,
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Weighted losses by name, fake real and fake virtual crops.

    InstanceNorm treats each image alone, so inputs of one generator may share a forward pass.
    """
    fake_real, same_real = networks.to_real(torch.cat([virtual, real])).chunk(2)
    fake_virtual, same_virtual = networks.to_virtual(torch.cat([real, virtual])).chunk(2)
    cycle = functional.l1_loss(networks.to_virtual(fake_real), virtual) + functional.l1_loss(
        networks.to_real(fake_virtual), real
    )
    identity = functional.l1_loss(same_real, real) + functional.l1_loss(same_virtual, virtual)
    adversarial = squared_error(networks.judge_real(fake_real), 1.0) + squared_error(
        networks.judge_virtual(fake_virtual), 1.0
    )
    losses = {
        "translate/loss_adversarial": adversarial,
        "translate/loss_cycle": config.lambda_cycle * cycle,
        "translate/loss_identity": config.lambda_cycle * config.lambda_identity * identity,
    }
    return losses, fake_real, fake_virtual
