"""What W&B shows of a stage beside its history: pictures, tables, its model and where that is from.

No result depends on it: nothing runs without a mirror, and what cannot be shown is a warning.
"""

import functools
import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.inference import detect_records
from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.retinanet import Detector
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.stages.context import Workspace
from ptl_sweep.stages.selection_heatmap import count_selected, draw_selection
from ptl_sweep.store import canonical_json, sha256_of
from ptl_sweep.tracking import MAX_IMAGES, ShownImage, Value

log = logging.getLogger(__name__)

MIN_SCORE = 0.3  # of a detection that is drawn; ours
MAX_SIDE = 1280  # pixels of a shown picture; larger ones are shrunk; ours
MAX_ROWS = 5000  # of the table of detections, the highest scores
DETECTION_COLUMNS = (
    "image", "score", "iou", "true_positive", "distance", "x1", "y1", "x2", "y2",
)  # fmt: skip

P = ParamSpec("P")
Show = Callable[Concatenate[Workspace, P], None]


def _beside(show: Show[P]) -> Show[P]:
    """`show`, skipped without a mirror; what it raises is logged, and the stage goes on."""

    @functools.wraps(show)
    def guarded(work: Workspace, /, *args: P.args, **kwargs: P.kwargs) -> None:
        if not work.mirror.is_on:
            return
        try:
            show(work, *args, **kwargs)
        except Exception as error:  # a picture must not fail a stage, whatever is wrong with it
            log.warning("W&B mirror: %s left out (%r)", show.__name__.replace("_", " "), error)

    return guarded


def gpu_memory(work: Workspace, name: str) -> dict[str, float]:
    """Largest GPU memory that tensors held since the last call, MB, as `name`; empty without CUDA.

    Waits for no kernel: the allocator counts on the host.
    """
    if work.device.type != "cuda":
        return {}
    largest = torch.cuda.max_memory_allocated(work.device) / 2**20
    torch.cuda.reset_peak_memory_stats(work.device)
    return {name: largest}


@_beside
def use_model(work: Workspace, file: str) -> None:
    """Say which model this stage starts from: config.inputs, and an edge where a server is."""
    parent = work.stage.parents[0]
    name = f"model-{parent}"
    digest = work.store.meta(parent)["sha256"][file]
    work.mirror.update_config({"inputs": {"model": name, "digest": digest}})
    work.mirror.use_artifact(name)


@_beside
def log_model(work: Workspace, file: str) -> None:
    """File the trained detector as `model-<key>`."""
    stage = work.stage
    spec = hashlib.sha256(canonical_json(stage.spec).encode()).hexdigest()
    path = _kept(work, file)
    metadata = {"key": stage.key, "spec_sha256": spec, "sha256": sha256_of(path)}
    work.mirror.artifact(f"model-{stage.key}", "model", [path], metadata)


def _kept(work: Workspace, file: str) -> Path:
    """The file under a name that it keeps when the stage is published; no second copy where linked.

    Offline, W&B reads an artifact's files at the time of its sync.
    """
    path = work.store.root.parent / "tracking" / "models" / work.stage.key / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        os.link(work.folder / file, path)
    except OSError:  # a file system without hard links
        shutil.copyfile(work.folder / file, path)
    return path


@_beside
def show_selection(
    work: Workspace,
    pool: Sequence[ImageRecord],
    selection: Mapping[str, Any],
    *,
    repeated: bool = False,
) -> None:
    """Selected images against the pool over altitude and radius, where the pool knows both.

    `repeated`: an attempt before a kill has shown them.
    """
    places = [
        [float(record.attributes.get(name, np.nan)) for name in ("altitude_m", "radius_m")]
        for record in pool
    ]
    altitude, radius = np.array(places, dtype=np.float64).reshape(-1, 2).T
    chosen = set(selection["selected"])
    counts = count_selected(altitude, radius, np.array([r.image_id in chosen for r in pool], bool))
    if counts is not None:
        nobody = np.zeros((0, 4), dtype=np.float32)
        shown = [ShownImage(draw_selection(counts), nobody)]
        work.mirror.log_images("ptl/selected_pool", shown, repeated=repeated)


@_beside
def show_transformed(
    work: Workspace, detector: Detector, transformed: Sequence[ImageRecord]
) -> None:
    """The first 8 transformed pictures, and what the detector trained with them finds there."""
    records = transformed[:MAX_IMAGES]
    found = detect_records(
        detector,
        records,
        work.config.evaluate,
        cache=work.cache,
        view=View(work.resize, work.config.tiling),
    )
    images = [
        _shown(record, work.cache.read(record), detections.boxes.numpy(), detections.scores.numpy())
        for record, detections in zip(records, found, strict=True)
    ]
    work.mirror.log_images("ptl/transformed", images)


@_beside
def show_found(work: Workspace, table: DetectionTable, records: Sequence[ImageRecord]) -> None:
    """Eight pictures from the whole length of the target, with truths and detections."""
    peopled = [index for index, record in enumerate(records) if len(record.boxes)]
    places = np.linspace(0, len(peopled) - 1, min(MAX_IMAGES, len(peopled))).round().astype(int)
    images = []
    for index in (peopled[place] for place in places):
        rows = table.image == index
        pixels = work.cache.read(records[index])
        images.append(_shown(records[index], pixels, table.boxes[rows], table.score[rows]))
    work.mirror.log_images("evaluate/detected", images)


def _shown(
    record: ImageRecord,
    pixels: UInt8[ndarray, "h w 3"],
    boxes: Float[ndarray, "n 4"],
    scores: Float[ndarray, " n"],
) -> ShownImage:
    """A picture of bounded size, with the detections that are worth drawing."""
    height, width = pixels.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    if scale < 1:
        size = (round(scale * width), round(scale * height))
        pixels = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
    drawn = scores >= MIN_SCORE
    return ShownImage(pixels, scale * record.boxes, scale * boxes[drawn], scores[drawn])


@_beside
def show_measures(work: Workspace, table: DetectionTable, training_features: str) -> None:
    """AP_t2t and distances (shrunk) as the run's summary; the best detections as a table.

    What hangs on the other detectors of the sweep, equal_n and calibrated, is the reducer's.
    """
    measured = _measure(work, table, training_features)
    work.mirror.summary(measured.columns)
    rows = _detection_rows(table, measured.distance)
    work.mirror.table("evaluate/detections", DETECTION_COLUMNS, rows)


class _Measured(NamedTuple):
    columns: dict[str, Value]  # some of results.csv
    distance: Float[ndarray, " n_f"]  # shrunk, squared; NaN where none exists


def _measure(work: Workspace, table: DetectionTable, training_features: str) -> _Measured:
    # scipy.stats takes a second to load, which a stage without a mirror need not spend
    from ptl_sweep.distance.gaussian import fit_gaussian
    from ptl_sweep.distance.train2test import distances, summarise_distances
    from ptl_sweep.metrics.ap_t2t import DISTANCE_COLUMNS, ap_t2t, threshold_label
    from ptl_sweep.metrics.measure import read_training_features

    settings = work.config.analysis
    training = read_training_features(work.parent(training_features))
    distance = distances(table.features, fit_gaussian(training.features, settings.shrinkage))
    columns: dict[str, Value] = {
        f"AP_t2t_{threshold_label(s)}_shrunk": ap_t2t(table, distance, s, settings.ap_t2t)
        for s in work.config.evaluate.score_thresholds
    }
    summary = summarise_distances(table, distance)
    hit, missed = summary.true_positive, summary.false_positive
    values = (hit.mean, missed.mean, hit.median, missed.median)
    named = zip(DISTANCE_COLUMNS, values, strict=True)
    columns |= {f"{name}_shrunk": value for name, value in named}
    return _Measured({**columns, "t2t_auroc": summary.auroc}, distance)


def _detection_rows(
    table: DetectionTable, distance: Float[ndarray, " n_f"]
) -> Iterator[tuple[Value, ...]]:
    """Detections by falling score; those below the score of features have no distance."""
    best = np.argsort(-table.score, kind="stable")[:MAX_ROWS]
    every = np.full(len(table.score), np.nan)
    every[table.featured] = distance
    names = [table.images[index].image_id for index in table.image[best].tolist()]
    hits = table.true_positive[best].astype(int)
    numbers = (table.score[best], table.iou[best], hits, every[best])
    corners = table.boxes[best].astype(np.float64).round(1).T
    yield from zip(names, *(column.tolist() for column in (*numbers, *corners)), strict=True)
