"""Detections of one evaluate stage on disk, and their train2test distances (seed, train2test).

The train2test distance of a test detection x is d(x) = (f(x) - mu)^T Sigma^-1 (f(x) - mu), squared,
with mu and Sigma of the training set of the same detector.
"""

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
from scipy import stats

from ptl_sweep.ptl.gaussian import Gaussian, GaussianRefusal, squared_mahalanobis

logger = logging.getLogger(__name__)

FEATURE_MIN_SCORE = 0.01  # detections below keep no feature
DISTANCE_EDGES: Float[ndarray, " e"] = np.geomspace(
    1.0, 1e6, 97
)  # histogram bins of d, 16 a decade


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
    """Detections of one image by falling score, matched at IoU 0.5."""

    boxes: Float[ndarray, "n 4"]  # xyxy pixels of the stored image
    scores: Float[ndarray, " n"]
    features: Float[ndarray, "n d"]
    levels: Int[ndarray, " n"]
    cells: Int[ndarray, " n"]
    truth: Int[ndarray, " n"]  # matched ground truth of the image, or -1
    iou: Float[ndarray, " n"]  # best IoU with any ground truth
    ignored: Bool[ndarray, " n"]  # at least half of the box lies in ignored regions


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionTable:
    """All detections of one detector on one target, image after image, by falling score within."""

    image: Int[ndarray, " n"]  # index into `images`
    box_index: Int[ndarray, " n"]  # position within its image
    boxes: Float[ndarray, "n 4"]  # xyxy pixels of the stored image
    score: Float[ndarray, " n"]
    level: Int[ndarray, " n"]
    cell: Int[ndarray, " n"]
    matched_truth: Int[ndarray, " n"]  # ground truth of the image, or -1
    iou: Float[ndarray, " n"]  # best IoU with any ground truth
    true_positive: Bool[ndarray, " n"]  # at IoU 0.5
    ignored: Bool[ndarray, " n"]
    features: Float[ndarray, "n_f d"]  # float16, rows with score >= 0.01 in table order
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


def stack_detections(
    per_image: Sequence[ImageDetections], images: Sequence[EvaluatedImage]
) -> DetectionTable:
    """One table of the detections of all images (at least one image, in the order of `images`)."""
    if len(per_image) != len(images) or not images:
        raise ValueError(f"{len(per_image)} sets of detections for {len(images)} images")
    counts = [len(one.scores) for one in per_image]
    joined = ImageDetections(*(np.concatenate(column) for column in zip(*per_image, strict=True)))
    scores = joined.scores.astype(np.float32)
    return DetectionTable(
        image=np.repeat(np.arange(len(images), dtype=np.int32), counts),
        box_index=np.concatenate([np.arange(count, dtype=np.int32) for count in counts]),
        boxes=joined.boxes.astype(np.float32),
        score=scores,
        level=joined.levels.astype(np.int32),
        cell=joined.cells.astype(np.int32),
        matched_truth=joined.truth.astype(np.int32),
        iou=joined.iou.astype(np.float32),
        true_positive=joined.truth >= 0,
        ignored=joined.ignored,
        features=_half_precision(joined.features[scores >= FEATURE_MIN_SCORE]),
        images=tuple(images),
    )


def _half_precision(features: Float[ndarray, "n d"]) -> Float[ndarray, "n d"]:
    """float16 without infinities: half the disk, about three decimal digits."""
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
    "ignored": "ignored",
}
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
    """Write detections.parquet, features.npy (float16) and images.parquet into `stage_dir`."""
    columns: dict[str, Any] = {name: getattr(table, of) for name, of in _COLUMNS.items()}
    columns |= {name: table.boxes[:, index] for index, name in enumerate(_CORNERS)}
    names = ["image", *_CORNERS, *(name for name in _COLUMNS if name != "image")]
    parquet.write_table(
        pa.table({name: columns[name] for name in names}), stage_dir / "detections.parquet"
    )
    np.save(stage_dir / "features.npy", table.features)
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
    rows = parquet.read_table(stage_dir / "images.parquet").to_pylist()
    return DetectionTable(
        **arrays,
        boxes=np.stack([stored[name].to_numpy() for name in _CORNERS], axis=1),
        features=np.load(stage_dir / "features.npy", mmap_mode="r"),
        images=tuple(EvaluatedImage(**row) for row in rows),
    )


def distances(
    features: Float[ndarray, "n d"], fit: Gaussian | GaussianRefusal
) -> Float[ndarray, " n"]:
    """Squared Mahalanobis distance of every feature; all NaN where no Gaussian exists."""
    if isinstance(fit, GaussianRefusal):
        return np.full(len(features), np.nan)
    return squared_mahalanobis(features, fit)


def expected_raw_distance(n: int, dimension: int) -> float:
    """D (n + 1) / (n - D - 2): mean raw distance of fresh data *of the same distribution*.

    NaN where it does not exist (n <= D + 2). Derived in method.md, section 2: it falls with n
    although nothing has shifted.
    """
    return dimension * (n + 1) / (n - dimension - 2) if n > dimension + 2 else np.nan


class Spread(NamedTuple):
    """Where the distances of one group of detections lie; NaN for an empty group."""

    num: int
    mean: float
    lower_quartile: float
    median: float
    upper_quartile: float


class DistanceSummary(NamedTuple):
    """Distances of one detector on one target, over detections with score >= 0.01."""

    true_positive: Spread
    false_positive: Spread
    counted: Spread  # both together
    auroc: float  # P(a true positive is nearer than a false positive); 0.5: full overlap


def summarise_distances(table: DetectionTable, distance: Float[ndarray, " n_f"]) -> DistanceSummary:
    """Spread over true positives, false positives and both; `distance` is aligned with features."""
    rows = table.featured
    hit = table.true_positive[rows]
    missed = table.counted[rows] & ~hit
    return DistanceSummary(
        true_positive=_spread(distance[hit]),
        false_positive=_spread(distance[missed]),
        counted=_spread(distance[hit | missed]),
        auroc=nearer_probability(distance[hit], distance[missed]),
    )


def _spread(distance: Float[ndarray, " n"]) -> Spread:
    if not len(distance):
        return Spread(0, np.nan, np.nan, np.nan, np.nan)
    quartiles = (float(value) for value in np.quantile(distance, (0.25, 0.5, 0.75)))
    return Spread(len(distance), float(distance.mean()), *quartiles)


def nearer_probability(near: Float[ndarray, " n"], far: Float[ndarray, " m"]) -> float:
    """P(near < far) + P(near = far) / 2: the area under the ROC curve, by ranks.

    NaN when either side is empty or has no distance.
    """
    both = np.concatenate([near, far])
    if not len(near) or not len(far) or np.isnan(both).any():
        return np.nan
    ranks = stats.rankdata(both)
    above = ranks[len(near) :].sum() - len(far) * (len(far) + 1) / 2
    return float(above / (len(near) * len(far)))


class DistanceHistogram(NamedTuple):
    """Detections per score band, kind and distance bin; distances outside count in the end bins."""

    edges: Float[ndarray, " e"]  # of the distance, squared, e = b + 1
    counts: Int[ndarray, "s 2 b"]  # score band (low, medium, high) x (true, false positive) x bin
    score_bands: tuple[tuple[float, float], ...]  # [low, high), the last one closed


def distance_histogram(
    table: DetectionTable, distance: Float[ndarray, " n_f"], thresholds: Sequence[float]
) -> DistanceHistogram:
    """Histogram over the score bands [s0, s1), [s1, s2), [s2, 1]; all cells share the bins."""
    rows = table.featured
    score, hit, counted = table.score[rows], table.true_positive[rows], table.counted[rows]
    inside = np.clip(distance, DISTANCE_EDGES[0], DISTANCE_EDGES[-1])
    band = np.searchsorted(np.asarray(thresholds, score.dtype), score, side="right") - 1
    counts = np.zeros((len(thresholds), 2, len(DISTANCE_EDGES) - 1), np.int64)
    for index in range(len(thresholds)):
        for kind, chosen in enumerate((hit, ~hit)):
            values = inside[(band == index) & chosen & counted & np.isfinite(distance)]
            counts[index, kind] = np.histogram(values, DISTANCE_EDGES)[0]
    bands = tuple(zip(thresholds, [*thresholds[1:], 1.0], strict=True))
    return DistanceHistogram(DISTANCE_EDGES, counts, bands)
