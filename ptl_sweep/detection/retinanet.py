"""RetinaNet of torchvision for one class, whose detections carry their penultimate feature.

Stock RetinaNet (Lin et al. 2017) returns boxes and scores alone; PTL section 3 needs the input of
the last classification convolution at the level and cell of every detection.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.ops import FrozenBatchNorm2d, clip_boxes_to_image
from torchvision.ops import nms as non_maximum_suppression

from ptl_sweep.config.schema import ConfigError, DetectorConfig, InferenceConfig
from ptl_sweep.detection.backbones import TinyBackbone, group_norm, resnet50_fpn
from ptl_sweep.detection.loss import Losses, best_anchors, retinanet_losses

__all__ = ["Detections", "Detector", "Losses", "Probes", "build_detector"]

_CACHED_SIZES = 16  # image sizes whose anchors are kept
_NUM_TINY_CONVS = 2  # convolutions per head of retinanet_tiny; torchvision's head has 4


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


class Predictions(NamedTuple):
    """What the heads say before any threshold; anchors run over levels, then y, x, shape."""

    logits: Float[Tensor, "b s"]
    offsets: Float[Tensor, "b s 4"]
    towers: list[Float[Tensor, "b d _ _"]]
    grids: list[tuple[int, int]]  # height and width of each level, cells


class Detector(nn.Module):
    """One-class RetinaNet: losses for training, detections with features for everything else."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: nn.Module,
        head: RetinaNetHead,
        anchor_generator: AnchorGenerator,
        *,
        stride: int,
        normalisation: tuple[list[float], list[float]],
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.anchor_generator = anchor_generator
        self.stride = stride
        self.feature_dim = int(head.classification_head.cls_logits.in_channels)
        self.num_shapes = int(head.classification_head.num_anchors)
        for name, values in zip(("mean", "std"), normalisation, strict=True):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self._anchors: dict[tuple[int, int, torch.device], Tensor] = {}

    def losses(
        self,
        images: Float[Tensor, "b 3 h w"],
        boxes: list[Float[Tensor, "_ 4"]],
        ignored: list[Float[Tensor, "_ 4"]],
    ) -> Losses:
        """Losses of a batch of RGB images in [0, 1]; boxes and ignored regions in its pixels.

        Computed in float32 also under autocast. Boxes must have a positive width and height.
        """
        prepared = self._prepare(images)
        raw = self._predict(prepared)
        with torch.autocast(images.device.type, enabled=False):
            anchors = self._anchors_of(prepared, raw.grids)
            return retinanet_losses(
                raw.logits.float(), raw.offsets.float(), anchors, boxes, ignored
            )

    @torch.no_grad()
    def detect(
        self, images: Float[Tensor, "b 3 h w"], inference: InferenceConfig, *, nms: bool = True
    ) -> list[Detections]:
        """Detections of each RGB image in [0, 1]; boxes are clipped to it.

        With nms=False every candidate above the score threshold is returned, at most
        candidates_per_level of each level, and max_detections does not apply.
        """
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
        """`detect`, and what the same pass computes at given boxes, in pixels of the images."""
        prepared = self._prepare(images)
        raw = self._predict(prepared)
        anchors = self._anchors_of(prepared, raw.grids)
        probes = []
        for image, wanted in enumerate(boxes):
            iou, index = best_anchors(anchors, wanted)
            probes.append(Probes(*self._features_of(raw, image, index), iou))
        return self._detections(raw, anchors, images, inference, nms=True), probes

    def _detections(
        self,
        raw: Predictions,
        anchors: Float[Tensor, "s 4"],
        images: Float[Tensor, "b 3 h w"],
        inference: InferenceConfig,
        nms: bool,
    ) -> list[Detections]:
        scores, indices = _best_anchors(
            raw.logits.float(),
            [height * width * self.num_shapes for height, width in raw.grids],
            inference.candidates_per_level,
        )
        decode = self.head.regression_head.box_coder.decode_single
        found = []
        for image in range(len(images)):
            above = scores[image] > inference.score_threshold
            score, index = scores[image, above], indices[image, above]
            boxes = decode(raw.offsets[image, index].float(), anchors[index])
            boxes = clip_boxes_to_image(boxes, (images.shape[2], images.shape[3]))
            kept = best_boxes(boxes, score, inference, nms=nms)
            features, levels, cells = self._features_of(raw, image, index[kept])
            found.append(Detections(boxes[kept], score[kept], features, levels, cells))
        return found

    def _prepare(self, images: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h2 w2"]:
        """Normalised and padded on the right and at the bottom to a multiple of the stride."""
        height, width = images.shape[-2:]
        normalised = (images - self.mean) / self.std
        return functional.pad(normalised, (0, -width % self.stride, 0, -height % self.stride))

    def _predict(self, prepared: Float[Tensor, "b 3 h w"]) -> Predictions:
        classifier, regressor = self.head.classification_head, self.head.regression_head
        logits, offsets, towers, grids = [], [], [], []
        for level in self.backbone(prepared).values():
            tower = classifier.conv(level)
            logits.append(classifier.cls_logits(tower).permute(0, 2, 3, 1).flatten(1))
            offset = regressor.bbox_reg(regressor.conv(level)).permute(0, 2, 3, 1)
            offsets.append(offset.reshape(len(prepared), -1, 4))
            towers.append(tower)
            grids.append((level.shape[2], level.shape[3]))
        return Predictions(torch.cat(logits, 1), torch.cat(offsets, 1), towers, grids)

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
        self, raw: Predictions, image: int, indices: Int[Tensor, " n"]
    ) -> tuple[Float[Tensor, "n d"], Int[Tensor, " n"], Int[Tensor, " n"]]:
        """Feature, level and cell of the anchors with these indices."""
        sizes = torch.tensor([h * w for h, w in raw.grids], device=indices.device)
        ends = sizes.cumsum(0)
        location = indices // self.num_shapes
        levels = torch.bucketize(location, ends, right=True)
        cells = location - (ends - sizes)[levels]
        features = torch.empty(len(indices), self.feature_dim, device=indices.device)
        for level, tower in enumerate(raw.towers):
            here = levels == level
            features[here] = tower[image].flatten(1)[:, cells[here]].t().float()
        return features, levels, cells


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


def _best_anchors(
    logits: Float[Tensor, "b s"], level_sizes: list[int], count: int
) -> tuple[Float[Tensor, "b c"], Int[Tensor, "b c"]]:
    """Scores and anchor indices of the `count` best anchors of every level."""
    scores, indices, start = [], [], 0
    for level in torch.split(logits, level_sizes, 1):
        score, index = level.sigmoid().topk(min(count, level.shape[1]), dim=1)
        scores.append(score)
        indices.append(index + start)
        start += level.shape[1]
    return torch.cat(scores, 1), torch.cat(indices, 1)


def build_detector(config: DetectorConfig, generator: torch.Generator) -> Detector:
    """A detector on the CPU with random weights that depend on the generator alone.

    `pretrained.load_weights` then replaces what `config.weights` names.
    Raises: ConfigError for anchors or channels that the architecture or its weights cannot have.
    """
    _check_shape(config)
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed CUDA as well
        detector = _tiny(config) if config.architecture == "retinanet_tiny" else _r50(config)
    return detector.eval()


def _check_shape(config: DetectorConfig) -> None:
    num_levels = 2 if config.architecture == "retinanet_tiny" else 5
    if len(config.anchor_sizes) != num_levels:
        raise ConfigError(
            f"detector.anchor_sizes needs one list for each of the {num_levels} levels of "
            f"{config.architecture}, got {len(config.anchor_sizes)}"
        )
    num_shapes = len(config.anchor_sizes[0]) * len(config.aspect_ratios)
    if config.weights == "coco" and (num_shapes != 9 or config.channels != 256):
        raise ConfigError(
            "detector.weights=coco needs 9 anchors per cell (anchor sizes x aspect ratios) and "
            f"detector.channels=256, got {num_shapes} and {config.channels}"
        )


def _anchor_generator(config: DetectorConfig) -> AnchorGenerator:
    ratios = (tuple(config.aspect_ratios),) * len(config.anchor_sizes)
    return AnchorGenerator(tuple(tuple(sizes) for sizes in config.anchor_sizes), ratios)


def _tiny(config: DetectorConfig) -> Detector:
    anchors = _anchor_generator(config)
    num_shapes = anchors.num_anchors_per_location()[0]
    head = RetinaNetHead(config.channels, num_shapes, num_classes=1, norm_layer=group_norm)
    for branch in (head.classification_head, head.regression_head):
        branch.conv = branch.conv[:_NUM_TINY_CONVS]
    return Detector(
        TinyBackbone(config.channels),
        head,
        anchors,
        stride=16,
        normalisation=([0.45, 0.44, 0.42], [0.2, 0.2, 0.2]),
    )


def _r50(config: DetectorConfig) -> Detector:
    anchors = _anchor_generator(config)
    backbone = resnet50_fpn(config.channels, pretrained=config.weights != "none")
    if config.weights == "coco":  # these weights were converted with the epsilon folded in
        for module in backbone.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.eps = 0.0
    return Detector(
        backbone,
        RetinaNetHead(config.channels, anchors.num_anchors_per_location()[0], num_classes=1),
        anchors,
        stride=32,
        normalisation=([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    )
