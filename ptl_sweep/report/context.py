"""What the report shows beside the numbers of the study: pictures, costs, failures, provenance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ptl_sweep.distance.sample_size_bias import DriftRow
from ptl_sweep.report.figures import CellHistogram
from ptl_sweep.study.study import Study


class SamplePicture(NamedTuple):
    """A virtual image that PTL selected, and the same after its transformation, boxes drawn in."""

    selected_png: Path
    transformed_png: Path
    caption: str


class StageCost(NamedTuple):
    """Stages of one kind: how many the cells need, how many there are, what they took."""

    kind: str
    num_naive: int  # if every cell computed its own
    num_unique: int
    num_cached: int  # found in the store
    num_run: int
    num_failed: int
    seconds: float  # over all unique stages, cached ones included, as measured when they ran


class StageFailure(NamedTuple):
    """A stage that raised."""

    key: str
    what: str
    log: str  # path of the log, relative to the sweep's folder where possible


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What it takes to make the same numbers again."""

    command: str
    commit: str
    created: str  # date and time
    versions: Mapping[str, str]
    computed_with: Mapping[str, int]  # commit and versions of published stages: how many
    stage_keys: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContext:
    """Everything the report shows."""

    title: str
    study: Study
    stage_costs: Sequence[StageCost]
    histograms: Sequence[CellHistogram]
    provenance: Provenance
    feature_dim: int  # D
    toy_note: str  # what is the miniature world's; empty: nothing
    settings: Mapping[str, str]  # configuration of the sweep: key -> value
    files: Sequence[str] = ("results.csv", "summary.csv", "iterations.csv")  # beside the report
    samples: Sequence[SamplePicture] = ()
    failures: Sequence[StageFailure] = ()
    drops: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # data set, reason: boxes
    warnings: Sequence[str] = ()
    drift: Sequence[DriftRow] = ()  # simulation behind the appendix
