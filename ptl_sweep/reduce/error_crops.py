"""False positives cut out of their pictures: the most confident, and those nearest to the training
set, of one seed per target and value of synthetic.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from ptl_sweep.compose.cells.ids import values_after_name
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.metrics.measure import CellMetrics, ErrorBox
from ptl_sweep.pipeline.graph import Cell
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.ptl.crops import cut, square_region
from ptl_sweep.store import is_disk_full
from ptl_sweep.study.study import ErrorCrop

logger = logging.getLogger(__name__)

CONTEXT = 3.0  # side of a crop in longer sides of the box
SIDE_PX = 144  # of a crop in the report
BOX_COLOUR = (255, 64, 64)
PERSON_COLOUR = (255, 220, 0)  # ground truth


def cut_errors(plan: Plan, cells: Mapping[str, CellMetrics]) -> list[ErrorCrop]:
    """Crops of the cells with the largest real count and the first seed.

    A crop of an earlier reduction is used again, so a report is written anew without the pictures;
    without both it is left out.
    """
    crops: list[ErrorCrop] = []
    for cell in shown_cells(plan.cells):
        metrics = cells.get(cell.readings[-1].evaluate)
        if metrics is not None:
            crops += _of_cell(plan, cell, metrics.boxes)
    return crops


def shown_cells(cells: Sequence[Cell]) -> list[Cell]:
    """One cell per source, target and value of synthetic: largest real count, first seed."""
    first: dict[tuple[str, str, str], Cell] = {}
    for cell in sorted(cells, key=lambda cell: (-cell.id.real_count, cell.id.seed)):
        first.setdefault((cell.id.dataset, cell.id.target, cell.id.synthetic), cell)
    return list(first.values())


def _of_cell(plan: Plan, cell: Cell, boxes: Sequence[ErrorBox]) -> list[ErrorCrop]:
    folder = plan.folder / "samples" / "false_positives"
    places = [
        folder / f"{cell.readings[-1].evaluate}-{index:02d}.png" for index in range(len(boxes))
    ]
    if not all(path.exists() for path in places):
        records = records_of(plan, cell)
        for box, path in zip(boxes, places, strict=True):
            if box.image_id in records:
                _try_to_cut(records[box.image_id], box, path)
    return [
        ErrorCrop(str(path), box.group, _caption(cell, box))
        for box, path in zip(boxes, places, strict=True)
        if path.exists()
    ]


def records_of(plan: Plan, cell: Cell) -> dict[str, ImageRecord]:
    """The images of a cell's target by name; empty where they are gone or have changed."""
    data = plan.evaluate_stage(cell.readings[-1].evaluate).data
    try:
        target = registry.read_split(data.config(), data.split)
    except (ConfigError, DataError, OSError) as error:
        logger.info("no false positives of %s are shown: %s", data.place.name, error)
        return {}
    if target.fingerprint != data.fingerprint:
        logger.info("no false positives of %s are shown: its files have changed", data.place.name)
        return {}
    return {record.image_id: record for record in target.records}


def _try_to_cut(record: ImageRecord, box: ErrorBox, path: Path) -> None:
    """A picture that is missing or damaged costs its crop, not the report."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        cut_out(record, box.box).save(path)
    except (DataError, OSError) as error:
        if is_disk_full(error):
            raise
        logger.warning("a false positive in %s is not shown: %s", record.image_id, error)


def cut_out(record: ImageRecord, box: Sequence[float]) -> Image.Image:
    """A square around the box, with the box and the persons that are labelled there drawn in.

    Raises: DataError, OSError for a picture that is missing or damaged.
    """
    corners = np.array(box, dtype=np.float32)
    region = square_region(corners, CONTEXT, record.width, record.height)
    picture = Image.fromarray(cut(record.pixels.read(), region))
    scale = SIDE_PX / region.side
    picture = picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for one, colour in (
        *((person, PERSON_COLOUR) for person in record.boxes),
        (corners, BOX_COLOUR),
    ):
        left, top, right, bottom = (one - np.array([region.left, region.top] * 2)) * scale
        draw.rectangle((left, top, right, bottom), outline=colour)
    return picture


def _caption(cell: Cell, box: ErrorBox) -> str:
    distance = "" if np.isnan(box.distance) else f", distance {box.distance:.0f}"
    return (
        f"{cell.id.synthetic}{values_after_name(cell.id.dataset)}, {cell.id.real_count} real, "
        f"{cell.id.target}: "
        f"score {box.score:.2f}{distance}, {box.type}"
    )
