"""What errors cost is said as a level; a change is claimed by its verdict alone."""

import numpy as np
import polars as pl
import pytest
from helpers.claim_words import claims_something

from ptl_sweep.report.errors.costs import (
    cost_changes,
    costs_by_type,
    error_costs,
    of_foreign_targets,
)
from ptl_sweep.study import schemas
from ptl_sweep.study.claims.table import Thresholds, claims
from ptl_sweep.study.schemas import frame_of
from ptl_sweep.vocabulary import ERROR_TYPES, Domain

THRESHOLDS = (0.01, 0.1, 0.5)
NOISE = (-0.003, -0.001, 0.0, 0.001, 0.002, 0.001)  # of a seed


def cells(num_seeds: int) -> list[dict]:
    return [
        {
            "dataset": "town", "real_count": 20, "target": "field", "synthetic": synthetic,
            "seed": seed, "iteration": 0, "AP50": 0.2, "domain": Domain.CROSS,
        }
        for synthetic in ("off", "on")
        for seed in range(num_seeds)
    ]  # fmt: skip


def tables(num_seeds: int, **changes: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Results and errors: every type costs 10 points, and with `on` more by `changes`."""
    rows = cells(num_seeds)
    costs = [
        {name: row[name] for name in schemas.CELL}
        | {
            "type": kind, "num": 5, "AP50": 0.2,
            "gain_fixed": 0.1
            + (changes.get(kind, 0) + NOISE[row["seed"]]) * (row["synthetic"] == "on"),
        }
        for row in rows
        for kind in ERROR_TYPES
    ]  # fmt: skip
    return frame_of(rows, schemas.results_schema(THRESHOLDS)), frame_of(costs, schemas.ERRORS)


def changed(num_seeds: int, **changes: float) -> str:
    results, errors = tables(num_seeds, **changes)
    (sentence,) = cost_changes(claims(results, Thresholds(THRESHOLDS, (20, 5, 1)), errors))
    return sentence


def test_costs_are_means_within_a_seed_over_complete_seeds() -> None:
    """Background: seeds 0 and 1 have means 0.10 and 0.12 over two cells; seed 2 lacks a cell."""
    costs = {
        ("background", 0): (0.08, 0.12), ("background", 1): (0.1, 0.14), ("background", 2): (0.9,),
        ("unhit", 0): (0.01, 0.01), ("unhit", 1): (0.01, 0.01), ("all", 0): (0.5, 0.5),
    }  # fmt: skip
    rows = [
        {"dataset": "town", "synthetic": "off", "type": kind, "seed": seed, "gain_fixed": cost}
        for (kind, seed), values in costs.items()
        for cost in values
    ]
    errors = frame_of(rows, schemas.ERRORS)
    found = costs_by_type(errors)
    assert list(found) == ["background", "unhit"]
    assert found["background"]["off"].num == 2
    half = 12.706 * 0.01  # t quantile of 1 degree of freedom, standard error 0.01
    (sentence,) = error_costs(errors)
    bounds = f"11.0 [{100 * (0.11 - half):.1f}, {100 * (0.11 + half):.1f}]"
    assert f"background off {bounds}; persons that no detection hits off 1.0 [" in sentence
    assert "trained on town" in sentence


def test_the_level_claims_no_comparison() -> None:
    (sentence,) = error_costs(tables(6, background=0.5)[1])
    assert not {"most", "more", "less", "dearest"} & set(sentence.split())
    (alone,) = error_costs(tables(1)[1])
    assert "background off 10.0, on 9.7 (1 seed)" in alone
    assert error_costs(schemas.ERRORS.to_frame()) == ["No error was examined in this sweep."]


def test_a_change_is_claimed_where_it_was_found() -> None:
    sentence = changed(6, background=-0.05, unhit=0.03)
    assert sentence.startswith(
        "With synthetic images (on) less AP50 is lost to background and more AP50 is lost to "
        "persons that no detection hits, no evidence on 3 other types: "
    )
    assert "background -5.0 points (95 % interval" in sentence
    assert sentence.endswith(
        "mean over the target field and 20 real images of town, adjusted for 5 types."
    )


def test_without_a_change_there_is_no_evidence() -> None:
    start = "No evidence that synthetic images (on) change what a type of error costs: "
    assert changed(6).startswith(start)


@pytest.mark.parametrize("num_seeds", [1, 2, 5])
def test_few_seeds_give_no_verdict_however_large_the_change(num_seeds: int) -> None:
    sentence = changed(num_seeds, background=-0.5)
    assert sentence.startswith("No verdict on whether synthetic images (on) change what a type")
    assert "6 are needed)" in sentence


def test_noise_that_all_types_share_claims_in_at_most_six_percent() -> None:
    """Each type's cost moves by chance, most of it with the others."""
    rng = np.random.default_rng(0)
    results, errors = tables(6)
    num_claims = 0
    for _ in range(100):
        shared = dict(enumerate(rng.normal(0, 0.02, 6)))
        moved = [
            row | {"gain_fixed": 0.1 + shared[row["seed"]] * (row["synthetic"] == "on")
                   + 0.01 * rng.normal()}
            for row in errors.iter_rows(named=True)
        ]  # fmt: skip
        table = claims(results, Thresholds(THRESHOLDS, (20, 5, 1)), frame_of(moved, schemas.ERRORS))
        (sentence,) = cost_changes(table)
        num_claims += claims_something(sentence)
    assert num_claims <= 6


def test_targets_of_the_sources_own_domain_are_out() -> None:
    results, errors = tables(2)
    target = pl.lit("val").alias("target")
    both = pl.concat([errors, errors.with_columns(target)])
    own = results.with_columns(target, domain=pl.lit(Domain.IN.value))
    assert of_foreign_targets(both, pl.concat([results, own])).equals(errors)
