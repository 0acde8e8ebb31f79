"""R_t on disk: which real images, and which transformed images of which stage."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ptl_sweep.datasets.images import FileImage
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformedImage:
    """One virtual image after translation; its picture belongs to the stage that made it."""

    stage: str  # key of the ptl stage
    file: str  # path within that stage
    pool_id: str  # image_id in the virtual pool
    iteration: int
    width: int
    height: int
    boxes: list[list[float]]  # xyxy pixels

    def record(self, path: Path) -> ImageRecord:
        """As a training image; `path` is that of its picture."""
        return ImageRecord(
            image_id=f"{self.pool_id}@t{self.iteration}",
            width=self.width,
            height=self.height,
            boxes=np.array(self.boxes, dtype=np.float32).reshape(-1, 4),
            ignored=np.zeros((0, 4), dtype=np.float32),
            scene=self.pool_id,
            pixels=FileImage(path),
            synthetic=True,
        )


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """R_t = R_0 + transformed images of iterations 1..t (PTL eq. 6)."""

    real: tuple[ImageRecord, ...]
    transformed: tuple[TransformedImage, ...] = ()

    @property
    def selected_ids(self) -> set[str]:
        """Pool images that are used up: V_t = V_0 without them."""
        return {image.pool_id for image in self.transformed}

    def records(self, store: Store, own: tuple[str, Path] | None = None) -> list[ImageRecord]:
        """All training images; `own` is (key, work folder) of the stage being computed.

        Raises: StoreError for a picture of another stage that is not the published one.
        """
        key, folder = own or (None, None)
        return [
            *self.real,
            *(
                t.record(
                    folder / t.file
                    if folder is not None and t.stage == key
                    else store.artifact(t.stage, t.file)
                )
                for t in self.transformed
            ),
        ]

    def manifest(self) -> dict[str, object]:
        """Content of manifest.json."""
        return {
            "real": [record.image_id for record in self.real],
            "transformed": [asdict(image) for image in self.transformed],
        }


def read_training_set(path: Path, source: Sequence[ImageRecord]) -> TrainingSet:
    """R_t of a published stage; `source` holds the records that real ids refer to."""
    content = json.loads(path.read_text())
    by_id = {record.image_id: record for record in source}
    return TrainingSet(
        real=tuple(by_id[name] for name in content["real"]),
        transformed=tuple(TransformedImage(**image) for image in content["transformed"]),
    )
