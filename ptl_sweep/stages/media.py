"""The pictures and tables that a stage shows, written into its own folder.

No result depends on them: what cannot be written is a warning, and the stage goes on.
"""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image

from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detector
from ptl_sweep.detection.inference import detect_records
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.ptl.selection_heatmap import count_selected, draw_selection
from ptl_sweep.stages.context import StageContext
from ptl_sweep.stages.fitting import view_of
from ptl_sweep.stages.train import DetectorStage
from ptl_sweep.tracking.media import (
    MAX_IMAGES,
    MediaEntry,
    ShownBox,
    ShownImage,
    add_entry,
    is_kept,
    write_picture,
    write_rows,
)

log = logging.getLogger(__name__)

SELECTED, TRANSFORMED = "ptl/selected_pool", "ptl/transformed"
DETECTED, DETECTIONS = "evaluate/detected", "evaluate/detections"
MIN_SCORE = 0.3  # of a detection that is drawn; ours
MAX_SIDE = 1280  # pixels of a shown picture; larger ones are shrunk; ours
MAX_ROWS = 5000  # of the table of detections, the highest scores

P = ParamSpec("P")
Show = Callable[Concatenate[StageContext, P], None]


def _best_effort(show: Show[P]) -> Show[P]:
    """Log what `show` raises, and go on."""

    @functools.wraps(show)
    def guarded(ctx: StageContext, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            show(ctx, *args, **kwargs)
        except Exception as error:  # a picture must not fail a stage, whatever is wrong with it
            log.warning("%s left out (%r)", show.__name__.replace("_", " "), error)

    return guarded


@_best_effort
def show_selection(
    ctx: StageContext, pool: Sequence[ImageRecord], selection: Mapping[str, Any]
) -> None:
    """Draw the selected images against the pool over altitude and radius, where both are known."""
    if is_kept(ctx.folder, SELECTED, len(ctx.history.rows())):
        return
    places = [
        [float(record.attributes.get(name, np.nan)) for name in ("altitude_m", "radius_m")]
        for record in pool
    ]
    altitude, radius = np.array(places, dtype=np.float64).reshape(-1, 2).T
    chosen = set(selection["selected"])
    counts = count_selected(altitude, radius, np.array([r.image_id in chosen for r in pool], bool))
    if counts is not None:
        file = write_picture(ctx.folder, SELECTED, 0, draw_selection(counts), ".png")
        _add(ctx, SELECTED, images=[ShownImage(file)])


@_best_effort
def show_transformed(
    ctx: StageContext,
    stage: DetectorStage,
    detector: Detector,
    transformed: Sequence[ImageRecord],
) -> None:
    """Show the first 8 transformed pictures, and what the detector trained with them finds."""
    records = transformed[:MAX_IMAGES]
    found = detect_records(
        detector,
        records,
        stage.inference,
        cache=ctx.cache,
        view=view_of(stage.detector, stage.inference),
    )
    pairs = zip(records, found, strict=True)
    images = [
        _shown(ctx, TRANSFORMED, index, record, found.boxes.numpy(), found.scores.numpy())
        for index, (record, found) in enumerate(pairs)
    ]
    _add(ctx, TRANSFORMED, images=images)


@_best_effort
def show_found(ctx: StageContext, table: DetectionTable, records: Sequence[ImageRecord]) -> None:
    """Show eight pictures from the whole length of the target, with what is there and found."""
    peopled = [index for index, record in enumerate(records) if len(record.boxes)]
    places = np.linspace(0, len(peopled) - 1, min(MAX_IMAGES, len(peopled))).round().astype(int)
    images = []
    for number, index in enumerate(peopled[place] for place in places):
        own = table.image == index
        images.append(
            _shown(ctx, DETECTED, number, records[index], table.boxes[own], table.score[own])
        )
    _add(ctx, DETECTED, images=images)


@_best_effort
def show_detections(ctx: StageContext, table: DetectionTable) -> None:
    """Write the 5,000 detections of the highest scores as a table, by falling score."""
    best = np.argsort(-table.score, kind="stable")[:MAX_ROWS]
    names = [table.images[index].image_id for index in table.image[best].tolist()]
    corners = table.boxes[best].astype(np.float64).round(1).T
    columns = {
        "image": names,
        "score": table.score[best].astype(np.float64),
        "iou": table.iou[best].astype(np.float64),
        "true_positive": table.true_positive[best].astype(np.int64),
        **dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True)),
    }
    _add(ctx, DETECTIONS, table=write_rows(ctx.folder, DETECTIONS, columns))


def _add(ctx: StageContext, name: str, **shown: Any) -> None:
    """Have it shown with the next row of the history."""
    add_entry(ctx.folder, MediaEntry(name=name, row=len(ctx.history.rows()), **shown))


def _shown(
    ctx: StageContext,
    name: str,
    index: int,
    record: ImageRecord,
    boxes: Float[ndarray, "n 4"],
    scores: Float[ndarray, " n"],
) -> ShownImage:
    """Write a picture of bounded size, with the detections that are worth drawing."""
    pixels, scale = shrunk(ctx.cache.read(record))
    drawn = scores >= MIN_SCORE
    found = zip((scale * boxes[drawn]).tolist(), scores[drawn].tolist(), strict=True)
    return ShownImage(
        write_picture(ctx.folder, name, index, pixels, ".jpg"),
        [ShownBox(box, "person") for box in (scale * record.boxes).tolist()],
        [ShownBox(box, f"{score:.2f}", score) for box, score in found],
    )


def shrunk(pixels: UInt8[ndarray, "h w 3"]) -> tuple[UInt8[ndarray, "h2 w2 3"], float]:
    """Return the picture with no side above 1,280 pixels, and by what it was scaled."""
    height, width = pixels.shape[:2]
    scale = min(1.0, MAX_SIDE / max(height, width))
    if scale == 1:
        return pixels, 1.0
    size = (round(scale * width), round(scale * height))
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)), scale
