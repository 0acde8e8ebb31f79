"""The forecast of a target without labels: exact on a line, seldom believed where there is none."""

from itertools import product

import numpy as np
import polars as pl
import pytest

from ptl_sweep.config.analysis import EQUAL_COUNTS
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.report.paper import forecast
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.claims.table import Thresholds, claims
from ptl_sweep.study.groups import split_domains
from ptl_sweep.study.questions.forecast import (
    RIDGE,
    ForecastPlace,
    forecasts,
    left_out_errors,
    line_forecast,
    order_p,
)
from ptl_sweep.study.schemas import CLAIMS, frame_of, results_schema
from ptl_sweep.vocabulary import Domain

TARGETS = ("bay", "dune", "fen", "hill", "moor")
COUNTS = (20, 50)
THRESHOLDS = (0.01, 0.1, 0.5)
ON = ForecastPlace("here", "on")


def tables(
    log_distance: np.ndarray,
    effect: np.ndarray,
    *,
    num_seeds: int = 6,
    noise: float = 0.0,
    unlabelled: tuple[str, ...] = (),
    rng: np.random.Generator | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """results.csv and train2test.csv of targets that lie so far and change so much."""
    rng = rng or np.random.default_rng(0)
    rows, spreads = [], []
    places = product(range(num_seeds), COUNTS, enumerate(TARGETS[: len(effect)]), ("off", "on"))
    for seed, count, (place, target), name in places:
        cell = {
            "dataset": "here", "real_count": count, "synthetic": name, "target": target,
            "seed": seed, "iteration": 0,
        }  # fmt: skip
        ap50 = 0.2 + (name == "on") * effect[place] + noise * rng.normal()
        is_known = target not in unlabelled
        rows.append(cell | {
            "domain": Domain.CROSS, "status": "ok", "num_ground_truth": 40 if is_known else 0,
            "AP50": ap50 if is_known else np.nan,
        })  # fmt: skip
        far = float(np.exp(log_distance[place])) * (1 if name == "off" else 7)
        kind = {"kind": "all", "band": "", "num": 9}
        spreads.append(cell | kind | {"variant": "calibrated", "median": far})
        spreads.append(cell | kind | {"variant": "raw", "median": 1.0})
    return pl.DataFrame(rows), pl.DataFrame(spreads)


FAR = np.log([2.0, 3.0, 4.0, 6.0, 9.0])
LINE = 0.1 - 0.04 * FAR


def table_of(results: pl.DataFrame, spreads: pl.DataFrame):
    source = PaperSource(results, results, CLAIMS.to_frame(), THRESHOLDS, {}, spreads=spreads)
    return forecast(source)


def ridge(far: np.ndarray, effect: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The intercept is free: a row of the slope's penalty below the least-squares system."""
    rows = np.column_stack([np.ones_like(far), far - far.mean()])
    system = np.vstack([rows, [0.0, np.sqrt(RIDGE)]])
    start, slope = np.linalg.lstsq(system, np.append(effect, 0.0), rcond=None)[0]
    return start + slope * (at - far.mean())


def test_a_line_is_that_of_least_squares_with_a_penalty_on_its_slope() -> None:
    rng = np.random.default_rng(0)
    far, effect, at = rng.normal(size=7), rng.normal(size=7), rng.normal(size=3)
    np.testing.assert_allclose(line_forecast(far, effect, at), ridge(far, effect, at))
    np.testing.assert_allclose(line_forecast(np.ones(7), effect, at), effect.mean())


def test_each_target_is_forecast_from_the_others() -> None:
    rng = np.random.default_rng(1)
    far, effect = rng.normal(size=5), rng.normal(size=5)
    by_line, by_mean = left_out_errors(far, effect)
    for place in range(5):
        others = np.arange(5) != place
        expected = ridge(far[others], effect[others], far[place])
        assert by_line[place] == pytest.approx(expected - effect[place])
        assert by_mean[place] == pytest.approx(effect[others].mean() - effect[place])
    np.testing.assert_allclose(*left_out_errors(np.ones(4), effect[:4]))


def test_targets_that_lie_equally_far_forecast_nothing_wild() -> None:
    """Two at 1.11 and one at 1.80, as the genuine pictures had them: a line said +1,815 points."""
    found = forecasts(*tables(np.log([1.11, 1.1101, 1.8]), np.array([0.017, -0.057, -0.014])))[ON]
    assert np.abs(found.by_distance).max() < 0.1


def test_effects_on_a_line_are_forecast_exactly_and_found() -> None:
    found = forecasts(*tables(FAR, LINE, noise=1e-3))[ON]
    np.testing.assert_allclose(found.distance, FAR)
    np.testing.assert_allclose(found.by_distance, LINE, atol=3e-3)
    line, mean = found.errors
    assert line < mean / 10
    assert found.p == pytest.approx(1 / 120)
    assert found.verdict is Verdict.FOUND


def test_a_target_without_labels_is_forecast_by_all_the_others() -> None:
    results, spreads = tables(FAR, LINE, unlabelled=("fen",))
    found = forecasts(results, spreads)[ON]
    assert found.labelled.tolist() == [True, True, False, True, True]
    assert found.by_distance[2] == pytest.approx(LINE[2], abs=1e-3)
    assert found.by_mean[2] == pytest.approx(np.delete(LINE, 2).mean())
    assert not found.beyond.any()
    rows = {row[2]: row for row in table_of(results, spreads).rows}
    assert rows["fen"][3:6] == ("4.00", "\N{EN DASH}", f"{100 * LINE[2]:+.1f}")
    outside = forecasts(*tables(FAR, LINE, unlabelled=("moor",)))[ON]
    assert outside.beyond.tolist() == [False, False, False, False, True]
    notes = table_of(*tables(FAR, LINE, unlabelled=("moor",))).notes
    assert any("moor lies nearer or farther than every target with labels" in one for one in notes)


def test_a_target_without_labels_changes_no_claim() -> None:
    """Its AP50 is missing in every seed, and no mean over targets would be left."""
    points = Thresholds(THRESHOLDS, EQUAL_COUNTS)
    some = tables(FAR, LINE, noise=0.01, unlabelled=("moor",))[0]
    with_it = frame_of(some.to_dicts(), results_schema(THRESHOLDS))
    without = with_it.filter(pl.col("target") != "moor")
    found, expected = claims(with_it, points), claims(without, points)
    assert found.equals(expected, null_equal=True)
    assert found.filter(statement="effect")["num_seeds"].to_list() == [6]


def chance(num_targets: int, num_studies: int) -> tuple[float, float]:
    """How often the forecast, and its trainings alone, are believed where effects are no line.

    Effects differ between targets for reasons of their own, which all trainings share.
    """
    rng = np.random.default_rng(num_targets)
    believed, by_trainings = [], []
    for _ in range(num_studies):
        far, effect = rng.normal(size=num_targets), 0.1 * rng.normal(size=num_targets)
        (one,) = forecasts(*tables(far, effect, noise=0.01, rng=rng)).values()
        believed.append(one.verdict is Verdict.FOUND)
        by_trainings.append(one.gain.direction == 1)
    return float(np.mean(believed)), float(np.mean(by_trainings))


@pytest.mark.parametrize("num_targets", [4, 5])
def test_effects_unrelated_to_distance_are_forecast_in_at_most_six_percent(
    num_targets: int,
) -> None:
    believed, by_trainings = chance(num_targets, 200)
    assert believed <= 0.06
    assert by_trainings > 0.1  # the same few targets in every training: no evidence of a law


def test_p_over_the_orders_of_the_targets_is_exact() -> None:
    rng = np.random.default_rng(5)
    p = np.array([order_p(*rng.normal(size=(2, 5)))[0] for _ in range(600)])
    for level in (0.05, 0.2, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=3 * np.sqrt(level / 600))
    rng = np.random.default_rng(6)
    far = rng.normal(size=9)
    assert order_p(far, 2 * far + 0.01 * rng.normal(size=9))[0] < 0.01  # drawn, beyond seven


@pytest.mark.parametrize(("num_seeds", "num_targets"), [(5, 5), (6, 3)])
def test_too_few_seeds_or_targets_have_numbers_and_no_verdict(
    num_seeds: int, num_targets: int
) -> None:
    far, effect = FAR[:num_targets], LINE[:num_targets]
    results, spreads = tables(far, effect, noise=1e-3, num_seeds=num_seeds)
    assert forecasts(results, spreads)[ON].verdict is Verdict.OPEN
    assert any("is open: that needs 4 targets" in one for one in table_of(results, spreads).notes)


def test_targets_whose_distances_no_order_could_tell_are_open() -> None:
    """Evenly far, the best order and its mirror forecast alike: 2 of 24 is above 0.05."""
    far = np.log([1.0, 2.0, 4.0, 8.0])
    found = forecasts(*tables(far, 0.05 * far, noise=1e-3))[ON]
    assert found.least_p > 0.05
    assert found.verdict is Verdict.OPEN


def test_several_arms_are_adjusted_for_each_other() -> None:
    results, spreads = tables(FAR, LINE, noise=1e-3)
    arms = [results.filter(synthetic="on").with_columns(synthetic=pl.lit(f"on, t={one}"))
            for one in range(3)]  # fmt: skip
    found = forecasts(pl.concat([results.filter(synthetic="off"), *arms]), spreads)
    assert {one.num_tests for one in found.values()} == {3}
    for one in found.values():
        assert one.p_family >= 3 * max(one.p, one.gain.p) - 1e-9
        assert one.verdict is Verdict.NONE  # 3 x 0.031


def lost(
    results: pl.DataFrame, spreads: pl.DataFrame, **cell: object
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same after a cell has failed: no numbers, and no row of its distances."""
    is_it = pl.all_horizontal(pl.col(name) == value for name, value in cell.items())
    gone = [pl.when(~is_it).then(name).alias(name) for name in ("AP50", "num_ground_truth")]
    return results.with_columns(gone), spreads.filter(~is_it)


def test_a_cell_that_failed_takes_its_seed_and_leaves_no_other_mean_behind() -> None:
    results, spreads = tables(FAR, LINE)
    far = pl.when(pl.col("real_count") == 20).then(4 * pl.col("median")).otherwise("median")
    spreads = spreads.with_columns(far.alias("median"))
    for name in ("off", "on"):
        cell = {"target": "bay", "real_count": 20, "seed": 0, "synthetic": name}
        found = forecasts(*lost(results, spreads, **cell))[ON]
        np.testing.assert_allclose(found.distance, FAR + np.log(2))
        assert found.gain.num_seeds == 5
        assert found.left_out == ()


def test_a_target_that_no_seed_has_is_left_out_by_name() -> None:
    results, spreads = lost(*tables(FAR, LINE), target="fen", synthetic="on")
    found = forecasts(results, spreads)[ON]
    assert (found.left_out, found.targets) == (("fen",), ("bay", "dune", "hill", "moor"))
    assert any("fen left out" in note for note in table_of(results, spreads).notes)


def test_one_failed_cell_of_a_target_without_labels_brings_it_into_no_mean() -> None:
    results, _ = lost(*tables(FAR, LINE, unlabelled=("moor",)), target="moor", seed=0)
    assert "moor" not in split_domains(results)[0]["target"].to_list()
    nothing_yet = results.with_columns(num_ground_truth=pl.lit(None, pl.Int64))
    assert "moor" in split_domains(nothing_yet)[0]["target"].to_list()


def test_pictures_of_the_source_stay_its_own_beside_a_target_without_labels() -> None:
    results, _ = tables(FAR[:2], LINE[:2], unlabelled=("dune",))
    own = pl.when(pl.col("target") == "bay").then(pl.lit(Domain.IN.value)).otherwise("domain")
    foreign, held_out = split_domains(results.with_columns(domain=own))
    assert foreign.is_empty()
    assert set(held_out["target"]) == {"bay"}


def test_a_sweep_that_forecasts_nothing_is_told_what_it_lacks() -> None:
    results, spreads = tables(FAR[:1], LINE[:1])
    with pytest.raises(ConfigError, match=r"two targets of other domains .* analysis\.calibration"):
        table_of(results, spreads)
