"""The translation of one PTL iteration as files: pictures, networks, and what it did to the gap."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.datasets.images import write_png
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.distance.gaussian import Gaussian
from ptl_sweep.ptl.compositing import TranslatedImage, translate_images
from ptl_sweep.ptl.domain_gap import measure_domain_gap
from ptl_sweep.ptl.methods.base import GapMethod
from ptl_sweep.ptl.translators.base import CropTranslator, FitRun
from ptl_sweep.stages.base import Summary
from ptl_sweep.stages.context import StageContext
from ptl_sweep.stages.fitting import load_detector
from ptl_sweep.stages.ptl import GAUSSIAN, NUM_SAMPLES, TRANSLATOR, PtlStage
from ptl_sweep.stages.training_set import TrainingSet, TransformedImage


def transform_images(
    stage: PtlStage, ctx: StageContext, chosen: Sequence[ImageRecord], training: TrainingSet
) -> dict[str, Any]:
    """Content of transformed.json: fit the translator, translate the chosen, write the pictures."""
    run = FitRun(
        seed=stage.seed_of("translate", stage.iteration),
        folder=ctx.folder,
        warm_start=_earlier_translator(stage, ctx),
        on_step=lambda step, row: ctx.log(
            {"translate/step": step, **row, **ctx.gpu_memory("translate/gpu_memory_mb")}
        ),
        device=ctx.device,
        checkpoint_minutes=stage.execution.checkpoint_minutes,
        should_stop=ctx.should_stop,
    )
    fitted = stage.translator.fit_records(chosen, training.records(ctx.store), run, ctx.cache)
    images = translate_images(chosen, fitted, stage.translator, ctx.cache)
    fitted.save(ctx.folder / TRANSLATOR)
    return {
        "images": _write_pictures(stage, ctx, chosen, images),
        "num_untranslated": sum(image.num_untranslated for image in images),
        "reason": fitted.reason,
    }


def compare_gaps(
    stage: PtlStage,
    ctx: StageContext,
    selection: Mapping[str, Any],
    transformed: Mapping[str, Any],
    real: Sequence[ImageRecord],
) -> dict[str, Any]:
    """Content of translation.json: the gap d(x) of PTL eq. 3-4 of each picture, before and after.

    Both by the detector and the Gaussian of the selection, and beside them that of as many `real`
    persons. Empty where no Gaussian exists, or no pixel was to change.
    """
    method = stage.method
    if not (isinstance(method, GapMethod) and _is_translated(stage, ctx, transformed)):
        return {"images": [], "summary": {}}
    images = [TransformedImage(**image) for image in transformed["images"]]
    records = [image.record(ctx.folder / image.file) for image in images]
    gap = _measure(stage, ctx, method, [*records, *single_persons(real, len(records))])
    after, of_real = np.split(gap, [len(records)])
    known = {one["image_id"]: one["gap"] for one in selection["pool"]}
    gaps = [known[image.pool_id] for image in images]
    before = np.array([np.inf if gap is None else gap for gap in gaps], dtype=np.float64)
    pairs = zip(images, gaps, after.tolist(), strict=True)
    return {
        "images": [
            {"pool_id": image.pool_id, "untranslated": gap, "translated": _finite(translated)}
            for image, gap, translated in pairs
        ],
        "summary": gap_summary(before, after, of_real),
    }


def _is_translated(stage: PtlStage, ctx: StageContext, transformed: Mapping[str, Any]) -> bool:
    """Whether a Gaussian selected images, and their pixels were to change and could."""
    changes_pixels = isinstance(stage.translator, CropTranslator) and transformed["reason"] is None
    selected_by_gap = (ctx.folder / GAUSSIAN).exists() and bool(transformed["images"])
    return changes_pixels and selected_by_gap


def _measure(
    stage: PtlStage, ctx: StageContext, method: GapMethod, records: Sequence[ImageRecord]
) -> Float[ndarray, " p"]:
    """The gap of each record as the selection measured it: R_t-1, its Gaussian, its scales."""
    return measure_domain_gap(
        load_detector(stage.detector, ctx),
        Gaussian.load(ctx.folder / GAUSSIAN),
        records,
        method,
        stage.inference,
        cache=ctx.cache,
    )


def single_persons(records: Sequence[ImageRecord], num: int) -> list[ImageRecord]:
    """Up to `num` persons from the whole length of the records, each as an image of its own.

    So each has a gap, where an image of several persons has that of the nearest one.
    """
    persons = [
        replace(record, boxes=record.boxes[index : index + 1])
        for record in records
        for index in range(len(record.boxes))
    ]
    places = np.linspace(0, len(persons) - 1, min(num, len(persons))).round().astype(int)
    return [persons[place] for place in places]


def gap_summary(
    before: Float[ndarray, " p"], after: Float[ndarray, " p"], real: Float[ndarray, " q"]
) -> Summary:
    """Medians of the gap over the images in which the person is found both before and after.

    Beside them the share of images in which it is found at all, which may fall without them, and
    the median of real persons: in-sample, because detector and Gaussian were fitted to them.
    """
    both = np.isfinite(before) & np.isfinite(after)
    return {
        "gap_untranslated_median": _median(before[both]),
        "gap_translated_median": _median(after[both]),
        "gap_real_median": _median(real[np.isfinite(real)]),
        "found_untranslated": float(np.isfinite(before).mean()),
        "found_translated": float(np.isfinite(after).mean()),
        "found_real": float(np.isfinite(real).mean()),
    }


def _finite(gap: float) -> float | None:
    return gap if np.isfinite(gap) else None


def _median(values: Float[ndarray, " n"]) -> float | None:
    return float(np.median(values)) if len(values) else None


def _earlier_translator(stage: PtlStage, ctx: StageContext) -> Path | None:
    """What the iteration before has saved; None at the first, and where nothing was learnt."""
    return None if stage.iteration == 1 else ctx.optional_parent(TRANSLATOR)


def _write_pictures(
    stage: PtlStage,
    ctx: StageContext,
    chosen: Sequence[ImageRecord],
    images: Sequence[TranslatedImage],
) -> list[dict[str, Any]]:
    folder = ctx.folder / "selected"
    folder.mkdir(exist_ok=True)
    entries: list[dict[str, Any]] = []
    for index, (record, image) in enumerate(zip(chosen, images, strict=True)):
        name = f"selected/{index:04d}.png"
        write_png(ctx.folder / name, image.image)
        if index < NUM_SAMPLES:
            write_png(folder / f"{index:04d}-virtual.png", ctx.cache.read(record))
        entries.append(
            {
                "stage": stage.key,
                "file": name,
                "pool_id": record.image_id,
                "iteration": stage.iteration,
                "width": record.width,
                "height": record.height,
                "boxes": record.boxes.tolist(),
            }
        )
    return entries
