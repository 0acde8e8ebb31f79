"""Small detectors, drawn rectangles as pictures, and settings shared by the detection tests."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from helpers.untrained import calibrate, spread_scores
from numpy import ndarray
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.fcos import FCOSHead

from ptl_sweep.config.schema import DetectorConfig, EvaluateConfig, TrainConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detector, build_detector


@dataclass(frozen=True)
class Drawn:
    """Pixels that are already there."""

    pixels: ndarray

    def read(self) -> ndarray:
        return self.pixels

    def read_masks(self) -> ndarray:
        raise NotImplementedError


def draw_record(
    seed: int, *, width: int = 64, height: int = 64, num_boxes: int = 2, noise: float = 8.0
) -> ImageRecord:
    """Bright upright rectangles of about 10x18 px on a dark noisy ground."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), 70.0) + rng.normal(0, noise, (height, width, 3))
    boxes = []
    for _ in range(num_boxes):
        w, h = int(rng.integers(8, 14)), int(rng.integers(15, 22))
        x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        pixels[y : y + h, x : x + w] = [220, 160, 90]
        boxes.append([x, y, x + w, y + h])
    return ImageRecord(
        image_id=f"drawn{seed}",
        width=width,
        height=height,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        ignored=np.zeros((0, 4), dtype=np.float32),
        scene=str(seed),
        pixels=Drawn(pixels.clip(0, 255).astype(np.uint8)),
    )


def tiny_config(**changes: object) -> DetectorConfig:
    """retinanet_tiny as the miniature world uses it."""
    values = {
        "name": "tiny",
        "architecture": "retinanet_tiny",
        "weights": "none",
        "anchor_sizes": [[14.0, 20.0], [28.0, 40.0]],
        "aspect_ratios": [0.5, 1.0, 2.0],
        "channels": 48,
    }
    return DetectorConfig(**(values | changes))


def r50_config(**changes: object) -> DetectorConfig:
    """retinanet_r50 with anchors from 16 px and the shape of the COCO head."""
    values = {
        "name": "r50",
        "architecture": "retinanet_r50",
        "weights": "none",
        "anchor_sizes": [[s, s * 2 ** (1 / 3), s * 2 ** (2 / 3)] for s in (16, 32, 64, 128, 256)],
        "aspect_ratios": [1.0, 2.0, 3.0],
        "channels": 256,
    }
    return DetectorConfig(**(values | changes))


def fcos_config(**changes: object) -> DetectorConfig:
    """fcos_tiny with the published size of each level."""
    values = {
        "name": "fcos",
        "architecture": "fcos_tiny",
        "weights": "none",
        "anchor_sizes": [[8.0], [16.0]],
        "aspect_ratios": [1.0],
        "channels": 48,
    }
    return DetectorConfig(**(values | changes))


def fcos_r50_config(**changes: object) -> DetectorConfig:
    """fcos_r50 as torchvision builds it."""
    values = {
        "name": "fcos_r50",
        "architecture": "fcos_r50",
        "weights": "none",
        "anchor_sizes": [[8.0], [16.0], [32.0], [64.0], [128.0]],
        "aspect_ratios": [1.0],
        "channels": 256,
    }
    return DetectorConfig(**(values | changes))


def train_config(**changes: object) -> TrainConfig:
    """A short training on the CPU."""
    values = {
        "num_steps": 12,
        "batch_size": 2,
        "optimizer": "adamw",
        "schedule": "onecycle",
        "learning_rate": 3e-3,
        "warmup_steps": 4,
        "clip_norm": 5.0,
        "colour_jitter": 0.15,
    }
    return TrainConfig(**(values | changes))


def stock(detector: Detector, size: tuple[int, int], setting: EvaluateConfig) -> RetinaNet | FCOS:
    """torchvision's detector around the same modules, its own resize without effect."""
    family = FCOS if isinstance(detector.head, FCOSHead) else RetinaNet
    return family(
        detector.backbone,
        1,
        min_size=min(size),
        max_size=max(size),
        image_mean=detector.mean.flatten().tolist(),
        image_std=detector.std.flatten().tolist(),
        anchor_generator=detector.anchor_generator,
        head=detector.head,
        score_thresh=setting.score_threshold,
        nms_thresh=setting.nms_threshold,
        detections_per_img=setting.max_detections,
        topk_candidates=setting.candidates_per_level,
        size_divisible=detector.stride,
    )


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def draw() -> Callable[..., ImageRecord]:
    """Draws one picture of rectangles: draw(seed, width=, height=, num_boxes=)."""
    return draw_record


@pytest.fixture
def tiny_with() -> Callable[..., DetectorConfig]:
    """Config of retinanet_tiny with changed keys."""
    return tiny_config


@pytest.fixture
def r50_with() -> Callable[..., DetectorConfig]:
    """Config of retinanet_r50 with changed keys."""
    return r50_config


@pytest.fixture
def fcos_with() -> Callable[..., DetectorConfig]:
    """Config of fcos_tiny with changed keys."""
    return fcos_config


@pytest.fixture
def fcos_r50_with() -> Callable[..., DetectorConfig]:
    """Config of fcos_r50 with changed keys."""
    return fcos_r50_config


@pytest.fixture
def training_with() -> Callable[..., TrainConfig]:
    """Config of a short training with changed keys."""
    return train_config


@pytest.fixture
def stock_of() -> Callable[..., RetinaNet | FCOS]:
    """torchvision's RetinaNet or FCOS around the modules of a detector."""
    return stock


@pytest.fixture
def cache() -> ImageCache:
    """Room for every picture of a test."""
    return ImageCache(2**26)


@pytest.fixture
def tiny() -> Detector:
    """An untrained retinanet_tiny whose scores differ."""
    return spread_scores(build_detector(tiny_config(), torch.Generator().manual_seed(0)))


@pytest.fixture
def r50() -> Detector:
    """An untrained retinanet_r50 whose scores differ."""
    detector = build_detector(r50_config(), torch.Generator().manual_seed(0))
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    return calibrate(spread_scores(detector), images)


@pytest.fixture
def fcos() -> Detector:
    """An untrained fcos_tiny whose scores differ."""
    return spread_scores(build_detector(fcos_config(), torch.Generator().manual_seed(0)))


@pytest.fixture
def fcos_r50() -> Detector:
    """An untrained fcos_r50 whose scores differ."""
    detector = build_detector(fcos_r50_config(), torch.Generator().manual_seed(0))
    images = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    return calibrate(spread_scores(detector), images)


@pytest.fixture(params=["tiny", "r50", "fcos", "fcos_r50"])
def detector(request: pytest.FixtureRequest) -> Detector:
    """Each architecture in turn."""
    return request.getfixturevalue(request.param)
