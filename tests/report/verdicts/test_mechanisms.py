"""What explains the effect is said as its rows of claims.csv say it."""

import numpy as np
import pytest
from helpers.claim_rows import claim_row

from ptl_sweep.report.verdicts.claim_row import read_claims
from ptl_sweep.report.verdicts.distances import distances, prediction
from ptl_sweep.report.verdicts.key_results import TEXTS, key_result_lines, key_results
from ptl_sweep.report.verdicts.medium_confidence import medium_confidence
from ptl_sweep.study import schemas
from ptl_sweep.study.claims.claim import Agreement, Verdict
from ptl_sweep.study.claims.medium_confidence import READINGS
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.study.schemas import frame_of
from ptl_sweep.vocabulary import COMPARABLE_DISTANCE, RELATIVE_DISTANCE

NAN = np.nan


def rho(**changes: object) -> dict:
    found = {"metric": RELATIVE_DISTANCE, "value": -0.5, "low": -0.7, "high": -0.3}
    return claim_row(Statement.PREDICTION, **{**found, "treated": "", **changes})


@pytest.mark.parametrize(
    ("row", "beginning"),
    [
        (rho(), "The nearer detector has the higher AP50 among detectors of town that differ in"),
        (rho(value=0.5), "The farther detector has the higher AP50 among detectors of town"),
        (rho(verdict=Verdict.NONE), "No evidence that train2test predicts AP50 among detectors"),
        (rho(verdict=Verdict.OPEN, num_seeds=3), "No verdict on whether train2test predicts AP50"),
        (rho(value=NAN, verdict=Verdict.OPEN, num_seeds=1), "No verdict on whether train2test pre"),
        (rho(value=NAN, verdict=Verdict.OPEN), "No evidence that train2test predicts AP50 among"),
        (rho(metric=COMPARABLE_DISTANCE.name), "No evidence that train2test predicts AP50: no rel"),
    ],
)
def test_prediction_rests_on_the_relative_distance(row: dict, beginning: str) -> None:
    (sentence,) = prediction(frame_of([row], schemas.CLAIMS))
    assert sentence.startswith(beginning)


def nearer(**changes: object) -> dict:
    found = {"metric": RELATIVE_DISTANCE, "value": -0.2, "low": -0.3, "high": -0.1}
    return claim_row(Statement.NEARER, **{**found, **changes})


@pytest.mark.parametrize(
    ("row", "beginning"),
    [
        (nearer(), "With synthetic images (on) the persons of the targets lie nearer to the train"),
        (nearer(value=0.2), "With synthetic images (on) the persons of the targets lie farther"),
        (nearer(verdict=Verdict.NONE), "No evidence that synthetic images (on) move the targets"),
        (nearer(num_seeds=1, low=NAN, high=NAN, verdict=Verdict.OPEN), "No verdict on whether syn"),
    ],
)
def test_targets_come_nearer_only_where_both_measures_agree(row: dict, beginning: str) -> None:
    (sentence,) = distances(frame_of([row], schemas.CLAIMS))
    assert sentence.startswith(beginning)
    split = nearer(verdict=Verdict.NONE, disagreeing="-log p")
    (sentence,) = distances(frame_of([split], schemas.CLAIMS))
    assert sentence.endswith("-log p does not change the same way.")


def medium(**changes: object) -> dict:
    beside = {"control": 0.03, "control_low": 0.01, "control_high": 0.05}
    return claim_row(Statement.MEDIUM, **{**beside, "agreement": Agreement.NO_EVIDENCE, **changes})


@pytest.mark.parametrize(
    ("row", "beginning"),
    [
        (medium(agreement=Agreement.AGREES), "AP_t2t gains most at medium confidence from synth"),
        (medium(agreement=Agreement.CONTRADICTED), "It is not so that AP_t2t gains most"),
        (medium(verdict=Verdict.NONE, disagreeing="matched, lift"), "No evidence that AP_t2t gai"),
        (medium(verdict=Verdict.OPEN, num_seeds=1), "No verdict on whether AP_t2t gains most"),
        (medium(verdict=Verdict.OPEN, undecided="equal"), "No verdict on whether AP_t2t gains mo"),
    ],
)
def test_medium_confidence_stands_beside_its_control(row: dict, beginning: str) -> None:
    (sentence,) = medium_confidence(frame_of([row], schemas.CLAIMS))
    assert sentence.startswith(beginning)
    assert "more real images give +3.0 [+1.0, +5.0]" in sentence


def test_medium_confidence_without_a_control_says_what_is_missing() -> None:
    """At one real count there is no effect of more real images to compare with."""
    every = "; ".join(one.name for one in READINGS)
    row = medium(verdict=Verdict.OPEN, control=NAN, control_low=NAN, control_high=NAN,
                 undecided=every)  # fmt: skip
    (sentence,) = medium_confidence(frame_of([row], schemas.CLAIMS))
    assert "(without a second real count nothing stands beside it)" in sentence
    assert "more real images give no number" in sentence
    line = key_result_lines(frame_of([row], schemas.CLAIMS))
    assert line["readings"].item() == "not decided: all 8 readings"


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"verdict": Verdict.NONE, "agreement": Agreement.CONTRADICTED}, Verdict.FOUND),
        ({"verdict": Verdict.NONE}, Verdict.NONE),
        ({"verdict": Verdict.OPEN}, Verdict.OPEN),
    ],
)
def test_what_contradicts_a_statement_was_found(changes: dict, verdict: Verdict) -> None:
    """The terminal would say `none` before the sentence "It is not so that ..."."""
    (row,) = read_claims(frame_of([medium(**changes)], schemas.CLAIMS), Statement.MEDIUM)
    assert row.shown_verdict is verdict


def test_every_key_result_has_a_line_whichever_way_it_goes() -> None:
    outcomes = (Agreement.AGREES, Agreement.CONTRADICTED, Agreement.NO_EVIDENCE)
    rows = [
        claim_row(statement, agreement=outcomes[place % 3], verdict=Verdict.FOUND, p_family=0.02)
        for place, statement in enumerate(TEXTS)
    ]
    claims = frame_of(rows, schemas.CLAIMS)
    lines = key_result_lines(claims)
    assert len(lines) == len(TEXTS)
    assert lines["agreement"].to_list() == [str(outcomes[place % 3]) for place in range(len(TEXTS))]
    (sentence,) = key_results(claims)
    assert "2 agree with synthetic images (on), 2 are contradicted, and 1 has no evid" in sentence
    assert sentence.endswith(", adjusted for 5 tests.")


def test_a_key_result_below_six_seeds_is_open() -> None:
    row = claim_row(
        Statement.REPLACEMENT, agreement=Agreement.NO_EVIDENCE, verdict=Verdict.OPEN, num_seeds=2
    )
    claims = frame_of([row], schemas.CLAIMS)
    assert key_result_lines(claims)["agreement"].item() == "no evidence: open, 2 seeds"
    assert key_results(claims)[0].endswith("1 has no evidence (2 seeds, 6 are needed).")
    several = [row, claim_row(Statement.RISES_ONLY, agreement=Agreement.AGREES, p_family=0.02)]
    (sentence,) = key_results(frame_of(several, schemas.CLAIMS))
    assert "1 has no evidence (some with fewer than 6 seeds)" in sentence
    unknown = row | {"num_seeds": 0, "value": NAN}
    lines = key_result_lines(frame_of([unknown], schemas.CLAIMS))
    assert lines["agreement"].item() == "no evidence: open"
    (sentence,) = key_results(frame_of([unknown], schemas.CLAIMS))
    assert (
        sentence
        == "This sweep has no number of any key result of the paper for synthetic images (on)."
    )
    beside = frame_of([unknown, *several[1:]], schemas.CLAIMS)
    assert key_results(beside)[0].startswith("Of 1 key result of the paper that this sweep can")
