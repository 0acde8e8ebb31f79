"""Detections and ground truths of one evaluate stage, with the feature of each, and their files."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from pyarrow import parquet

from ptl_sweep.detection.matching import IOU_THRESHOLDS

ARTIFACTS = (
    "detections.parquet", "features.npy", "truths.parquet", "truth_features.npy", "images.parquet",
)  # fmt: skip
logger = logging.getLogger(__name__)

FEATURE_MIN_SCORE = 0.01  # detections below keep no feature


class EvaluatedImage(NamedTuple):
    """One image of the evaluated split."""

    image_id: str
    scene: str  # the unit of the block bootstrap
    width: int
    height: int
    num_truths: int  # persons; ignored regions are not counted
    num_detections: int
    capped: bool  # the detector reached its largest number of detections


class ImageDetections(NamedTuple):
    """Detections of one image by falling score, matched at ten IoU thresholds, and its persons."""

    boxes: Float[ndarray, "n 4"]  # xyxy pixels of the stored image
    scores: Float[ndarray, " n"]
    features: Float[ndarray, "n d"]
    levels: Int[ndarray, " n"]
    cells: Int[ndarray, " n"]
    truth: Int[ndarray, "t n"]  # matched ground truth per IoU threshold, or -1
    iou: Float[ndarray, " n"]  # best IoU with any ground truth
    ignored: Bool[ndarray, " n"]  # at least half of the box lies in ignored regions
    truths: Float[ndarray, "m 4"]  # persons, xyxy pixels of the stored image
    truth_places: Int[ndarray, "m 2"]  # level and cell as `Probes` has them
    truth_anchor_iou: Float[ndarray, " m"]  # of that anchor, or of FCOS's location
    truth_features: Float[ndarray, "m d"]  # of that cell


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthTable:
    """All persons of a target, image after image, with the feature where they should be found."""

    image: Int[ndarray, " m"]  # index into `images` of the detections
    boxes: Float[ndarray, "m 4"]  # xyxy pixels of the stored image
    level: Int[ndarray, " m"]  # of the anchor with the best IoU, or of FCOS's location
    cell: Int[ndarray, " m"]
    anchor_iou: Float[ndarray, " m"]
    features: Float[ndarray, "_ d"]  # float16, at that level and cell; one for each person

    def __post_init__(self) -> None:
        """Features and persons must belong together."""
        if len(self.features) != len(self.image):
            raise ValueError(
                f"{len(self.features)} features for {len(self.image)} ground truths: the stage is "
                "damaged, delete it and run again"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionTable:
    """All detections of one detector on one target, image after image, by falling score within."""

    image: Int[ndarray, " n"]  # index into `images`
    box_index: Int[ndarray, " n"]  # position within its image
    boxes: Float[ndarray, "n 4"]  # xyxy pixels of the stored image
    score: Float[ndarray, " n"]
    level: Int[ndarray, " n"]
    cell: Int[ndarray, " n"]
    matched_truth: Int[ndarray, " n"]  # ground truth of the image at IoU 0.5, or -1
    iou: Float[ndarray, " n"]  # best IoU with any ground truth
    true_positive: Bool[ndarray, " n"]  # at IoU 0.5
    hit_bits: Int[ndarray, " n"]  # bit k: true positive at IoU 0.5 + 0.05 k
    ignored: Bool[ndarray, " n"]
    features: Float[ndarray, "n_f d"]  # float16, rows with score >= 0.01 in table order
    truths: TruthTable
    images: tuple[EvaluatedImage, ...]

    def __post_init__(self) -> None:
        """Features and detections must belong together."""
        if len(self.features) != len(self.featured):
            raise ValueError(
                f"{len(self.features)} features for {len(self.featured)} detections with score >= "
                f"{FEATURE_MIN_SCORE}: the stage is damaged, delete it and run again"
            )

    @property
    def num_images(self) -> int:
        """Images of the split, with and without detections."""
        return len(self.images)

    @property
    def num_truths(self) -> int:
        """Ground truths of the split: the denominator of recall."""
        return sum(image.num_truths for image in self.images)

    @property
    def featured(self) -> Int[ndarray, " n_f"]:
        """Row of the table that each feature belongs to."""
        return np.flatnonzero(self.score >= FEATURE_MIN_SCORE)

    @property
    def counted(self) -> Bool[ndarray, " n"]:
        """Hits and misses; a detection in an ignored region that hits nobody is neither."""
        counted: Bool[ndarray, " n"] = self.true_positive | ~self.ignored
        return counted

    def hits_at(self, threshold: int) -> Bool[ndarray, " n"]:
        """True positives at IOU_THRESHOLDS[threshold]."""
        hits: Bool[ndarray, " n"] = (self.hit_bits >> threshold & 1).astype(bool)
        return hits

    @property
    def truth_row(self) -> Int[ndarray, " n"]:
        """Row of `truths` that each detection matches at IoU 0.5, or -1."""
        first = np.searchsorted(self.truths.image, self.image)
        return np.where(self.true_positive, first + self.matched_truth, -1)

    @property
    def missed(self) -> Bool[ndarray, " m"]:
        """Ground truths that no detection matches at IoU 0.5, whatever its score."""
        missed = np.ones(len(self.truths.image), dtype=bool)
        missed[self.truth_row[self.true_positive]] = False
        return missed


def stack_detections(
    per_image: Sequence[ImageDetections], images: Sequence[EvaluatedImage]
) -> DetectionTable:
    """One table of the detections of all images (at least one image, in the order of `images`)."""
    if len(per_image) != len(images) or not images:
        raise ValueError(f"{len(per_image)} sets of detections for {len(images)} images")
    counts = [len(one.scores) for one in per_image]
    joined = _joined(per_image)
    scores = joined.scores.astype(np.float32)
    return DetectionTable(
        image=np.repeat(np.arange(len(images), dtype=np.int32), counts),
        box_index=np.concatenate([np.arange(count, dtype=np.int32) for count in counts]),
        boxes=joined.boxes.astype(np.float32),
        score=scores,
        level=joined.levels.astype(np.int32),
        cell=joined.cells.astype(np.int32),
        matched_truth=joined.truth[0].astype(np.int32),
        iou=joined.iou.astype(np.float32),
        true_positive=joined.truth[0] >= 0,
        hit_bits=_as_bits(joined.truth >= 0),
        ignored=joined.ignored,
        features=half_precision(joined.features[scores >= FEATURE_MIN_SCORE]),
        truths=TruthTable(
            image=np.repeat(
                np.arange(len(images), dtype=np.int32), [len(one.truths) for one in per_image]
            ),
            boxes=joined.truths.astype(np.float32),
            level=joined.truth_places[:, 0].astype(np.int32),
            cell=joined.truth_places[:, 1].astype(np.int32),
            anchor_iou=joined.truth_anchor_iou.astype(np.float32),
            features=half_precision(joined.truth_features),
        ),
        images=tuple(images),
    )


def _joined(per_image: Sequence[ImageDetections]) -> ImageDetections:
    columns = zip(ImageDetections._fields, zip(*per_image, strict=True), strict=True)
    return ImageDetections(
        **{name: np.concatenate(parts, axis=int(name == "truth")) for name, parts in columns}
    )


def _as_bits(hits: Bool[ndarray, "t n"]) -> Int[ndarray, " n"]:
    bits = np.zeros(hits.shape[1], dtype=np.int16)
    for threshold in range(min(len(hits), len(IOU_THRESHOLDS))):
        bits |= hits[threshold].astype(np.int16) << threshold
    return bits


def half_precision(features: Float[ndarray, "n d"]) -> Float[ndarray, "n d"]:
    """Round to float16 without infinities: half the disk, about three decimal digits."""
    largest = float(np.finfo(np.float16).max)
    num_clipped = int(np.count_nonzero(np.abs(features) > largest))
    if num_clipped:
        logger.warning("%d feature values beyond %g clipped to float16", num_clipped, largest)
    half: Float[ndarray, "n d"] = np.clip(features, -largest, largest).astype(np.float16)
    return half


_COLUMNS = {
    "image": "image",
    "box_index": "box_index",
    "score": "score",
    "level": "level",
    "cell": "cell",
    "truth": "matched_truth",
    "iou": "iou",
    "true_positive": "true_positive",
    "hit_bits": "hit_bits",
    "ignored": "ignored",
}
_TRUTH_COLUMNS = ("image", "level", "cell", "anchor_iou")
_CORNERS = ("x1", "y1", "x2", "y2")
_IMAGE_SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("scene", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("num_truths", pa.int32()),
        ("num_detections", pa.int32()),
        ("capped", pa.bool_()),
    ]
)


def save_detections(stage_dir: Path, table: DetectionTable) -> None:
    """Write detections.parquet, truths.parquet, images.parquet and the features of both as .npy."""
    columns: dict[str, Any] = {name: getattr(table, of) for name, of in _COLUMNS.items()}
    columns |= {name: table.boxes[:, index] for index, name in enumerate(_CORNERS)}
    names = ["image", *_CORNERS, *(name for name in _COLUMNS if name != "image")]
    parquet.write_table(
        pa.table({name: columns[name] for name in names}), stage_dir / "detections.parquet"
    )
    np.save(stage_dir / "features.npy", table.features)
    persons: dict[str, Any] = {name: getattr(table.truths, name) for name in _TRUTH_COLUMNS}
    persons |= {name: table.truths.boxes[:, index] for index, name in enumerate(_CORNERS)}
    parquet.write_table(pa.table(persons), stage_dir / "truths.parquet")
    np.save(stage_dir / "truth_features.npy", table.truths.features)
    rows = [image._asdict() for image in table.images]
    parquet.write_table(
        pa.Table.from_pylist(rows, schema=_IMAGE_SCHEMA), stage_dir / "images.parquet"
    )


def load_detections(stage_dir: Path) -> DetectionTable:
    """The table that `save_detections` wrote; features stay on disk until they are used.

    Raises: ValueError when features and detections do not belong together.
    """
    stored = parquet.read_table(stage_dir / "detections.parquet")
    arrays = {of: stored[name].to_numpy() for name, of in _COLUMNS.items()}
    persons = parquet.read_table(stage_dir / "truths.parquet")
    rows = parquet.read_table(stage_dir / "images.parquet").to_pylist()
    return DetectionTable(
        **arrays,
        boxes=_boxes(stored),
        features=np.load(stage_dir / "features.npy", mmap_mode="r"),
        truths=TruthTable(
            **{name: persons[name].to_numpy() for name in _TRUTH_COLUMNS},
            boxes=_boxes(persons),
            features=np.load(stage_dir / "truth_features.npy", mmap_mode="r"),
        ),
        images=tuple(EvaluatedImage(**row) for row in rows),
    )


def _boxes(table: pa.Table) -> Float[ndarray, "n 4"]:
    return np.stack([table[name].to_numpy() for name in _CORNERS], axis=1)
