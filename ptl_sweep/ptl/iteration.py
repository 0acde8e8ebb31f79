"""One PTL iteration before its training: measure the domain gap, select, translate (section 3)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.config.schema import EvaluateConfig, SyntheticConfig, TranslatorConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.retinanet import Detector
from ptl_sweep.distance.gaussian import Gaussian, GaussianRefusal
from ptl_sweep.ptl.compositing import TranslatedImage, translate_images
from ptl_sweep.ptl.crops import person_crops
from ptl_sweep.ptl.cyclegan import OnStep
from ptl_sweep.ptl.domain_gap import measure_domain_gap
from ptl_sweep.ptl.selection import Selection, select, select_uniformly
from ptl_sweep.ptl.translators import Translator, fit_translator


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The virtual images of this iteration."""

    selection: Selection  # indices into the pool that is left
    gap: Float[ndarray, " p"]  # squared Mahalanobis distance per pool image; NaN: not measured
    reason: str | None = None  # why the selection is not by domain gap alone


def choose(  # noqa: PLR0913 the inputs of PTL section 3
    detector: Detector,
    gaussian: Gaussian | GaussianRefusal,
    pool: Sequence[ImageRecord],
    config: SyntheticConfig,
    setting: EvaluateConfig,
    *,
    rng: np.random.Generator,
    cache: ImageCache,
) -> Chosen:
    """Selection from V_t with weight exp(-gap / tau), or uniformly (method `random`).

    Without a Gaussian the whole selection is uniform; that is a result with a reason, no failure.
    """
    unmeasured = np.full(len(pool), np.nan)
    if config.method == "random":
        drawn = select_uniformly(len(pool), config.images_per_iteration, rng)
        return Chosen(selection=drawn, gap=unmeasured)
    if isinstance(gaussian, GaussianRefusal):
        drawn = select_uniformly(len(pool), config.images_per_iteration, rng)
        reason = f"virtual images drawn uniformly: {gaussian.reason}"
        return Chosen(selection=drawn, gap=unmeasured, reason=reason)
    gap = measure_domain_gap(detector, gaussian, pool, config, setting, cache=cache)
    drawn = select(gap, config.images_per_iteration, config.temperature, rng)
    return Chosen(selection=drawn, gap=gap, reason=_shortfall(drawn))


def _shortfall(selection: Selection) -> str | None:
    if not selection.num_selected_uniformly:
        return None
    return (
        f"{selection.num_selected_uniformly} of {len(selection.indices)} virtual images drawn "
        "uniformly: the detector finds no person in the others"
    )


def translate(  # noqa: PLR0913 the inputs of PTL section 3.3
    chosen: Sequence[ImageRecord],
    training: Sequence[ImageRecord],
    config: TranslatorConfig,
    *,
    seed: int,
    folder: Path,
    warm_start: Path | None,
    on_step: OnStep,
    device: torch.device,
    cache: ImageCache,
    checkpoint_minutes: float,
    should_stop: Callable[[], bool],
) -> tuple[list[TranslatedImage], Translator]:
    """Fit the translator from crops of the chosen to crops of R_t, then translate the chosen."""
    source, target = (
        person_crops(records, side=config.load_size, min_crop_px=config.min_crop_px, cache=cache)
        for records in (chosen, training)
    )
    translator = fit_translator(
        config,
        source,
        target,
        seed=seed,
        folder=folder,
        warm_start=warm_start,
        on_step=on_step,
        device=device,
        checkpoint_minutes=checkpoint_minutes,
        should_stop=should_stop,
    )
    return translate_images(chosen, translator, config, cache), translator
