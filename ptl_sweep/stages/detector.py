"""Training a detector on R_t and reading it out: what the train and ptl stages share."""

from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch

from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.pretrained import load_weights
from ptl_sweep.detection.retinanet import Detector, build_detector
from ptl_sweep.detection.training import train_detector
from ptl_sweep.detection.weights import resolve_weights
from ptl_sweep.pipeline.specs import WEIGHTS_FOLDER
from ptl_sweep.ptl.domain_gap import collect_training_features
from ptl_sweep.stages import wandb_media
from ptl_sweep.stages.context import Workspace
from ptl_sweep.stages.training_set import MANIFEST, TrainingSet
from ptl_sweep.store import StoreError

MODEL = "model.safetensors"
FEATURES = "training_features.npz"
CHECKPOINT = "checkpoint.pt"

Summary = dict[str, Any]


class Fitted(NamedTuple):
    """A trained detector, ready for inference, and what its stage tells of the training."""

    detector: Detector
    summary: Summary


def fit_detector(work: Workspace, training: TrainingSet) -> Fitted:
    """Train from the initial weights on R_t, then read out the features of R_t (PTL eq. 1)."""
    config = work.config
    records = training.records(work.store, own=(work.stage.key, work.folder))
    detector = initial_detector(work)
    view = View(work.resize, config.tiling)
    train_detector(
        detector,
        records,
        config.train,
        seed=work.seed("train"),
        folder=work.folder,
        cache=work.cache,
        on_step=lambda step, row: work.log(
            {"train/step": step, **row, **wandb_media.gpu_memory(work, "train/gpu_memory_mb")}
        ),
        view=view,
        should_stop=work.should_stop,
    )
    features = collect_training_features(
        detector,
        records,
        config.gaussian,
        config.evaluate,
        cache=work.cache,
        view=view,
    )
    np.savez(work.folder / FEATURES, **features._asdict())
    safetensors.torch.save_file(detector.state_dict(), work.folder / MODEL)
    work.write_json(MANIFEST, training.manifest())
    (work.folder / CHECKPOINT).unlink(missing_ok=True)
    wandb_media.log_model(work, MODEL)
    summary = {
        "num_train_images": len(records),
        "num_synthetic": len(training.transformed),
        "gaussian_n": len(features.features),
    }
    return Fitted(detector, summary)


def initial_detector(work: Workspace) -> Detector:
    """The same initial weights for every training of a seed."""
    config = work.config.detector
    detector = build_detector(config, torch.Generator().manual_seed(work.seed("weights")))
    file = resolve_weights(config, work.store.root.parent / WEIGHTS_FOLDER)
    if file is not None:
        if file.sha256 != work.stage.spec["detector"]["weights"]:
            raise StoreError(f"{file.path} has changed since the sweep was planned; run it again")
        load_weights(detector, config, file)
    return detector.to(work.device)


def load_detector(work: Workspace) -> Detector:
    """The parent stage's detector, ready for inference."""
    detector = build_detector(work.config.detector, torch.Generator().manual_seed(0))
    detector.load_state_dict(safetensors.torch.load_file(work.parent(MODEL)))
    return detector.to(work.device).eval()
