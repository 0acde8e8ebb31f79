"""Training features of a detector and the domain gap of virtual images (PTL eq. 1, 3, 4)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_area, box_iou

from ptl_sweep.config.schema import FeatureConfig, InferenceConfig
from ptl_sweep.datasets.ahead import Decoded, decoded_ahead
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detections, Detector
from ptl_sweep.detection.inference import detect_records, num_ahead
from ptl_sweep.detection.pixels import View, on_cpu, to_device
from ptl_sweep.distance.gaussian import Gaussian, squared_mahalanobis
from ptl_sweep.ptl.crops import Region, cut, square_region
from ptl_sweep.ptl.methods.base import GapMethod

MIN_IOU = 0.5  # of a detection that stands for a virtual person; PTL section 3
RECORDS_PER_CHUNK = 64  # virtual images whose crops share forward passes
PIXELS_PER_FORWARD = 32 * 256 * 256  # bounds the memory of one forward pass


class TrainingFeatures(NamedTuple):
    """D_c of PTL eq. 1: the detections on the training set that found a person."""

    features: Float[ndarray, "n d"]  # float32
    images: Int[ndarray, " n"]  # index of the record
    scores: Float[ndarray, " n"]


class _CutPersons(NamedTuple):
    """Persons of the pool, cut out."""

    images: Int[ndarray, " p"]  # index in the pool
    crops: list[UInt8[Tensor, "s s 3"]]  # on the device of the detector
    boxes: Float[ndarray, "p 4"]  # xyxy pixels of the crop, float32

    def part(self, first: int, last: int) -> "_CutPersons":
        """Some of them."""
        images, crops, boxes = self
        return _CutPersons(images[first:last], crops[first:last], boxes[first:last])


def collect_training_features(
    detector: Detector,
    records: Sequence[ImageRecord],
    config: FeatureConfig,
    inference: InferenceConfig,
    *,
    cache: ImageCache,
    view: View,
) -> TrainingFeatures:
    """Features of detections with a score >= min_score and IoU > min_iou with a ground truth.

    One per (image, level, cell), the highest score: the anchors of a cell share the feature.
    `config.detections` = pre_nms takes the detections before NMS.
    """
    found = detect_records(
        detector, records, inference, cache=cache, view=view, nms=config.detections == "nms"
    )
    features = [np.zeros((0, detector.feature_dim), dtype=np.float32)]
    scores = [np.zeros(0, dtype=np.float32)]
    for record, detections in zip(records, found, strict=True):
        kept = found_persons(detections, record.boxes, config)
        features.append(detections.features[kept].float().cpu().numpy())
        scores.append(detections.scores[kept].float().cpu().numpy())
    images = np.repeat(np.arange(len(records)), [len(kept) for kept in scores[1:]])
    return TrainingFeatures(np.concatenate(features), images, np.concatenate(scores))


def found_persons(
    detections: Detections, persons: Float[ndarray, "m 4"], config: FeatureConfig
) -> Int[Tensor, " k"]:
    """Indices of the detections of one image that belong to D_c (PTL eq. 1), by falling score."""
    if len(persons) == 0 or len(detections.boxes) == 0:
        return torch.zeros(0, dtype=torch.int64)
    truths = torch.tensor(persons).to(detections.boxes)
    iou = box_iou(detections.boxes, truths).amax(dim=1)
    good = ((iou > config.min_iou) & (detections.scores >= config.min_score)).nonzero()[:, 0]
    places = torch.stack([detections.levels[good], detections.cells[good]], dim=1).cpu().numpy()
    _, first = np.unique(places, axis=0, return_index=True)
    kept: Int[Tensor, " k"] = good[torch.from_numpy(np.sort(first))]
    return kept


@torch.no_grad()
def measure_domain_gap(
    detector: Detector,
    gaussian: Gaussian,
    pool_records: Sequence[ImageRecord],
    method: GapMethod,
    inference: InferenceConfig,
    *,
    cache: ImageCache,
) -> Float[ndarray, " p"]:
    """d(x) = min over scales of (f - mu)^T Sigma^-1 (f - mu), PTL eq. 3-4, per virtual image.

    f belongs to the highest-scoring detection with IoU > 0.5 with the person, in the square of
    `method.context` longer box sides resized to s x s; the detector's own resize and tiles are
    off. Without one at any scale the gap is infinite. The paper's images show one person; with
    several, the minimum over persons is our generalisation.
    """
    detector.eval()
    device = detector.mean.device
    gap = np.full(len(pool_records), np.inf)
    ahead = num_ahead(device, RECORDS_PER_CHUNK)
    with closing(decoded_ahead(pool_records, cache, lookahead=ahead)) as decoded:
        for first in range(0, len(pool_records), RECORDS_PER_CHUNK):
            chunk = enumerate(islice(decoded, RECORDS_PER_CHUNK), start=first)
            persons = _cut_persons(chunk, method.context, device)
            for side in method.scales:
                for block in _blocks(persons, side):
                    _update_min_gap(gap, detector, gaussian, block, side=side, inference=inference)
    return gap


def _cut_persons(
    decoded: Iterable[tuple[int, Decoded]], context: float, device: torch.device
) -> _CutPersons:
    """Every person of these images, sent to the device in one copy."""
    images: list[int] = []
    crops: list[UInt8[ndarray, "s s 3"]] = []
    boxes = [np.zeros((0, 4), dtype=np.float32)]
    for index, (record, pixels) in decoded:
        for box in record.boxes:
            region: Region = square_region(box, context, record.width, record.height)
            corner = np.array([region.left, region.top] * 2, dtype=np.float32)
            images.append(index)
            crops.append(cut(pixels, region))
            boxes.append(box.astype(np.float32)[None] - corner)
    nothing = np.zeros(0, dtype=np.uint8)
    flat = torch.from_numpy(np.concatenate([nothing, *(crop.reshape(-1) for crop in crops)]))
    parts = torch.split(to_device(flat, device), [crop.size for crop in crops]) if crops else ()
    on_device = [part.view(crop.shape) for part, crop in zip(parts, crops, strict=True)]
    return _CutPersons(np.array(images, dtype=np.int64), on_device, np.concatenate(boxes))


def _blocks(persons: _CutPersons, side: int) -> Iterator[_CutPersons]:
    size = max(1, PIXELS_PER_FORWARD // side**2)
    for first in range(0, len(persons.crops), size):
        yield persons.part(first, first + size)


def _update_min_gap(
    gap: Float[ndarray, " p"],
    detector: Detector,
    gaussian: Gaussian,
    persons: _CutPersons,
    *,
    side: int,
    inference: InferenceConfig,
) -> None:
    """Lower `gap` in place to the distances of these persons at one scale."""
    device = detector.mean.device
    factors = side / np.array([len(crop) for crop in persons.crops])
    truths = persons.boxes * factors.astype(np.float32)[:, None]
    detections = detector.detect(_resized(persons.crops, side), inference)
    best = _best_hits(detections, to_device(torch.from_numpy(truths), device))
    hit, features = (part.numpy() for part in on_cpu(best))
    if hit.any():
        distances = squared_mahalanobis(features[hit], gaussian)
        np.minimum.at(gap, persons.images[hit], distances)


def _best_hits(
    found: Sequence[Detections], truths: Float[Tensor, "p 4"]
) -> tuple[Bool[Tensor, " p"], Float[Tensor, "p d"]]:
    """Whether a detection of each image finds its person, and the feature of the best that does.

    Only the numbers of detections are known before the values: nothing waits for the device.
    """
    counts = np.array([len(one.scores) for one in found])
    num = int(counts.sum())
    features = torch.cat([one.features for one in found]).float()
    if num == 0:
        nobody = torch.zeros(len(found), dtype=torch.bool, device=truths.device)
        return nobody, features.new_zeros(len(found), features.shape[1])
    owners = to_device(torch.from_numpy(np.repeat(np.arange(len(found)), counts)), truths.device)
    overlaps = _iou_of_pairs(torch.cat([one.boxes for one in found]), truths[owners]) > MIN_IOU
    places = torch.where(overlaps, torch.arange(num, device=truths.device), num)
    first = torch.full((len(found),), num, device=truths.device)
    first = first.scatter_reduce(0, owners, places, "amin")
    return first < num, features[first.clamp(max=num - 1)]


def _iou_of_pairs(one: Float[Tensor, "n 4"], two: Float[Tensor, "n 4"]) -> Float[Tensor, " n"]:
    """IoU of the boxes in the same place, computed as torchvision's box_iou does."""
    low, high = torch.maximum(one, two), torch.minimum(one, two)
    shared = (high[:, 2] - low[:, 0]).clamp(min=0) * (high[:, 3] - low[:, 1]).clamp(min=0)
    iou: Tensor = shared / (box_area(one) + box_area(two) - shared)
    return iou


def _resized(crops: Sequence[UInt8[Tensor, "_ _ 3"]], side: int) -> Float[Tensor, "p 3 t t"]:
    """RGB in [0, 1], bilinear with antialiasing; crops of one size in one operation."""
    by_size: dict[int, list[int]] = {}
    for place, crop in enumerate(crops):
        by_size.setdefault(len(crop), []).append(place)
    order = np.argsort([place for places in by_size.values() for place in places])
    resized = []
    for places in by_size.values():
        pixels = torch.stack([crops[place] for place in places]).permute(0, 3, 1, 2).contiguous()
        resized.append(
            functional.interpolate(
                pixels.float() / 255, (side, side), mode="bilinear", antialias=True
            )
        )
    return torch.cat(resized)[to_device(torch.from_numpy(order), crops[0].device)]
