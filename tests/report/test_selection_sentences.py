"""The sentences on selection and on published numbers claim by their verdict and no more."""

import numpy as np
import polars as pl
import pytest

from ptl_sweep.report import sentences
from ptl_sweep.study.study import PoolSelection


def chosen(selected: tuple[int, ...], seed: int, effective: float = 3.0) -> PoolSelection:
    """Of gaps 1..4."""
    gaps, mask = np.array([1.0, 2.0, 3.0, 4.0]), np.isin(np.arange(4), selected)
    return PoolSelection("town", 20, "on", seed, 1, gaps, mask, {}, effective)


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
