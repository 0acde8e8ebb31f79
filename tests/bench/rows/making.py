"""What several rows are measured on: boxes, pictures in memory, detectors."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from ptl_sweep.config.schema import DetectorConfig, conf_dir
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detector, build_detector

NOBODY = np.zeros((0, 4), np.float32)


def random_boxes(rng: np.random.Generator, count: int, width: int, height: int) -> np.ndarray:
    """Boxes of 8 to 58 px inside the image, xyxy float32."""
    size = rng.uniform(8, 58, (count, 2))
    corner = rng.uniform(0, 1, (count, 2)) * (np.array([width, height]) - size)
    return np.concatenate([corner, corner + size], axis=1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class InMemory:
    """Pixels that are decoded already."""

    pixels: np.ndarray

    def read(self) -> np.ndarray:
        """The same array each time."""
        return self.pixels

    def read_masks(self) -> np.ndarray:
        """Nobody translates these pictures."""
        raise NotImplementedError


def picture(
    rng: np.random.Generator, number: int, size: tuple[int, int], num_persons: int
) -> ImageRecord:
    """A picture of noise, width x height, with persons somewhere."""
    width, height = size
    return ImageRecord(
        image_id=str(number),
        width=width,
        height=height,
        boxes=random_boxes(rng, num_persons, width, height),
        ignored=NOBODY,
        scene="bench",
        pixels=InMemory(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)),
    )


def detector_config(name: str, **changes: Any) -> DetectorConfig:
    """A file of conf/detector with some keys changed."""
    values = OmegaConf.load(conf_dir() / "detector" / f"{name}.yaml")
    schema = OmegaConf.structured(DetectorConfig)
    return OmegaConf.to_object(OmegaConf.merge(schema, values, changes))


def detector(config: DetectorConfig) -> Detector:
    """One with random weights; the last normalisation of every residual block is damped.

    Without weights from ImageNet, frozen batch norms would let activations grow block by block.
    """
    built = build_detector(config, torch.Generator().manual_seed(0))
    for key, value in built.state_dict().items():
        if key.endswith("bn3.weight"):
            value.fill_(0.1)
    return built
