"""Planned and rendered in one go, on the CPU: what a test asks of both together."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from ptl_sweep.config.schema import TrainRecipe
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.pasting import Donors
from ptl_sweep.detection.pixels import View
from ptl_sweep.detection.rendering import Batch, BatchRenderer, DeviceImages
from ptl_sweep.detection.sampling import plan_batch, plan_sample


class Sample(NamedTuple):
    """One augmented image."""

    image: Tensor
    boxes: ndarray
    ignored: ndarray


def renderer_of(cache: ImageCache, fill: Tensor) -> BatchRenderer:
    """A renderer on the CPU."""
    return BatchRenderer(DeviceImages(cache, torch.device("cpu"), 0), fill)


def draw_batch(
    records: Sequence[ImageRecord],
    config: TrainRecipe,
    rng: np.random.Generator,
    *,
    cache: ImageCache,
    view: View,
    fill: Tensor,
) -> Batch:
    """One batch, as a training makes it."""
    plan = plan_batch(records, config, rng, view=view)
    return renderer_of(cache, fill).render(plan, config.crop_size)


def draw_sample(
    record: ImageRecord,
    config: TrainRecipe,
    rng: np.random.Generator,
    *,
    cache: ImageCache,
    view: View,
) -> Sample:
    """One image of a batch."""
    planned = plan_sample(record, config, rng, view=view, donors=Donors([record], view))
    batch = renderer_of(cache, torch.zeros(3, 1, 1)).render([planned], None)
    return Sample(batch.images[0], planned.boxes, planned.ignored)
