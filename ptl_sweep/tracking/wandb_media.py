"""What W&B shows of an entry of media.json: pictures with boxes, a table, a page."""

import io
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from ptl_sweep.tracking.history import plain_value
from ptl_sweep.tracking.media import MediaEntry, ShownBox, ShownImage
from ptl_sweep.vocabulary import Value

if TYPE_CHECKING:
    from wandb import Image as WandbImage
    from wandb import Table

CLASS_LABELS = {0: "person"}


def wandb_media(folder: Path, entry: MediaEntry) -> Any:
    """Build the object of W&B that shows an entry. Raises: OSError, ValueError, TypeError."""
    import wandb

    if entry.table is not None:
        return _table(folder / entry.table)
    if entry.page is not None:
        return wandb.Html(folder / entry.page, inject=False)  # without W&B's own style sheet
    images = [_image(folder, image) for image in entry.images]
    is_figure = len(images) == 1 and entry.images[0].ground_truth is None
    return images[0] if is_figure else images


def _table(path: Path) -> "Table":
    """Show a Parquet file, whose columns may hold nothing in places."""
    import wandb
    from pyarrow import parquet

    table = parquet.read_table(path)
    columns = [[_cell(value) for value in column] for column in table.to_pydict().values()]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return wandb.Table(list(table.column_names), rows, optional=True)


def _cell(value: Value | bytes) -> "Value | WandbImage":
    """Show a value of a table; bytes are a picture."""
    import wandb

    if isinstance(value, bytes):
        with Image.open(io.BytesIO(value)) as picture:
            return wandb.Image(picture, file_type="jpg")
    return plain_value(value)


def _image(folder: Path, image: ShownImage) -> "WandbImage":
    """Show a picture with layers of boxes that can be switched off."""
    import wandb

    layers = {"ground_truth": image.ground_truth, "detections": image.detections}
    boxes = {name: _layer(shown) for name, shown in layers.items() if shown is not None}
    return wandb.Image(str(folder / image.file), boxes=boxes or None)


def _layer(boxes: Iterable[ShownBox]) -> dict[str, object]:
    return {"box_data": [_box(box) for box in boxes], "class_labels": CLASS_LABELS}


def _box(box: ShownBox) -> dict[str, object]:
    position = dict(zip(("minX", "minY", "maxX", "maxY"), map(float, box.corners), strict=True))
    scores = {} if box.score is None else {"scores": {"score": box.score}}
    shown = {"position": position, "domain": "pixel", "class_id": 0, "box_caption": box.caption}
    return shown | scores
