"""Sentences follow from the intervals of the tables, and say so when there is none."""

import numpy as np
import polars as pl
import pytest

from ptl_sweep.distance.sample_size_bias import DriftRow
from ptl_sweep.report import StageCost, sentences
from ptl_sweep.report.answers import answers, effects, equivalent_text, levels
from ptl_sweep.report.evidence import Bounds
from ptl_sweep.study import schemas
from ptl_sweep.study.schemas import frame_of
from ptl_sweep.study.study import PoolSelection
from ptl_sweep.study.summary import summarise
from ptl_sweep.vocabulary import ALL_TARGETS

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


def with_images(summary: pl.DataFrame, low: float, high: float) -> pl.DataFrame:
    return summary.with_columns(image_low=pl.lit(low), image_high=pl.lit(high))


@pytest.mark.parametrize(
    ("differences", "beginning"),
    [
        ([0.1], "No evidence either way: with 1 seed no interval can be formed"),
        ([0.1, -0.05, 0.02], "No evidence that synthetic images (on) change AP50: +2.3 points"),
        ([0.10, 0.12, 0.11], "Synthetic images (on) raise AP50 by 11.0 points, 95 % interval +8.5"),
        ([-0.1, -0.12, -0.11], "Synthetic images (on) lower AP50 by 11.0 points"),
        ([NAN], "No answer for synthetic images (on)"),
    ],
)
def test_the_answer_follows_from_the_interval(differences: list[float], beginning: str) -> None:
    (answer,) = answers(summary_of(paired(differences)))
    assert answer.sentence.startswith(beginning)
    assert answer.sentence.count(". ") == 0


def test_the_answer_names_levels_scope_and_power() -> None:
    (answer,) = answers(summary_of(paired([0.10, 0.12, 0.11])))
    assert "over 3 seeds (31.0 % with, 20.0 % without; " in answer.sentence
    assert "mean over the target field and 20 real images of town" in answer.sentence
    assert "p = 0.25; cannot reach 0.05 with 3 seeds" in answer.test


@pytest.mark.parametrize(
    ("low", "high", "beginning"),
    [
        (0.02, 0.2, "Synthetic images (on) raise AP50 by 10.0 points, 95 % interval +2.0 to +20.0"),
        (-0.02, 0.2, "No evidence that synthetic images (on) change AP50: +10.0 points"),
    ],
)
def test_with_one_seed_the_interval_over_test_images_speaks_and_says_so(
    low: float, high: float, beginning: str
) -> None:
    (answer,) = answers(with_images(summary_of(paired([0.1])), low, high))
    assert answer.sentence.startswith(beginning)
    assert "over test images alone (1 seed: variation of seeds unknown)" in answer.sentence


def test_with_several_seeds_the_interval_over_test_images_changes_nothing() -> None:
    summary = summary_of(paired([0.10, 0.12, 0.11]))
    assert answers(with_images(summary, -1, 1)) == answers(summary)


@pytest.mark.parametrize(
    ("bounds", "clause"),
    [
        ((34, 28, 45), "; 20 real images with them detect as well as 34 [28, 45] without"),
        ((34, 15, np.inf), "; no evidence that they replace real images: 20 real images with"),
        ((12, 0, 16), "; 20 real images with them detect as well as only 12 [< 20, 16] without"),
        ((np.inf, 90, np.inf), "detect as well as > 100 [90, > 100] without"),
        ((34, NAN, NAN), "detect as well as 34 without, an estimate without interval"),
        ((NAN, NAN, NAN), None),
    ],
)
def test_the_answer_says_what_the_smallest_count_is_worth(bounds: tuple, clause: str) -> None:
    names = ("real_equivalent", "real_equivalent_low", "real_equivalent_high")
    summary = summary_of(paired([0.10, 0.12, 0.11], (20, 100))).with_columns(
        pl.lit(float(bound)).alias(name) for name, bound in zip(names, bounds, strict=True)
    )
    (answer,) = answers(summary)
    if clause is None:
        assert "detect as well" not in answer.sentence
    else:
        assert clause in answer.sentence


def test_an_equivalent_outside_the_counts_is_a_bound() -> None:
    assert equivalent_text(Bounds(np.inf, NAN, NAN), [20, 200]) == "> 200"
    assert equivalent_text(Bounds(30.4, 0.0, np.inf), [20, 200]) == "30 [< 20, > 200]"


def test_levels_name_the_smallest_and_the_largest_count() -> None:
    (sentence,) = levels(summary_of(paired([0.10, 0.12, 0.11], (20, 50, 100))))
    assert "trained on town with 20 and 100 real images" in sentence
    assert "off 20.0 % [20.0, 20.0] and 20.0 % [20.0, 20.0]; on 31.0 % [28.5, 33.5]" in sentence
    (single,) = levels(summary_of(paired([0.1])))
    assert single.endswith("(1 seed, no interval).")


def test_effects_count_groups_by_their_interval() -> None:
    rows = paired([0.10, 0.12, 0.11]) + [
        row | {"target": "karst"} for row in paired([0.1, -0.1, 0.01])
    ]
    (sentence,) = effects(summary_of(rows))
    assert sentence.startswith("Of 2 groups of real count and target, synthetic images (on) raise")
    assert "raise AP50 in 1 and lower it in 0" in sentence
    assert "no evidence in the other 1; the largest change is +11.0 points" in sentence


def contrast(claim: tuple[float, float, float], images: tuple[float, float], seeds: int) -> dict:
    names = ("claim", "claim_low", "claim_high", "claim_image_low", "claim_image_high")
    return {
        "dataset": "town", "real_count": None, "synthetic": "on", "target": ALL_TARGETS,
        "scale": "cumulative", "num_seeds": seeds, "low": 0.01, "medium": 0.03, "high": 0.02,
        **dict(zip(names, (*claim, *images), strict=True)),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("row", "beginning", "end"),
    [
        (contrast((0.01, 0.005, 0.015), (-1, 1), 6), "Medium confidence gains most", "6 seeds."),
        (contrast((0.01, -0.005, 0.02), (0, 1), 6), "No evidence that medium", "over 6 seeds."),
        (contrast((-0.01, -0.02, -0.005), (0, 1), 6), "Medium confidence does not", "6 seeds."),
        (contrast((0.01, NAN, NAN), (0.005, 0.02), 1), "Medium confidence gains", "unknown)."),
        (contrast((0.01, NAN, NAN), (NAN, NAN), 1), "No evidence either way", "with 1 seed."),
        (contrast((NAN, NAN, NAN), (NAN, NAN), 0), "No evidence on medium", "has all cells."),
    ],
)
def test_the_claim_on_medium_confidence_follows_from_its_interval(
    row: dict, beginning: str, end: str
) -> None:
    (sentence,) = sentences.medium_confidence(
        frame_of([row, row | {"target": "field"}], schemas.CONTRASTS)
    )
    assert sentence.startswith(beginning)
    assert sentence.endswith(end)


def correlation(rho: float, low: float, high: float, **changes: str) -> dict:
    return {
        "dataset": "town", "predictor": "tp_mean", "variant": "equal_n", "metric": "AP50",
        "scope": "within real_count", "rho": rho, "low": low, "high": high, "num_cells": 72,
        "num_blocks": 6,
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("row", "beginning"),
    [
        (correlation(-0.5, -0.7, -0.2), "Detectors whose true positives lie nearer have"),
        (correlation(0.5, 0.2, 0.7), "Detectors whose true positives lie farther have"),
        (correlation(-0.5, -0.7, 0.2), "No evidence that train2test predicts AP50: rho = -0.50"),
        (correlation(-0.5, NAN, NAN), "No evidence either way that train2test"),
        (correlation(-0.9, -0.99, -0.8, scope="pooled"), "No evidence that train2test predicts"),
        (correlation(-0.9, -0.99, -0.8, variant="shrunk"), "No evidence that train2test predicts"),
    ],
)
def test_prediction_rests_on_equal_n_within_a_real_count_alone(row: dict, beginning: str) -> None:
    (sentence,) = sentences.prediction(frame_of([row], schemas.CORRELATIONS))
    assert sentence.startswith(beginning)


def test_distances_are_claimed_at_equal_n_only() -> None:
    def rows(metric: str) -> list[dict]:
        cells = paired([-4.0, -5.0, -6.0])
        return [{**row, metric: row["AP50"], "AP50": 0.1} for row in cells]

    (moved,) = sentences.distances(summary_of(rows("t2t_tp_mean_equal_n")))
    assert moved.startswith("With synthetic images (on) true positives lie nearer to the training")
    assert "equal_n distance -5.0, 95 % interval -7.5 to -2.5 over 3 seeds" in moved
    (none,) = sentences.distances(summary_of(rows("t2t_tp_mean_shrunk")))
    assert none.startswith("No evidence that true positives move")


def test_real_counts_with_too_few_features_do_not_silence_the_others() -> None:
    """At 10 images off has no equal_n distance; at 20 it moves by -5, at 40 by nothing."""
    rows = [
        {
            "dataset": "town", "real_count": count, "synthetic": name, "target": "field",
            "seed": seed, "AP50": 0.1, "AP": 0.1, "t2t_tp_mean_equal_n": value,
        }
        for count, moved in ((10, None), (20, -5.0), (40, 0.0))
        for seed, noise in enumerate((-1.0, 0.0, 1.0))
        for name, value in (
            ("off", None if moved is None else 20.0),
            ("on", 15.0 if moved is None else 20.0 + moved + noise),
        )
    ]  # fmt: skip
    (sentence,) = sentences.distances(summary_of(rows))
    assert "excludes zero at 1 of the 2 real counts" in sentence
    assert "is -5.0 at 20 real images, 95 % interval -7.5 to -2.5 over 3 seeds" in sentence


def test_the_dearest_false_positives_come_first_with_complete_seeds_only() -> None:
    """Background: seeds 0 and 1 have means 0.10 and 0.12 over two cells; seed 2 lacks a cell."""
    gains = {
        ("background", 0): (0.08, 0.12), ("background", 1): (0.1, 0.14), ("background", 2): (0.9,),
        ("duplicate", 0): (0.01, 0.01), ("duplicate", 1): (0.01, 0.01), ("all", 0): (0.5, 0.5),
    }  # fmt: skip
    rows = [
        {"dataset": "town", "synthetic": "off", "type": kind, "seed": seed, "gain": gain}
        for (kind, seed), values in gains.items()
        for gain in values
    ]
    (sentence,) = sentences.errors(frame_of(rows, schemas.ERRORS))
    half = 12.706 * 0.01  # t quantile of 1 degree of freedom, standard error 0.01
    bounds = f"11.0 [{100 * (0.11 - half):.1f}, {100 * (0.11 + half):.1f}] for off"
    assert sentence.startswith(f"Background false positives cost most points of AP50: {bounds}")
    assert sentence.endswith("the other types, on average: duplicate 1.0.")


def beside(change: str, note: str = "", **more: object) -> dict:
    return {
        "metric": "AP50", "published_change": "up", "published_ratio": 1.5, "change": change,
        "ratio": 1.2, "note": note,
    } | more  # fmt: skip


def test_published_changes_are_counted_by_direction() -> None:
    rows = [beside("up"), beside("down", "not established"), beside("", "different data: town")]
    beside_ours = pl.DataFrame(rows)
    sentence = sentences.published(beside_ours)
    assert sentence.startswith("1 of 2 changes of AP50 that a paper reports too goes its way, 1 of")
    assert "median 1.50 there and 1.20 here" in sentence
    assert "different data" in sentences.published(beside_ours[2:])
    assert "no published number was loaded" in sentences.published(beside_ours.clear())


def chosen(gaps: list[float], selected: list[int], seed: int) -> PoolSelection:
    mask = np.isin(np.arange(len(gaps)), selected)
    return PoolSelection("town", 20, "on", seed, 1, np.array(gaps), mask, {})


def test_selection_is_compared_with_chance() -> None:
    """Gaps 1..4 and the two smallest: every pair is the right way round."""
    near = [chosen([1.0, 2, 3, 4], [0, 1], seed) for seed in range(2)]
    (sentence,) = sentences.selection(near)
    assert "prefers near" in sentence
    assert "probability 1.00" in sentence
    mixed = [chosen([1.0, 2, 3, 4], [0, 1], 0), chosen([1.0, 2, 3, np.inf], [2, 3], 1)]
    (sentence,) = sentences.selection(mixed)
    assert sentence.startswith("No evidence that synthetic=on prefers near")
    (sentence,) = sentences.selection(near[:1])
    assert sentence.startswith("No evidence either way")


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
