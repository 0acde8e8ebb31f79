import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptl_sweep.metrics.average_precision import average_precision
from ptl_sweep.metrics.bootstrap import (
    RankedHits,
    Replicates,
    block_weights,
    few_blocks_note,
    percentile_interval,
    resampled_ap,
)
from ptl_sweep.study.paired import paired_replicates
from ptl_sweep.vocabulary import Group


def random_ranking(rng: np.random.Generator, num: int, num_images: int) -> RankedHits:
    hit = rng.random(num) < np.linspace(0.9, 0.1, num)
    return RankedHits(hit, rng.integers(0, num_images, num))


def truths_of(ranked: RankedHits, num_images: int, rng: np.random.Generator) -> np.ndarray:
    """As many persons as hits, and up to two that nobody finds."""
    hits = np.bincount(ranked.image[ranked.hit], minlength=num_images)
    return hits + rng.integers(0, 3, num_images)


def repeated_ap(ranked: RankedHits, truths: np.ndarray, weight: np.ndarray) -> float:
    """The set of images written out: image i weight[i] times."""
    hit = np.repeat(ranked.hit, weight[ranked.image])
    return average_precision(hit, int((truths * weight).sum()))


@given(st.integers(0, 10_000), st.integers(0, 60), st.integers(1, 8))
def test_resampled_ap_is_the_ap_of_the_repeated_images(
    seed: int, num: int, num_images: int
) -> None:
    rng = np.random.default_rng(seed)
    ranked = random_ranking(rng, num, num_images)
    truths = truths_of(ranked, num_images, rng)
    weights = rng.integers(0, 5, (6, num_images)).astype(np.uint16)
    expected = [repeated_ap(ranked, truths, weight) for weight in weights]
    np.testing.assert_array_equal(resampled_ap(ranked, truths, weights), expected)


def test_many_resamples_are_computed_in_parts() -> None:
    rng = np.random.default_rng(3)
    ranked = random_ranking(rng, 6000, 50)
    truths = truths_of(ranked, 50, rng)
    weights = block_weights(np.arange(50), 1000, rng)
    found = resampled_ap(ranked, truths, weights)
    for index in (0, 500, 699, 998, 999):
        assert found[index] == repeated_ap(ranked, truths, weights[index])


def test_weights_of_one_give_the_ap_itself() -> None:
    rng = np.random.default_rng(0)
    ranked = random_ranking(rng, 500, 20)
    truths = truths_of(ranked, 20, rng)
    found = resampled_ap(ranked, truths, np.ones((1, 20), np.uint16))
    assert found[0] == average_precision(ranked.hit, int(truths.sum()))


def test_ap_of_a_resample_by_hand() -> None:
    """Image 0: hit first, image 1: miss second, hit third; a person each."""
    ranked = RankedHits(np.array([True, False, True]), np.array([0, 1, 1]))
    weights = np.array([[1, 1], [2, 0], [0, 2], [1, 2]], np.uint16)
    found = resampled_ap(ranked, np.array([1, 1]), weights)
    # Both: recall up to 0.5 at precision 1 (51 levels), the rest at 2/3. Image 1 twice: two misses,
    # then two hits, best precision 2/4. One and two: 1/3 of recall (34 levels) at 1, rest at 3/5.
    assert found == pytest.approx([(51 + 50 * 2 / 3) / 101, 1.0, 0.5, (34 + 67 * 3 / 5) / 101])


def test_a_resample_without_persons_has_no_ap_and_one_without_hits_has_zero() -> None:
    ranked = RankedHits(np.array([False, True]), np.array([0, 1]))
    weights = np.array([[1, 0, 0], [0, 0, 1], [1, 0, 1]], np.uint16)
    found = resampled_ap(ranked, np.array([0, 1, 1]), weights)
    assert np.isnan(found[0])
    assert found[1:].tolist() == [0.0, 0.0]


def test_blocks_are_drawn_whole_and_as_many_as_there_are() -> None:
    blocks = np.array([7, 7, 2, 9, 9, 9])
    weights = block_weights(blocks, 4000, np.random.default_rng(1))
    assert (weights[:, 0] == weights[:, 1]).all()
    assert (weights[:, 3] == weights[:, 4]).all()
    assert (weights[:, [0, 2, 3]].sum(axis=1) == 3).all()
    assert weights.mean(axis=0) == pytest.approx(np.ones(6), abs=0.05)
    assert weights[:, 2].var() == pytest.approx(3 * 1 / 3 * 2 / 3, abs=0.05)  # binomial(3, 1/3)


def test_the_same_generator_gives_the_same_weights() -> None:
    first, second = (block_weights(np.arange(9), 5, np.random.default_rng(4)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def detect(rng: np.random.Generator, difficulty: np.ndarray, truths: np.ndarray) -> RankedHits:
    """Persons of an easy image are found more often; misses have lower scores."""
    found = rng.binomial(truths, 1 / (1 + np.exp(-1 - difficulty)))
    false = rng.poisson(2, len(truths))
    images = np.arange(len(truths))
    image = np.concatenate([np.repeat(images, found), np.repeat(images, false)])
    hit = np.arange(len(image)) < found.sum()
    order = np.argsort(-rng.normal(1.0 * hit, 1.0), kind="stable")
    return RankedHits(hit[order], image[order])


def test_interval_of_a_difference_covers_zero_when_two_detectors_are_alike() -> None:
    """400 sets of 60 images: 95 % up to simulation error (0.011) and the method's own bias."""
    rng = np.random.default_rng(11)
    covered = []
    for _ in range(400):
        difficulty, truths = rng.normal(size=60), 1 + rng.poisson(2, 60)
        weights = block_weights(np.arange(60), 200, rng)
        first, second = (
            resampled_ap(detect(rng, difficulty, truths), truths, weights) for _ in range(2)
        )
        low, high = percentile_interval(first - second)
        covered.append(low <= 0 <= high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


def test_sharing_the_weights_makes_the_interval_of_a_difference_narrower() -> None:
    rng = np.random.default_rng(12)
    difficulty, truths = rng.normal(0, 3, 200), 1 + rng.poisson(2, 200)
    first, second = (detect(rng, difficulty, truths) for _ in range(2))
    one, other = (block_weights(np.arange(200), 400, rng) for _ in range(2))
    shared = resampled_ap(first, truths, one) - resampled_ap(second, truths, one)
    separate = resampled_ap(first, truths, one) - resampled_ap(second, truths, other)
    assert shared.std() < 0.7 * separate.std()


def test_copies_of_an_image_in_a_scene_count_once() -> None:
    """10 scenes of 5 equal images hold as much as 10 images: sd larger by the root of 5."""
    rng = np.random.default_rng(13)
    truths = 1 + rng.poisson(2, 10)
    single = detect(rng, rng.normal(size=10), truths)
    image = (single.image[:, None] * 5 + np.arange(5)).ravel()
    copies = RankedHits(np.repeat(single.hit, 5), image)
    by_image = block_weights(np.arange(50), 2000, rng)
    by_scene = block_weights(np.repeat(np.arange(10), 5), 2000, rng)
    narrow, wide = (
        resampled_ap(copies, np.repeat(truths, 5), weights).std()
        for weights in (by_image, by_scene)
    )
    assert wide / narrow == pytest.approx(np.sqrt(5), rel=0.15)


def test_percentile_interval_by_hand() -> None:
    values = np.random.default_rng(0).permutation(np.arange(1001.0))
    assert percentile_interval(values) == (25.0, 975.0)
    assert percentile_interval(values, 0.5) == (250.0, 750.0)
    assert percentile_interval(np.append(values, np.nan)) == (25.0, 975.0)


def test_percentiles_of_values_with_infinity_are_numbers_or_infinity() -> None:
    values = np.concatenate([np.zeros(10), np.full(480, 30.0), np.full(510, np.inf)])
    assert percentile_interval(values) == (30.0, np.inf)
    assert percentile_interval(np.full(5, np.inf)) == (np.inf, np.inf)


def test_nothing_has_no_percentiles() -> None:
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()
    assert np.isnan(percentile_interval(np.array([]))).all()


def test_few_blocks_are_named() -> None:
    assert few_blocks_note(10) == "few blocks (10)"
    assert few_blocks_note(20) == ""


def replicate(level: float, num_blocks: int) -> Replicates:
    values = level + np.arange(4.0)
    return Replicates(values, np.stack([values] * 3), np.stack([-values] * 3), num_blocks)


def test_paired_replicates_are_the_mean_difference_within_the_seed() -> None:
    level = {("off", "a"): 1.0, ("off", "b"): 2.0, ("on", "a"): 1.5, ("on", "b"): 4.0}
    num_blocks = {"a": 7, "b": 5}
    replicates = {
        ("town", 20, synthetic, target, seed): replicate(
            value + 10 * seed * (synthetic == "on"), num_blocks[target]
        )
        for (synthetic, target), value in level.items()
        for seed in (0, 1)
    }
    groups = [Group("town", 20, "on", target) for target in ("a", "b")]
    found = paired_replicates(replicates, groups, [0, 1])
    np.testing.assert_allclose(found.AP50, [[1.25] * 4, [11.25] * 4])
    np.testing.assert_allclose(found.AP_t2t[:, 1], [[1.25] * 4, [11.25] * 4])
    np.testing.assert_allclose(found.AP_t2t_bands[:, 2], [[-1.25] * 4, [-11.25] * 4])
    assert (found.num_blocks, found.fewest_blocks) == (12, 5)


def test_a_cell_without_replicates_leaves_none() -> None:
    replicates = {("town", 20, "on", "a", 0): replicate(1.0, 7)}
    assert paired_replicates(replicates, [Group("town", 20, "on", "a")], [0]) is None
    assert paired_replicates(replicates, [Group("town", 20, "on", "a")], []) is None
