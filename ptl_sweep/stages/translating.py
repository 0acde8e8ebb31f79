"""The translation of one PTL iteration as files: transformed pictures, and the networks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ptl_sweep.datasets.images import write_png
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.ptl.compositing import TranslatedImage, translate_images
from ptl_sweep.ptl.translators.base import FitRun
from ptl_sweep.stages.context import StageContext
from ptl_sweep.stages.ptl import NUM_SAMPLES, TRANSLATOR, PtlStage
from ptl_sweep.stages.training_set import TrainingSet


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
