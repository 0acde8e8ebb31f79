"""What every detector can do: losses for training, detections that carry a feature each."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchvision.ops import nms as non_maximum_suppression

from ptl_sweep.config.schema import DetectorConfig, InferenceConfig
from ptl_sweep.detection.architectures import architecture_of
from ptl_sweep.detection.loss import Losses


class Detections(NamedTuple):
    """Detections of one image by falling score, on the device of the detector, float32."""

    boxes: Float[Tensor, "n 4"]  # xyxy pixels
    scores: Float[Tensor, " n"]
    features: Float[Tensor, "n d"]  # output of the classification tower at level and cell
    levels: Int[Tensor, " n"]  # 0: finest
    cells: Int[Tensor, " n"]  # y * width + x within the level's grid


class Probes(NamedTuple):
    """What the detector computes where given boxes of one image should be found."""

    features: Float[Tensor, "m d"]  # at the level and cell of the anchor with the best IoU
    levels: Int[Tensor, " m"]
    cells: Int[Tensor, " m"]
    iou: Float[Tensor, " m"]  # of that anchor


class Detector(nn.Module, ABC):
    """A network for one class; images are RGB in [0, 1], boxes in their pixels."""

    mean: Tensor  # of training images, channels by 1 by 1; fills what a picture does not reach
    feature_dim: int  # d

    @abstractmethod
    def losses(
        self,
        images: Float[Tensor, "b 3 h w"],
        boxes: list[Float[Tensor, "_ 4"]],
        ignored: list[Float[Tensor, "_ 4"]],
    ) -> Losses:
        """Losses of a batch, given its boxes and ignored regions.

        Computed in float32 also under autocast. Boxes must have a positive width and height.
        """

    @abstractmethod
    def detect(
        self, images: Float[Tensor, "b 3 h w"], inference: InferenceConfig, *, nms: bool = True
    ) -> list[Detections]:
        """Detections of each image; boxes are clipped to it.

        With nms=False every candidate above the score threshold is returned, at most
        candidates_per_level of each level, and max_detections does not apply.
        """

    @abstractmethod
    def detect_and_probe(
        self,
        images: Float[Tensor, "b 3 h w"],
        boxes: list[Float[Tensor, "_ 4"]],
        inference: InferenceConfig,
    ) -> tuple[list[Detections], list[Probes]]:
        """`detect`, and what the same pass computes at given boxes of each image."""


def best_boxes(
    boxes: Float[Tensor, "n 4"],
    scores: Float[Tensor, " n"],
    inference: InferenceConfig,
    *,
    nms: bool,
) -> Int[Tensor, " k"]:
    """Indices by falling score: what is left after NMS, at most max_detections; else all."""
    if not nms:
        return scores.argsort(descending=True, stable=True)
    kept: Tensor = non_maximum_suppression(boxes, scores, inference.nms_threshold)
    return kept[: inference.max_detections]


def build_detector(config: DetectorConfig, generator: torch.Generator) -> Detector:
    """A detector on the CPU with random weights that depend on the generator alone.

    `pretrained.load_weights` then replaces what `config.weights` names.
    Raises: ConfigError for anchors or channels that the architecture or its weights cannot have.
    """
    architecture = architecture_of(config)
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed CUDA as well
        detector = architecture.build(config)
    return detector.eval()
