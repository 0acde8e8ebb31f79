"""Sentences are marked exactly where what they rest on fails for a tenth of their detectors."""

from dataclasses import replace

import polars as pl
import pytest
from helpers.demo_study import demo_study

from ptl_sweep.report.breaks.conditions import Check, break_conditions, break_lines
from ptl_sweep.report.breaks.marks import MARK, SENTENCES, marked_sentences, marker
from ptl_sweep.report.verdicts.distances import distances, prediction
from ptl_sweep.report.verdicts.key_results import key_result_lines
from ptl_sweep.report.verdicts.medium_confidence import medium_confidence
from ptl_sweep.study.claims.table import Statement
from ptl_sweep.study.study import Study
from ptl_sweep.vocabulary import Condition

GAUSSIAN, SCORES = Check.GAUSSIAN, Check.SCORES


@pytest.fixture(scope="module")
def demo() -> Study:
    """24 detectors per arm: 4 counts, 6 seeds."""
    return demo_study(with_gaps=False)


def with_states(study: Study, check: Check, num_failed: int, *arms: str) -> Study:
    """Of each of these arms the first detectors fail, all others hold."""
    place = pl.int_range(pl.len()).over("synthetic")
    fails = pl.col("synthetic").is_in(arms) & (place < num_failed)
    state = pl.when(fails).then(pl.lit(str(Condition.FAILS))).otherwise(pl.lit("holds"))
    return replace(study, gaussians=study.gaussians.with_columns(state.alias(check)))


def by_arm(study: Study, check: Check) -> dict[str, tuple[int, int, int]]:
    return {
        one.synthetic: (one.num_detectors, one.num_judged, one.num_failed)
        for one in break_conditions(study)
        if one.check is check
    }


@pytest.mark.parametrize("check", list(Check))
def test_detectors_that_fail_are_counted_once_per_arm(demo: Study, check: Check) -> None:
    study = with_states(demo, check, 5, "on")
    assert by_arm(study, check) == {"off": (24, 24, 0), "on": (24, 24, 5), "random": (24, 24, 0)}
    lines = break_lines(study).filter(synthetic="on")
    assert sorted(lines["share"].to_list()) in ([0.0, 5 / 24], [4 / 24, 5 / 24])


def test_detectors_that_no_cell_ends_with_do_not_count(demo: Study) -> None:
    study = with_states(demo, GAUSSIAN, 24, "on")
    between = study.gaussians.with_columns(train_key=pl.col("train_key") + "-t1")
    both = replace(study, gaussians=pl.concat([between, study.gaussians]))
    assert by_arm(both, GAUSSIAN) == by_arm(study, GAUSSIAN)


def test_what_could_not_be_judged_is_no_failure_and_has_no_share(demo: Study) -> None:
    state = pl.lit(str(Condition.NOT_JUDGED)).alias(GAUSSIAN)
    study = replace(demo, gaussians=demo.gaussians.with_columns(state))
    assert by_arm(study, GAUSSIAN)["on"] == (24, 0, 0)
    lines = break_lines(study).filter(condition="a Gaussian describes the features")
    assert lines["share"].null_count() == len(lines) == 3
    assert not any(MARK in one for one in marked_sentences(study, Statement.NEARER))


@pytest.mark.parametrize(
    ("statement", "check", "other", "sentences"),
    [
        (Statement.NEARER, GAUSSIAN, SCORES, distances),
        (Statement.PREDICTION, GAUSSIAN, SCORES, prediction),
        (Statement.MEDIUM, SCORES, GAUSSIAN, medium_confidence),
    ],
)
def test_a_sentence_is_marked_where_its_own_condition_fails(
    demo: Study, statement: Statement, check: Check, other: Check, sentences: object
) -> None:
    arms = ("off", "on", "random")
    plain = sentences(demo.claims)
    holds = with_states(with_states(demo, check, 0), other, 24, *arms)
    assert marked_sentences(holds, statement) == plain
    fails = marked_sentences(with_states(demo, check, 24, *arms), statement)
    assert [one.partition(MARK)[0] for one in fails] == plain
    assert all("(100 %)." in one for one in fails)


def test_only_sentences_about_the_arms_that_fail_are_marked_and_from_a_tenth_on(
    demo: Study,
) -> None:
    """`on` and off have 48 detectors: 5 of them are more than a tenth, 4 are not."""
    five = marked_sentences(with_states(demo, GAUSSIAN, 5, "on"), Statement.NEARER)
    assert [MARK in one for one in five] == [True, False]
    assert "5 of 48 detectors that could be judged (10 %)" in five[0]
    four = marked_sentences(with_states(demo, GAUSSIAN, 4, "on"), Statement.NEARER)
    assert [MARK in one for one in four] == [False, False]


def test_without_claims_the_sentence_that_says_so_stays(demo: Study) -> None:
    nothing = replace(demo, claims=demo.claims.clear())
    for statement, sentences_of in SENTENCES.items():
        assert marked_sentences(nothing, statement) == sentences_of(nothing.claims)


def test_key_results_that_rest_on_a_failing_condition_say_so(demo: Study) -> None:
    """Two rest on the scores, one on the Gaussian, two on neither."""
    arms = ("off", "on", "random")
    for check, wanted in ((SCORES, 2), (GAUSSIAN, 1)):
        holds = with_states(with_states(demo, SCORES, 0), GAUSSIAN, 0)
        fails = with_states(holds, check, 24, *arms)
        own = [key_result_lines(one.claims, marker(one)).filter(synthetic="on")["readings"]
               for one in (holds, fails)]  # fmt: skip
        marked = [MARK.strip() in reading for reading in own[1]]
        assert sum(marked) == wanted
        assert not any(MARK.strip() in reading for reading in own[0])
