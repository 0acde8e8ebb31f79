"""Shares of persons that no detection hits: pooled within a seed, then over complete seeds."""

import polars as pl
import pytest

from ptl_sweep.report.errors.persons import missed_persons, person_lines
from ptl_sweep.study import schemas
from ptl_sweep.study.schemas import frame_of


def rows_of(
    seed: int, target: str, small: tuple[int, int], far: tuple[int, int], synthetic: str = "off"
) -> list[dict]:
    """(not hit, persons) of the only class of each split."""
    return [
        {
            "dataset": "town", "real_count": 20, "synthetic": synthetic, "target": target,
            "seed": seed, "iteration": 0, "split": split, "part": part, "num": num,
            "num_ground_truth": persons, "num_missed": 0, "AP50_fixed": 0.3, "gain_fixed": 0.1,
        }
        for split, part, (num, persons) in (("distance", "far", far), ("size", "small", small))
    ]  # fmt: skip


def table(*rows: list[dict]) -> pl.DataFrame:
    return frame_of([one for own in rows for one in own], schemas.MISSED_PERSONS)


def test_persons_of_a_seed_are_pooled_and_seeds_that_lack_a_cell_are_left_out() -> None:
    """Of small persons seed 0 misses 11 of 110, seed 1 22 of 110; seed 2 lacks a target."""
    found = person_lines(
        table(
            rows_of(0, "field", (10, 100), (5, 10)),
            rows_of(0, "karst", (1, 10), (5, 10)),
            rows_of(1, "field", (20, 100), (5, 10)),
            rows_of(1, "karst", (2, 10), (5, 10)),
            rows_of(2, "field", (100, 100), (5, 10)),
        )
    )
    assert found.select("split", "part").rows() == [
        ("all", "all"), ("size", "small"), ("distance", "far"),
    ]  # fmt: skip
    small = found.filter(part="small").row(0, named=True)
    assert (small["share"], small["num_seeds"]) == (pytest.approx(0.15), 2)
    assert small["num_ground_truth"] == 110
    assert small["share_high"] == pytest.approx(0.15 + 12.7062 * 0.05, abs=1e-4)
    everybody = found.filter(part="all").row(0, named=True)
    assert everybody["share"] == small["share"]
    assert everybody["gain_fixed"] is None


def test_the_sentence_names_levels_in_the_order_of_the_arms_and_claims_nothing() -> None:
    rows = table(
        rows_of(0, "field", (10, 100), (50, 100)),
        rows_of(0, "field", (5, 100), (20, 100), synthetic="on"),
    )
    (sentence,) = missed_persons(rows)
    assert sentence == (
        "Persons that no detection hits at any score, trained on town (off, on): 10.0 %, 5.0 %; "
        "by size: small 10.0, 5.0 %; by distance: far 50.0, 20.0 %."
    )


def test_without_persons_nothing_is_said() -> None:
    assert missed_persons(schemas.MISSED_PERSONS.to_frame()) == []
