"""The sentences on selection and on published numbers claim by their verdict and no more."""

import numpy as np
import polars as pl
import pytest
from helpers.claim_words import claims_something

from ptl_sweep.report import aggregates, columns, sentences
from ptl_sweep.report.tables import make_table
from ptl_sweep.study.study import PoolSelection, TranslationGap


def chosen(selected: tuple[int, ...], seed: int, effective: float = 3.0) -> PoolSelection:
    """Of gaps 1..4."""
    gaps, mask = np.array([1.0, 2.0, 3.0, 4.0]), np.isin(np.arange(4), selected)
    return PoolSelection("town", 20, "on", seed, 1, gaps, mask, {}, {}, effective)


@pytest.mark.parametrize(
    ("selected", "num_seeds", "beginning", "numbers"),
    [
        (
            (0, 1), 6, "Selection by synthetic=on prefers near virtual images: probability 1.00",
            "(95 % interval 1.00 to 1.00 over 6 seeds; 0.5 is chance)",
        ),
        ((2, 3), 6, "Selection by synthetic=on prefers far", "0.00 to 0.00 over 6 seeds"),
        ((0, 3), 6, "No evidence that synthetic=on prefers near", "probability 0.50 that a"),
        (
            (0, 1), 5, "No verdict on whether synthetic=on prefers near virtual images (5 seeds, 6",
            "over 5 seeds",
        ),
        ((0, 1), 1, "No verdict on whether", "(no interval with 1 seed; 0.5 is chance)"),
    ],
)  # fmt: skip
def test_selection_claims_by_its_verdict_over_seeds(
    selected: tuple[int, ...], num_seeds: int, beginning: str, numbers: str
) -> None:
    (sentence,) = sentences.selection([chosen(selected, seed) for seed in range(num_seeds)])
    assert sentence.startswith(beginning)
    assert numbers in sentence


def test_the_effective_sample_size_stands_in_the_sentence() -> None:
    same = [chosen((0, 1), seed) for seed in range(6)]
    assert sentences.selection(same)[0].endswith("effective sample size 3 of 4 images.")
    (sentence,) = sentences.selection([*same, chosen((0, 1), 6, effective=1.8)])
    assert sentence.endswith("effective sample size 2 to 3 of 4 images.")


def test_without_a_gap_there_is_no_selection_to_judge() -> None:
    assert sentences.selection([])[0].startswith("No selection to judge")


def translated(seed: int, iteration: int, gap: TranslationGap | None) -> PoolSelection:
    return chosen((0, 1), seed)._replace(iteration=iteration, translation=gap)


def told(selections: list[PoolSelection]) -> list[str]:
    return sentences.translation(aggregates.selection_rows(selections))


def test_translation_is_told_in_numbers_before_and_after_and_claims_nothing() -> None:
    """Seed 0: 10 and 20 as drawn, 15 and 15 translated; seeds 1 to 5: 10 and 30."""
    first = [
        translated(0, 1, TranslationGap(10.0, 15.0, 4.0, 1.0, 0.5, 0.9)),
        translated(0, 2, TranslationGap(20.0, 15.0, 6.0, 0.9, 0.6, 0.7)),
    ]
    (sentence,) = told(first)
    assert "median d² of 15.0 as drawn and 15.0 translated, ratio 1.00 (no interval" in sentence
    assert "training set have 5.0, in-sample" in sentence
    assert "in 95 % of these images as drawn, in 55 % translated, and finds 80 %" in sentence
    more = [translated(s, 1, TranslationGap(10.0, 30.0, 5.0, 1.0, 1.0, 1.0)) for s in range(1, 6)]
    (sentence,) = told([*first, *more])
    assert "ratio 2.67 [1.81, 3.52] (95 % interval, 6 seeds)" in sentence
    assert not claims_something(sentence)


def test_stages_that_compared_nothing_are_a_gap_and_enter_no_mean() -> None:
    old = translated(0, 1, None)
    (sentence,) = told([old])
    assert sentence.startswith("No distance of persons before and after")
    unfound = translated(1, 1, TranslationGap(np.nan, np.nan, 4.0, 1.0, 0.0, 1.0))
    new = translated(2, 1, TranslationGap(10.0, 20.0, 4.0, 1.0, 1.0, 1.0))
    (sentence,) = told([old, unfound, new])
    assert "10.0 as drawn and 20.0 translated, ratio 2.00 (no interval with 1 seed)" in sentence
    for selections, shown in (([old], ["\N{EN DASH}"] * 6), ([old, new], ["10.0", "20.0", "4.0"])):
        lines = aggregates.selection_lines(selections)
        (line,) = make_table("selections", "", columns.SELECTIONS, lines).lines
        cells = [cell.shown for cell in line.cells][-7:-1]
        assert cells[: len(shown)] == shown


def beside(change: str, note: str = "", **more: object) -> dict:
    return {
        "metric": "AP50", "published_change": "up", "published_ratio": 1.5, "change": change,
        "ratio": 1.2, "note": note,
    } | more  # fmt: skip


def test_published_changes_are_counted_by_direction() -> None:
    rows = [beside("up"), beside("down", "not established"), beside("", "different data: town")]
    beside_ours = pl.DataFrame(rows)
    sentence = sentences.published(beside_ours)
    assert sentence.startswith(
        "1 of 2 changes of AP50 that a paper reports too goes its way, a count without a test;"
    )
    assert "median 1.50 there and 1.20 here" in sentence
    assert "different data" in sentences.published(beside_ours[2:])
    assert "no published number was loaded" in sentences.published(beside_ours.clear())
