"""Training a detector on R_t and reading it out: what the train and ptl stages share."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.torch
import torch

from ptl_sweep.checkpoints import remove_checkpoint, save_weights
from ptl_sweep.config.schema import TilingConfig, TrainRecipe
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detector, build_detector
from ptl_sweep.detection.initial_weights.files import resolve_weights
from ptl_sweep.detection.initial_weights.loading import load_weights
from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.training import CHECKPOINT_NAME, train_detector
from ptl_sweep.ptl.domain_gap import collect_training_features
from ptl_sweep.ptl.methods.base import TrainingPhase
from ptl_sweep.stages.base import Summary
from ptl_sweep.stages.context import StageContext
from ptl_sweep.stages.inputs import DetectorSpec, InferenceSpec
from ptl_sweep.stages.train import FEATURES, MANIFEST, MODEL, DetectorStage
from ptl_sweep.stages.training_set import TrainingSet
from ptl_sweep.store import StoreError


class Fitted(NamedTuple):
    """A trained detector, ready for inference, and what its stage tells of the training."""

    detector: Detector
    summary: Summary


def view_of(detector: DetectorSpec, inference: InferenceSpec) -> View:
    """What the detector sees at once of an image, the same in training and inference."""
    return View(detector.resize, inference.tiling or TilingConfig())


def fit_detector(
    stage: DetectorStage,
    ctx: StageContext,
    training: TrainingSet,
    phases: Sequence[TrainingPhase] = (TrainingPhase(1.0),),
) -> Fitted:
    """Train from the initial weights on R_t, then read out the features of R_t (PTL eq. 1).

    Of a training in phases, those of the images that the last one saw.
    """
    records = training.records(ctx.store, own=(stage.key, ctx.folder))
    detector = initial_detector(stage, ctx)
    for part in planned_phases(phases, stage.train, records):
        _train(detector, stage, ctx, part)
    features = collect_training_features(
        detector,
        part.records,
        stage.features,
        stage.inference,
        cache=ctx.cache,
        view=view_of(stage.detector, stage.inference),
    )
    np.savez(ctx.folder / FEATURES, **features._asdict())
    save_weights(ctx.folder / MODEL, detector)
    ctx.write_json(MANIFEST, training.manifest())
    remove_checkpoint(ctx.folder / CHECKPOINT_NAME)
    for num_after in range(1, len(phases)):
        shutil.rmtree(_phase_folder(ctx, num_after))
    summary = {
        "num_train_images": len(records),
        "num_synthetic": len(training.transformed),
        "gaussian_n": len(features.features),
    }
    return Fitted(detector, summary)


class PlannedPhase(NamedTuple):
    """One part of a training, in images and steps."""

    num_after: int  # phases that follow
    records: list[ImageRecord]
    recipe: TrainRecipe  # with the number of steps of this part
    steps_before: int  # of the parts before it


def planned_phases(
    phases: Sequence[TrainingPhase], recipe: TrainRecipe, records: Sequence[ImageRecord]
) -> list[PlannedPhase]:
    """Each phase with its images; they share the recipe's steps, and have at least one each.

    Where a phase sees one kind of image, no share of real ones can be kept in its batches.
    """
    ends = np.rint(np.cumsum([phase.share for phase in phases]) * recipe.num_steps).astype(int)
    planned, before = [], 0
    for num_after, phase, end in zip(range(len(phases))[::-1], phases, ends.tolist(), strict=True):
        own = [one for one in records if (phase.virtual if one.synthetic else phase.real)]
        part = replace(recipe, num_steps=max(1, end - before))
        if not (phase.real and phase.virtual):
            part = replace(part, real_fraction=None)
        planned.append(PlannedPhase(num_after, own, part, before))
        before += part.num_steps
    return planned


def _train(
    detector: Detector, stage: DetectorStage, ctx: StageContext, phase: PlannedPhase
) -> None:
    """One phase; its last checkpoint stays until the stage is done, so that it is not repeated."""
    folder = _phase_folder(ctx, phase.num_after) if phase.num_after else ctx.folder
    folder.mkdir(exist_ok=True)
    train_detector(
        detector,
        phase.records,
        phase.recipe,
        seed=stage.seed_of("train", *([phase.num_after] if phase.num_after else [])),
        folder=folder,
        cache=ctx.cache,
        on_step=lambda step, row: ctx.log(
            {
                "train/step": phase.steps_before + step,
                **row,
                **ctx.gpu_memory("train/gpu_memory_mb"),
            }
        ),
        view=view_of(stage.detector, stage.inference),
        device_cache_mb=stage.execution.device_cache_mb,
        checkpoint_minutes=stage.execution.checkpoint_minutes,
        should_stop=ctx.should_stop,
    )


def _phase_folder(ctx: StageContext, num_after: int) -> Path:
    return ctx.folder / f"before-{num_after}-phases"


def initial_detector(stage: DetectorStage, ctx: StageContext) -> Detector:
    """The same initial weights for every training of a seed. Raises: StoreError, ConfigError."""
    config = stage.detector.config()
    detector = build_detector(config, torch.Generator().manual_seed(stage.seed_of("weights")))
    file = resolve_weights(config, ctx.weights_folder)
    if file is not None:
        if file.sha256 != stage.detector.weights_sha256:
            raise StoreError(f"{file.path} has changed since the sweep was planned; run it again")
        load_weights(detector, config, file)
    return _placed(detector, ctx.device)


def load_detector(spec: DetectorSpec, ctx: StageContext) -> Detector:
    """The parent stage's detector, ready for inference."""
    return read_detector(spec, ctx.parent(MODEL), ctx.device)


def read_detector(spec: DetectorSpec, path: Path, device: torch.device) -> Detector:
    """Build the network and read its weights from a checked file, ready for inference."""
    detector = build_detector(spec.config(), torch.Generator().manual_seed(0))
    detector.load_state_dict(safetensors.torch.load_file(path))
    return _placed(detector, device).eval()


def _placed(detector: Detector, device: torch.device) -> Detector:
    """Moved to the device; on a GPU channels last, as its convolutions are fastest."""
    last = torch.channels_last if device.type == "cuda" else torch.preserve_format
    return detector.to(device).to(memory_format=last)
