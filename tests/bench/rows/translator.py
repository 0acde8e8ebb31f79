"""A step of the CycleGAN, against a plain PyTorch loop as a reader of the paper would write it.

The plain loop makes a pass for every image of every network, in PyTorch's default memory format
and with its default Adam. Both draw the same crops and start from the same weights.
"""

import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from case import Case, Setting, Timed
from machine import flops_of
from omegaconf import OmegaConf
from rows.watching import StepClock
from torch import Tensor, nn
from torch.nn import functional

from ptl_sweep.config.schema import TranslatorConfig, conf_dir
from ptl_sweep.ptl.adversarial import draw_batch
from ptl_sweep.ptl.cyclegan import ImagePool, train_cyclegan
from ptl_sweep.ptl.networks import CycleNetworks, build_networks
from ptl_sweep.ptl.translators.base import FitRun
from ptl_sweep.ptl.translators.cyclegan import CycleGan

SEED, NUM_CROPS = 0, 32
PREFIX = "translate/loss_"
# an update by Adam divides by the gradient and so magnifies rounding: 2 steps here, 24 on a card,
# where the precisions differ as well
LOSS_RTOL = {"cpu": 0.02, "cuda": 0.25}


def cyclegan(setting: Setting) -> Case:
    """conf/translator/cyclegan.yaml, batch 1; half of its width on a CPU."""
    side, channels, steps = setting.choose(small=(32, 8, 1), cpu=(128, 32, 1), cuda=(128, 64, 20))
    values = OmegaConf.load(conf_dir() / "translator" / "cyclegan.yaml")
    sizes = {"load_size": side * 9 // 8, "crop_size": side, "base_channels": channels}
    schema = OmegaConf.structured(TranslatorConfig)
    config = CycleGan.of(OmegaConf.to_object(OmegaConf.merge(schema, values, sizes)), 1)
    ways = Steps(config, setting, steps)
    return Case(
        what=f"CycleGAN step, {side} px, batch 1, width {channels}, mean of {steps} steps",
        ours=ways.ours,
        peers={"plain loop": ways.plain},
        agree=partial(same_losses, rtol=LOSS_RTOL[setting.device]),
        turns=3,
        flops=ways.flops,
    )


class Steps:
    """The same few steps in both ways."""

    def __init__(self, config: CycleGan, setting: Setting, steps: int) -> None:
        rng = np.random.default_rng(0)
        shape = (NUM_CROPS, config.load_size, config.load_size, 3)
        self.source, self.target = (rng.integers(0, 256, shape, dtype=np.uint8) for _ in "ab")
        self.setting, self.steps = setting, steps
        self.config = replace(config, num_steps=StepClock(setting, steps).num_steps)

    def ours(self) -> Timed:
        """Losses of the last step; seconds of one."""
        clock = StepClock(self.setting, self.steps)
        last: dict[str, float] = {}

        def on_step(step: int, losses: dict[str, float]) -> None:
            if step == self.config.num_steps:  # after which nobody asks whether to stop
                clock()
                last.update(losses)

        with tempfile.TemporaryDirectory() as folder:
            run = FitRun(
                seed=SEED,
                device=torch.device(self.setting.device),
                folder=Path(folder),
                warm_start=None,
                on_step=on_step,
                should_stop=clock,
                checkpoint_minutes=60.0,
            )
            train_cyclegan(self.config, self.source, self.target, run)
        return Timed(last, clock.seconds)

    def plain(self) -> Timed:
        """The same by the plain loop."""
        clock = StepClock(self.setting, self.steps)
        loop = PlainLoop(self.config, self.setting)
        for step in range(self.config.num_steps):
            losses = loop.step(*self._drawn(step))
            clock()
        return Timed({name: value.item() for name, value in losses.items()}, clock.seconds)

    def flops(self) -> float:
        """Of one step; ours computes the same convolutions."""
        loop = PlainLoop(self.config, self.setting)
        return flops_of(lambda: loop.step(*self._drawn(0)))

    def _drawn(self, step: int) -> tuple[Tensor, Tensor, np.random.Generator]:
        rng = np.random.default_rng([SEED, step])
        virtual, real = (
            draw_batch(torch.from_numpy(crops), self.config, rng)
            .contiguous()
            .to(self.setting.device)
            for crops in (self.source, self.target)
        )
        return virtual, real, rng


class PlainLoop:
    """Networks, optimizers and pools of earlier fakes."""

    def __init__(self, config: CycleGan, setting: Setting) -> None:
        self.config = config
        networks = build_networks(config, torch.Generator().manual_seed(SEED))
        self.networks = networks.to(setting.device)
        self.optimizers = [
            torch.optim.Adam(parameters, config.learning_rate, betas=(0.5, 0.999))
            for parameters in (self.networks.generators, self.networks.discriminators)
        ]
        self.pools = ImagePool(config.image_pool_size), ImagePool(config.image_pool_size)

    def step(self, virtual: Tensor, real: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
        """Update the generators, then the discriminators."""
        networks, (generators, discriminators) = self.networks, self.optimizers
        for parameter in networks.discriminators:
            parameter.requires_grad_(False)
        fake_real, fake_virtual = networks.to_real(virtual), networks.to_virtual(real)
        losses = generator_losses(networks, virtual, real, fake_real, fake_virtual, self.config)
        generators.zero_grad()
        torch.autograd.backward(sum(losses.values()))
        generators.step()

        for parameter in networks.discriminators:
            parameter.requires_grad_(True)
        shown_real = self.pools[0].exchange(fake_real.detach(), rng)
        shown_virtual = self.pools[1].exchange(fake_virtual.detach(), rng)
        loss = judging_loss(networks.judge_real, real, shown_real)
        loss = loss + judging_loss(networks.judge_virtual, virtual, shown_virtual)
        discriminators.zero_grad()
        torch.autograd.backward(loss)
        discriminators.step()
        return {name: value.detach() for name, value in losses.items()} | {
            f"{PREFIX}discriminator": loss.detach()
        }


def generator_losses(
    networks: CycleNetworks,
    virtual: Tensor,
    real: Tensor,
    fake_real: Tensor,
    fake_virtual: Tensor,
    config: CycleGan,
) -> dict[str, Tensor]:
    """Zhu et al. 2017, eq. 3 and section 5.2, least squares for the adversarial part."""
    cycle = functional.l1_loss(networks.to_virtual(fake_real), virtual)
    cycle = cycle + functional.l1_loss(networks.to_real(fake_virtual), real)
    identity = functional.l1_loss(networks.to_real(real), real)
    identity = identity + functional.l1_loss(networks.to_virtual(virtual), virtual)
    adversarial = squared_error(networks.judge_real(fake_real), 1.0)
    adversarial = adversarial + squared_error(networks.judge_virtual(fake_virtual), 1.0)
    return {
        f"{PREFIX}adversarial": adversarial,
        f"{PREFIX}cycle": config.lambda_cycle * cycle,
        f"{PREFIX}identity": config.lambda_cycle * config.lambda_identity * identity,
    }


def judging_loss(judge: nn.Module, genuine: Tensor, fake: Tensor) -> Tensor:
    """Half the sum, so that discriminators learn at half the pace."""
    return (squared_error(judge(genuine), 1.0) + squared_error(judge(fake), 0.0)) / 2


def squared_error(verdict: Tensor, wanted: float) -> Tensor:
    """Mean over the patches."""
    return functional.mse_loss(verdict, torch.full_like(verdict, wanted))


def same_losses(ours: dict[str, float], theirs: dict[str, float], *, rtol: float) -> None:
    """Each of the four."""
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_allclose(ours[name], value, rtol=rtol, err_msg=name)
