"""docs/own-detector.md: its exporter runs as it stands, on a model that torch alone knows."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

PAGE = Path(__file__).parents[2] / "docs" / "own-detector.md"
SPLITS = {"train": 0, "validation": 0, "quarry": 60}  # how much brighter the ground is
NUM_IMAGES = 12


class Blobs(nn.Module):
    """Boxes around what is bright, as torchvision's detectors give them."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        convolution = nn.Conv2d(3, 5, 5, stride=2, padding=2)
        weight = torch.randn(convolution.weight.shape, generator=generator)
        convolution.load_state_dict({"weight": weight, "bias": torch.ones(5)})
        self.backbone = nn.Sequential(convolution, nn.ReLU())

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        return [self.found(image.amax(0).numpy()) for image in images]

    def found(self, gray: np.ndarray) -> dict[str, Tensor]:
        places = ndimage.find_objects(ndimage.label(gray > 0.6)[0])
        boxes = [[x.start, y.start, x.stop, y.stop] for y, x in places]
        scores = [float(gray[place].mean()) for place in places]
        return {
            "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            "scores": torch.tensor(scores),
            "labels": torch.ones(len(boxes), dtype=torch.int64),
        }


def draw_pictures(folder: Path) -> None:
    """Two bright persons on dark ground in each picture, and one bright stone."""
    rng = np.random.default_rng(0)
    for split, ground in SPLITS.items():
        images, annotations = [], []
        for number in range(NUM_IMAGES):
            pixels = rng.integers(ground, ground + 80, (48, 80, 3), dtype=np.uint8)
            for left, is_person in ((5, True), (30, True), (60, False)):
                x, y = left + int(rng.integers(0, 6)), int(rng.integers(4, 16))
                width, height = (8, 20) if is_person else (12, 6)
                pixels[y : y + height, x : x + width] = rng.integers(170, 255)
                if is_person:
                    annotations.append({"id": len(annotations), "image_id": number,
                                        "category_id": 1,
                                        "bbox": [x, y, width, height]})  # fmt: skip
            name = f"{split}-{number:02d}-.png"
            Image.fromarray(pixels).save(folder / name)
            images.append({"id": number, "file_name": name})
        content = {"images": images, "annotations": annotations,
                   "categories": [{"id": 1, "name": "person"}]}  # fmt: skip
        (folder / f"{split}.json").write_text(json.dumps(content))


def test_the_exporter_of_the_page_runs_as_it_stands(
    measure: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    draw_pictures(tmp_path)
    exec(compile(block, PAGE.name, "exec"), {"model": Blobs().eval(), "pictures": tmp_path})
    found = measure("detections")
    assert found["gaussian"]["n"] == 2 * NUM_IMAGES
    row = found["targets"]["quarry"]
    assert row["num_ground_truth"] == 2 * NUM_IMAGES
    assert row["num_detections"] == 3 * NUM_IMAGES
    assert 0.5 < row["AP50"] < 1
    assert row["t2t_tp_mean_calibrated"] > 1.5  # the ground is brighter there
    assert row["d_relative"] > 1.2
    assert row["t2t_fp_mean_shrunk"] > row["t2t_tp_mean_shrunk"]
