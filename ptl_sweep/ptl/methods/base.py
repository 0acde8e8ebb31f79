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
from ptl_sweep.distance.gaussian import Gaussian
from ptl_sweep.ptl.selection import Selection

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


@dataclass(frozen=True, kw_only=True)
class SyntheticMethod(Choice, ABC):
    """A way to add virtual images, with its parameters."""

    key: ClassVar[str] = "synthetic"

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
