"""The features that the Gaussian of any detector is fitted to (PTL eq. 1)."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from ptl_sweep.config.schema import FeatureConfig
from ptl_sweep.datasets.validation import data_error
from ptl_sweep.detection.detector import Detections
from ptl_sweep.distance.gaussian import StoredFeatures
from ptl_sweep.own_detector.features import load_arrays, read_features, require_finite
from ptl_sweep.own_detector.layout import FEATURES, SELECTED
from ptl_sweep.own_detector.split import OwnImage, read_split
from ptl_sweep.ptl.domain_gap import found_persons

DETECTIONS = "detections of results.json"


def training_features(
    folder: Path, config: FeatureConfig, category: str | None
) -> tuple[StoredFeatures, str]:
    """Read the features of the training detections that found a ground truth, and what they are.

    Raises: DataError for files that cannot be used.
    """
    path = folder / SELECTED
    if path.is_file():
        selected = _selected(path)
        return selected, f"{len(selected.features)} features of {path.name}"
    split = read_split(folder, category)
    features = read_features(folder, FEATURES, split.scores >= config.min_score, DETECTIONS)
    kept = [_kept(image, features, config) for image in split.images]
    images = np.repeat(np.arange(len(kept)), [len(rows) for rows in kept])
    found = StoredFeatures(np.array(features[np.concatenate(kept)]), images)
    return found, (
        f"{len(images)} of {split.num_results} detections have score >= {config.min_score:g} and "
        f"IoU > {config.min_iou:g} with one of {split.num_truths} ground truths"
    )


def num_real_of(folder: Path) -> int | None:
    """How many of the training images are real, the first ones; None: all are, or nobody says.

    Raises: DataError for what is no whole number.
    """
    path = folder / SELECTED
    found = load_arrays(path).get("num_real") if path.is_file() else None
    if found is None:
        return None
    if found.shape or found.dtype.kind not in "iu" or found < 0:
        raise data_error(path, f"num_real is {found}", "write the number of real images, or none")
    return int(found)


def _selected(path: Path) -> StoredFeatures:
    """Features that are selected already, and the training image of each. Raises: DataError."""
    arrays = load_arrays(path)
    if not isinstance(arrays, dict) or not {"features", "images"} <= set(arrays):
        raise data_error(
            path, "must hold arrays features and images", "save it by np.savez(file, features=...)"
        )
    features, images = arrays["features"], arrays["images"]
    shapes = f"features of shape {features.shape} and images of shape {images.shape}"
    has_rows = features.ndim == 2 and images.shape == features.shape[:1]
    if not has_rows or features.dtype.kind != "f" or images.dtype.kind not in "iu":
        raise data_error(
            path,
            f"holds {shapes}, must be floats of shape (n, channels) and n whole numbers",
            "write a row of floats for each training detection, and which image it is from",
        )
    require_finite(features, np.ones(len(features), dtype=bool), path)
    return StoredFeatures(features, images)


def _kept(
    image: OwnImage, features: Float[ndarray, "n d"], config: FeatureConfig
) -> Int[ndarray, " k"]:
    """Rows of the detections that count, by falling score.

    Detections with one and the same feature count once, as anchors of a cell do in a sweep.
    """
    rows = image.found.rows
    if not len(rows):
        return rows
    _, cells = np.unique(features[rows], axis=0, return_inverse=True)
    detections = Detections(
        boxes=torch.from_numpy(image.found.boxes),
        scores=torch.from_numpy(image.scores),
        features=torch.zeros(len(rows), 0),
        levels=torch.zeros(len(rows), dtype=torch.int64),
        cells=torch.from_numpy(cells.reshape(-1)),
    )
    kept: Int[ndarray, " k"] = rows[found_persons(detections, image.truths.boxes, config).numpy()]
    return kept
