"""The answer is as strong as its row of claims.csv: found, none, or open below six seeds."""

import numpy as np
import polars as pl
import pytest
from helpers.claim_rows import claim_row

from ptl_sweep.config.schema import conf_dir
from ptl_sweep.report.verdicts.answers import answers
from ptl_sweep.report.verdicts.effects import effects
from ptl_sweep.study import schemas
from ptl_sweep.study.claims.claim import Verdict
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.study.schemas import frame_of
from ptl_sweep.vocabulary import ALL_TARGETS

NAN = np.nan


def summary(**changes: object) -> pl.DataFrame:
    row = {
        "dataset": "town", "real_count": None, "synthetic": "on", "target": ALL_TARGETS,
        "metric": "AP50", "mean": 0.31, "num_seeds": 6, "effect": 0.11, "num_pairs": 6,
    }  # fmt: skip
    return frame_of([{**row, **changes}], schemas.SUMMARY)


def said(*rows: dict, **changes: object) -> tuple[Verdict, str]:
    (answer,) = answers(frame_of(rows, schemas.CLAIMS), summary(**changes))
    return answer.verdict, answer.sentence


@pytest.mark.parametrize(
    ("changes", "beginning"),
    [
        ({}, "Synthetic images (on) raise AP50 by 11.0 points, 95 % interval +8.5 to +13.5 over 6"),
        ({"value": -0.11}, "Synthetic images (on) lower AP50 by 11.0 points"),
        ({"verdict": Verdict.NONE}, "No evidence that synthetic images (on) change AP50: +11.0"),
        (
            {"verdict": Verdict.OPEN, "num_seeds": 3},
            "No verdict over trainings (3 seeds, 6 are needed): in these, AP50 changes by +11.0",
        ),
    ],
)
def test_the_answer_is_as_strong_as_its_verdict(changes: dict, beginning: str) -> None:
    verdict, sentence = said(claim_row(Statement.EFFECT, **changes))
    assert sentence.startswith(beginning)
    assert verdict is changes.get("verdict", Verdict.FOUND)
    assert "31.0 % with, 20.0 % without; mean over the targets field, karst and 20, 100 real" in (
        sentence
    )


def test_one_seed_names_its_interval_over_test_images_and_claims_nothing() -> None:
    row = claim_row(Statement.EFFECT, verdict=Verdict.OPEN, num_seeds=1, low=NAN, high=NAN)
    verdict, sentence = said(
        row, claim_row(Statement.WORTH, real_count=20, value=60.0), image_low=0.02, image_high=0.2
    )
    assert verdict is Verdict.OPEN
    assert sentence.startswith("No verdict over trainings (1 seed, 6 are needed)")
    assert "95 % interval +2.0 to +20.0 over test images alone" in sentence
    assert "detect as well" not in sentence


@pytest.mark.parametrize("name", ["on", "random", "raw"])
def test_a_choice_of_synthetic_that_adds_images_is_called_so(name: str) -> None:
    assert (conf_dir() / "synthetic" / f"{name}.yaml").is_file()
    _, sentence = said(claim_row(Statement.EFFECT, treated=name), synthetic=name)
    assert sentence.startswith(f"Synthetic images ({name}) raise AP50")


def test_an_arm_that_adds_no_image_is_not_called_synthetic_images() -> None:
    row = claim_row(Statement.EFFECT, treated="off_tuned")
    _, sentence = said(row, synthetic="off_tuned")
    assert sentence.startswith("The settings of off_tuned raise AP50")
    assert "ynthetic images" not in sentence


def test_worth_is_quoted_at_every_count_and_only_behind_a_found_effect() -> None:
    worth = [
        claim_row(Statement.WORTH, real_count=20, value=34.0, low=28.0, high=45.0),
        claim_row(
            Statement.WORTH, real_count=100, value=np.inf, low=0.0, high=np.inf,
            verdict=Verdict.NONE,
        ),
    ]  # fmt: skip
    _, sentence = said(claim_row(Statement.EFFECT), *worth)
    assert sentence.endswith(
        "Real images that detect as well, median over seeds: 20 with them as 34 [28, 45] alone; "
        "100 with them as > 100 [< 20, > 100] alone (no evidence at this count)."
    )
    for verdict in (Verdict.NONE, Verdict.OPEN):
        _, sentence = said(claim_row(Statement.EFFECT, verdict=verdict), *worth)
        assert "detect as well" not in sentence


def test_a_value_of_synthetic_that_was_never_judged_says_why() -> None:
    verdict, sentence = said()
    assert verdict is Verdict.OPEN
    assert sentence.startswith("No answer for synthetic images (on): no seed has all cells")


def target_row(target: str, **changes: object) -> dict:
    return claim_row(Statement.TARGET_EFFECT, target=target, **changes)


@pytest.mark.parametrize(
    ("rows", "beginning"),
    [
        (
            (target_row("field"), target_row("karst", value=-0.02)),
            "AP50 by target: synthetic images (on) raise it on field and lower it on karst: field",
        ),
        (
            (target_row("field"), target_row("karst", verdict=Verdict.NONE)),
            "AP50 by target: synthetic images (on) raise it on field, no evidence on 1 other: ",
        ),
        (
            (target_row("field", verdict=Verdict.NONE),),
            "No evidence that synthetic images (on) change AP50 on any target: field +11.0 points",
        ),
        (
            (target_row("field", verdict=Verdict.OPEN, num_seeds=2), target_row("karst")),
            "No verdict by target for synthetic images (on) (2 seeds, 6 are needed): field",
        ),
    ],
)
def test_targets_are_judged_together(rows: tuple[dict, ...], beginning: str) -> None:
    (sentence,) = effects(frame_of(rows, schemas.CLAIMS))
    assert sentence.startswith(beginning)
    assert sentence.endswith(f"adjusted for {len(rows)} target{'s' * (len(rows) > 1)}.")


@pytest.mark.parametrize(
    ("changes", "beginning"),
    [
        ({}, "AP50 is higher with synthetic=on than with random: +11.0 points"),
        ({"value": -0.11}, "AP50 is lower with synthetic=on than with random: -11.0 points"),
        ({"verdict": Verdict.NONE}, "No evidence that synthetic=on and synthetic=random differ"),
        ({"verdict": Verdict.OPEN, "num_seeds": 1}, "No verdict between synthetic=on and synt"),
    ],
)
def test_two_values_of_synthetic_are_contrasted(changes: dict, beginning: str) -> None:
    row = claim_row(Statement.CONTRAST, reference="random", **changes)
    (sentence,) = effects(frame_of([row], schemas.CLAIMS))
    assert sentence.startswith(beginning)
