"""What the report shows of a sweep's stages beside their numbers: pictures and costs."""

import json
import logging
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ptl_sweep.compose.cells.ids import values_after_name
from ptl_sweep.pipeline.costs import stage_seconds
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.status import StageState, States
from ptl_sweep.report import SamplePicture, StageCost
from ptl_sweep.stages.base import KINDS
from ptl_sweep.stages.ptl import PtlStage
from ptl_sweep.stages.train import MANIFEST
from ptl_sweep.store import StoreError, is_disk_full

log = logging.getLogger(__name__)

# what a damaged picture or manifest raises, by its format and place
UNREADABLE = (
    *(StoreError, OSError, SyntaxError, ValueError, KeyError, TypeError),
    *(zlib.error, struct.error),
)
PER_STAGE = 3
MAX_SAMPLES = 24
BOX_COLOUR = (255, 64, 64)


def sample_pictures(plan: Plan) -> list[SamplePicture]:
    """Selected virtual images and what became of them, a few per PTL stage, boxes drawn in.

    A picture that is missing or damaged is left out with a warning.
    """
    stages = [stage for stage in plan.ptl_stages() if plan.store.is_published(stage.key)]
    samples: list[SamplePicture] = []
    for stage in stages[: MAX_SAMPLES // PER_STAGE]:
        try:
            manifest = json.loads(plan.store.artifact(stage.key, MANIFEST).read_text())
            own = [image for image in manifest["transformed"] if image["stage"] == stage.key]
            samples += [_sample(plan, stage, image) for image in own[:PER_STAGE]]
        except UNREADABLE as error:
            if is_disk_full(error):
                raise
            log.warning("%s: its pictures are not shown: %s", stage.key, error)
    return samples


def _sample(plan: Plan, stage: PtlStage, image: Mapping[str, Any]) -> SamplePicture:
    name = image["file"]
    virtual, transformed = (
        plan.store.artifact(stage.key, one)
        for one in (f"{name.removesuffix('.png')}-virtual.png", name)
    )
    pair = [
        _with_boxes(path, image["boxes"], plan.folder / "samples" / f"{stage.key}-{path.name}")
        for path in (virtual, transformed)
    ]
    cell = plan.cells_behind(stage.key)[0].id
    axes = values_after_name(cell.synthetic) + values_after_name(cell.dataset)
    return SamplePicture(pair[0], pair[1], f"{stage.label}{axes} {image['pool_id']}")


def _with_boxes(path: Path, boxes: list[list[float]], target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(path, formats=("PNG",)) as image:
        drawn = image.convert("RGB")
    draw = ImageDraw.Draw(drawn)
    for left, top, right, bottom in boxes:
        draw.rectangle((left - 1, top - 1, right, bottom), outline=BOX_COLOUR)
    drawn.save(target)
    return target


def stage_costs(plan: Plan, states: States) -> list[StageCost]:
    """Stages and seconds by kind; a stage is `run` when this sweep was the first to need it."""
    costs = []
    for kind in KINDS:
        keys = [key for key, stage in plan.stages.items() if stage.kind == kind]
        metas = [plan.store.meta(key) for key in keys if states[key] == StageState.PUBLISHED]
        num_run = sum(meta["started"] >= plan.first_planned for meta in metas)
        costs.append(
            StageCost(
                kind=kind,
                num_naive=plan.naive[kind],
                num_unique=len(keys),
                num_cached=len(metas) - num_run,
                num_run=num_run,
                num_failed=sum(states[key] == StageState.FAILED for key in keys),
                seconds=sum(map(stage_seconds, metas)),
            )
        )
    return [cost for cost in costs if cost.num_unique]
