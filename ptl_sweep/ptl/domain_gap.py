"""Training features of a detector and the domain gap of virtual images (PTL eq. 1, 3, 4)."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional
from torchvision.ops import box_iou

from ptl_sweep.config.schema import FeatureConfig, InferenceConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detections, Detector
from ptl_sweep.detection.inference import detect_records
from ptl_sweep.detection.pixels import View
from ptl_sweep.distance.gaussian import Gaussian, squared_mahalanobis
from ptl_sweep.ptl.crops import Region, cut, square_region
from ptl_sweep.ptl.methods.ptl import Ptl

MIN_IOU = 0.5  # of a detection that stands for a virtual person; PTL section 3
RECORDS_PER_CHUNK = 64  # virtual images whose crops share forward passes
PIXELS_PER_FORWARD = 32 * 256 * 256  # bounds the memory of one forward pass


class TrainingFeatures(NamedTuple):
    """D_c of PTL eq. 1: the detections on the training set that found a person."""

    features: Float[ndarray, "n d"]  # float32
    images: Int[ndarray, " n"]  # index of the record
    scores: Float[ndarray, " n"]


class _CutPerson(NamedTuple):
    """One person of the pool, cut out."""

    image: int  # index in the pool
    crop: UInt8[ndarray, "s s 3"]
    box: Float[ndarray, "4"]  # xyxy pixels of the crop


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
        kept = _found_persons(detections, record, config)
        features.append(detections.features[kept].float().cpu().numpy())
        scores.append(detections.scores[kept].float().cpu().numpy())
    images = np.repeat(np.arange(len(records)), [len(kept) for kept in scores[1:]])
    return TrainingFeatures(np.concatenate(features), images, np.concatenate(scores))


@torch.no_grad()
def measure_domain_gap(
    detector: Detector,
    gaussian: Gaussian,
    pool_records: Sequence[ImageRecord],
    method: Ptl,
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
    gap = np.full(len(pool_records), np.inf)
    for first in range(0, len(pool_records), RECORDS_PER_CHUNK):
        chunk = pool_records[first : first + RECORDS_PER_CHUNK]
        persons = [
            person
            for index, record in enumerate(chunk, start=first)
            for person in _cut_persons(index, record, method.context, cache)
        ]
        for side in method.scales:
            for batch in _batches(persons, side):
                _update_min_gap(gap, detector, gaussian, batch, side=side, inference=inference)
    return gap


def _found_persons(
    detections: Detections, record: ImageRecord, config: FeatureConfig
) -> Int[Tensor, " k"]:
    """Indices of the detections of one image that belong to D_c, by falling score."""
    if len(record.boxes) == 0 or len(detections.boxes) == 0:
        return torch.zeros(0, dtype=torch.int64)
    truths = torch.tensor(record.boxes).to(detections.boxes)
    iou = box_iou(detections.boxes, truths).amax(dim=1)
    good = ((iou > config.min_iou) & (detections.scores >= config.min_score)).nonzero()[:, 0]
    places = torch.stack([detections.levels[good], detections.cells[good]], dim=1).cpu().numpy()
    _, first = np.unique(places, axis=0, return_index=True)
    kept: Int[Tensor, " k"] = good[torch.from_numpy(np.sort(first))]
    return kept


def _cut_persons(
    index: int, record: ImageRecord, context: float, cache: ImageCache
) -> Iterator[_CutPerson]:
    image = cache.read(record)
    for box in record.boxes:
        region: Region = square_region(box, context, record.width, record.height)
        corner = np.array([region.left, region.top] * 2, dtype=np.float32)
        yield _CutPerson(index, cut(image, region), box.astype(np.float32) - corner)


def _batches(persons: Sequence[_CutPerson], side: int) -> Iterator[Sequence[_CutPerson]]:
    size = max(1, PIXELS_PER_FORWARD // side**2)
    for first in range(0, len(persons), size):
        yield persons[first : first + size]


def _update_min_gap(
    gap: Float[ndarray, " p"],
    detector: Detector,
    gaussian: Gaussian,
    persons: Sequence[_CutPerson],
    *,
    side: int,
    inference: InferenceConfig,
) -> None:
    """Lower `gap` in place to the distances of these persons at one scale."""
    device = detector.mean.device
    images = torch.cat([_resized(person.crop, side, device) for person in persons])
    owners: list[int] = []
    features: list[Tensor] = []
    for person, detections in zip(persons, detector.detect(images, inference), strict=True):
        truth = torch.from_numpy(person.box * (side / len(person.crop))).to(detections.boxes)
        hits = (box_iou(detections.boxes, truth[None])[:, 0] > MIN_IOU).nonzero()
        if len(hits):
            owners.append(person.image)
            features.append(detections.features[hits[0, 0]])
    if owners:
        stacked = torch.stack(features).float().cpu().numpy()
        np.minimum.at(gap, owners, squared_mahalanobis(stacked, gaussian))


def _resized(
    crop: UInt8[ndarray, "s s 3"], side: int, device: torch.device
) -> Float[Tensor, "1 3 t t"]:
    """RGB in [0, 1], bilinear with antialiasing."""
    pixels = torch.from_numpy(crop).to(device).permute(2, 0, 1)[None]
    return functional.interpolate(
        pixels.float() / 255, (side, side), mode="bilinear", antialias=True
    )
