"""Small records whose pixels and masks are arrays, and a detector that answers as told."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ptl_sweep.config.schema import TranslatorConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.ptl.translators.cyclegan import CycleGan


@dataclass(frozen=True)
class ArrayImage:
    image: np.ndarray
    masks: np.ndarray

    def read(self) -> np.ndarray:
        return self.image

    def read_masks(self) -> np.ndarray:
        return self.masks


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def cache() -> ImageCache:
    return ImageCache(2**26)


@pytest.fixture
def make_record() -> Callable[..., ImageRecord]:
    """A noisy picture of given size; each box holds an ellipse of its own colour and its mask."""

    def make(name: str, boxes: list[list[float]], size: tuple[int, int] = (64, 48)) -> ImageRecord:
        width, height = size
        rng = np.random.default_rng(sum(map(ord, name)))
        image = rng.integers(60, 120, size=(height, width, 3), dtype=np.uint8)
        y, x = np.mgrid[:height, :width] + 0.5
        masks = np.zeros((len(boxes), height, width), dtype=np.uint8)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
            radius = ((2 * x - x0 - x1) / (x1 - x0)) ** 2 + ((2 * y - y0 - y1) / (y1 - y0)) ** 2
            mask[:] = np.clip((1.2 - radius) * 5, 0, 1) * 255
            image[mask > 0] = rng.integers(0, 255, size=3)
        return ImageRecord(
            image_id=name,
            width=width,
            height=height,
            boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
            ignored=np.zeros((0, 4), dtype=np.float32),
            scene="s",
            pixels=ArrayImage(image, masks),
        )

    return make


@pytest.fixture
def tiny_config() -> TranslatorConfig:
    """The keys of the smallest CycleGAN, or FastCUT, that trains."""
    return TranslatorConfig(
        name="tiny",
        num_steps=6,
        num_warm_steps=2,
        batch_size=2,
        learning_rate=5e-4,
        image_pool_size=3,
        load_size=18,
        crop_size=16,
        base_channels=4,
        num_residual_blocks=1,
        num_patches=16,
        projection_dim=8,
        min_crop_px=8,
    )


@pytest.fixture
def tiny_gan(tiny_config: TranslatorConfig) -> CycleGan:
    """The same as a translator, at an iteration that may start warm."""
    return CycleGan.of(tiny_config, iteration=2)
