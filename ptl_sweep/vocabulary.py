"""The words of the study: groups of cells, variants of a distance, bands of a score."""

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

Value: TypeAlias = str | int | float | None
Row: TypeAlias = Mapping[str, Value]
OFF = "off"  # the value of `synthetic` that every effect is measured against
ALL_TARGETS = "(all)"  # target of a row over all targets; a row over all real counts: None
VARIANTS = ("raw", "shrunk", "calibrated", "equal_n")  # of the train2test distance
KINDS = ("tp", "fp", "all", "missed")  # whose distance; missed: ground truths that nobody hits
BANDS = ("low", "medium", "high")  # of the score: [s0, s1), [s1, s2), [s2, 1]
# One row per cell and kind of false positive that occurs.
FALSE_POSITIVE_TYPES = ("localisation", "duplicate", "background")
SIZES = ("small", "medium", "large")  # area < 32^2, < 96^2, above: pixels of the stored image, COCO
NEARNESS = ("near", "middle", "far", "unknown")  # nearer than the median true positive of the cell;
# than 95 % of them; farther; no distance exists
RANKINGS = ("distance", "score")  # what a curve ranks by; both over the same detections
CellKey: TypeAlias = tuple[str, int, str, str, int]  # dataset, real_count, synthetic, target, seed


class Group(NamedTuple):
    """Cells that differ in the seed only, or the mean of several such groups."""

    dataset: str
    real_count: int | None  # None: mean over the real counts
    synthetic: str
    target: str  # ALL_TARGETS: mean over the targets


def cell_key(group: Group, seed: int) -> CellKey:
    """One cell of a group that is not an average."""
    assert group.real_count is not None
    return (group.dataset, group.real_count, group.synthetic, group.target, seed)
