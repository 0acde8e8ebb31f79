"""What a translator is: parameters that fit something that moves virtual crops to real ones."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol, runtime_checkable

from jaxtyping import UInt8
from numpy import ndarray

from ptl_sweep.config.choices import Choice
from ptl_sweep.config.schema import TranslatorConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.ptl.crops import CropSet, person_crops

if TYPE_CHECKING:  # plans know translators, and load no torch
    import torch


logger = logging.getLogger(__name__)

OnStep = Callable[[int, dict[str, float]], None]


class FitRun(NamedTuple):
    """How a worker carries out a fit; no result depends on the last two."""

    seed: int
    folder: Path  # of the checkpoint
    warm_start: Path | None  # what `save` of the iteration before wrote; None: from scratch
    on_step: OnStep
    device: "torch.device"
    checkpoint_minutes: float
    should_stop: Callable[[], bool]


@runtime_checkable
class FittedTranslator(Protocol):
    """Moves virtual person crops towards real ones."""

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


@dataclass(frozen=True, slots=True)
class Untranslated:
    """Crops stay as drawn: by choice, or for a reason."""

    reason: str | None = None
    changes_pixels: bool = False

    def translate(self, crops: UInt8[ndarray, "n s s 3"]) -> UInt8[ndarray, "n s s 3"]:
        """Return the same crops."""
        return crops

    def save(self, path: Path) -> None:
        """Write nothing: nothing was learnt."""


@dataclass(frozen=True, kw_only=True)
class Translator(Choice, ABC):
    """A method of translation with its parameters."""

    key: ClassVar[str] = "translator"

    @classmethod
    def of(cls, config: TranslatorConfig, iteration: int) -> "Translator":
        """The parameters that this method reads at PTL iteration 1, 2, ... Raises: ConfigError."""
        del iteration
        return cls.read(config, config.options)

    @abstractmethod
    def fit_records(
        self,
        chosen: Sequence[ImageRecord],
        training: Sequence[ImageRecord],
        run: FitRun,
        cache: ImageCache,
    ) -> FittedTranslator:
        """Fit from the chosen virtual images to R_t (PTL section 3.3)."""


@dataclass(frozen=True, kw_only=True)
class CropTranslator(Translator):
    """A method that learns from crops of persons, resized to squares."""

    load_size: int  # crops are resized to this side, pixels ...
    crop_size: int  # ... and translated at this one, pixels
    min_crop_px: int  # shorter crops train nothing and stay untranslated; ours
    crop: str  # square | tight

    def fit_records(
        self,
        chosen: Sequence[ImageRecord],
        training: Sequence[ImageRecord],
        run: FitRun,
        cache: ImageCache,
    ) -> FittedTranslator:
        """Fit from crops of the chosen to crops of R_t; without either nothing can be learnt."""
        source, target = (
            person_crops(
                records,
                side=self.load_size,
                min_crop_px=self.min_crop_px,
                cache=cache,
                crop=self.crop,
            )
            for records in (chosen, training)
        )
        if not (len(source) and len(target)):
            which = "virtual" if len(source) == 0 else "real"
            reason = f"no {which} person crop is large and varied enough to fit {self.method}"
            logger.warning("persons stay untranslated: %s", reason)
            return Untranslated(reason)
        return self.fit(source, target, run)

    @abstractmethod
    def fit(self, source: CropSet, target: CropSet, run: FitRun) -> FittedTranslator:
        """Fit from virtual to real crops, both of side load_size."""


@dataclass(frozen=True, kw_only=True)
class GanTranslator(CropTranslator):
    """A method that trains a generator against a discriminator, in steps."""

    remedy: ClassVar[str]  # what to change when its losses are no numbers any more

    num_steps: int
    num_warm_steps: int | None  # from the networks of the iteration before; None: from scratch
    batch_size: int
    learning_rate: float
    base_channels: int
    num_residual_blocks: int

    @classmethod
    def of(cls, config: TranslatorConfig, iteration: int) -> "GanTranslator":
        """Only a later iteration has networks to start from. Raises: ConfigError."""
        recipe = cls.read(config, config.options)
        is_warm = config.warm_start and iteration > 1
        return recipe if is_warm else replace(recipe, num_warm_steps=None)

    def fit(self, source: CropSet, target: CropSet, run: FitRun) -> FittedTranslator:
        """Train, warm or from scratch. Raises: TranslationDiverged, Interrupted."""
        if self.num_warm_steps is None:
            run = run._replace(warm_start=None)
        return self.train(source.pixels, target.pixels, run)

    @abstractmethod
    def train(
        self, source: UInt8[ndarray, "n s s 3"], target: UInt8[ndarray, "m s s 3"], run: FitRun
    ) -> FittedTranslator:
        """Train on virtual and real crops. Raises: TranslationDiverged, Interrupted."""
