"""One PTL iteration as a stage: each finished step leaves a file, so a killed worker goes on."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.datasets.images import write_png
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.distance.gaussian import Gaussian, fit_gaussian
from ptl_sweep.ptl.compositing import TranslatedImage
from ptl_sweep.ptl.cyclegan import CHECKPOINT_NAME
from ptl_sweep.ptl.iteration import Chosen, choose, translate
from ptl_sweep.stages import wandb_media
from ptl_sweep.stages.context import Workspace
from ptl_sweep.stages.detector import FEATURES, MODEL, Summary, fit_detector, load_detector
from ptl_sweep.stages.training_set import (
    MANIFEST,
    TrainingSet,
    TransformedImage,
    read_training_set,
)

SELECTION = "selection.json"  # which virtual images, and their domain gaps
TRANSFORMED = "transformed.json"  # the pictures made of them; written last
TRANSLATOR = "translator.safetensors"
GAUSSIAN = "gaussian.npz"
NUM_SAMPLES = 8  # virtual originals kept for the report


def run_ptl(work: Workspace) -> Summary:
    """Gap, select, translate, add, train (PTL section 3)."""
    wandb_media.use_model(work, MODEL)
    source = work.read_split(work.config.dataset, work.stage.spec["dataset"])
    training = read_training_set(work.parent(MANIFEST), source.records)
    pool = [r for r in work.read_pool().records if r.image_id not in training.selected_ids]
    selection = _once(
        work,
        SELECTION,
        lambda: _select(work, pool),
        lambda selection, repeated: wandb_media.show_selection(
            work, pool, selection, repeated=repeated
        ),
    )
    transformed = _once(work, TRANSFORMED, lambda: _transform(work, pool, selection, training))
    (work.folder / CHECKPOINT_NAME).unlink(missing_ok=True)
    images = tuple(TransformedImage(**image) for image in transformed["images"])
    fitted = fit_detector(work, TrainingSet(training.real, (*training.transformed, *images)))
    shown = [image.record(work.folder) for image in images[:NUM_SAMPLES]]
    wandb_media.show_transformed(work, fitted.detector, shown)
    reasons = [r for r in (selection["reason"], transformed["reason"]) if r]
    return {
        **fitted.summary,
        **selection["summary"],
        "num_untranslated": transformed["num_untranslated"],
        "reason": "; ".join(reasons) or None,
    }


def _once(
    work: Workspace,
    name: str,
    make: Callable[[], dict[str, Any]],
    show: Callable[[dict[str, Any], bool], None] | None = None,
) -> dict[str, Any]:
    """The step's file; made now unless an attempt before a kill has finished the step.

    `show` is for the mirror: it is told whether an attempt before a kill has shown the step.
    """
    path = work.folder / name
    was_there = path.exists()
    if not was_there:
        work.write_json(name, make())
    content = dict(json.loads(path.read_text()))
    if show is not None:
        show(content, was_there)
    return content


def _iteration(work: Workspace) -> int:
    return int(work.stage.spec["synthetic"]["iteration"])


def _select(work: Workspace, pool: Sequence[ImageRecord]) -> dict[str, Any]:
    config = work.config
    with np.load(work.parent(FEATURES)) as stored:
        gaussian = fit_gaussian(stored["features"], config.gaussian.covariance)
    chosen = choose(
        load_detector(work),
        gaussian,
        pool,
        config.synthetic,
        config.evaluate,
        rng=work.rng("select", _iteration(work)),
        cache=work.cache,
    )
    summary = _selection_summary(chosen, len(pool))
    if isinstance(gaussian, Gaussian):
        gaussian.save(work.folder / GAUSSIAN)
        summary |= {
            "gap_gaussian_n": gaussian.n,
            "gap_gaussian_rank": gaussian.rank,
            "gap_gaussian_condition": gaussian.condition,
            "gap_gaussian_shrinkage": gaussian.shrinkage,
            "gap_gaussian_dropped_channels": gaussian.num_dropped,
        }
    shown = summary | _gap_spread(chosen.gap)
    work.log({"ptl/iteration": _iteration(work), **{f"ptl/{k}": v for k, v in shown.items()}})
    return {
        "selected": [pool[i].image_id for i in chosen.selection.indices],
        "pool": [
            {"image_id": record.image_id, "gap": gap if np.isfinite(gap) else None}
            for record, gap in zip(pool, chosen.gap.tolist(), strict=True)
        ],
        "summary": summary,
        "reason": chosen.reason,
    }


def _selection_summary(chosen: Chosen, num_pool: int) -> dict[str, Any]:
    selection = chosen.selection
    finite = chosen.gap[np.isfinite(chosen.gap)]
    picked = chosen.gap[selection.indices]
    picked = picked[np.isfinite(picked)]
    return {
        "num_pool": num_pool,
        "num_selected": len(selection.indices),
        "num_selected_uniformly": selection.num_selected_uniformly,
        "num_finite_gap": selection.num_finite,
        "effective_sample_size": selection.effective_sample_size,
        "gap_median": float(np.median(finite)) if len(finite) else None,
        "gap_selected_median": float(np.median(picked)) if len(picked) else None,
    }


def _gap_spread(gap: Float[ndarray, " p"]) -> dict[str, float | None]:
    """Mean, 10 % and 90 % quantile of the gaps there are; the median is in the summary."""
    finite = gap[np.isfinite(gap)]
    if not len(finite):
        return dict.fromkeys(("gap_mean", "gap_p10", "gap_p90"))
    low, high = np.quantile(finite, (0.1, 0.9))
    return {"gap_mean": float(finite.mean()), "gap_p10": float(low), "gap_p90": float(high)}


def _transform(
    work: Workspace,
    pool: Sequence[ImageRecord],
    selection: dict[str, Any],
    training: TrainingSet,
) -> dict[str, Any]:
    by_id = {record.image_id: record for record in pool}
    chosen = [by_id[name] for name in selection["selected"]]
    images, translator = translate(
        chosen,
        training.records(work.store),
        work.config.translator,
        seed=work.seed("translate", _iteration(work)),
        folder=work.folder,
        warm_start=_earlier_translator(work),
        on_step=lambda step, row: work.log(
            {
                "translate/step": step,
                **row,
                **wandb_media.gpu_memory(work, "translate/gpu_memory_mb"),
            }
        ),
        device=work.device,
        cache=work.cache,
        checkpoint_minutes=work.config.train.checkpoint_minutes,
        should_stop=work.should_stop,
    )
    translator.save(work.folder / TRANSLATOR)
    return {
        "images": _write_pictures(work, chosen, images),
        "num_untranslated": sum(image.num_untranslated for image in images),
        "reason": translator.reason,
    }


def _earlier_translator(work: Workspace) -> Path | None:
    if _iteration(work) == 1:
        return None
    path = work.store.path(work.stage.parents[0]) / TRANSLATOR
    return work.parent(TRANSLATOR) if path.exists() else None


def _write_pictures(
    work: Workspace, chosen: Sequence[ImageRecord], images: Sequence[TranslatedImage]
) -> list[dict[str, Any]]:
    folder = work.folder / "selected"
    folder.mkdir(exist_ok=True)
    entries: list[dict[str, Any]] = []
    for index, (record, image) in enumerate(zip(chosen, images, strict=True)):
        name = f"selected/{index:04d}.png"
        write_png(work.folder / name, image.image)
        if index < NUM_SAMPLES:
            write_png(folder / f"{index:04d}-virtual.png", work.cache.read(record))
        entries.append(
            {
                "stage": work.stage.key,
                "file": name,
                "pool_id": record.image_id,
                "iteration": _iteration(work),
                "width": record.width,
                "height": record.height,
                "boxes": record.boxes.tolist(),
            }
        )
    return entries
