"""How often each kind of sentence is wrong on grids without its effect, and finds one of 2 sd.

Results go through claims.csv and the sentence generators; the printed words alone are read.
"""

import re
from collections.abc import Callable, Mapping

import jaxtyping
import numpy as np
import polars as pl
import pytest
from helpers import null_grids as grids
from helpers.claim_words import claims_something, claims_worth, counted, page_words
from helpers.null_grids import COUNTS, FALSE, POINTS, RISE, SCORES, SHIFT, TRUE, Grid, Levels, Rng
from scipy import stats

from ptl_sweep.report import sentences
from ptl_sweep.study.claims.effects import PairedCells
from ptl_sweep.study.claims.table import Statement, claims
from ptl_sweep.study.study import PoolSelection
from ptl_sweep.vocabulary import NEG_LOG_P, RELATIVE_DISTANCE

REPETITIONS = 400
MOST_FALSE, LEAST_FOUND = 0.06, 0.8
POOL, TAKEN = 40, 20  # images of a made-up virtual pool


@pytest.fixture(autouse=True)
def without_shape_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take two thirds of the time of thousands of grids; other tests check the same shapes."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def printed(results: pl.DataFrame) -> dict[str, list[str]]:
    """What the page says of a grid, by kind of sentence."""
    return page_words(claims(results, POINTS))


def says_it(*kinds: str) -> Mapping[str, Callable[[str], bool]]:
    return dict.fromkeys(kinds, claims_something)


ON_DISTANCES = says_it("prediction", "distances")
ON_BANDS = says_it("medium", Statement.MEDIUM)
ON_DIFFERENCES = says_it(
    Statement.REPLACEMENT, Statement.TARGETS_DIFFER, Statement.FALSE_POSITIVES
)  # fmt: skip
# what is false of each grid, and how to read whether the page says it
FALSE_OF: Mapping[Grid, Mapping[str, Callable[[str], bool]]] = {
    grids.nothing: {
        **says_it("answer", "targets", Statement.RISES_ONLY, "key results"),
        **ON_DISTANCES, **ON_BANDS, **ON_DIFFERENCES,
    },
    grids.everything_shifted: {
        **says_it(Statement.RISES_ONLY, "key results"),
        **ON_DISTANCES, **ON_BANDS, **ON_DIFFERENCES,
    },
    grids.flat_curve: {**says_it("contrasts"), "answer": claims_worth},
    grids.as_with_real_images: {
        **ON_BANDS, **says_it(Statement.REPLACEMENT, Statement.TARGETS_DIFFER),
        Statement.RISES_ONLY: "agrees".__eq__,  # that it rises without them too is true
        "key results": lambda sentence: counted(sentence) not in ((0, 0), (0, 1)),
    },
}  # fmt: skip


def false_shares(grid: Grid, num_seeds: int, num_counts: int, repetitions: int) -> dict[str, float]:
    """The share of the sentences of each kind that claim what is false."""
    rng = np.random.default_rng([num_seeds, num_counts])
    said: dict[str, list[bool]] = {kind: [] for kind in FALSE_OF[grid]}
    for _ in range(repetitions):
        page = printed(grid(num_seeds, num_counts, rng))
        for kind, reads in FALSE_OF[grid].items():
            said[kind] += map(reads, page[kind])
    return {kind: float(np.mean(own)) for kind, own in said.items()}


SLOWLY = pytest.mark.slow
RATES = [  # real counts, repetitions, the largest share that is let pass
    (3, 10, 0.2),
    pytest.param(3, REPETITIONS, MOST_FALSE, marks=SLOWLY),
    pytest.param(5, REPETITIONS, MOST_FALSE, marks=SLOWLY),
]


@pytest.mark.parametrize(("num_counts", "repetitions", "most"), RATES)
@pytest.mark.parametrize("grid", FALSE_OF)
def test_six_seeds_without_an_effect_claim_one_in_at_most_six_percent(
    grid: Grid, num_counts: int, repetitions: int, most: float
) -> None:
    shares = false_shares(grid, 6, num_counts, repetitions)
    wrong = {kind: one for kind, one in shares.items() if one > most}
    assert wrong == {}


@pytest.mark.parametrize("num_counts", [3, 5])
@pytest.mark.parametrize("num_seeds", [1, 2, 3, 5])
def test_too_few_seeds_never_claim_anything(num_seeds: int, num_counts: int) -> None:
    """Not by chance but by rule, so one grid of a kind shows it; two of the four have effects."""
    rng = np.random.default_rng([num_seeds, num_counts])
    for grid in FALSE_OF:
        page = printed(grid(num_seeds, num_counts, rng))
        assert [one for own in page.values() for one in own if claims_something(one)] == []


def selections(num_seeds: int, rng: Rng, *, nearer_by: float = 0.0) -> list[PoolSelection]:
    """One draw a seed, whose selected images lie nearer by so many sd of the gap."""
    selected = np.arange(POOL) < TAKEN
    gaps = rng.normal(size=(num_seeds, POOL)) - nearer_by * selected
    return [
        PoolSelection("town", 20, "on", seed, 1, gap, selected, {}, {}, POOL)
        for seed, gap in enumerate(gaps)
    ]


def test_a_blind_selection_is_said_to_prefer_in_at_most_six_percent() -> None:
    rng = np.random.default_rng(6)
    said = [claims_something(*sentences.selection(selections(6, rng))) for _ in range(REPETITIONS)]
    assert np.mean(said) <= MOST_FALSE


def test_a_selection_by_two_sd_is_found() -> None:
    """The sd of a probability from m x n pairs is root((m + n + 1) / (12 m n)), Mann-Whitney."""
    sd = np.sqrt((POOL + 1) / (12 * TAKEN * (POOL - TAKEN)))
    by = np.sqrt(2) * stats.norm.ppf(0.5 + 2 * sd)  # P(X - by < Y) for two normal gaps
    rng = np.random.default_rng(6)
    found = [sentences.selection(selections(6, rng, nearer_by=by))[0] for _ in range(REPETITIONS)]
    assert np.mean(["prefers near" in one and claims_something(one) for one in found]) > LEAST_FOUND


def sloped(found: Levels) -> Levels:
    """On gains two sd of its slope with every doubling of the real images."""
    slope = 2 * grids.sd(PairedCells.effect_slopes)
    return grids.with_on(found, slope * np.log2(COUNTS[: found.shape[1]])[:, None])


def on_every_target(rng: Rng) -> pl.DataFrame:
    by = 2 * grids.sd(PairedCells.pooled_effect)
    return grids.results({"AP50": grids.with_on(grids.levels(6, 3, rng, rise=RISE, arms=3), by)})


def on_each_target(rng: Rng, alone: bool = False) -> pl.DataFrame:
    """Of two sd of a target's own effect; `alone`: on field, and none on the others."""
    by = 2 * grids.sd(effect_on_field) * np.array([1.0, not alone, not alone])
    return grids.results({"AP50": grids.with_on(grids.levels(6, 3, rng, rise=RISE), by)})


def effect_on_field(cells: PairedCells) -> dict[int, float]:
    return cells.effects_by_target()["field"]


def worth_of_a_count(rng: Rng) -> pl.DataFrame:
    by = 2 * grids.sd(PairedCells.pooled_effect, num_counts=1)
    return grids.results({"AP50": grids.with_on(grids.levels(6, 3, rng, rise=RISE), by)})


def nearer_is_better(rng: Rng) -> pl.DataFrame:
    distance = grids.levels(6, 3, rng)
    ap50 = grids.levels(6, 3, rng) - 2 * distance
    return grids.results({"AP50": ap50, RELATIVE_DISTANCE: distance})


def nearer_targets(rng: Rng) -> pl.DataFrame:
    distance = grids.with_on(grids.levels(6, 3, rng), -2 * grids.sd(PairedCells.pooled_effect))
    log_p = grids.reading_noise(distance, rng)
    return grids.results({RELATIVE_DISTANCE: distance, NEG_LOG_P: log_p})


def medium_gains_most(rng: Rng) -> pl.DataFrame:
    by = 2 * grids.sd_of_excess()
    return grids.results(grids.bands(6, 3, rng, shift=SHIFT, medium_by_synthetic=by))


def rising_only_with(rng: Rng) -> pl.DataFrame:
    return grids.results({SCORES[1]: sloped(grids.levels(6, 3, rng))})


def growing_with_real_images(rng: Rng) -> pl.DataFrame:
    return grids.results({"AP50": sloped(grids.levels(6, 3, rng, rise=RISE))})


def different_targets(rng: Rng) -> pl.DataFrame:
    return grids.results({"AP50": grids.with_on(grids.levels(6, 3, rng), grids.profile())})


def different_false_positives(rng: Rng) -> pl.DataFrame:
    false = grids.with_on(grids.levels(6, 3, rng), grids.profile())
    return grids.results({FALSE: false, TRUE: grids.levels(6, 3, rng)})


RAISES = r"Synthetic images \(on\) raise AP50"
ON_FIELD = r"AP50 by target: synthetic images \(on\) raise it on field"
MEDIUM_MOST = r"AP_t2t gains most at medium confidence .* in every reading"
# of each grid with an effect of two sd, the kinds of sentence that must say so, and their words
PLANTED: Mapping[Callable[[Rng], pl.DataFrame], Mapping[str, str]] = {
    on_every_target: {
        "answer": RAISES,
        "contrasts": "AP50 is higher with synthetic=on than with random",
    },
    on_each_target: {"targets": ON_FIELD},
    worth_of_a_count: {"answer": RAISES + r".*; 20 with them as [^;]*alone;"},
    nearer_is_better: {"prediction": "The nearer detector has the higher AP50"},
    nearer_targets: {"distances": "With .* lie nearer to the training set"},
    medium_gains_most: {"medium": MEDIUM_MOST, Statement.MEDIUM: "agrees"},
    rising_only_with: {Statement.RISES_ONLY: "agrees"},
    growing_with_real_images: {Statement.REPLACEMENT: "agrees"},
    different_targets: {Statement.TARGETS_DIFFER: "agrees"},
    different_false_positives: {Statement.FALSE_POSITIVES: "agrees"},
}


@pytest.mark.parametrize(
    ("repetitions", "least"), [(10, 0.5), pytest.param(REPETITIONS, LEAST_FOUND, marks=SLOWLY)]
)
@pytest.mark.parametrize("grid", PLANTED)
def test_six_seeds_find_an_effect_of_two_sd(
    grid: Callable[[Rng], pl.DataFrame], repetitions: int, least: float
) -> None:
    rng = np.random.default_rng([6, 3])
    pages = [printed(grid(rng)) for _ in range(repetitions)]
    for kind, words in PLANTED[grid].items():
        found = [any(re.match(words, one) for one in page[kind]) for page in pages]
        assert np.mean(found) > least, kind


def beside_nothing(grid: Callable[[Rng], pl.DataFrame], rng: Rng) -> pl.DataFrame:
    """What the grid measured, and every other number without an effect."""
    own = grid(rng)
    measured = [one.name for one in own.select(pl.col(pl.Float64)) if one.is_finite().any()]
    return grids.nothing(6, 3, rng).with_columns(own.select(measured))


KEY_RESULT_GRIDS = (
    medium_gains_most, rising_only_with, growing_with_real_images, different_targets,
    different_false_positives,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("grid", KEY_RESULT_GRIDS)
def test_one_true_key_result_of_five_is_counted_after_the_adjustment(
    grid: Callable[[Rng], pl.DataFrame],
) -> None:
    rng = np.random.default_rng([6, 3])
    pages = [printed(beside_nothing(grid, rng)) for _ in range(REPETITIONS)]
    agree, against = np.array([counted(*page["key results"]) for page in pages]).T
    assert np.mean(agree > 0) > 0.6
    assert np.mean((agree > 1) | (against > 0)) <= MOST_FALSE


@pytest.mark.slow
def test_an_effect_on_one_of_three_targets_alone_pays_for_the_family() -> None:
    rng = np.random.default_rng([6, 3])
    found = [
        re.match(ON_FIELD, *printed(on_each_target(rng, alone=True))["targets"]) is not None
        for _ in range(REPETITIONS)
    ]
    assert 0.6 < np.mean(found) < LEAST_FOUND
