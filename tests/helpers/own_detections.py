"""Exported detections of a detector that this project has not trained."""

import json
from pathlib import Path
from typing import Any

import numpy as np

CHANNELS = 4
SHIFTS = {"train": 0.0, "validation": 0.0, "quarry": 0.5, "shore": 2.0}  # mean of the features


def write_lab(folder: Path, num_images: int = 40) -> Path:
    """Four splits: two persons an image, most of them found, and detections of nothing."""
    rng = np.random.default_rng(0)
    for name, shift in SHIFTS.items():
        write_split(folder / name, shift, num_images, rng)
    return folder


def write_split(folder: Path, shift: float, num_images: int, rng: np.random.Generator) -> None:
    folder.mkdir(parents=True)
    images, annotations, results, features, of_truths = [], [], [], [], []
    for image in range(1, num_images + 1):
        images.append({"id": image, "file_name": f"{folder.name}/{image:03d}x.jpg",
                       "width": 200, "height": 100})  # fmt: skip
        for left in (10, 110):
            box = [left, 20, 30, 60]
            annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": 7,
                                "bbox": box, "area": 1800, "iscrowd": 0})  # fmt: skip
            of_truths.append(rng.normal(shift, 1, CHANNELS))
            if rng.random() < 0.8:
                moved = [left + rng.uniform(-3, 3), 20.0, 30.0, 60.0]
                results.append(detection(image, moved, rng.uniform(0.2, 1)))
                features.append(rng.normal(shift, 1, CHANNELS))
        results.append(detection(image, [60.0, 30.0, 20.0, 40.0], rng.uniform(0.02, 0.6)))
        features.append(rng.normal(shift + 1, 1.5, CHANNELS))
    truth = {"images": images, "annotations": annotations,
             "categories": [{"id": 7, "name": "person"}]}  # fmt: skip
    write(folder / "ground_truth.json", truth)
    write(folder / "results.json", results)
    np.save(folder / "features.npy", np.array(features, dtype=np.float32))
    np.save(folder / "truth_features.npy", np.array(of_truths, dtype=np.float32))


def detection(image: int, box: list[float], score: float) -> dict[str, Any]:
    return {"image_id": image, "category_id": 7, "bbox": box, "score": score}


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content))
