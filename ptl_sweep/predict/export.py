"""A trained detector as one torch file that opens with weights_only=True: weights and settings."""

import io
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from ptl_sweep import __version__
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.detection.detector import Detector
from ptl_sweep.detection.networks.pyramid import PyramidDetector
from ptl_sweep.predict.published import PublishedDetector
from ptl_sweep.store import write_atomically

FORMAT = "ptl_sweep.detector/1"
CLASSES = ["person"]  # by label, from 0
SEEN_PX = 512  # side of an empty picture that shows the strides


def export_detector(published: PublishedDetector, path: Path) -> int:
    """Write the file, whole or not at all; returns its size in bytes.

    Raises: ConfigError for a path that must not be written, StoreError, OSError.
    """
    _refuse_file(path, published.key)
    detector = published.load(torch.device("cpu"))
    buffer = io.BytesIO()
    torch.save(_content(published, detector), buffer)
    write_atomically(path, buffer.getvalue())
    return len(buffer.getvalue())


def _refuse_file(path: Path, stage: str) -> None:
    """Replace nothing but an earlier export of this stage. Raises: ConfigError."""
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"{path.absolute().parent} is no folder\n  fix: make it first")
    if not path.exists():
        return
    if not path.is_file():
        raise ConfigError(f"{path} is no file\n  fix: add a file name, such as person.pt")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        same = found["format"] == FORMAT and found["provenance"]["stage"] == stage
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError):
        same = False
    if not same:
        raise ConfigError(
            f"{path} is there already, and no export of {stage}\n"
            "  fix: choose another name, or move that file away"
        )


def _content(published: PublishedDetector, detector: Detector) -> dict[str, Any]:
    """Tensors by name, and plain numbers and texts."""
    network, reading = asdict(published.spec.config()), asdict(published.inference)
    del network["name"]
    content = {
        "format": FORMAT,
        "state_dict": {name: value.contiguous() for name, value in detector.state_dict().items()},
        "classes": CLASSES,
        "detector": network,
        "tiling": reading.pop("tiling"),
        "inference": reading,
        "provenance": {
            "stage": published.key,
            "commit": published.commit,
            "trained_with": published.version,
            "exported_with": __version__,
        },
    }
    if isinstance(detector, PyramidDetector):
        content |= {
            "geometry": _geometry(detector),
            "torchvision": _torchvision(detector, published),
        }
    return content


@torch.no_grad()
def _geometry(detector: PyramidDetector) -> dict[str, Any]:
    """What a pyramid of torchvision needs beside weights; strides are those of the levels."""
    levels = detector.backbone(torch.zeros(1, 3, SEEN_PX, SEEN_PX)).values()
    norms = (nn.BatchNorm2d, FrozenBatchNorm2d)
    epsilons = {module.eps for module in detector.modules() if isinstance(module, norms)}
    return {
        "strides": [SEEN_PX // level.shape[-1] for level in levels],
        "batch_norm_eps": epsilons.pop() if len(epsilons) == 1 else None,
    }


def _torchvision(detector: PyramidDetector, published: PublishedDetector) -> dict[str, Any]:
    """Arguments of torchvision's RetinaNet or FCOS but backbone and anchors: the same read-out."""
    inference, resize = published.inference, published.spec.resize
    size = {} if resize is None else {"min_size": resize[0], "max_size": resize[1]}
    return {
        "num_classes": len(CLASSES),
        "image_mean": detector.mean.flatten().tolist(),
        "image_std": detector.std.flatten().tolist(),
        "score_thresh": inference.score_threshold,
        "nms_thresh": inference.nms_threshold,
        "detections_per_img": inference.max_detections,
        "topk_candidates": inference.candidates_per_level,
        "size_divisible": detector.stride,
        **size,
    }
