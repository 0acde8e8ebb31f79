"""Sentences that say a level or count something follow from the tables."""

import numpy as np
import polars as pl
import pytest

from ptl_sweep.distance.sample_size_bias import DriftRow
from ptl_sweep.report import StageCost, sentences
from ptl_sweep.report.evidence import Bounds, equivalent_text
from ptl_sweep.study import schemas
from ptl_sweep.study.schemas import frame_of
from ptl_sweep.study.summary import summarise

NAN = np.nan


def paired(differences: list[float], counts: tuple[int, ...] = (20,)) -> list[dict]:
    """Off at 20 % and on above it by these, one target."""
    return [
        {
            "dataset": "town", "real_count": count, "target": "field", "synthetic": name,
            "seed": seed, "AP50": 0.2 + (difference if name == "on" else 0),
        }
        for count in counts
        for name in ("off", "on")
        for seed, difference in enumerate(differences)
    ]  # fmt: skip


def summary_of(rows: list[dict]) -> pl.DataFrame:
    thresholds = (0.01, 0.1, 0.5)
    return summarise(frame_of(rows, schemas.results_schema(thresholds)), thresholds)


def test_an_equivalent_outside_the_counts_is_a_bound() -> None:
    assert equivalent_text(Bounds(np.inf, NAN, NAN), [20, 200]) == "> 200"
    assert equivalent_text(Bounds(30.4, 0.0, np.inf), [20, 200]) == "30 [< 20, > 200]"


def test_levels_name_the_smallest_and_the_largest_count() -> None:
    (sentence,) = sentences.levels(summary_of(paired([0.10, 0.12, 0.11], (20, 50, 100))))
    assert "trained on town with 20 and 100 real images" in sentence
    assert "off 20.0 % [20.0, 20.0] and 20.0 % [20.0, 20.0]; on 31.0 % [28.5, 33.5]" in sentence
    (single,) = sentences.levels(summary_of(paired([0.1])))
    assert single.endswith("(1 seed, no interval).")


def test_health_counts_what_did_not_work() -> None:
    rows = [{"status": "ok"}, {"status": "failed"}, {"status": "missing"}]
    gaussians = frame_of([{"warning": None}, {"warning": "few"}], schemas.GAUSSIANS)
    sentence = sentences.health(pl.DataFrame(rows), gaussians, 1)
    assert sentence == (
        "1 of 3 cells have a result, 1 stage failed, and 1 of 2 Gaussians carry a warning."
    )


def test_cost_is_against_every_cell_on_its_own() -> None:
    """10 trainings for 40 cells took 100 s, 40 evaluations 100 s: 500 s on their own."""
    costs = [
        StageCost("train", 40, 10, 0, 10, 0, 100.0),
        StageCost("eval", 40, 40, 0, 40, 0, 100.0),
    ]
    sentence = sentences.cost(costs)
    assert sentence.startswith(
        "50 stages instead of 80 after sharing equal ones; their work took 3"
    )
    assert "60 % less" in sentence


def test_drift_is_the_largest_relative_move() -> None:
    """raw 10 -> 5 in one block and 10 -> 8 in the other; equal_n stays; raw of n = 4: none."""
    blocks = {(False, 9): (10, 2), (False, 90): (5, 2), (True, 9): (10, 4), (True, 90): (8, 4)}
    rows = [
        DriftRow("flat", shifted, n, 1, NAN, float(raw), NAN, 1.0, float(equal))
        for (shifted, n), (raw, equal) in blocks.items()
    ]
    (sentence,) = sentences.drift(rows)
    moves = "raw by up to 50 %, calibrated by up to 0 %, equal_n by up to 0 %"
    assert sentence == f"From 9 to 90 training features alone, mean distances move: {moves}."
    assert sentences.drift([]) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.24, "4.2 s"), (59.99, "60.0 s"), (200.4, "3 min 20 s"), (3900.0, "1 h 05 min")],
)
def test_durations_are_readable(seconds: float, text: str) -> None:
    assert sentences.duration(seconds) == text
