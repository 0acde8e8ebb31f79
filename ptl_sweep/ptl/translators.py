"""Translators of person crops, virtual to real, behind one signature and one table."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from ptl_sweep.config.schema import TranslatorConfig
from ptl_sweep.detection.training import never
from ptl_sweep.ptl.crops import CropSet
from ptl_sweep.ptl.cyclegan import OnStep, RunSetting, save_networks, to_tensor, train_cyclegan
from ptl_sweep.ptl.networks import CycleNetworks

logger = logging.getLogger(__name__)

PIXELS_PER_FORWARD = 64 * 128 * 128  # bounds the memory of one forward pass
SMALLEST_SD = 1.0  # of 255; a flatter channel is not stretched


@runtime_checkable
class Translator(Protocol):
    """Makes virtual person crops look real."""

    @property
    def changes_pixels(self) -> bool:
        """False: `translate` returns its argument, so nothing needs to be pasted."""
        ...

    @property
    def reason(self) -> str | None:
        """Why crops stay untranslated although a method was asked for; None when all is well."""
        ...

    def translate(self, crops: UInt8[ndarray, "n s s 3"]) -> UInt8[ndarray, "n s s 3"]:
        """The crops as the translator would have them photographed; s = crop_size."""
        ...

    def save(self, path: Path) -> None:
        """Write what the next iteration starts from, if there is anything."""
        ...


class Fit(NamedTuple):
    """Arguments of a method in TRANSLATORS."""

    config: TranslatorConfig
    source: CropSet  # virtual, side load_size
    target: CropSet  # real and earlier translated ones, side load_size
    run: RunSetting


@dataclass(frozen=True, slots=True)
class Identity:
    """Crops stay as drawn: by choice, or for a reason."""

    reason: str | None = None
    changes_pixels: bool = False

    def translate(self, crops: UInt8[ndarray, "n s s 3"]) -> UInt8[ndarray, "n s s 3"]:
        """The same crops."""
        return crops

    def save(self, path: Path) -> None:
        """Nothing was learnt, so nothing is written."""


@dataclass(frozen=True, slots=True)
class ColorStatistics:
    """Mean and standard deviation of each RGB channel taken over from a random target crop.

    Reinhard et al. 2001 do this in the decorrelated l-alpha-beta space; RGB is our simplification.
    Statistics are of whole crops, since real persons have no masks; pasting applies them under
    the mask only.
    """

    mean: Float[ndarray, "m 3"]  # of each target crop
    sd: Float[ndarray, "m 3"]
    seed: int
    reason: str | None = None
    changes_pixels: bool = True

    def translate(self, crops: UInt8[ndarray, "n s s 3"]) -> UInt8[ndarray, "n s s 3"]:
        """Each crop with the colours of one target crop; the same draw for the same seed."""
        drawn = np.random.default_rng(self.seed).integers(len(self.mean), size=len(crops))
        mean, sd = channel_statistics(crops)
        gain = self.sd[drawn] / sd.clip(SMALLEST_SD)
        shifted = (crops - mean[:, None, None]) * gain[:, None, None]
        shifted += self.mean[drawn][:, None, None]
        colored: UInt8[ndarray, "n s s 3"] = np.rint(shifted).clip(0, 255).astype(np.uint8)
        return colored

    def save(self, path: Path) -> None:
        """The statistics are measured anew each time, so nothing is written."""


@dataclass(frozen=True, slots=True)
class CycleGAN:
    """The generator virtual -> real; all four networks are kept for the warm start."""

    networks: CycleNetworks
    reason: str | None = None
    changes_pixels: bool = True

    @torch.no_grad()
    def translate(self, crops: UInt8[ndarray, "n s s 3"]) -> UInt8[ndarray, "n s s 3"]:
        """One generator pass per crop, in batches of bounded memory."""
        device = next(self.networks.parameters()).device
        size = max(1, PIXELS_PER_FORWARD // (crops.shape[1] * crops.shape[2]))
        translated = np.empty_like(crops)
        for first in range(0, len(crops), size):
            batch = to_tensor(crops[first : first + size]).to(device)
            pixels = ((self.networks.to_real(batch) + 1) * 127.5).round().to(torch.uint8)
            translated[first : first + size] = pixels.permute(0, 2, 3, 1).cpu().numpy()
        return translated

    def save(self, path: Path) -> None:
        """All four networks as safetensors."""
        save_networks(self.networks, path)


def fit_translator(  # noqa: PLR0913 one signature for all methods
    config: TranslatorConfig,
    source: CropSet,
    target: CropSet,
    *,
    seed: int,
    folder: Path,
    warm_start: Path | None,
    on_step: OnStep,
    device: torch.device,
    checkpoint_minutes: float = 5.0,
    should_stop: Callable[[], bool] = never,
) -> Translator:
    """Fit the method that the config names.

    `warm_start` is what `save` of the iteration before wrote; it is used when the file exists and
    `config.warm_start` is on. Without a source or a target crop nothing can be learnt: the
    translator then returns its crops unchanged and says why in `reason`.

    Raises: TranslationDiverged and Interrupted from the CycleGAN.
    """
    if config.method != "identity" and not (len(source) and len(target)):
        which = "virtual" if len(source) == 0 else "real"
        reason = f"no {which} person crop is large and varied enough to fit {config.method}"
        logger.warning("persons stay untranslated: %s", reason)
        return Identity(reason)
    usable = warm_start if config.warm_start and warm_start and warm_start.exists() else None
    run = RunSetting(
        seed=seed,
        folder=folder,
        warm_start=usable,
        on_step=on_step,
        device=device,
        checkpoint_minutes=checkpoint_minutes,
        should_stop=should_stop,
    )
    return TRANSLATORS[config.method](Fit(config, source, target, run))


def channel_statistics(
    crops: UInt8[ndarray, "n s s 3"],
) -> tuple[Float[ndarray, "n 3"], Float[ndarray, "n 3"]]:
    """Mean and standard deviation of every channel of every crop, of 255."""
    return crops.mean(axis=(1, 2)), crops.std(axis=(1, 2))


def _identity(fit: Fit) -> Translator:  # noqa: ARG001 the signature of the table
    return Identity()


def _color_stats(fit: Fit) -> Translator:
    mean, sd = channel_statistics(fit.target.pixels)
    return ColorStatistics(mean, sd, fit.run.seed)


def _cyclegan(fit: Fit) -> Translator:
    return CycleGAN(train_cyclegan(fit.config, fit.source.pixels, fit.target.pixels, fit.run))


TRANSLATORS: dict[str, Callable[[Fit], Translator]] = {
    "identity": _identity,
    "color_stats": _color_stats,
    "cyclegan": _cyclegan,
}
