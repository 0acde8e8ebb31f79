"""For how many detectors of each source and arm a condition of the study's sentences fails."""

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import polars as pl

from ptl_sweep.report.evidence import off_first, plural
from ptl_sweep.report.tables import PageColumn
from ptl_sweep.study.study import Study
from ptl_sweep.vocabulary import Condition

MARKED_FROM = 0.1  # of the detectors that could be judged (ours)


class Check(StrEnum):
    """What sentences rest on: the column of gaussians.csv that says whether it holds."""

    GAUSSIAN = "gaussian_check"
    SCORES = "score_check"


class BreakCondition(NamedTuple):
    """One check of the detectors behind the cells of one source and value of `synthetic`."""

    dataset: str
    synthetic: str
    check: Check
    num_detectors: int
    num_judged: int  # those with enough validation detections
    num_failed: int
    measured: str  # medians over the detectors


def break_conditions(study: Study) -> list[BreakCondition]:
    """Judge both checks per source and arm, `off` first; detectors that no cell ends with are out.

    A detector on several targets is one detector.
    """
    arms = study.rows.select("dataset", "synthetic", "train_key").unique(maintain_order=True)
    detectors = arms.join(
        study.gaussians.drop("dataset", "synthetic"), on="train_key", maintain_order="left"
    )
    return [
        _condition(own, dataset, synthetic, check)
        for dataset in detectors["dataset"].unique(maintain_order=True)
        for synthetic in off_first(detectors.filter(dataset=dataset)["synthetic"].unique())
        for own in [detectors.filter(dataset=dataset, synthetic=synthetic)]
        for check in Check
    ]


def _condition(
    detectors: pl.DataFrame, dataset: str, synthetic: str, check: Check
) -> BreakCondition:
    states = detectors[check]
    return BreakCondition(
        dataset=dataset,
        synthetic=synthetic,
        check=check,
        num_detectors=len(states),
        num_judged=int(states.is_in([Condition.HOLDS, Condition.FAILS]).sum()),
        num_failed=int((states == Condition.FAILS).sum()),
        measured=MEASURED[check](detectors),
    )


def _gaussian_measures(detectors: pl.DataFrame) -> str:
    names = ("below_50", "below_90", "below_99", "mardia")
    *shares, mardia = (_median(detectors, name) for name in names)
    parts = []
    if None not in shares:
        inside = ", ".join(f"{100 * share:.0f}" for share in shares if share is not None)
        parts.append(f"{inside} % inside the 50, 90, 99 % quantiles")
    if mardia is not None:
        parts.append(f"kurtosis {mardia:.2f} of a Gaussian's")
    return "; ".join(parts)


def _score_measures(detectors: pl.DataFrame) -> str:
    error, num = _median(detectors, "score_error"), _median(detectors, "num_scores")
    if error is None or num is None:
        return ""
    return f"calibration error {error:.2f} over {plural(num, 'detection')}"


def _median(detectors: pl.DataFrame, name: str) -> float | None:
    found = detectors[name].cast(pl.Float64).fill_nan(None).median()
    return None if found is None else float(found)  # type: ignore[arg-type]


MEASURED: dict[Check, Callable[[pl.DataFrame], str]] = {
    Check.GAUSSIAN: _gaussian_measures,
    Check.SCORES: _score_measures,
}
CONDITIONS = {  # as the page words them, and what rests on them
    Check.GAUSSIAN: ("a Gaussian describes the features", "distances, prediction"),
    Check.SCORES: ("scores are calibrated", "medium confidence at fixed scores"),
}
COLUMNS = (
    PageColumn("dataset", "source"),
    PageColumn("synthetic", "synthetic"),
    PageColumn("condition", "condition", style="long"),
    PageColumn("rests", "sentences that rest on it", style="long"),
    PageColumn("num_detectors", "detectors", "", 1, 0),
    PageColumn("num_judged", "judged", "", 1, 0),
    PageColumn("num_failed", "fail", "", 1, 0),
    PageColumn("share", "fail", "% of those judged", 100, 0, missing="not judged"),
    PageColumn("measured", "measured", "medians", style="long", missing=""),
)


def break_lines(study: Study) -> pl.DataFrame:
    """One line of the page per source, arm and check."""
    rows = [
        {
            **one._asdict(),
            "condition": CONDITIONS[one.check][0],
            "rests": CONDITIONS[one.check][1],
            "share": one.num_failed / one.num_judged if one.num_judged else None,
        }
        for one in break_conditions(study)
    ]
    counts = ("num_detectors", "num_judged", "num_failed")
    types = {"share": pl.Float64(), **dict.fromkeys(counts, pl.Int64())}
    schema = {column.name: types.get(column.name, pl.String()) for column in COLUMNS}
    return pl.DataFrame(rows, schema)
