"""The reader of sentences tells every wording of every verdict apart, so it cannot miss a claim."""

import numpy as np
import polars as pl
import pytest
from helpers.claim_words import claims_something, claims_worth, counted, page_words
from helpers.null_grids import POINTS, levels, nothing, results

from ptl_sweep.study.claims.claim import Agreement, Verdict
from ptl_sweep.study.claims.table import Statement, claims


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    """claims.csv with every statement, contrasts among them."""
    rng = np.random.default_rng(0)
    pair = claims(nothing(6, 3, rng), POINTS)
    three = claims(results({"AP50": levels(6, 3, rng, arms=3)}), POINTS)
    return pl.concat([pair, three.filter(statement=Statement.CONTRAST)])


def judged(
    table: pl.DataFrame, verdict: Verdict, agreement: Agreement, num_seeds: int, sign: int
) -> pl.DataFrame:
    """The same statements, all with this verdict."""
    return table.with_columns(
        verdict=pl.lit(verdict.value),
        agreement=pl.when(pl.col("agreement").is_not_null()).then(pl.lit(agreement.value)),
        num_seeds=pl.lit(num_seeds, pl.Int64),
        p_family=pl.lit(0.01 if agreement != Agreement.NO_EVIDENCE else 0.5),
        value=sign * pl.col("value").abs(),
    )


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("verdict", "agreement", "num_seeds", "is_claim"),
    [
        (Verdict.FOUND, Agreement.AGREES, 6, True),
        (Verdict.FOUND, Agreement.CONTRADICTED, 6, True),
        (Verdict.NONE, Agreement.NO_EVIDENCE, 6, False),
        (Verdict.OPEN, Agreement.NO_EVIDENCE, 3, False),
        (Verdict.OPEN, Agreement.NO_EVIDENCE, 1, False),
    ],
)
def test_a_sentence_is_read_as_its_verdict(
    table: pl.DataFrame, verdict: Verdict, agreement: Agreement, num_seeds: int, is_claim: bool,
    sign: int,
) -> None:  # fmt: skip
    page = page_words(judged(table, verdict, agreement, num_seeds, sign))
    assert all(page.values())
    misread = [one for own in page.values() for one in own if claims_something(one) != is_claim]
    assert misread == []
    (answer,) = page["answer"]
    assert claims_worth(answer) == is_claim


def test_what_the_family_takes_is_not_counted(table: pl.DataFrame) -> None:
    found = judged(table, Verdict.FOUND, Agreement.AGREES, 6, 1)
    taken = pl.col("statement").is_in([Statement.MEDIUM, Statement.REPLACEMENT])
    p = pl.when(taken).then(0.06).otherwise(0.05)
    page = page_words(found.with_columns(p_family=p))
    (sentence,) = page["key results"]
    assert counted(sentence) == (3, 0)
    assert sentence.endswith(
        "and 2 have no evidence, adjusted for 5 tests; 2 of these have evidence only when tested "
        "alone."
    )
    assert page[Statement.MEDIUM] == ["agrees"]
    (none,) = page_words(found.with_columns(p_family=pl.lit(0.06)))["key results"]
    assert not claims_something(none)


def test_worth_without_evidence_at_any_count_is_no_claim(table: pl.DataFrame) -> None:
    found = judged(table, Verdict.FOUND, Agreement.AGREES, 6, 1)
    is_worth = pl.col("statement") == Statement.WORTH
    verdict = pl.when(is_worth).then(pl.lit(Verdict.NONE.value)).otherwise("verdict")
    (answer,) = page_words(found.with_columns(verdict=verdict))["answer"]
    assert claims_something(answer)
    assert not claims_worth(answer)


@pytest.mark.parametrize(
    "sentence",
    [
        "AP50 rises.",
        "No evidence that it helps: the nearer detector has the higher AP50.",
        "Of 5 key results, 0 agree with on, 1 is contradicted, and 4 have no evidence.",
        "contradicted",
    ],
)
def test_what_is_no_disclaimer_throughout_is_read_as_a_claim(sentence: str) -> None:
    assert claims_something(sentence)
