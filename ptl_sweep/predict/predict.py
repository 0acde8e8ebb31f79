"""A detector run over pictures that nobody has labelled: detections, distances and drawings."""

import time
from collections.abc import Iterable, Iterator, Sequence
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
from ptl_sweep.detection.detector import Detections, Detector
from ptl_sweep.detection.inference import detect_records
from ptl_sweep.predict.distance import TrainingDistance
from ptl_sweep.predict.document import CocoFiles
from ptl_sweep.predict.drawing import draw_detections, save_picture
from ptl_sweep.predict.folder import PICTURES, refuse_nesting, replaced_folder
from ptl_sweep.predict.pictures import Picture, PictureReader, Skipped
from ptl_sweep.predict.published import PublishedDetector
from ptl_sweep.stages.fitting import view_of
from ptl_sweep.terminal import progress_bar


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionOrder:
    """Where pictures come from, and what is wanted of them."""

    place: Path  # folder or file that the user named
    out: Path
    min_score: float  # of a detection that is drawn
    has_pictures: bool


@dataclass(slots=True, kw_only=True)
class Prediction:
    """What was found, in short."""

    distance: dict[str, Any]  # which Gaussian distances are to
    seconds: float = 0.0
    num_images: int = 0
    num_detections: int = 0
    num_scored: int = 0  # detections of the wanted score
    skipped: list[Skipped] = field(default_factory=list)
    _distances: list[Float[ndarray, " n"]] = field(default_factory=list)  # of these

    def add(self, found: Detections, far: Float[ndarray, " n"], min_score: float) -> None:
        """Count the detections of one picture."""
        scored = found.scores.numpy() >= min_score
        self.num_images += 1
        self.num_detections += len(scored)
        self.num_scored += int(scored.sum())
        self._distances.append(far[scored].astype(np.float32))

    @property
    def median_distance(self) -> float | None:
        """Median distance of the detections of the wanted score; None without one."""
        every = np.concatenate([np.zeros(0, np.float32), *self._distances])
        known = every[np.isfinite(every)]
        return float(np.median(known)) if len(known) else None


def predict_pictures(
    published: PublishedDetector,
    pictures: Sequence[Picture],
    order: PredictionOrder,
    analysis: AnalysisConfig,
) -> Prediction:
    """Write what is in every readable picture into `order.out`, whole or not at all.

    Raises: ConfigError for a folder that must not be replaced, StoreError, OSError.
    """
    started = time.monotonic()
    distance = TrainingDistance.of(published.training_features(), analysis.shrinkage)
    info = describe(published, order.place, distance)
    detector = published.load(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    result, reader = Prediction(distance=distance.describe()), PictureReader()
    refuse_nesting(order.out, order.place)
    with replaced_folder(order.out, info) as work, CocoFiles(work, info) as files:
        for record, found in _searched(detector, published, pictures, reader):
            far = distance.measure(found)
            files.add(record, found.boxes.numpy(), found.scores.numpy(), far)
            result.add(found, far, order.min_score)
            if order.has_pictures:
                _draw(work / PICTURES / record.image_id, record, found, order.min_score)
        files.finish([one._asdict() for one in reader.skipped])
    result.skipped, result.seconds = reader.skipped, time.monotonic() - started
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


def _searched(
    detector: Detector,
    published: PublishedDetector,
    pictures: Iterable[Picture],
    reader: PictureReader,
) -> Iterator[tuple[ImageRecord, Detections]]:
    """Every readable picture with its detections; one batch is decoded ahead."""
    with progress_bar() as bar:
        shown = bar.track(pictures, description="searching pictures")
        for found in detect_records(
            detector,
            reader.records(shown),
            published.inference,
            cache=ImageCache(0),
            view=view_of(published.spec, published.inference),
        ):
            yield reader.take(), found


def _draw(path: Path, record: ImageRecord, found: Detections, min_score: float) -> None:
    drawn = found.scores >= min_score
    image = draw_detections(
        record.pixels.read(), found.boxes[drawn].numpy(), found.scores[drawn].numpy()
    )
    save_picture(image, path)
