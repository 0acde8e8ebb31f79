"""The words of the study: groups of cells, variants of a distance, bands of a score, columns.

The names of measured columns are made here, from what they measure, and are never read back.
"""

from collections.abc import Mapping
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
MISSED = "missed"  # persons that no detection hits, nor nearly hits as a localisation error
UNHIT = "unhit"  # persons that no detection hits: the false negatives at every score
ERROR_TYPES = (*FALSE_POSITIVE_TYPES, MISSED, UNHIT)  # what costs AP50
SIZES = ("small", "medium", "large")  # area < 32^2, < 96^2, above: pixels of the stored image, COCO
NEARNESS = ("near", "middle", "far", "unknown")  # nearer than the median true positive of the cell;
# than 95 % of them; farther; no distance exists
RANKINGS = ("distance", "score")  # what a curve ranks by; both over the same detections
CellKey: TypeAlias = tuple[str, int, str, str, int]  # dataset, real_count, synthetic, target, seed


class Condition(StrEnum):
    """Whether something that a sentence rests on is as it should be."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_JUDGED = "not judged"  # too little to judge by


class Domain(StrEnum):
    """Where the target of a cell is from, seen from its source."""

    CROSS = "cross"  # another data set
    IN = "in"  # a part of the source
    CALIBRATION = "calibration"  # that part of the source which is the unit of its distances


class ApT2tVariant(StrEnum):
    """What an AP_t2t column ranks by or compares with; the value is the suffix of its name."""

    RAW = ""  # distance by the maximum likelihood covariance
    SHRUNK = "_shrunk"  # the headline; all below use this ranking too, but for equal_n and null
    EQUAL_N = "_equal_n"
    LIFT = "_lift"  # over the null
    NULL = "_null"  # random order
    MATCHED = "_matched"  # recall over the ground truths that the detections hit
    MATCHED_LIFT = "_matched_lift"  # the same over its own null
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


class ApT2tAtCount(NamedTuple):
    """An AP_t2t column: the most confident detections, as many of them for every detector."""

    per_image: float  # detections for each image of the target, on average
    variant: ApT2tVariant = ApT2tVariant.SHRUNK  # of AT_COUNT

    @property
    def name(self) -> str:
        """`AP_t2t_5_per_image_shrunk`."""
        return f"AP_t2t_{self.per_image:g}_per_image{self.variant}"


AT_COUNT = (
    ApT2tVariant.SHRUNK, ApT2tVariant.LIFT, ApT2tVariant.NULL, ApT2tVariant.MATCHED,
    ApT2tVariant.MATCHED_LIFT,
)  # fmt: skip


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
RELATIVE_DISTANCE = "d_relative"  # mean over all ground truths; comparable across training sets
NEG_LOG_P = "neg_log_p"  # the same mean of -log p, nats up to a constant
KNN_DISTANCE = "d_knn"  # to the k-th nearest real training feature, mean over the same persons
RELATIVE_MAHALANOBIS = "d_rmd"  # the same mean of d minus the distance to whatever is detected


def band_name(band: str) -> str:
    """The column of AP_t2t (shrunk) over the scores of one band: `AP_t2t_medium`."""
    return f"AP_t2t_{band}"


def cost_name(error_type: str) -> str:
    """The AP50 that the errors of a type cost, by cell: `cost_duplicate`."""
    return f"cost_{error_type}"


def bounded(name: str) -> tuple[str, str, str]:
    """A column with an interval: its value, lower and upper bound."""
    return name, f"{name}_low", f"{name}_high"


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
