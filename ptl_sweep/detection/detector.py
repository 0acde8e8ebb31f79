"""What every detector can do: losses for training, detections that carry a feature each."""

import math
from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchvision.ops import nms as non_maximum_suppression

from ptl_sweep.config.schema import DetectorConfig, InferenceConfig
from ptl_sweep.detection.architectures import architecture_of

_CANDIDATES_PER_NMS = 2**15  # of several images at once; their comparisons take 128 MB


class Losses(NamedTuple):
    """Two parts of equal weight, per positive anchor or location.

    RetinaNet: the mean over the images, each divided by its positive anchors. FCOS: the sum over
    the batch, divided by its positive locations; the loss of centerness is in box_regression.
    """

    classification: Float[Tensor, ""]
    box_regression: Float[Tensor, ""]


class Detections(NamedTuple):
    """Detections of one image by falling score, on the device of the detector, float32."""

    boxes: Float[Tensor, "n 4"]  # xyxy pixels
    scores: Float[Tensor, " n"]
    features: Float[Tensor, "n d"]  # output of the classification tower at level and cell
    levels: Int[Tensor, " n"]  # 0: finest
    cells: Int[Tensor, " n"]  # y * width + x within the level's grid


class Probes(NamedTuple):
    """What the detector computes where given boxes of one image should be found."""

    features: Float[Tensor, "m d"]  # at the level and cell of the anchor with the best IoU, or, of
    # FCOS, of the location that learns the box when it is alone
    levels: Int[Tensor, " m"]
    cells: Int[Tensor, " m"]
    iou: Float[Tensor, " m"]  # of that anchor; of FCOS, of the box moved to be centred there


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
    order = scores.argsort(descending=True, stable=True)
    if not nms:
        return order
    limit = inference.max_detections
    return order[_first_kept(boxes[order], scores[order], inference.nms_threshold, limit)]


def _first_kept(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, " n"], threshold: float, limit: int
) -> Int[Tensor, " k"]:
    """The first `limit` indices of NMS, given by falling score.

    A box falls only to a better one that is kept: the first depend on no box after them.
    """
    kept = torch.arange(0, device=scores.device)
    first, last = 0, limit + limit // 2
    while first < len(scores) and len(kept) < limit:
        tried = torch.cat([kept, torch.arange(first, min(last, len(scores)), device=kept.device)])
        kept = tried[non_maximum_suppression(boxes[tried], scores[tried], threshold)]
        # So many that the limit is reached if as large a part of them is kept.
        first, last = last, math.ceil(last * max(1.5, 1.1 * limit / len(kept)))
    return kept[:limit]


class Best(NamedTuple):
    """Which candidates of a batch are left, image after image, each by falling score."""

    images: Int[Tensor, " k"]
    places: Int[Tensor, " k"]  # among the candidates of the image
    counts: list[int]  # of each image; the sum is k


def best_of_batch(
    boxes: Float[Tensor, "b c 4"],
    scores: Float[Tensor, "b c"],
    inference: InferenceConfig,
    *,
    nms: bool,
) -> Best:
    """`best_boxes` of the candidates above the score threshold of each image of a batch.

    No box may have a negative coordinate. On CUDA all images are treated together: the host waits
    three times for a batch, and once more for every _CANDIDATES_PER_NMS candidates.
    """
    together = scores.device.type == "cuda"
    return (_best_together if together else _best_each)(boxes, scores, inference, nms=nms)


def _best_each(
    boxes: Float[Tensor, "b c 4"],
    scores: Float[Tensor, "b c"],
    inference: InferenceConfig,
    *,
    nms: bool,
) -> Best:
    places = []
    for box, score in zip(boxes, scores, strict=True):
        above = (score > inference.score_threshold).nonzero()[:, 0]
        places.append(above[best_boxes(box[above], score[above], inference, nms=nms)])
    counts = [len(place) for place in places]
    images = torch.cat([torch.full_like(place, image) for image, place in enumerate(places)])
    return Best(images, torch.cat(places), counts)


def _best_together(
    boxes: Float[Tensor, "b c 4"],
    scores: Float[Tensor, "b c"],
    inference: InferenceConfig,
    *,
    nms: bool,
) -> Best:
    """The host waits for the numbers above the threshold, for each NMS, and for what it left."""
    above = scores > inference.score_threshold
    counts: list[int] = above.sum(1).tolist()
    images, places = _true_places(above, sum(counts))
    score = scores[images, places].double()
    if nms:
        apart = _side_by_side(boxes[images, places], images)
        left = _nms_of_groups(apart, score, _groups(counts), inference.nms_threshold)
    else:
        left = score.argsort(descending=True, stable=True)
    left = left[images[left].argsort(stable=True)]
    if nms:
        first, counts = _first_of_each(images[left], len(scores), inference.max_detections)
        left = left[first]
    return Best(images[left], places[left], counts)


def _nms_of_groups(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, " n"], sizes: list[int], threshold: float
) -> Int[Tensor, " k"]:
    """Indices that NMS leaves of each group of neighbours, group after group."""
    parts = torch.split(torch.arange(len(scores), device=scores.device), sizes)
    return torch.cat(
        [part[non_maximum_suppression(boxes[part], scores[part], threshold)] for part in parts]
    )


def _side_by_side(boxes: Float[Tensor, "n 4"], images: Int[Tensor, " n"]) -> Float[Tensor, "n 4"]:
    """The boxes, shifted so that those of two images never overlap; double: no box is rounded."""
    apart = boxes.double()
    apart[:, ::2] += images[:, None] * (torch.cat([apart[:, 2], apart.new_zeros(1)]).amax() + 1)
    return apart


def _first_of_each(
    images: Int[Tensor, " n"], num_images: int, limit: int
) -> tuple[Int[Tensor, " k"], list[int]]:
    """Places of the first `limit` of each image, given in order, and how many these are."""
    found = torch.zeros(num_images, dtype=torch.int64, device=images.device)
    found.scatter_add_(0, images, torch.ones_like(images))
    rank = torch.arange(len(images), device=images.device) - (found.cumsum(0) - found)[images]
    counts: list[int] = found.clamp(max=limit).tolist()
    return _true_places((rank < limit)[None], sum(counts))[1], counts


def _true_places(mask: Bool[Tensor, "b c"], total: int) -> tuple[Int[Tensor, " t"], ...]:
    """Row and column of each true element, in order; their number is known: nothing waits."""
    flat = mask.flatten().to(torch.uint8).argsort(descending=True, stable=True)[:total]
    return flat // mask.shape[1], flat % mask.shape[1]


def _groups(counts: list[int]) -> list[int]:
    """Candidates of neighbouring images that share an NMS, whose cost grows with their square."""
    sizes = [0]
    for count in counts:
        if sizes[-1] and sizes[-1] + count > _CANDIDATES_PER_NMS:
            sizes.append(0)
        sizes[-1] += count
    return sizes


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
