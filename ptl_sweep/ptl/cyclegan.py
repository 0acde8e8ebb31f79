"""Training of a CycleGAN on person crops (Zhu et al. 2017; PTL section 3.3), resumable to the bit.

LSGAN losses, cycle and identity terms in L1, discriminators shown earlier fakes (Shrivastava 2017).
"""

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from ptl_sweep.checkpoints import read_checkpoint, save_checkpoint, save_weights
from ptl_sweep.detection.training import Interrupted
from ptl_sweep.ptl.networks import CycleNetworks, build_networks
from ptl_sweep.ptl.translators.base import FitRun
from ptl_sweep.ptl.translators.cyclegan import CycleGan

logger = logging.getLogger(__name__)

LOG_EVERY = 20  # steps between readings of the losses: each one waits for the device
CHECKPOINT_NAME = "translator.pt"
PIXELS_PER_FORWARD = 64 * 128 * 128  # bounds the memory of one forward pass


class TranslationDiverged(RuntimeError):  # noqa: N818
    """A loss of the CycleGAN is not finite."""


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


@dataclass(slots=True)
class Training:
    """Everything that a step changes, so everything that a checkpoint holds."""

    networks: CycleNetworks
    generator_optimizer: torch.optim.Adam
    discriminator_optimizer: torch.optim.Adam
    real_pool: ImagePool
    virtual_pool: ImagePool
    step: int = 0  # steps done

    def state(self) -> dict[str, Any]:
        """Tensors and numbers only: `torch.load(weights_only=True)` reads it."""
        return {
            "step": self.step,
            "networks": self.networks.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "real_pool": self.real_pool.images,
            "virtual_pool": self.virtual_pool.images,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.step = state["step"]
        self.networks.load_state_dict(state["networks"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        self.real_pool.images = list(state["real_pool"])
        self.virtual_pool.images = list(state["virtual_pool"])


def train_cyclegan(
    config: CycleGan,
    source: UInt8[ndarray, "n s s 3"],
    target: UInt8[ndarray, "m s s 3"],
    run: FitRun,
) -> CycleNetworks:
    """Train for `num_steps`, or `num_warm_steps` from the networks of the iteration before.

    Step i draws its batch from np.random.default_rng([seed, i]), so a run that was stopped and
    resumed from `run.folder` ends, on CPU, with the weights of one that was not.

    Raises: TranslationDiverged at the first loss found to be NaN or infinite; Interrupted, with a
    checkpoint written, when `run.should_stop` says so.
    """
    training = _begin(config, run)
    num_steps = config.num_steps
    if run.warm_start is not None and config.num_warm_steps is not None:
        num_steps = config.num_warm_steps
    virtual_crops, real_crops = (
        torch.from_numpy(crops).to(run.device) for crops in (source, target)
    )
    last_saved = time.monotonic()
    while training.step < num_steps:
        rng = np.random.default_rng([run.seed, training.step])
        virtual = draw_batch(virtual_crops, config, rng)
        real = draw_batch(real_crops, config, rng)
        losses = train_step(training, virtual, real, config, rng)
        training.step += 1
        last = training.step == num_steps
        if last or training.step % LOG_EVERY == 0:
            run.on_step(training.step, _readings(losses, training.step, config))
        if last or time.monotonic() - last_saved >= 60 * run.checkpoint_minutes:
            _readings(losses, training.step, config)  # a diverged state is never saved
            save_checkpoint(run.folder / CHECKPOINT_NAME, training.state())
            last_saved = time.monotonic()
        if not last and run.should_stop():
            _readings(losses, training.step, config)
            save_checkpoint(run.folder / CHECKPOINT_NAME, training.state())
            raise Interrupted(
                f"translator stopped at step {training.step} of {num_steps}; checkpoint in "
                f"{run.folder / CHECKPOINT_NAME}"
            )
    return training.networks


def draw_batch(
    crops: UInt8[Tensor, "n s s 3"], config: CycleGan, rng: np.random.Generator
) -> Float[Tensor, "b 3 c c"]:
    """Random crops, cut to `crop_size` at a random place, half of them mirrored; in [-1, 1].

    Cut where the crops lie: on a GPU nothing is copied to it and nothing waits for it.
    """
    side = config.crop_size
    chosen = rng.integers(len(crops), size=config.batch_size)
    corners = rng.integers(crops.shape[1] - side + 1, size=(config.batch_size, 2))
    mirrored = rng.random(config.batch_size) < 0.5
    pieces = [
        crops[index, top : top + side, left : left + side]
        for index, (top, left) in zip(chosen.tolist(), corners.tolist(), strict=True)
    ]
    flipped = [
        piece.flip(1) if mirror else piece for piece, mirror in zip(pieces, mirrored, strict=True)
    ]
    return to_unit(torch.stack(flipped))


def to_unit(pixels: UInt8[Tensor, "n s s 3"]) -> Float[Tensor, "n 3 s s"]:
    """0..255 to [-1, 1], channels last in memory as the networks are."""
    return pixels.permute(0, 3, 1, 2) / 127.5 - 1


def train_step(
    training: Training,
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
    training.generator_optimizer.zero_grad()
    torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
    training.generator_optimizer.step()

    for parameter in networks.discriminators:
        parameter.requires_grad_(True)
    shown_real = training.real_pool.exchange(fake_real.detach(), rng)
    shown_virtual = training.virtual_pool.exchange(fake_virtual.detach(), rng)
    loss = _discriminator_loss(networks.judge_real, real, shown_real) + _discriminator_loss(
        networks.judge_virtual, virtual, shown_virtual
    )
    training.discriminator_optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    training.discriminator_optimizer.step()
    losses["translate/loss_discriminator"] = loss
    return {name: value.detach() for name, value in losses.items()}


def _begin(config: CycleGan, run: FitRun) -> Training:
    """New, warm-started, or resumed from the checkpoint in the folder."""
    networks = build_networks(config, torch.Generator().manual_seed(run.seed))
    if run.warm_start is not None:
        networks.load_state_dict(load_file(run.warm_start))
    networks.to(run.device).to(memory_format=torch.channels_last)  # 12 % faster on a CPU
    training = Training(
        networks,
        _adam(networks.generators, config),
        _adam(networks.discriminators, config),
        ImagePool(config.image_pool_size),
        ImagePool(config.image_pool_size),
    )
    checkpoint = run.folder / CHECKPOINT_NAME
    state = read_checkpoint(checkpoint, training.state(), torch.device(run.device))
    if state is not None:
        training.restore(state)
        logger.info("translator resumes at step %d from %s", training.step, checkpoint)
    return training


def _adam(parameters: list[nn.Parameter], config: CycleGan) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, config.learning_rate, betas=(0.5, 0.999), fused=True)


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
    adversarial = _squared_error(networks.judge_real(fake_real), 1.0) + _squared_error(
        networks.judge_virtual(fake_virtual), 1.0
    )
    losses = {
        "translate/loss_adversarial": adversarial,
        "translate/loss_cycle": config.lambda_cycle * cycle,
        "translate/loss_identity": config.lambda_cycle * config.lambda_identity * identity,
    }
    return losses, fake_real, fake_virtual


def _discriminator_loss(
    judge: nn.Module, genuine: Float[Tensor, "b 3 s s"], fake: Float[Tensor, "b 3 s s"]
) -> Float[Tensor, ""]:
    """Half the LSGAN loss, as in the authors' code: discriminators learn at half the pace."""
    verdict_genuine, verdict_fake = judge(torch.cat([genuine, fake])).chunk(2)
    return (_squared_error(verdict_genuine, 1.0) + _squared_error(verdict_fake, 0.0)) / 2


def _squared_error(verdict: Tensor, wanted: float) -> Tensor:
    return ((verdict - wanted) ** 2).mean()


def _readings(losses: dict[str, Tensor], step: int, config: CycleGan) -> dict[str, float]:
    """The losses as numbers, checked.

    Raises: TranslationDiverged.
    """
    readings = {name: float(value) for name, value in losses.items()}
    if not all(math.isfinite(value) for value in readings.values()):
        raise TranslationDiverged(
            f"translator: loss not finite at step {step} ({readings}) with learning rate "
            f"{config.learning_rate}; lower translator.learning_rate, or raise "
            "translator.lambda_identity"
        )
    return readings


@dataclass(frozen=True, slots=True)
class TrainedCycleGan:
    """The generator virtual -> real; all four networks are kept for the warm start."""

    networks: CycleNetworks
    reason: str | None = None
    changes_pixels: bool = True

    @torch.no_grad()
    def translate(self, crops: UInt8[ndarray, "n s s 3"]) -> UInt8[ndarray, "n s s 3"]:
        """Run the generator once per crop, in batches of bounded memory."""
        device = next(self.networks.parameters()).device
        size = max(1, PIXELS_PER_FORWARD // (crops.shape[1] * crops.shape[2]))
        translated = np.empty_like(crops)
        for first in range(0, len(crops), size):
            batch = torch.from_numpy(crops[first : first + size]).to(device)
            pixels = ((self.networks.to_real(to_unit(batch)) + 1) * 127.5).round().to(torch.uint8)
            translated[first : first + size] = pixels.permute(0, 2, 3, 1).cpu().numpy()
        return translated

    def save(self, path: Path) -> None:
        """Write all four networks as safetensors."""
        save_weights(path, self.networks)
