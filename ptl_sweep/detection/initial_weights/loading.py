"""Reads a file of initial weights into a detector: ResNet-50, a COCO detector, or a state dict."""

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ptl_sweep.config.schema import ConfigError, DetectorConfig
from ptl_sweep.detection.detector import Detector
from ptl_sweep.detection.initial_weights.files import WeightsFile

NUM_COCO_CLASSES = 91  # of torchvision's COCO detectors, background included
COCO_PERSON = 1


def load_weights(detector: Detector, config: DetectorConfig, file: WeightsFile) -> None:
    """Overwrite the weights that the file holds.

    `imagenet`: the ResNet-50 body. `coco`: everything, the classifier cut down to persons. A path:
    everything, or the body alone when the file is a plain ResNet-50.
    Raises: ConfigError when the file cannot be read or does not fit.
    """
    state = _read(file.path)
    body = dict(detector.named_modules()).get("backbone.body")
    plain_resnet = "layer1.0.conv1.weight" in state
    try:
        if plain_resnet and body is not None:
            body.load_state_dict({k: v for k, v in state.items() if not k.startswith("fc.")})
        else:
            detector.load_state_dict(only_persons(state) if config.weights == "coco" else state)
    except RuntimeError as error:
        raise ConfigError(
            f"detector.weights={config.weights}: {file.path} does not fit "
            f"{config.architecture} with these anchors and channels: {str(error)[:500]}"
        ) from error


def only_persons(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """State dict of torchvision's COCO RetinaNet or FCOS with the person's classifier alone.

    Channels of the classifier run over anchor shapes, then classes.
    """
    prefix = "head.classification_head.cls_logits."
    by_class = (-1, NUM_COCO_CLASSES)
    persons = {
        prefix + name: torch.unflatten(state[prefix + name], 0, by_class)[:, COCO_PERSON]
        for name in ("weight", "bias")
    }
    # a copy keeps the version marks by which torchvision renames old keys
    reduced = state.copy()
    reduced.update(persons)
    return reduced


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors by name; never runs code from the file."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, SafetensorError) as error:
        raise ConfigError(f"detector.weights: {path} is no state dict: {error}") from error
    if not isinstance(state, dict):
        raise ConfigError(f"detector.weights: {path} holds a {type(state).__name__}, no state dict")
    return state
