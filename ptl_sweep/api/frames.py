"""Stored arrays as frames that a notebook can filter, join and plot."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.datasets.images import FileImage
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.distance.gaussian import Gaussian, GaussianRefusal
from ptl_sweep.distance.train2test import distances

CORNERS = ("x1", "y1", "x2", "y2")  # pixels of the stored image


def distances_of(table: DetectionTable, fit: Gaussian | GaussianRefusal) -> Float[ndarray, " n"]:
    """Distance of each detection to the training set; NaN without a feature or a Gaussian."""
    far = np.full(len(table.score), np.nan)
    far[table.featured] = distances(table.features, fit)
    return far


def detections_frame(table: DetectionTable, fit: Gaussian | GaussianRefusal) -> pl.DataFrame:
    """One row for each detection, with its distance to the training set."""
    names = np.array([image.image_id for image in table.images])
    far = distances_of(table, fit)
    has_feature = np.zeros(len(far), dtype=bool)
    has_feature[table.featured] = True
    frame = pl.DataFrame(
        {
            "image_id": names[table.image],
            **dict(zip(CORNERS, table.boxes.T, strict=True)),
            "score": table.score,
            "true_positive": table.true_positive,
            "iou": table.iou,
            "ignored": table.ignored,
            "distance": far,
        }
    )
    return frame.with_columns(pl.when(pl.Series(has_feature)).then("distance").alias("distance"))


def persons_frame(table: DetectionTable) -> pl.DataFrame:
    """One row for each person of the target."""
    names = np.array([image.image_id for image in table.images])
    return pl.DataFrame(
        {
            "image_id": names[table.truths.image],
            **dict(zip(CORNERS, table.truths.boxes.T, strict=True)),
            "missed": table.missed,
        }
    )


def images_frame(records: Sequence[ImageRecord]) -> pl.DataFrame:
    """One row for each image; `path` is null where pixels are drawn and lie in no file."""
    return pl.DataFrame(
        {
            "image_id": [record.image_id for record in records],
            "synthetic": [record.synthetic for record in records],
            "width": [record.width for record in records],
            "height": [record.height for record in records],
            "num_persons": [len(record.boxes) for record in records],
            "path": [
                str(record.pixels.path) if isinstance(record.pixels, FileImage) else None
                for record in records
            ],
        },
        schema_overrides={"path": pl.String},
    )
