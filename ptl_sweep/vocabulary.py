"""The words of the study: groups of cells, variants of a distance, bands of a score, columns.

The names of measured columns are made here, from what they measure, and are never read back.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import NamedTuple, TypeAlias

Value: TypeAlias = str | int | float | None
Row: TypeAlias = Mapping[str, Value]
OFF = "off"  # the value of `synthetic` that every effect is measured against
ALL_TARGETS = "(all)"  # target of a row over all targets; a row over all real counts: None
VARIANTS = ("raw", "shrunk", "calibrated", "equal_n")  # of the train2test distance
KINDS = ("tp", "fp", "all", "missed")  # whose distance; missed (on disk): false negatives
BANDS = ("low", "medium", "high")  # of the score: [s0, s1), [s1, s2), [s2, 1]
# One row per cell and kind of false positive that occurs.
FALSE_POSITIVE_TYPES = ("localisation", "duplicate", "background")
SIZES = ("small", "medium", "large")  # area < 32^2, < 96^2, above: pixels of the stored image, COCO
NEARNESS = ("near", "middle", "far", "unknown")  # nearer than the median true positive of the cell;
# than 95 % of them; farther; no distance exists
RANKINGS = ("distance", "score")  # what a curve ranks by; both over the same detections
CellKey: TypeAlias = tuple[str, int, str, str, int]  # dataset, real_count, synthetic, target, seed


class ApT2tVariant(StrEnum):
    """What an AP_t2t column ranks by or compares with; the value is the suffix of its name."""

    RAW = ""  # distance by the maximum likelihood covariance
    SHRUNK = "_shrunk"  # the headline; all below use this ranking too, but for equal_n and null
    EQUAL_N = "_equal_n"
    LIFT = "_lift"  # over the null
    NULL = "_null"  # random order
    MATCHED = "_matched"  # recall over the ground truths that the detections hit
    REMATCHED = "_rematched"  # matched in the order of the distances
    IOU_50_95 = "_50_95"  # mean over ten IoU thresholds, matched in the order of the scores


class ApT2t(NamedTuple):
    """An AP_t2t column: all detections of at least a score."""

    threshold: float  # least score; columns tell hundredths apart
    variant: ApT2tVariant = ApT2tVariant.SHRUNK

    @property
    def name(self) -> str:
        """`AP_t2t_010_shrunk`."""
        return f"AP_t2t_{round(100 * self.threshold):03d}{self.variant}"


class Distance(NamedTuple):
    """A train2test column: a statistic of the distances of one kind of detections."""

    kind: str  # tp | fp
    statistic: str  # mean | median
    variant: str = "raw"  # of VARIANTS

    @property
    def predictor(self) -> str:
        """What is measured, whatever the variant: `tp_mean`."""
        return f"{self.kind}_{self.statistic}"

    @property
    def name(self) -> str:
        """`t2t_tp_mean_shrunk`."""
        return f"t2t_{self.predictor}" + ("" if self.variant == "raw" else f"_{self.variant}")


DISTANCES = tuple(  # of every variant, in the order of the columns
    Distance(kind, statistic) for statistic in ("mean", "median") for kind in ("tp", "fp")
)
SHRUNK_DISTANCE = Distance("tp", "mean", "shrunk")  # not comparable across gaussian_n: never tested
COMPARABLE_DISTANCE = Distance("tp", "mean", "equal_n")


def band_name(band: str) -> str:
    """The column of AP_t2t (shrunk) over the scores of one band: `AP_t2t_medium`."""
    return f"AP_t2t_{band}"


def bounded(name: str) -> tuple[str, str, str]:
    """A column with an interval: its value, lower and upper bound."""
    return name, f"{name}_low", f"{name}_high"


def thresholds_in(names: Iterable[str]) -> list[float]:
    """Least scores, rising, whose headline AP_t2t is among these columns."""
    known = set(names)
    every = (hundredths / 100 for hundredths in range(101))
    return [threshold for threshold in every if ApT2t(threshold).name in known]


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
