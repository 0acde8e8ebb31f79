"""The strip of numbers says no more than the claims: a worth and a verdict only where found."""

import numpy as np
import polars as pl
import pytest
from helpers.claim_rows import claim_row

from ptl_sweep.report import StageCost
from ptl_sweep.report.verdicts.answers import Answer, answer_of, arms
from ptl_sweep.report.verdicts.headline import Headline, HeadlineNumber, headlines
from ptl_sweep.study import schemas
from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.study.schemas import frame_of
from ptl_sweep.vocabulary import ALL_TARGETS

NAN = np.nan
COSTS = [
    StageCost("train", 8, 4, 0, 4, 0, 3000.0),
    StageCost("evaluate", 8, 8, 0, 8, 0, 1800.0),
]


def summary(*synthetics: str, **changes: object) -> pl.DataFrame:
    row = {
        "dataset": "town", "real_count": None, "target": ALL_TARGETS, "metric": "AP50",
        "mean": 0.31, "num_seeds": 6, "effect": 0.11, "num_pairs": 6,
    }  # fmt: skip
    return frame_of([{**row, "synthetic": name, **changes} for name in synthetics], schemas.SUMMARY)


def strips(*rows: dict, table: pl.DataFrame | None = None) -> list[Headline]:
    table = summary("on") if table is None else table
    return headlines(arms(frame_of(rows, schemas.CLAIMS), table), COSTS)


def numbers(*rows: dict) -> dict[str, HeadlineNumber]:
    (strip,) = strips(*rows)
    return dict(zip(("levels", "change", "worth", "cost"), strip.numbers, strict=True))


def test_a_found_change_has_levels_interval_worth_and_cost() -> None:
    found = numbers(
        claim_row(Statement.EFFECT),
        claim_row(Statement.WORTH, real_count=20, value=60.0, low=40.0, high=np.inf),
    )
    assert found["levels"].value == "20.0 \N{RIGHTWARDS ARROW} 31.0 %"
    assert (found["change"].value, found["change"].verdict) == ("+11.0 points", Verdict.FOUND)
    assert "95 % interval +8.5 to +13.5 over 6 seeds" in found["change"].detail
    assert found["worth"].value == "20 as 60 [40, > 100]"
    assert found["cost"].value == "1 h 20 min"
    assert "12 stages" in found["cost"].detail


@pytest.mark.parametrize("verdict", [Verdict.OPEN, Verdict.NONE])
def test_what_was_not_found_has_no_worth_and_says_so(verdict: Verdict) -> None:
    found = numbers(
        claim_row(Statement.EFFECT, verdict=verdict, num_seeds=3),
        claim_row(Statement.WORTH, real_count=20, value=60.0),
    )
    assert found["change"].verdict is verdict
    assert ("6 seeds are needed" in found["change"].detail) == (verdict is Verdict.OPEN)
    assert not any(letter.isdigit() for letter in found["worth"].value)
    assert found["worth"].verdict is None


def test_a_worth_without_evidence_is_not_a_number() -> None:
    found = numbers(
        claim_row(Statement.EFFECT),
        claim_row(Statement.WORTH, real_count=20, value=60.0, verdict=Verdict.NONE),
    )
    assert not any(letter.isdigit() for letter in found["worth"].value)
    assert found["worth"].detail == "no evidence at any real count"


def test_an_arm_without_a_complete_seed_is_open_and_has_no_number() -> None:
    found = numbers()
    assert found["change"].verdict is Verdict.OPEN
    for name in ("levels", "change", "worth"):
        assert not any(letter.isdigit() for letter in found[name].value)


def test_the_strip_is_about_ptl_and_the_answer_below_it_too() -> None:
    rows = [claim_row(Statement.EFFECT, treated=name) for name in ("identity", "on", "random")]
    (strip,) = strips(*rows, table=summary("identity", "on", "random"))
    assert strip.title == "synthetic=on, trained on town"
    assert strip.answer.sentence.startswith("Synthetic images (on) raise AP50 by 11.0 points")


def test_without_ptl_the_first_value_leads_and_each_source_has_a_strip() -> None:
    rows = [
        claim_row(Statement.EFFECT, treated="random", dataset=name) for name in ("city", "town")
    ]
    table = pl.concat([summary("random", dataset="city"), summary("random", dataset="town")])
    found = strips(*rows, table=table)
    assert [strip.title for strip in found] == [
        "synthetic=random, trained on city", "synthetic=random, trained on town"
    ]  # fmt: skip


def test_the_strip_and_the_sentence_have_one_verdict() -> None:
    for verdict in Verdict:
        claims = frame_of([claim_row(Statement.EFFECT, verdict=verdict)], schemas.CLAIMS)
        (arm,) = arms(claims, summary("on"))
        answer: Answer = answer_of(arm)
        (strip,) = headlines([arm], COSTS)
        assert strip.numbers[1].verdict is answer.verdict is verdict


def test_a_verdict_of_one_value_among_several_stands_beside_the_p_that_it_has_from_all() -> None:
    row = claim_row(
        Statement.EFFECT, verdict=Verdict.NONE, p=0.03, p_family=0.2, family="6 values of lr"
    )
    detail = numbers(row)["change"].detail
    assert "p = 0.2, adjusted for 6 values of lr" in detail
    assert "0.03" not in detail
    assert "p = 0.03" in numbers(claim_row(Statement.EFFECT, p=0.03))["change"].detail
