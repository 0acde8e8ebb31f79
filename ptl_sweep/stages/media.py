"""The pictures and tables that a stage shows, written into its own folder.

No result depends on them: what cannot be written is a warning, and the stage goes on.
"""

import functools
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image, ImageDraw

from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detector
from ptl_sweep.detection.inference import detect_records
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.ptl.crops import cut, square_region
from ptl_sweep.ptl.selection_heatmap import count_selected, draw_selection
from ptl_sweep.stages.context import StageContext
from ptl_sweep.stages.fitting import view_of
from ptl_sweep.stages.train import DetectorStage
from ptl_sweep.tracking.media import (
    JPEG_QUALITY,
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
MAX_ROWS = 500  # of the table of detections, the highest scores
MAX_CROPS = 6  # rows with a picture: true positives, and as many false ones, of highest score
BOX_COLOUR = (255, 64, 64)
CROP_PX, CROP_CONTEXT = 64, 2.0  # side of such a picture, and in longer sides of the box; ours

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
def show_detections(
    ctx: StageContext, table: DetectionTable, records: Sequence[ImageRecord]
) -> None:
    """Write the 500 detections of the highest scores as a table, by falling score.

    The first true and the first false positives come with a picture, as bytes of a JPEG file.
    """
    best = np.argsort(-table.score, kind="stable")[:MAX_ROWS]
    is_true = table.true_positive[best]
    pictured = {*np.flatnonzero(is_true)[:MAX_CROPS], *np.flatnonzero(~is_true)[:MAX_CROPS]}
    corners = table.boxes[best].astype(np.float64).round(1).T
    columns = {
        "picture": [
            _crop(ctx, records[table.image[index]], table.boxes[index]) if row in pictured else None
            for row, index in enumerate(best)
        ],
        "image": [table.images[index].image_id for index in table.image[best].tolist()],
        "score": table.score[best].astype(np.float64).round(4),
        "iou": table.iou[best].astype(np.float64).round(4),
        "true_positive": is_true.astype(np.int64),
        **dict(zip(("x1", "y1", "x2", "y2"), corners, strict=True)),
    }
    _add(ctx, DETECTIONS, table=write_rows(ctx.folder, DETECTIONS, columns))


def _crop(ctx: StageContext, record: ImageRecord, box: Float[ndarray, "4"]) -> bytes:
    """Cut a detection out with its surroundings, as a small JPEG file with the box drawn in."""
    pixels = ctx.cache.read(record)
    height, width = pixels.shape[:2]
    region = square_region(box, CROP_CONTEXT, width, height)
    image = Image.fromarray(cut(pixels, region)).resize((CROP_PX, CROP_PX))
    corners = (box - [region.left, region.top] * 2) * (CROP_PX / region.side)
    ImageDraw.Draw(image).rectangle(corners.tolist(), outline=BOX_COLOUR)
    file = io.BytesIO()
    image.save(file, "jpeg", quality=JPEG_QUALITY)
    return file.getvalue()


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
