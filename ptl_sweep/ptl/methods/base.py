"""What a synthetic method is: it yields a cell's chain of stages, and selects within each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.config.choices import Choice
from ptl_sweep.config.schema import Config, InferenceConfig
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.distance.gaussian import Gaussian, GaussianRefusal, fit_gaussian
from ptl_sweep.ptl.selection import Selection, select_uniformly

if TYPE_CHECKING:  # plans know methods, and load no torch
    from ptl_sweep.detection.detector import Detector

S = TypeVar("S")


class SelectionInput(NamedTuple):
    """What a method may look at when it selects from the pool that is left, V_t."""

    pool: Sequence[ImageRecord]
    features: Float[ndarray, "n d"]  # of the detector on R_t
    load_detector: "Callable[[], Detector]"  # of R_t, ready for inference
    inference: InferenceConfig
    rng: np.random.Generator
    cache: ImageCache


class SelectedVirtualImages(NamedTuple):
    """The virtual images of this iteration."""

    selection: Selection  # indices into the pool that is left
    gap: Float[ndarray, " p"]  # squared Mahalanobis distance per pool image; NaN: not measured
    gaussian: Gaussian | None = None  # that the gap was measured with
    reason: str | None = None  # why the selection is not by domain gap alone


class TrainingPhase(NamedTuple):
    """A part of a training: its share of the steps, and the images that it sees."""

    share: float
    real: bool = True
    virtual: bool = True


@dataclass(frozen=True, kw_only=True)
class SyntheticMethod(Choice, ABC):
    """A way to add virtual images, with its parameters."""

    key: ClassVar[str] = "synthetic"
    translates: ClassVar[bool] = True  # whether the cell's translator changes what it adds

    @property
    def phases(self) -> tuple[TrainingPhase, ...]:
        """The parts of an iteration's training in order; of most methods one, on all of R_t."""
        return (TrainingPhase(1.0),)

    @classmethod
    def of(cls, config: Config) -> "SyntheticMethod":
        """The parameters that this method reads. Raises: ConfigError."""
        return cls.read(config.synthetic, config.synthetic.options)

    def chain(self, first: S, iterate: Callable[[int, S], S], num_iterations: int) -> list[S]:
        """The stages whose detectors a cell reads; `first` is the one without synthetic images.

        `iterate(t, before)` makes the stage of PTL iteration t = 1.. on top of another.
        """
        stages = [first]
        for iteration in range(1, num_iterations + 1):
            stages.append(iterate(iteration, stages[-1]))
        return stages

    @abstractmethod
    def select(self, given: SelectionInput) -> SelectedVirtualImages:
        """Draw the virtual images of one iteration."""


@dataclass(frozen=True, kw_only=True)
class GapMethod(SyntheticMethod, ABC):
    """PTL's loop: the detector on R_t measures the domain gap of the pool, which decides."""

    images_per_iteration: int  # n
    scales: list[int]  # S of eq. 4, pixels
    context: float  # side of the square that is resized to s x s, in longer box sides; ours
    covariance: str = "oas"  # of the Gaussian of R_t (eq. 1-2)

    @classmethod
    def of(cls, config: Config) -> "GapMethod":
        """The Gaussian's covariance is a key of `gaussian`. Raises: ConfigError."""
        covariance = {"covariance": config.gaussian.covariance}
        return cls.read(config.synthetic, config.synthetic.options | covariance)

    def select(self, given: SelectionInput) -> SelectedVirtualImages:
        """Draw n images by domain gap.

        Without a Gaussian the selection is uniform; that is a result with a reason, no failure.
        """
        from ptl_sweep.ptl.domain_gap import measure_domain_gap

        gaussian = fit_gaussian(given.features, self.covariance)
        if isinstance(gaussian, GaussianRefusal):
            drawn = select_uniformly(len(given.pool), self.images_per_iteration, given.rng)
            reason = f"virtual images drawn uniformly: {gaussian.reason}"
            return SelectedVirtualImages(drawn, np.full(len(given.pool), np.nan), reason=reason)
        gap = measure_domain_gap(
            given.load_detector(), gaussian, given.pool, self, given.inference, cache=given.cache
        )
        drawn = self.draw(gap, given.rng)
        return SelectedVirtualImages(drawn, gap, gaussian, _shortfall(drawn))

    @abstractmethod
    def draw(self, gap: Float[ndarray, " p"], rng: np.random.Generator) -> Selection:
        """Draw n images of the pool, whose gaps are given; inf: no person is found."""


def _shortfall(selection: Selection) -> str | None:
    if not selection.num_selected_uniformly:
        return None
    return (
        f"{selection.num_selected_uniformly} of {len(selection.indices)} virtual images drawn "
        "uniformly: the detector finds no person in the others"
    )
