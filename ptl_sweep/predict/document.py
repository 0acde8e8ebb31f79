"""detections.json and results.json: COCO's two formats, written while detections come.

The first is a whole COCO document, the second the list that pycocotools' loadRes reads. Numbers are
the shortest decimals that give the same float32 again.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.table import DetectionTable, EvaluatedImage

DETECTIONS, RESULTS = "detections.json", "results.json"
GROUND_TRUTH = "ground_truth.json"  # beside them where it is known
PERSON = 1  # category; COCO counts from 1
CATEGORIES = [{"id": PERSON, "name": "person", "supercategory": "person"}]


@dataclass(slots=True)
class CocoFiles:
    """Both files of one folder; they are whole once `finish` was called.

    What is held in memory is a line for each picture, never its detections.
    """

    folder: Path
    info: Mapping[str, Any]
    num_detections: int = 0
    _images: list[dict[str, Any]] = field(default_factory=list)
    _files: list[IO[str]] = field(default_factory=list)

    def __enter__(self) -> "CocoFiles":
        """Open both. Raises: OSError."""
        head = f'{{"info": {json.dumps(self.info)},\n"categories": {json.dumps(CATEGORIES)},\n'
        for name, start in ((DETECTIONS, f'{head}"annotations": ['), (RESULTS, "[")):
            self._files.append((self.folder / name).open("w", encoding="utf-8"))
            self._files[-1].write(start)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close both."""
        for file in self._files:
            file.close()

    def add(
        self,
        image: ImageRecord | EvaluatedImage,
        boxes: Float[ndarray, "n 4"],
        scores: Float[ndarray, " n"],
        distance: Float[ndarray, " n"],
    ) -> None:
        """Append a picture and its detections (xyxy pixels), by falling score."""
        self._images.append(image_entry(len(self._images) + 1, image))
        for result in _results(len(self._images), boxes, scores, distance):
            self.num_detections += 1
            width, height = result["bbox"][2:]
            more = {"id": self.num_detections, "area": width * height, "iscrowd": 0}
            comma = "," if self.num_detections > 1 else ""
            for file, content in zip(self._files, (result | more, result), strict=True):
                file.write(f"{comma}\n{json.dumps(content)}")

    def finish(self, skipped: Sequence[Mapping[str, str]]) -> None:
        """Write what is known at the end, and have it on the disk. Raises: OSError."""
        lines = ",\n".join(map(json.dumps, self._images))
        tail = f'],\n"images": [\n{lines}\n],\n"skipped": {json.dumps(list(skipped))}}}\n'
        for file, end in zip(self._files, (f"\n{tail}", "\n]\n"), strict=True):
            file.write(end)
            file.flush()
            os.fsync(file.fileno())


def image_entry(number: int, image: ImageRecord | EvaluatedImage) -> dict[str, Any]:
    """COCO's entry of a picture; pictures are numbered from 1."""
    return {
        "id": number,
        "file_name": image.image_id,
        "width": image.width,
        "height": image.height,
    }


def bounding_boxes(boxes: Float[ndarray, "n 4"]) -> list[list[float]]:
    """COCO's x, y, width and height of xyxy boxes."""
    corners = boxes.astype(np.float32)
    sized = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    return [[_short(value) for value in box] for box in sized]


def scored_boxes(
    image: int, boxes: Float[ndarray, "n 4"], scores: Float[ndarray, " n"]
) -> list[dict[str, Any]]:
    """COCO results of the picture with this number (boxes: xyxy pixels)."""
    rows = zip(bounding_boxes(boxes), scores.astype(np.float32), strict=True)
    return [
        {"image_id": image, "category_id": PERSON, "bbox": box, "score": _short(score)}
        for box, score in rows
    ]


def _results(
    image: int,
    boxes: Float[ndarray, "n 4"],
    scores: Float[ndarray, " n"],
    distance: Float[ndarray, " n"],
) -> list[dict[str, Any]]:
    """COCO results of one picture; the distance is null where none exists."""
    rows = zip(scored_boxes(image, boxes, scores), distance.tolist(), strict=True)
    return [
        result | {"train2test_distance": float(f"{far:.9g}") if np.isfinite(far) else None}
        for result, far in rows
    ]


def _short(value: np.float32) -> float:
    """The double with the fewest digits that is this float32."""
    return float(str(value))


def ground_truth(table: DetectionTable, info: Mapping[str, Any]) -> dict[str, Any]:
    """COCO's document of the persons of a target; `missed` says whom no detection hits."""
    boxes = bounding_boxes(table.truths.boxes)
    persons = zip(table.truths.image.tolist(), boxes, table.missed.tolist(), strict=True)
    return {
        "info": dict(info),
        "categories": CATEGORIES,
        "images": [image_entry(number, image) for number, image in enumerate(table.images, 1)],
        "annotations": [
            {
                "id": number,
                "image_id": image + 1,
                "category_id": PERSON,
                "bbox": box,
                "area": box[2] * box[3],
                "iscrowd": 0,
                "missed": missed,
            }
            for number, (image, box, missed) in enumerate(persons, start=1)
        ],
    }


def read_info(folder: Path) -> dict[str, Any] | None:
    """Read the `info` of a folder that `predict` has written; None for any other."""
    try:
        with (folder / DETECTIONS).open(encoding="utf-8") as file:
            first = file.readline()
        content = json.loads(first.rstrip().removesuffix(",") + "}")["info"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return content if isinstance(content, dict) else None
