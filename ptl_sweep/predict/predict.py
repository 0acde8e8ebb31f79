"""A detector run over pictures that nobody has labelled: detections, distances and drawings."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep import __version__
from ptl_sweep.config.schema import AnalysisConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detections
from ptl_sweep.detection.inference import detect_records
from ptl_sweep.predict.distance import TrainingDistance
from ptl_sweep.predict.document import CocoFiles
from ptl_sweep.predict.drawing import draw_detections, save_picture
from ptl_sweep.predict.folder import PICTURES, refuse_folder, replaced_folder
from ptl_sweep.predict.pictures import Picture, PictureReader, Skipped
from ptl_sweep.predict.published import PublishedDetector
from ptl_sweep.stages.fitting import view_of
from ptl_sweep.terminal import progress_bar


@dataclass(slots=True, kw_only=True)
class Prediction:
    """What was found, in short."""

    folder: Path  # that was written
    distance: dict[str, Any]  # which Gaussian distances are to
    seconds: float = 0.0
    num_images: int = 0
    num_detections: int = 0
    num_drawn: int = 0  # with a score of at least `min_score`, drawn or not
    skipped: list[Skipped] = field(default_factory=list)
    drawn_distances: list[float] = field(default_factory=list)  # of these

    @property
    def median_distance(self) -> float | None:
        """Median distance of the detections that count as drawn; None without one."""
        known = [value for value in self.drawn_distances if np.isfinite(value)]
        return float(np.median(known)) if known else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Where pictures come from, and what is wanted of them."""

    place: Path  # folder or file that the user named
    out: Path
    min_score: float  # of a detection that is drawn
    has_pictures: bool


def predict_pictures(
    published: PublishedDetector,
    pictures: Sequence[Picture],
    order: Order,
    analysis: AnalysisConfig,
) -> Prediction:
    """Detect persons in every picture and write `order.out`, whole or not at all.

    Pictures are decoded one batch ahead; a damaged one is skipped.
    Raises: ConfigError for a folder that must not be replaced, StoreError, OSError.
    """
    started = time.monotonic()
    distance = TrainingDistance.of(published.training_features(), analysis.shrinkage)
    info = describe(published, order.place, distance)
    refuse_folder(order.out, order.place, info)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    reader = PictureReader()
    with progress_bar() as bar:
        shown = bar.track(pictures, description="searching pictures")
        found = detect_records(
            published.load(device),
            reader.records(shown),
            published.inference,
            cache=ImageCache(0),
            view=view_of(published.spec, published.inference),
        )
        result = Prediction(folder=order.out, distance=distance.describe())
        with replaced_folder(order.out) as work, CocoFiles(work, info) as files:
            for record, detections, far in _measured(found, reader, distance):
                files.add(record, detections, far)
                _count(result, detections, far, order.min_score)
                if order.has_pictures:
                    _draw(work / PICTURES / record.image_id, record, detections, order.min_score)
            result.skipped = reader.skipped
            files.finish([one._asdict() for one in reader.skipped])
    result.seconds = time.monotonic() - started
    return result


def describe(
    published: PublishedDetector, place: Path, distance: TrainingDistance
) -> dict[str, Any]:
    """Say what made the detections, for the document; nothing of it changes from run to run."""
    return {
        "tool": "ptl_sweep predict",
        "version": __version__,
        "stage": published.key,
        "folder": str(place.resolve()),
        "architecture": published.spec.architecture,
        "resize": published.spec.resize,
        "inference": asdict(published.inference),
        "train2test_distance": distance.describe(),
    }


def _measured(
    found: Iterator[Detections], reader: PictureReader, distance: TrainingDistance
) -> Iterator[tuple[ImageRecord, Detections, Float[ndarray, " n"]]]:
    for detections in found:
        yield reader.take(), detections, distance.measure(detections)


def _count(
    result: Prediction, found: Detections, far: Float[ndarray, " n"], min_score: float
) -> None:
    drawn = found.scores.numpy() >= min_score
    result.num_images += 1
    result.num_detections += len(drawn)
    result.num_drawn += int(drawn.sum())
    result.drawn_distances += far[drawn].tolist()


def _draw(path: Path, record: ImageRecord, found: Detections, min_score: float) -> None:
    drawn = found.scores >= min_score
    image = draw_detections(
        record.pixels.read(), found.boxes[drawn].numpy(), found.scores[drawn].numpy()
    )
    save_picture(image, path)
