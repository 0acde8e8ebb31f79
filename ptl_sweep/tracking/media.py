"""Pictures, tables and pages as W&B shows them: the only module that builds its media."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jaxtyping import Float, UInt8
from numpy import ndarray

from ptl_sweep.tracking.history import Value, plain_value

if TYPE_CHECKING:
    from wandb import Html, Image, Table

ImageSource = Path | UInt8[ndarray, "h w 3"]

MAX_IMAGES = 8  # shown under one name in one step
CLASS_LABELS = {0: "person"}


class ShownImage(NamedTuple):
    """One picture with the boxes that are drawn over it, all xyxy in its pixels."""

    pixels: ImageSource
    truths: Float[ndarray, "n 4"]
    detections: Float[ndarray, "m 4"] | None = None
    scores: Float[ndarray, " m"] | None = None  # of the detections, in [0, 1]


def pictures(images: Sequence[ShownImage]) -> list["Image"]:
    """The first 8 images, ground truth and detections as layers that can be switched off.

    Raises: ValueError when scores and detections differ in number.
    """
    return [_picture(image) for image in images[:MAX_IMAGES]]


def figure(path_png: Path) -> "Image":
    """A drawn figure."""
    import wandb

    return wandb.Image(str(path_png))


def page(path: Path) -> "Html":
    """An HTML file (named `*.html`) as it is, without W&B's own style sheet.

    Raises: ValueError when there is no such file.
    """
    import wandb

    return wandb.Html(path, inject=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> "Table":
    """A table whose columns may mix numbers, text and nothing."""
    import wandb

    cells = [[plain_value(value) for value in row] for row in rows]
    return wandb.Table(list(columns), cells, allow_mixed_types=True)


def _picture(image: ShownImage) -> "Image":
    import wandb

    pixels = str(image.pixels) if isinstance(image.pixels, Path) else image.pixels
    layers = {"ground_truth": _layer([_box(corners) for corners in image.truths.tolist()])}
    if image.detections is not None:
        layers["detections"] = _layer(_scored_boxes(image))
    return wandb.Image(pixels, boxes=layers)


def _scored_boxes(image: ShownImage) -> list[dict[str, Any]]:
    assert image.detections is not None
    corners = image.detections.tolist()
    if image.scores is None:
        return [_box(box) for box in corners]
    return [
        _box(box) | {"box_caption": f"{score:.2f}", "scores": {"score": score}}
        for box, score in zip(corners, image.scores.tolist(), strict=True)
    ]


def _box(corners: list[float]) -> dict[str, Any]:
    position = dict(zip(("minX", "minY", "maxX", "maxY"), corners, strict=True))
    return {"position": position, "domain": "pixel", "class_id": 0}


def _layer(boxes: list[dict[str, Any]]) -> dict[str, Any]:
    return {"box_data": boxes, "class_labels": CLASS_LABELS}
