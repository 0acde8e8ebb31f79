"""Typed config of the analysis: how stored detections become train2test, AP_t2t and intervals.

Read by the reducer alone, so another choice retrains nothing; `calibration` adds evaluations. The
ICIP paper's text could not be read: every default is ours (docs/method.md, sections 2 to 4).
"""

from dataclasses import dataclass, field

from ptl_sweep.config.checks import ConfigError, at_least, in_range, one_of, usable

# Detections per image beside scores of 0.01, 0.1 and 0.5: what the demo's detectors trained on real
# images alone have at least at these scores, rounded, so that all detectors have as many.
EQUAL_COUNTS = (20.0, 5.0, 1.0)


@dataclass(kw_only=True, slots=True)
class ApT2tConfig:
    """What AP_t2t counts; the columns of the other choice of recall and matching stay beside it."""

    recall: str = "all"  # denominator: all ground truths | matched: those that a detection hits
    matching: str = "score"  # score: true positives as in AP | distance: matched nearest first
    interpolation: str = "points"  # points: precision at 101 recalls, as in AP | area
    null_draws: int = 20  # random orders that the lift is over
    equal_counts: list[float] = field(default_factory=lambda: list(EQUAL_COUNTS))  # most confident
    # detections per image, on average over a target: operating points beside fixed scores

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("analysis.ap_t2t", self)
        one_of("analysis.ap_t2t.recall", self.recall, ("all", "matched"))
        one_of("analysis.ap_t2t.matching", self.matching, ("score", "distance"))
        one_of("analysis.ap_t2t.interpolation", self.interpolation, ("points", "area"))
        at_least("analysis.ap_t2t.null_draws", self.null_draws, 1, 100_000)
        many, medium, few = self.equal_counts if len(self.equal_counts) == 3 else (0, 0, 0)
        if not many > medium > few > 0:
            raise ConfigError(
                "analysis.ap_t2t.equal_counts must be three numbers of detections per image, each "
                f"smaller than the one before, got {self.equal_counts}; for example [20, 5, 1]"
            )


@dataclass(kw_only=True, slots=True)
class AnalysisConfig:
    """How distances are made comparable, and how often test images are resampled."""

    shrinkage: str = "oas"  # of the shrunk distance: oas | ledoit_wolf
    calibration: str = "validation"  # unit of calibrated distances: mean over true positives of
    # validation: what the source holds back | crossfit: R_T itself, optimistic | none: no columns
    equal_n_shrinkage: float = 0.25  # rho of the covariance behind equal_n, the same everywhere
    equal_n_draws: int = 20  # subsets of the training features that one distance is the mean of
    equal_n_min: int = 50  # features; a detector with fewer has no equal_n distance
    relative_n: int = 8  # features behind relative distances, of every detector in any sweep; needs
    # as many training images with a feature, so at most the smallest real_count
    relative_per_image: int = 1  # features of one image among them: persons of one image are alike
    num_resamples: int = 1000  # of the bootstrap over test images or scenes
    num_workers: int | None = None  # processes that measure cells; null: one per core, at most 8
    ap_t2t: ApT2tConfig = field(default_factory=ApT2tConfig)

    def __post_init__(self) -> None:
        """Reject values no run can use."""
        usable("analysis", self)
        one_of("analysis.shrinkage", self.shrinkage, ("oas", "ledoit_wolf"))
        one_of("analysis.calibration", self.calibration, ("validation", "crossfit", "none"))
        in_range("analysis.equal_n_shrinkage", self.equal_n_shrinkage, 0.01, 1)
        at_least("analysis.equal_n_draws", self.equal_n_draws, 1, 100_000)
        at_least("analysis.equal_n_min", self.equal_n_min, 2)
        at_least("analysis.relative_n", self.relative_n, 2)
        at_least("analysis.relative_per_image", self.relative_per_image, 1)
        at_least("analysis.num_resamples", self.num_resamples, 100, 1_000_000)
        at_least("analysis.num_workers", self.num_workers, 1, 1024)
