import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from ptl_sweep.metrics.bootstrap import Replicates
from ptl_sweep.study.equivalent import (
    Equivalent,
    equivalent_count,
    median_with_bounds,
    non_decreasing,
    real_equivalents,
)
from ptl_sweep.study.schemas import frame_of, results_schema
from ptl_sweep.vocabulary import ALL_TARGETS, Group

COUNTS = np.array([10.0, 20.0, 40.0])


def cell(count: int, synthetic: str, ap50: float, seed: int = 0, target: str = "field") -> dict:
    return {
        "dataset": "town", "real_count": count, "synthetic": synthetic, "target": target,
        "seed": seed, "AP50": ap50,
    }  # fmt: skip


def equivalents_of(rows: list, *words: object) -> list[Equivalent]:
    return real_equivalents(frame_of(rows, results_schema((0.01, 0.1, 0.5))), *words)


def curve(count: float, saving: float = 1.0, seed: int = 0) -> float:
    return 0.1 + 0.02 * seed + 0.05 * np.log(count * saving)


def grid(saving: float, counts=(20, 50, 100, 200), num_seeds: int = 6, noise: float = 0.0) -> list:
    rng = np.random.default_rng(3)
    return [
        cell(count, synthetic, curve(count, factor, seed) + noise * rng.normal(), seed, target)
        for synthetic, factor in (("off", 1.0), ("on", saving))
        for count in counts
        for target in ("field", "yard")
        for seed in range(num_seeds)
    ]


def replicates_of(rows: list, sd: float, num: int = 400, num_blocks: int = 100) -> dict:
    """Test images move all cells of a target together and, by a tenth, each on its own."""
    rng = np.random.default_rng(8)
    common = {target: rng.normal(0, sd, num) for target in ("field", "yard")}
    found = {}
    for row in rows:
        values = row["AP50"] + common[row["target"]] + 0.1 * rng.normal(0, sd, num)
        key = tuple(row[name] for name in ("dataset", "real_count", "synthetic", "target", "seed"))
        found[key] = Replicates(values, np.stack([values] * 3), np.stack([values] * 3), num_blocks)
    return found


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=7))
def test_the_curve_is_repaired_as_scipy_does(values: list[float]) -> None:
    expected = isotonic_regression(np.array(values)).x
    assert non_decreasing(np.array(values)) == pytest.approx(expected, abs=1e-12)


def test_many_curves_are_repaired_at_once_and_a_gap_spoils_its_own_only() -> None:
    curves = np.random.default_rng(0).normal(size=(4, 5, 6))
    curves[1, 2, 3] = np.nan
    found = non_decreasing(curves)
    assert np.isnan(found[1, 2]).all()
    for index in np.ndindex(4, 5):
        if index != (1, 2):
            np.testing.assert_allclose(found[index], isotonic_regression(curves[index]).x)


@pytest.mark.parametrize(
    ("level", "images"),
    [
        (0.2, 10),  # the smallest count
        (0.3, 10 * 2**0.5),  # half way in the logarithm
        (0.4, 20),
        (0.45, 20 * 2**0.5),
        (0.5, 40),
        (0.1999, 0),
        (0.5001, np.inf),
        (np.nan, np.nan),
    ],
)
def test_equivalent_by_hand(level: float, images: float) -> None:
    found = equivalent_count(COUNTS, np.array([0.2, 0.4, 0.5]), np.array(level))
    assert float(found) == pytest.approx(images, nan_ok=True)


def test_on_a_flat_stretch_the_smallest_count_is_taken() -> None:
    flat = np.array([[0.2, 0.4, 0.4], [0.4, 0.4, 0.5], [0.3, 0.3, 0.3]])
    found = equivalent_count(COUNTS, flat, np.array([0.4, 0.4, 0.3]))
    assert found == pytest.approx([20, 10, 10])


def test_a_dip_in_the_curve_is_levelled_before_it_is_read() -> None:
    """0.3 at 20 and 0.2 at 40 become 0.25 at both: an AP50 of 0.28 is above every count."""
    rows = [cell(*one) for one in ((10, "off", 0.1), (20, "off", 0.3), (40, "off", 0.2))]
    above = equivalents_of([*rows, cell(10, "on", 0.28)])[0]
    inside = equivalents_of([*rows, cell(10, "on", 0.175)])[0]
    assert above.real_equivalent == np.inf
    assert inside.real_equivalent == pytest.approx(10 * 2**0.5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([3, 1, 2], 2),
        ([8, 2], 4),
        ([0, 27], 0),
        ([27, np.inf], 27),
        ([0, np.inf], 0),
        ([np.inf, np.inf, 5], np.inf),
        ([0, 0, 5], 0),
        ([np.nan, 1, 2], np.nan),
    ],
)
def test_the_middle_of_the_seeds_bears_what_lies_outside(values: list, expected: float) -> None:
    assert float(median_with_bounds(np.array(values, float))) == pytest.approx(
        expected, nan_ok=True
    )


def test_a_planted_saving_is_recovered() -> None:
    found = {one.group: one for one in equivalents_of(grid(1.7))}
    for count in (20, 50, 100):
        for target in ("field", "yard", ALL_TARGETS):
            one = found[Group("town", count, "on", target)]
            assert one.ratio[0] == pytest.approx(1.7)
            assert one.real_equivalent == pytest.approx(1.7 * count)
    assert found[Group("town", 200, "on", "field")].real_equivalent == np.inf
    assert len(found) == 4 * 3


def test_an_interval_over_seeds_and_images_holds_the_planted_saving() -> None:
    rows = grid(1.7, noise=0.004)
    found = equivalents_of(rows, replicates_of(rows, 0.02), np.random.default_rng(0))
    for one in (one for one in found if one.group.real_count in (20, 50, 100)):
        assert one.low < 1.7 * one.group.real_count < one.high
        assert one.ratio[1] == pytest.approx(one.low / one.group.real_count)
        assert one.ratio[2] == pytest.approx(one.high / one.group.real_count)
        assert one.note == ""


def test_the_interval_carries_both_seeds_and_images() -> None:
    noisy, quiet = grid(1.7, noise=0.004), grid(1.7)

    def width(rows: list, sd: float) -> float:
        found = equivalents_of(rows, replicates_of(rows, sd), np.random.default_rng(0))
        return found[1].high - found[1].low

    assert width(quiet, 0.0) == pytest.approx(0)
    assert width(noisy, 0.0) > 1
    assert width(quiet, 0.04) > 1


def test_one_seed_carries_test_images_only_and_says_so() -> None:
    rows = grid(1.7, num_seeds=1)
    one = equivalents_of(rows, replicates_of(rows, 0.04))[0]
    assert one.low < 34 < one.high
    assert one.note == "interval carries test images only (1 seed)"


def test_without_replicates_there_are_no_bounds() -> None:
    one = equivalents_of(grid(1.7))[0]
    assert np.isnan([one.low, one.high]).all()
    assert one.real_equivalent == pytest.approx(34)


def test_the_mean_over_targets_is_taken_before_the_curve_is_read() -> None:
    off = {"field": (0.1, 0.2, 0.4), "yard": (0.3, 0.6, 0.6)}
    rows = [
        cell(count, "off", value, target=target)
        for target, values in off.items()
        for count, value in zip((10, 20, 40), values, strict=True)
    ]
    rows += [cell(10, "on", 0.25, target="field"), cell(10, "on", 0.65, target="yard")]
    found = {one.group.target: one for one in equivalents_of(rows)}
    assert found["yard"].real_equivalent == np.inf
    assert found[ALL_TARGETS].real_equivalent == pytest.approx(20 * 2**0.5)  # 0.45 in 0.4 .. 0.5


def test_two_real_counts_are_too_few() -> None:
    one = equivalents_of(grid(1.7, counts=(20, 50)))[0]
    assert np.isnan(one.real_equivalent)
    assert one.note == "needs 3 real counts, there are 2"


def test_a_seed_with_a_missing_cell_is_left_out() -> None:
    rows = grid(1.7, num_seeds=3)
    rows = [r for r in rows if (r["seed"], r["real_count"], r["synthetic"]) != (2, 50, "off")]
    assert {one.num_seeds for one in equivalents_of(rows)} == {2}
    gone = [r for r in rows if (r["synthetic"], r["real_count"]) != ("on", 20) or r["seed"] == 2]
    one = equivalents_of(gone)[0]
    assert (one.num_seeds, one.note) == (0, "has no seed with every cell")


def test_the_same_generator_gives_the_same_bounds() -> None:
    rows = grid(1.7, noise=0.01)
    replicates = replicates_of(rows, 0.03)
    first, second = (equivalents_of(rows, replicates, np.random.default_rng(1)) for _ in range(2))
    assert first == second


def test_interval_covers_the_planted_saving_as_often_as_it_says() -> None:
    """Luck of the model per seed, of each cell, and of the test images, which all seeds share."""
    rng = np.random.default_rng(0)
    columns = [(20, "off"), (50, "off"), (100, "off"), (200, "off"), (50, "on")]
    covered = []
    for _ in range(150):
        image, images = rng.normal(0, 0.01, 5), rng.normal(0, 0.01, (5, 200))
        rows, replicates = [], {}
        for seed in range(6):
            model = rng.normal(0, 0.02)
            for index, (count, synthetic) in enumerate(columns):
                ap50 = curve(count, 1.7 if synthetic == "on" else 1.0) + model + image[index]
                rows.append(cell(count, synthetic, ap50 + rng.normal(0, 0.01), seed))
                values = rows[-1]["AP50"] + images[index]
                three = np.stack([values] * 3)
                key = ("town", count, synthetic, "field", seed)
                replicates[key] = Replicates(values, three, three, 50)
        one = equivalents_of(rows, replicates, rng)[0]
        covered.append(one.low <= 85 <= one.high)
    assert np.mean(covered) == pytest.approx(0.95, abs=0.05)
