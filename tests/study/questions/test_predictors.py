"""Which distance predicts AP50, and how often the table would say one does where none does."""

import numpy as np
import polars as pl
import pytest
from helpers import null_grids as grids

from ptl_sweep.report.paper import predictors
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.study.claims.cells import strata
from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.claims.distances import prediction
from ptl_sweep.study.questions.predictors import PREDICTORS, predictor_claims
from ptl_sweep.study.schemas import CLAIMS
from ptl_sweep.study.statistics import holm

NUM_STUDIES = 1000


def study(
    rng: np.random.Generator, weights: dict[str, float] | None = None, num_seeds: int = 6
) -> pl.DataFrame:
    """AP50 of detectors minus `weights` times each distance; synthetic images shift everything."""
    columns = {name: grids.levels(num_seeds, 3, rng, shift=grids.SHIFT) for name in PREDICTORS}
    ap50 = grids.levels(num_seeds, 3, rng, rise=grids.RISE, shift=-grids.SHIFT)
    for name, weight in (weights or {}).items():
        ap50 = ap50 - weight * columns[name]
    return grids.results({"AP50": ap50, **columns})


def table_of(results: pl.DataFrame):
    return predictors(PaperSource(results, results, CLAIMS.to_frame(), (0.01, 0.1, 0.5), {}))


def test_each_distance_is_judged_as_alone_and_its_p_adjusted_over_all() -> None:
    results = study(np.random.default_rng(0), {"d_knn": 1.0})
    (claims,) = predictor_claims(results).values()
    alone = {
        name: prediction(tuple(range(6)), strata(results, name), strata(results, "AP50"))
        for name in PREDICTORS
    }
    adjusted = holm(np.array([one.p for one in alone.values()]))
    for (name, claim), p in zip(claims.items(), adjusted, strict=True):
        assert (claim.value, claim.low, claim.p) == (
            alone[name].value,
            alone[name].low,
            alone[name].p,
        )
        assert claim.p_family == p


def test_the_one_that_predicts_is_named_and_no_other() -> None:
    table = table_of(study(np.random.default_rng(0), {"d_rmd": 5.0}))
    (sentence,) = [note for note in table.notes if note.startswith("town: ")]
    assert sentence.endswith(
        "AP50 is predicted by the relative Mahalanobis distance of all persons (nearer is better)."
    )
    verdicts = {row[1].split("(")[-1].rstrip(")"): row[4] for row in table.rows}
    assert verdicts["d_rmd"] == Verdict.FOUND
    assert list(verdicts) == list(PREDICTORS)


def test_where_no_distance_predicts_one_is_named_in_at_most_six_percent() -> None:
    """Arms and targets move both, which alone would make every distance predict."""
    rng = np.random.default_rng(2)
    named = [
        any(one.verdict is Verdict.FOUND for one in claims.values())
        for _ in range(NUM_STUDIES)
        for claims in predictor_claims(study(rng)).values()
    ]
    assert np.mean(named) <= 0.06


@pytest.mark.parametrize("num_seeds", [1, 5])
def test_fewer_than_six_seeds_have_numbers_and_no_verdict(num_seeds: int) -> None:
    table = table_of(study(np.random.default_rng(3), {"d_knn": 5.0}, num_seeds))
    assert {row[4] for row in table.rows} == {"open"}
    assert any(note.endswith("is open: a verdict needs six seeds.") for note in table.notes)


def test_a_distance_that_was_not_measured_is_a_gap_and_no_test() -> None:
    results = study(np.random.default_rng(4)).with_columns(d_knn=pl.lit(np.nan))
    table = table_of(results)
    row = next(row for row in table.rows if "d_knn" in row[1])
    assert row[2:] == ("\N{EN DASH}", "\N{EN DASH}", "open", "0")
    (sentence,) = [note for note in table.notes if note.startswith("town: ")]
    assert "d_knn" not in sentence
    (claims,) = predictor_claims(results).values()
    assert list(claims) == [name for name in PREDICTORS if name != "d_knn"]
    none = results.with_columns(AP50=pl.lit(np.nan))
    assert any("no distance can be judged" in note for note in table_of(none).notes)


def test_all_are_about_the_same_detectors() -> None:
    results = study(np.random.default_rng(5))
    lost = (pl.col("target") == "karst") & (pl.col("real_count") == 10)
    gap = results.with_columns(d_knn=pl.when(~lost).then("d_knn").otherwise(np.nan))
    (claims,), (without,) = (predictor_claims(one).values() for one in (gap, results.filter(~lost)))
    assert [one.value for one in claims.values()] == [one.value for one in without.values()]


def test_worlds_that_change_with_the_seed_are_not_compared() -> None:
    """An easier world is nearer and has the higher AP50: every distance would predict."""
    rng = np.random.default_rng(6)
    results = study(rng)
    place = results["seed"] * 3 + results["target"].rank("dense").cast(pl.Int64) - 1
    easier = pl.Series("easier", rng.normal(0, 9, 18)).gather(place)  # by seed and target
    moved = results.with_columns(
        *(pl.col(name) - easier for name in PREDICTORS), AP50=pl.col("AP50") + easier
    )
    (fooled,) = predictor_claims(moved).values()
    assert any(one.verdict is Verdict.FOUND for one in fooled.values())
    apart = moved.with_columns(num_ground_truth=40 + pl.col("seed"))
    assert predictor_claims(apart) == {}
