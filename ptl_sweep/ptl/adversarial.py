"""What all trainings of a generator against a discriminator share, resumable to the bit: batches,
LSGAN losses (Mao et al. 2017), the loop with its checkpoints, translation of crops.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from safetensors.torch import load_file
from torch import Tensor, nn

from ptl_sweep.checkpoints import read_checkpoint, save_checkpoint, save_weights
from ptl_sweep.detection.training import Interrupted
from ptl_sweep.ptl.translators.base import FitRun, GanTranslator

logger = logging.getLogger(__name__)

LOG_EVERY = 20  # steps between readings of the losses: each one waits for the device
CHECKPOINT_NAME = "translator.pt"
PIXELS_PER_FORWARD = 64 * 128 * 128  # bounds the memory of one forward pass

Networks = TypeVar("Networks", bound=nn.Module)
TakeStep = Callable[[Tensor, Tensor, np.random.Generator], dict[str, Tensor]]


class TranslationDiverged(RuntimeError):  # noqa: N818
    """A loss of a translator is not finite."""


@dataclass
class Training(Generic[Networks]):
    """Everything that a step changes, so everything that a checkpoint holds."""

    networks: Networks
    generator_optimizer: torch.optim.Adam
    discriminator_optimizer: torch.optim.Adam
    step: int = 0  # steps done

    def state(self) -> dict[str, Any]:
        """Tensors and numbers only: `torch.load(weights_only=True)` reads it."""
        return {
            "step": self.step,
            "networks": self.networks.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`."""
        self.step = state["step"]
        self.networks.load_state_dict(state["networks"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])


def place(networks: nn.Module, run: FitRun) -> None:
    """Move new networks to the device, with the weights of the iteration before if it has any."""
    if run.warm_start is not None:
        networks.load_state_dict(load_file(run.warm_start))
    networks.to(run.device).to(memory_format=torch.channels_last)  # 12 % faster on a CPU


def adam(parameters: list[nn.Parameter], config: GanTranslator) -> torch.optim.Adam:
    """Adam with the betas of CycleGAN and CUT, (0.5, 0.999)."""
    return torch.optim.Adam(parameters, config.learning_rate, betas=(0.5, 0.999), fused=True)


def resume(training: Training[Any], run: FitRun) -> None:
    """Continue from the checkpoint in the folder, if there is one."""
    checkpoint = run.folder / CHECKPOINT_NAME
    state = read_checkpoint(checkpoint, training.state(), torch.device(run.device))
    if state is not None:
        training.restore(state)
        logger.info("translator resumes at step %d from %s", training.step, checkpoint)


def take_steps(
    training: Training[Any],
    take_step: TakeStep,
    crops: tuple[UInt8[ndarray, "n s s 3"], UInt8[ndarray, "m s s 3"]],
    config: GanTranslator,
    run: FitRun,
) -> None:
    """Take `num_steps`, or `num_warm_steps` from the networks of the iteration before.

    Step i draws its virtual and real batch, and all else, from np.random.default_rng([seed, i]), so
    a run that was stopped and resumed from `run.folder` ends, on CPU, with the weights of one that
    was not.

    Raises: TranslationDiverged at the first loss found to be NaN or infinite; Interrupted, with a
    checkpoint written, when `run.should_stop` says so.
    """
    num_steps = config.num_steps
    if run.warm_start is not None and config.num_warm_steps is not None:
        num_steps = config.num_warm_steps
    virtual_crops, real_crops = (torch.from_numpy(one).to(run.device) for one in crops)
    last_saved = time.monotonic()
    while training.step < num_steps:
        rng = np.random.default_rng([run.seed, training.step])
        virtual = draw_batch(virtual_crops, config, rng)
        real = draw_batch(real_crops, config, rng)
        losses = take_step(virtual, real, rng)
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


def draw_batch(
    crops: UInt8[Tensor, "n s s 3"], config: GanTranslator, rng: np.random.Generator
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


def update(optimizer: torch.optim.Adam, loss: Float[Tensor, ""]) -> None:
    """One step of an optimizer down the gradient of a loss."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def discriminator_loss(
    judge: nn.Module, genuine: Float[Tensor, "b 3 s s"], fake: Float[Tensor, "b 3 s s"]
) -> Float[Tensor, ""]:
    """Half the LSGAN loss, as in the authors' code: discriminators learn at half the pace."""
    verdict_genuine, verdict_fake = judge(torch.cat([genuine, fake])).chunk(2)
    return (squared_error(verdict_genuine, 1.0) + squared_error(verdict_fake, 0.0)) / 2


def squared_error(verdict: Tensor, wanted: float) -> Tensor:
    """Mean squared distance of a discriminator's verdicts from 1 (real) or 0 (fake)."""
    return ((verdict - wanted) ** 2).mean()


@dataclass(frozen=True, slots=True)
class TrainedGenerator:
    """The generator virtual -> real; all networks are kept for the warm start."""

    networks: nn.Module  # `to_real`, and what it was trained with
    reason: str | None = None
    changes_pixels: bool = True

    def translate(self, crops: UInt8[ndarray, "n s s 3"]) -> UInt8[ndarray, "n s s 3"]:
        """Run the generator once per crop, in batches of bounded memory."""
        return translate_crops(self.networks.get_submodule("to_real"), crops)

    def save(self, path: Path) -> None:
        """Write all networks as safetensors."""
        save_weights(path, self.networks)


@torch.no_grad()
def translate_crops(
    generator: nn.Module, crops: UInt8[ndarray, "n s s 3"]
) -> UInt8[ndarray, "n s s 3"]:
    """Run the generator once per crop, in batches of bounded memory."""
    device = next(generator.parameters()).device
    size = max(1, PIXELS_PER_FORWARD // (crops.shape[1] * crops.shape[2]))
    translated = np.empty_like(crops)
    for first in range(0, len(crops), size):
        batch = torch.from_numpy(crops[first : first + size]).to(device)
        pixels = ((generator(to_unit(batch)) + 1) * 127.5).round().to(torch.uint8)
        translated[first : first + size] = pixels.permute(0, 2, 3, 1).cpu().numpy()
    return translated


def _readings(losses: dict[str, Tensor], step: int, config: GanTranslator) -> dict[str, float]:
    """The losses as numbers, checked.

    Raises: TranslationDiverged.
    """
    readings = {name: float(value) for name, value in losses.items()}
    if not all(math.isfinite(value) for value in readings.values()):
        raise TranslationDiverged(
            f"translator: loss not finite at step {step} ({readings}) with learning rate "
            f"{config.learning_rate}; {config.remedy}"
        )
    return readings
