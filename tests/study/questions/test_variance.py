"""Components of variance: those of made-up trainings come back, and none is found where none is."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.report.paper import variance
from ptl_sweep.report.paper.source import PaperSource
from ptl_sweep.report.paper.variance import CLEARLY
from ptl_sweep.study.questions.variance import AXIS, VariancePlace, components, variances
from ptl_sweep.study.schemas import CLAIMS, SUMMARY, frame_of
from ptl_sweep.vocabulary import ALL_TARGETS, Domain

SHAPE = (4, 5)  # subsets, seeds
CHANGE = VariancePlace("here", 20, "on - off")


def table(rng: np.random.Generator, subset: float, training: float, rest: float) -> np.ndarray:
    parts = ((subset, (SHAPE[0], 1)), (training, (1, SHAPE[1])), (rest, SHAPE))
    return np.asarray(sum(sd * rng.normal(size=size) for sd, size in parts))


def grid(levels: dict[str, np.ndarray], **changes: object) -> pl.DataFrame:
    """results.csv of one source, swept over subsets and seeds; two targets around each level."""
    rows = [
        {
            "dataset": f"here, train.subset_seed={subset}", "real_count": 20, "synthetic": name,
            "target": target, "seed": seed, AXIS: subset, "domain": Domain.CROSS,
            "num_ground_truth": 40, "AP50": float(values[subset, seed]) + by,
        }
        for name, values in levels.items()
        for target, by in (("sea", -0.1), ("hill", 0.1))
        for subset, seed in np.ndindex(values.shape)
    ]  # fmt: skip
    return pl.DataFrame(rows).with_columns(**changes)


def pictures(sd: float) -> pl.DataFrame:
    place = {"real_count": 20, "synthetic": "on", "target": ALL_TARGETS, "metric": "AP50"}
    rows = [
        place | {"dataset": f"here, train.subset_seed={one}", "image_sd": sd} for one in range(4)
    ]
    return frame_of(rows, SUMMARY)


def test_components_are_those_of_the_mean_squares() -> None:
    values = table(np.random.default_rng(0), 3.0, 2.0, 1.0)
    found = components(values)
    rows, columns = values.mean(1), values.mean(0)
    left = values - rows[:, None] - columns + values.mean()
    squares = (5 * rows.var(ddof=1), 4 * columns.var(ddof=1), (left**2).sum() / 12)
    assert found.rest == pytest.approx(squares[2])
    assert found.subset == pytest.approx((squares[0] - squares[2]) / 5)
    assert found.training == pytest.approx((squares[1] - squares[2]) / 4)
    alone = [
        stats.f.sf(one / squares[2], free, 12)
        for one, free in zip(squares[:2], (3, 4), strict=True)
    ]
    least, other = 2 * min(alone), max(2 * min(alone), *alone)
    adjusted = [least if one == min(alone) else other for one in alone]
    assert [found.p_subset, found.p_training] == pytest.approx(adjusted)


def test_made_up_components_come_back_on_average() -> None:
    rng = np.random.default_rng(1)
    many = [components(table(rng, 3.0, 1.0, 2.0)) for _ in range(2000)]
    found = np.mean([[one.subset, one.training, one.rest] for one in many], axis=0)
    np.testing.assert_allclose(found, [9, 1, 4], rtol=0.15)  # none is negative: a little above 1


def test_a_difference_is_found_in_at_most_six_percent_where_there_is_none() -> None:
    rng = np.random.default_rng(2)
    wrong = []
    for _ in range(1000):
        found = components(table(rng, 0.0, 0.0, 1.0))
        wrong.append(min(found.p_subset, found.p_training) <= 0.05)
    assert np.mean(wrong) <= 0.06


def test_a_change_is_paired_cell_by_cell_and_means_are_over_targets() -> None:
    rng = np.random.default_rng(3)
    off = table(rng, 0.1, 0.1, 0.05)
    change = table(rng, 0.02, 0.001, 0.01)
    found = variances(grid({"off": off, "on": off + change}), pictures(0.03))
    assert found[CHANGE] == pytest.approx(components(change, 0.03**2))
    assert found[CHANGE._replace(what="off")].subset == pytest.approx(components(off).subset)
    assert np.isnan(found[CHANGE._replace(what="on")].pictures)


def test_a_seed_that_lacks_a_cell_is_left_out() -> None:
    values = table(np.random.default_rng(4), 0.1, 0.1, 0.1)
    lost = (pl.col("seed") == 2) & (pl.col(AXIS) == 1) & (pl.col("target") == "sea")
    rows = grid({"off": values}).with_columns(AP50=pl.when(~lost).then("AP50"))
    (found,) = variances(rows, SUMMARY.to_frame()).values()
    assert found == pytest.approx(components(np.delete(values, 2, axis=1)), nan_ok=True)


def test_other_axes_stay_apart_and_images_of_the_seed_itself_are_no_subset() -> None:
    rng = np.random.default_rng(6)
    off, warm, cold = (table(rng, 0.1, 0.1, 0.1) for _ in range(3))
    rows = grid({"off": off, "on, temperature=1": off + 0.2, "on, temperature=25": off - 0.2})
    more = grid({"off": warm, "on": cold}).with_columns(
        dataset=pl.col("dataset") + ", train.num_steps=9"
    )
    by_seed = rows.head(5).with_columns(pl.lit(None, pl.Int64).alias(AXIS), AP50=pl.lit(9.0))
    found = variances(pl.concat([rows, more, by_seed]), SUMMARY.to_frame())
    assert {place.dataset for place in found} == {"here", "here, train.num_steps=9"}
    changes = {place.what: one.mean for place, one in found.items() if place.dataset == "here"}
    assert changes["on, temperature=1 - off"] == pytest.approx(0.2)
    assert changes["on, temperature=25 - off"] == pytest.approx(-0.2)
    assert {one.num_subsets for one in found.values()} == {4}


def test_the_subset_or_the_seed_goes_that_lacks_more() -> None:
    values = table(np.random.default_rng(7), 0.1, 0.1, 0.1)
    lost = (pl.col(AXIS) == 1) & pl.col("seed").is_in([0, 3])
    rows = grid({"off": values}).with_columns(AP50=pl.when(~lost).then("AP50"))
    (found,) = variances(rows, SUMMARY.to_frame()).values()
    assert found == pytest.approx(components(np.delete(values, 1, axis=0)), nan_ok=True)


def test_rounding_is_no_difference() -> None:
    found = components(np.full((3, 5), 0.1))
    assert (found.p_subset, found.p_training, found.subset) == (1.0, 1.0, 0.0)


def table_of(results: pl.DataFrame, summary: pl.DataFrame):
    source = PaperSource(results, results, CLAIMS.to_frame(), (0.01, 0.1, 0.5), {}, summary=summary)
    return variance(source)


@pytest.mark.parametrize(("sd", "goes"), [(0.5, "test pictures with labels"), (1e-6, "trainings")])
def test_the_next_hour_goes_where_the_larger_error_is(sd: float, goes: str) -> None:
    off = np.zeros(SHAPE)
    change = table(np.random.default_rng(5), 0.3, 0.0, 0.01)
    made = table_of(grid({"off": off, "on": change}), pictures(sd))
    assert {len(row) for row in made.rows} == {len(made.header)}
    (where,) = [note for note in made.notes if "next hour" in note]
    assert where.startswith("here, 20 real images, on - off: with 6 seeds")
    assert where.endswith(f"to more {goes}.")
    assert any("on - off: the draw of real images by itself makes" in note for note in made.notes)
    assert any("off: there is no evidence" in note for note in made.notes)


def test_a_sweep_without_crossed_seeds_is_told_what_to_sweep() -> None:
    few = grid({"off": np.zeros((2, 5))})
    with pytest.raises(ConfigError, match=r"train\.subset_seed and seed .*experiment=variance"):
        table_of(few.drop(AXIS), SUMMARY.to_frame())
    with pytest.raises(ConfigError, match=r"too few numbers: 3 subsets .* `status` says"):
        table_of(few, SUMMARY.to_frame())


def test_errors_that_are_much_alike_give_no_advice() -> None:
    change = table(np.random.default_rng(8), 0.3, 0.0, 0.01)
    error = components(change).error_over_trainings(6)
    made = table_of(grid({"off": np.zeros(SHAPE), "on": change}), pictures(error * 1.2))
    assert any("neither is clearly the larger one" in note for note in made.notes)


@pytest.mark.parametrize("parts", [(1, 1, 1), (0, 0, 1), (0.5, 0.5, 1)])
def test_the_advice_goes_to_the_smaller_error_in_at_most_six_percent(
    parts: tuple[float, float, float],
) -> None:
    """Where one error is truly half as large again as the other, at four subsets and seeds."""
    rng = np.random.default_rng(9)
    true = np.sqrt(np.square(parts).sum() / 6)
    for_pictures, for_trainings = [], []
    for _ in range(1000):
        found = components(table(rng, *parts)[:, :4]).error_over_trainings(6)
        for_pictures.append(true / 1.5 > CLEARLY * found)
        for_trainings.append(found > CLEARLY * true * 1.5)
    assert max(np.mean(for_pictures), np.mean(for_trainings)) <= 0.06
