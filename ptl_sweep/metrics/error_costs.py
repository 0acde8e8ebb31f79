"""What each type of error costs: AP50 without it, and AP50 if it were fixed as TIDE defines it.

TIDE (Bolya et al., ECCV 2020): the cost of a type is AP with its errors fixed minus AP. Costs of
types do not add up to that of all. Its "missed" leave out persons next to a localisation error;
with hundreds of detections an image that is nearly everybody, so that all false negatives stand
beside them.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ptl_sweep.datasets.boxes import box_iou
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.metrics.average_precision import average_precision, ranking
from ptl_sweep.metrics.false_positives import false_positive_types, size_classes
from ptl_sweep.vocabulary import FALSE_POSITIVE_TYPES, MISSED, NEARNESS, SIZES, UNHIT, Value

LOCALISATION = FALSE_POSITIVE_TYPES.index("localisation")
RELATIVE_LIMITS = (1.0, 2.0)  # of near and middle: times the mean unseen person of the source


class Repairs(NamedTuple):
    """What fixing localisation errors gives, and the persons that it leaves."""

    hits: Bool[ndarray, " n"]  # localisation errors that become true positives
    missed: Bool[ndarray, " m"]  # persons that no detection hits and none would hit, once fixed


class _Ap50:
    """AP50 of a table after repairs, matched once in the order of the scores."""

    def __init__(self, table: DetectionTable) -> None:
        order = ranking(-table.score, table.score, table.image, table.box_index)
        self.order = order[table.counted[order]]
        self.true_positive, self.num_truths = table.true_positive, table.num_truths
        self.full = average_precision(self.true_positive[self.order], self.num_truths)

    def without(self, dropped: Bool[ndarray, " n"], hits: Bool[ndarray, " n"]) -> float:
        """Detections left out, some of them true positives instead."""
        kept = self.order[(~dropped | hits)[self.order]]
        return average_precision((self.true_positive | hits)[kept], self.num_truths)

    def with_fewer_persons(self, num_missed: int) -> float:
        """Recall over fewer persons; 0 where none is left, NaN where there was none."""
        if num_missed and num_missed == self.num_truths:
            return 0.0
        return average_precision(self.true_positive[self.order], self.num_truths - num_missed)


def error_rows(table: DetectionTable, repairs: Repairs) -> list[dict[str, Value]]:
    """AP50 without the errors of each type, and with them fixed; over every score, at IoU 0.5.

    Removed: these false positives never were. Fixed: a localisation error is a true positive of
    the person that it overlaps most, the best of them where no detection hits that person; the
    other false positives are removed. Persons are fixed by leaving them out of recall, as if they
    were found with the precision of the others. "all" are all false positives, "unhit" all false
    negatives, and "missed" those of them without a localisation error. NaN without ground truth.
    """
    types, ap50 = false_positive_types(table), _Ap50(table)
    members = {name: types == index for index, name in enumerate(FALSE_POSITIVE_TYPES)}
    members["all"] = types >= 0
    nothing = np.zeros(len(types), dtype=bool)
    rows: list[dict[str, Value]] = []
    for name, of_type in members.items():
        removed = ap50.without(of_type, nothing)
        fixed = ap50.without(of_type, repairs.hits & of_type)
        rows.append(_row(name, int(of_type.sum()), ap50.full, (removed, fixed)))
    for name, persons in ((MISSED, repairs.missed), (UNHIT, table.missed)):
        num = int(persons.sum())
        rows.append(_row(name, num, ap50.full, (np.nan, ap50.with_fewer_persons(num))))
    return rows


def _row(name: str, num: int, full: float, without: tuple[float, float]) -> dict[str, Value]:
    removed, fixed = without
    return {
        "type": name,
        "num": num,
        "AP50": full,
        "AP50_without": removed,
        "gain": removed - full,
        "AP50_fixed": fixed,
        "gain_fixed": fixed - full,
    }


def missed_rows(
    table: DetectionTable, repairs: Repairs, relative: Float[ndarray, " m"]
) -> list[dict[str, Value]]:
    """Persons by size, then by distance to the training set: how many are not hit, and their cost.

    `relative` are the relative distances of all persons, in the order of `table.truths`: near is
    below 1, middle below 2. Classes without any person are left out.
    """
    distance = np.digitize(relative, RELATIVE_LIMITS)
    distance[np.isnan(relative)] = NEARNESS.index("unknown")
    splits = {"size": (SIZES, size_classes(table.truths.boxes)), "distance": (NEARNESS, distance)}
    unhit, ap50 = table.missed, _Ap50(table)
    rows: list[dict[str, Value]] = []
    for split, (names, classes) in splits.items():
        for index in np.unique(classes).tolist():
            own = classes == index
            num = int((own & unhit).sum())
            fixed = ap50.with_fewer_persons(num)
            rows.append(
                {
                    "split": split,
                    "part": names[index],
                    "num_ground_truth": int(own.sum()),
                    "num": num,
                    "num_missed": int((own & repairs.missed).sum()),
                    "AP50_fixed": fixed,
                    "gain_fixed": fixed - ap50.full,
                }
            )
    return rows


def repair(table: DetectionTable) -> Repairs:
    """Let each person that no detection hits be hit by the best localisation error on it.

    Best: the highest score, then the first box. A localisation error is on the person that it
    overlaps most, hit or not.
    """
    rows = np.flatnonzero(false_positive_types(table) == LOCALISATION)
    person = _most_overlapped(table, rows)
    free = table.missed[person]
    rows, person = rows[free], person[free]
    order = np.lexsort((table.box_index[rows], -table.score[rows]))
    hit_persons, first = np.unique(person[order], return_index=True)
    hits = np.zeros(len(table.score), dtype=bool)
    hits[rows[order[first]]] = True
    missed = table.missed
    missed[hit_persons] = False
    return Repairs(hits, missed)


def _most_overlapped(table: DetectionTable, rows: Int[ndarray, " k"]) -> Int[ndarray, " k"]:
    """Row of `truths` with the best IoU, of equals the last; `rows` overlap some person."""
    images = np.arange(table.num_images + 1)
    starts = np.searchsorted(table.image[rows], images)
    persons = np.searchsorted(table.truths.image, images)
    best = np.empty(len(rows), dtype=np.int64)
    for image in np.flatnonzero(np.diff(starts)):
        own = slice(starts[image], starts[image + 1])
        first, end = persons[image], persons[image + 1]
        iou = box_iou(table.boxes[rows[own]], table.truths.boxes[first:end])
        best[own] = end - 1 - iou[:, ::-1].argmax(1)
    return best
