"""False positives by type, size, score and distance, and which ones to look at.

The types are those of TIDE (Bolya et al., ECCV 2020) for one class, at IoU 0.5, after matching in
the order of the scores.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.datasets.boxes import box_areas
from ptl_sweep.detection.table import FEATURE_MIN_SCORE, DetectionTable
from ptl_sweep.metrics.average_precision import ranking
from ptl_sweep.vocabulary import BANDS, FALSE_POSITIVE_TYPES, NEARNESS, SIZES, Value

DUPLICATE_IOU = 0.5  # from here on the best ground truth is taken, else it would be a hit
BACKGROUND_IOU = 0.1  # below no ground truth is meant
SIZE_LIMITS = (32**2, 96**2)  # square pixels of the stored image, as COCO
FAR_QUANTILE = 0.95  # of the distances of true positives
PER_IMAGE = 2  # of one sheet, so that one scene does not fill it
MOST_CONFIDENT, NEAREST = "most confident", "nearest"


def false_positive_types(table: DetectionTable) -> Int[ndarray, " n"]:
    """Index into FALSE_POSITIVE_TYPES; -1 for true positives and what does not count.

    duplicate: IoU >= 0.5 with a ground truth that a better detection took; localisation: best IoU
    in [0.1, 0.5); background: below 0.1.
    """
    kinds = [FALSE_POSITIVE_TYPES.index(kind) for kind in ("duplicate", "localisation")]
    overlaps = [table.iou >= DUPLICATE_IOU, table.iou >= BACKGROUND_IOU]
    kind = np.select(overlaps, kinds, FALSE_POSITIVE_TYPES.index("background"))
    return np.where(table.counted & ~table.true_positive, kind, -1)


def false_positive_rows(
    table: DetectionTable, distance: Float[ndarray, " n_f"], thresholds: Sequence[float]
) -> list[dict[str, Value]]:
    """How many false positives with score >= thresholds[0] there are of each kind that occurs.

    `distance` is the shrunk one, aligned with `table.features`. Columns type, band, size, nearness
    and num, sorted in the order of these constants.
    """
    names = (FALSE_POSITIVE_TYPES, BANDS, SIZES, NEARNESS)
    shape = [len(values) for values in names]
    band = np.sum([table.score >= threshold for threshold in thresholds], axis=0) - 1
    size = size_classes(table.boxes)
    nearness = _nearness(table, distance, table.true_positive & (band >= 0))
    types = false_positive_types(table)
    chosen = (types >= 0) & (band >= 0)
    kinds = np.stack([types, band, size, nearness])[:, chosen]
    counts = np.bincount(np.ravel_multi_index(tuple(kinds), shape), minlength=np.prod(shape))
    columns = ("type", "band", "size", "nearness")
    return [
        {
            **{
                column: values[index]
                for column, values, index in zip(columns, names, place, strict=True)
            },
            "num": int(counts.reshape(shape)[tuple(place)]),
        }
        for place in np.argwhere(counts.reshape(shape)).tolist()
    ]


def size_classes(boxes: Float[ndarray, "n 4"]) -> Int[ndarray, " n"]:
    """Index into SIZES by area: square pixels of the stored image."""
    return np.asarray(np.searchsorted(SIZE_LIMITS, box_areas(boxes), side="right"))


def _nearness(
    table: DetectionTable, distance: Float[ndarray, " n_f"], reference: Bool[ndarray, " n"]
) -> Int[ndarray, " n"]:
    """Index into NEARNESS, from median and 95 % quantile of the distances of the reference."""
    every = _per_row(table, distance)
    known = every[reference & ~np.isnan(every)]
    near, middle, far, unknown = range(len(NEARNESS))
    if not len(known):
        return np.full(len(every), unknown)
    median, limit = np.quantile(known, (0.5, FAR_QUANTILE))
    return np.select([np.isnan(every), every < median, every < limit], [unknown, near, middle], far)


def _per_row(table: DetectionTable, distance: Float[ndarray, " n_f"]) -> Float[ndarray, " n"]:
    """Distance of each row of the table; NaN where no feature was kept."""
    every = np.full(len(table.score), np.nan)
    every[table.featured] = distance
    return every


def sheet_rows(
    table: DetectionTable,
    distance: Float[ndarray, " n_f"],
    count: int,
    *,
    min_score: float = FEATURE_MIN_SCORE,
) -> dict[str, Int[ndarray, " k"]]:
    """Rows of the false positives to look at: highest score, and smallest distance.

    At most `count` per group and two per image; score >= `min_score`. Ties: higher score, then
    image, then box index. "nearest" is empty where no distances exist.
    """
    every = _per_row(table, distance)
    wrong = (false_positive_types(table) >= 0) & (table.score >= min_score)
    return {
        MOST_CONFIDENT: first_of_images(table, np.flatnonzero(wrong), -table.score, count),
        NEAREST: first_of_images(table, np.flatnonzero(wrong & ~np.isnan(every)), every, count),
    }


def first_of_images(
    table: DetectionTable, rows: Int[ndarray, " m"], key: Float[ndarray, " n"], count: int
) -> Int[ndarray, " k"]:
    """The first rows by rising key, never more than PER_IMAGE of one image."""
    order = ranking(key[rows], table.score[rows], table.image[rows], table.box_index[rows])
    shown: Counter[int] = Counter()
    chosen: list[int] = []
    for row in rows[order].tolist():
        image = int(table.image[row])
        if len(chosen) < count and shown[image] < PER_IMAGE:
            shown[image] += 1
            chosen.append(row)
    return np.array(chosen, dtype=np.int64)
