"""What detectors on a feature pyramid share: padding, anchors, the best candidates, features.

Stock detectors return boxes and scores alone; PTL section 3 needs the input of the last
classification convolution at the level and cell of every detection.
"""

from abc import abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import clip_boxes_to_image

from ptl_sweep.config.schema import DetectorConfig, InferenceConfig
from ptl_sweep.detection.detector import Detections, Detector, Probes, best_of_batch

_CACHED_SIZES = 16  # image sizes whose anchors are kept
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # mean and deviation of its channels


class Predictions(NamedTuple):
    """What the heads say before any threshold; anchors run over levels, then y, x, shape."""

    logits: Float[Tensor, "b s"]
    offsets: Float[Tensor, "b s 4"]
    towers: list[Float[Tensor, "b d _ _"]]
    grids: list[tuple[int, int]]  # height and width of each level, cells
    centerness: Float[Tensor, "b s"] | None = None  # logits; of FCOS alone


class PyramidDetector(Detector):
    """Anchors on a pyramid, one tower for classes and one for boxes, shared by all levels.

    The backbone gives config.channels on every level, finest first; images are padded to a
    multiple of `stride`, pixels.
    """

    std: Tensor
    num_shapes: int  # anchors per cell

    def __init__(
        self,
        backbone: nn.Module,
        head: FCOSHead | RetinaNetHead,
        config: DetectorConfig,
        *,
        stride: int,
        normalisation: tuple[list[float], list[float]] = IMAGENET,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        ratios = (tuple(config.aspect_ratios),) * len(config.anchor_sizes)
        sizes = tuple(tuple(level) for level in config.anchor_sizes)
        self.anchor_generator = AnchorGenerator(sizes, ratios)
        self.stride = stride
        self.feature_dim = int(head.classification_head.cls_logits.in_channels)
        self.num_shapes = int(head.classification_head.num_anchors)
        for name, values in zip(("mean", "std"), normalisation, strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self._anchors: dict[tuple[int, int, torch.device], Tensor] = {}

    @abstractmethod
    def _predict(self, prepared: Float[Tensor, "b 3 h w"]) -> Predictions:
        """Run the network on images that `_prepare` made."""

    @abstractmethod
    def _scores(self, raw: Predictions) -> list[Float[Tensor, "b _"]]:
        """Score every anchor, a tensor for each level."""

    @abstractmethod
    def _decoded(
        self, offsets: Float[Tensor, "b c 4"], anchors: Float[Tensor, "b c 4"]
    ) -> Float[Tensor, "b c 4"]:
        """Boxes, xyxy pixels, that the box branch says at these anchors."""

    @abstractmethod
    def _places_of(
        self, anchors: Float[Tensor, "s 4"], boxes: Float[Tensor, "m 4"], level_sizes: list[int]
    ) -> tuple[Float[Tensor, " m"], Int[Tensor, " m"]]:
        """IoU and index of the anchor where each box should be found."""

    @torch.no_grad()
    def detect(
        self, images: Float[Tensor, "b 3 h w"], inference: InferenceConfig, *, nms: bool = True
    ) -> list[Detections]:
        """The best anchors of every level, then NMS; boxes are clipped to the image."""
        prepared = self._prepare(images)
        raw = self._predict(prepared)
        return self._detections(raw, self._anchors_of(prepared, raw.grids), images, inference, nms)

    @torch.no_grad()
    def detect_and_probe(
        self,
        images: Float[Tensor, "b 3 h w"],
        boxes: list[Float[Tensor, "_ 4"]],
        inference: InferenceConfig,
    ) -> tuple[list[Detections], list[Probes]]:
        """`detect`, and the feature at the anchor that fits each given box best."""
        prepared = self._prepare(images)
        raw = self._predict(prepared)
        anchors = self._anchors_of(prepared, raw.grids)
        sizes = self._level_sizes(raw.grids)
        fits = [self._places_of(anchors, wanted, sizes) for wanted in boxes]
        counts = [len(wanted) for wanted in boxes]
        owners = torch.cat(
            [torch.full((n,), image, device=images.device) for image, n in enumerate(counts)]
        )
        iou, index = (torch.cat(part) for part in zip(*fits, strict=True))
        probed = (*self._features_of(raw, owners, index), iou)
        probes = zip(*(torch.split(part, counts) for part in probed), strict=True)
        return (
            self._detections(raw, anchors, images, inference, nms=True),
            [Probes(*parts) for parts in probes],
        )

    def _detections(
        self,
        raw: Predictions,
        anchors: Float[Tensor, "s 4"],
        images: Float[Tensor, "b 3 h w"],
        inference: InferenceConfig,
        nms: bool,
    ) -> list[Detections]:
        height, width = images.shape[-2:]
        boxes, scores, indices = self._candidates(raw, anchors, (height, width), inference)
        best = best_of_batch(boxes, scores, inference, nms=nms)
        chosen = (best.images, best.places)
        features = self._features_of(raw, best.images, indices[chosen])
        parts = (boxes[chosen], scores[chosen], *features)
        by_image = zip(*(torch.split(part, best.counts) for part in parts), strict=True)
        return [Detections(*fields) for fields in by_image]

    def _candidates(
        self,
        raw: Predictions,
        anchors: Float[Tensor, "s 4"],
        size: tuple[int, int],
        inference: InferenceConfig,
    ) -> tuple[Float[Tensor, "b c 4"], Float[Tensor, "b c"], Int[Tensor, "b c"]]:
        """Boxes, scores and anchor indices of the best anchors; no shape depends on a value."""
        scores, indices = _best_anchors(self._scores(raw), inference.candidates_per_level)
        offsets = raw.offsets.gather(1, indices[..., None].expand(-1, -1, 4)).float()
        boxes = self._decoded(offsets, anchors[indices])
        return clip_boxes_to_image(boxes, size), scores, indices

    def _prepare(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Normalised and padded on the right and at the bottom to a multiple of the stride."""
        height, width = images.shape[-2:]
        normalised = (images - self.mean) / self.std
        return functional.pad(normalised, (0, -width % self.stride, 0, -height % self.stride))

    def _level_sizes(self, grids: list[tuple[int, int]]) -> list[int]:
        """Anchors of each level."""
        return [height * width * self.num_shapes for height, width in grids]

    def _anchors_of(self, prepared: Tensor, grids: list[tuple[int, int]]) -> Float[Tensor, "s 4"]:
        height, width = prepared.shape[-2:]
        key = (height, width, prepared.device)
        if key not in self._anchors:
            if len(self._anchors) >= _CACHED_SIZES:
                self._anchors.clear()
            strides = [[torch.tensor(height // h), torch.tensor(width // w)] for h, w in grids]
            levels = self.anchor_generator.grid_anchors([list(grid) for grid in grids], strides)
            self._anchors[key] = torch.cat(levels).to(prepared.device)
        return self._anchors[key]

    def _features_of(
        self, raw: Predictions, images: Int[Tensor, " n"], indices: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Feature, level and cell of the anchors with these indices, each of its image."""
        location = indices // self.num_shapes
        levels, cells = torch.zeros_like(location), location
        end = 0
        for height, width in raw.grids[:-1]:
            end += height * width
            beyond = location >= end
            levels, cells = levels + beyond, cells - beyond * (height * width)
        features = torch.zeros(len(indices), self.feature_dim, device=indices.device)
        for level, tower in enumerate(raw.towers):
            here = levels == level
            values = tower.flatten(2)[images, :, cells * here]
            features = torch.where(here[:, None], values.float(), features)
        return features, levels, cells


def _best_anchors(
    levels: list[Float[Tensor, "b _"]], count: int
) -> tuple[Float[Tensor, "b c"], Int[Tensor, "b c"]]:
    """Scores and anchor indices of the `count` best anchors of every level."""
    scores, indices, start = [], [], 0
    for level in levels:
        score, index = level.topk(min(count, level.shape[1]), dim=1)
        scores.append(score)
        indices.append(index + start)
        start += level.shape[1]
    return torch.cat(scores, 1), torch.cat(indices, 1)
