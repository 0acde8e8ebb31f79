"""Stored detections of a cell as COCO files, for FiftyOne, pycocotools and other tools.

The files are those of `predict`, and the persons of the target beside them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.predict.document import GROUND_TRUTH, CocoFiles, ground_truth
from ptl_sweep.predict.folder import replaced_folder
from ptl_sweep.store import write_atomically


def write_coco(
    table: DetectionTable, distance: Float[ndarray, " n"], folder: Path, info: Mapping[str, Any]
) -> None:
    """Write detections.json, results.json and ground_truth.json into a folder of their own.

    A detection in ignored regions that hits nobody counts neither way, and is left out: COCO's
    format has no word for it. Raises: ConfigError for a folder that holds something else, OSError.
    """
    first = np.searchsorted(table.image, np.arange(table.num_images + 1))
    with replaced_folder(folder, info) as work:
        with CocoFiles(work, info) as files:
            for image, start, stop in zip(table.images, first, first[1:], strict=False):
                rows = start + np.flatnonzero(table.counted[start:stop])
                files.add(image, table.boxes[rows], table.score[rows], distance[rows])
            files.finish([])
        content = json.dumps(ground_truth(table, info)).encode()
        write_atomically(work / GROUND_TRUTH, content)
