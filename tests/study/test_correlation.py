import numpy as np
import pytest
from scipy import stats

from ptl_sweep.study.correlation import correlations, partial_spearman, spearman
from ptl_sweep.study.schemas import CORRELATIONS, frame_of, results_schema
from ptl_sweep.study.study import SCOPES
from ptl_sweep.vocabulary import VARIANTS

COUNTS = (20, 50, 100, 200)


def grid(slope: float, confounding: float, num_seeds: int = 6, noise: float = 0.3) -> list:
    """AP50 falls with the distance by `slope`; both follow log n by `confounding`."""
    rng = np.random.default_rng(1)
    rows = []
    for count in COUNTS:
        for target in ("field", "karst", "yard"):
            for seed in range(num_seeds):
                gaussian_n = count * 15 + int(rng.integers(0, count))
                level = confounding * np.log(gaussian_n)
                distance = -level + rng.normal(0, 0.3)
                ap50 = level - slope * (distance + level) + noise * rng.normal()
                row = {"dataset": "town", "real_count": count, "synthetic": "off"}
                row |= {"target": target, "seed": seed, "gaussian_n": gaussian_n, "AP50": ap50}
                rows.append(row | {"t2t_tp_mean": distance, "t2t_tp_mean_equal_n": distance})
    return rows


def correlations_of(rows: list, num_resamples: int, rng: np.random.Generator) -> list[dict]:
    table = correlations(frame_of(rows, results_schema((0.01, 0.1, 0.5))), num_resamples, rng)
    assert table.schema == CORRELATIONS
    return table.to_dicts()


def scoped(rows: list, variant: str = "raw", predictor: str = "tp_mean") -> dict:
    found = correlations_of(rows, 400, np.random.default_rng(0))
    return {
        row["scope"]: row
        for row in found
        if (row["variant"], row["predictor"]) == (variant, predictor)
    }


def tied_samples(num: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    first, second, third = rng.integers(0, 8, (3, num)).astype(float)
    return first, second + first, third + first, rng.integers(0, 4, (20, num)).astype(float)


def test_spearman_of_a_repeated_sample_agrees_with_scipy_ties_included() -> None:
    first, second, _, weights = tied_samples(30)
    found = spearman(first, second, np.zeros(30), weights)
    for value, weight in zip(found, weights.astype(int), strict=True):
        repeated = stats.spearmanr(np.repeat(first, weight), np.repeat(second, weight))
        assert value == pytest.approx(repeated.statistic)


def test_within_strata_the_ranks_of_each_are_centred_then_correlated() -> None:
    first, second, _, weights = tied_samples(30)
    strata = np.repeat([1.0, 2.0, 3.0], 10)
    for value, weight in zip(
        spearman(first, second, strata, weights), weights.astype(int), strict=True
    ):
        ranks = []
        for values in (first, second):
            parts = [np.repeat(values[strata == s], weight[strata == s]) for s in (1, 2, 3)]
            ranks.append(np.concatenate([stats.rankdata(p) - (len(p) + 1) / 2 for p in parts]))
        assert value == pytest.approx(np.corrcoef(*ranks)[0, 1])


def test_partial_is_the_correlation_of_the_ranks_that_a_line_leaves_over() -> None:
    first, second, third, weights = tied_samples(30)
    for value, weight in zip(
        partial_spearman(first, second, np.log(1 + third), weights),
        weights.astype(int),
        strict=True,
    ):
        one, other = (stats.rankdata(np.repeat(values, weight)) for values in (first, second))
        given = np.log(1 + np.repeat(third, weight))
        left = [y - np.polyval(np.polyfit(given, y, 1), given) for y in (one, other)]
        assert value == pytest.approx(np.corrcoef(*left)[0, 1])


def test_partial_by_hand() -> None:
    """Ranks 1 2 3 4, 2 1 4 3, 1 3 2 4: r 0.6, 0.8 and 0: 0.6 / (0.6 * 1)."""
    first, second, given = (np.array(v, float) for v in ([1, 2, 3, 4], [2, 1, 4, 3], [1, 3, 2, 4]))
    found = partial_spearman(first, second, given, np.ones((1, 4)))
    assert found[0] == pytest.approx(1.0)


def test_a_common_cause_is_seen_pooled_and_vanishes_within_and_given_n() -> None:
    found = scoped(grid(slope=0.0, confounding=1.0))
    assert found["pooled"]["rho"] < -0.8
    assert found["pooled"]["high"] < -0.7
    for scope in ("within real_count", "partial on log n"):
        assert abs(found[scope]["rho"]) < 0.25
        assert found[scope]["low"] < 0.1
        assert found[scope]["high"] > -0.1


def test_a_real_relation_stays_in_every_scope() -> None:
    found = scoped(grid(slope=1.0, confounding=1.0, noise=0.1), variant="equal_n")
    assert all(row["high"] < -0.6 for row in found.values())


def test_interval_is_that_of_whole_seeds() -> None:
    """Cells of a seed that are copies of one another add nothing: as wide as with one target."""
    one_target = [row for row in grid(slope=0.5, confounding=0.0) if row["target"] == "field"]
    copies = [row | {"target": name} for row in one_target for name in ("field", "karst", "yard")]
    single, triple = scoped(one_target)["pooled"], scoped(copies)["pooled"]
    assert triple["rho"] == pytest.approx(single["rho"])
    assert triple["high"] - triple["low"] == pytest.approx(single["high"] - single["low"])


def test_interval_covers_no_relation_as_often_as_percentiles_of_25_seeds_do() -> None:
    rng = np.random.default_rng(9)
    covered = []
    for _ in range(150):
        rows = [
            {"dataset": "town", "real_count": 20, "target": target, "seed": seed,
             "t2t_tp_mean": shared[0] + rng.normal(), "AP50": shared[1] + rng.normal()}
            for seed in range(25)
            for shared in [rng.normal(size=2)]
            for target in ("field", "yard")
        ]  # fmt: skip
        found = correlations_of(rows, 200, rng)
        covered.append(found[0]["low"] <= 0 <= found[0]["high"])
    assert np.mean(covered) == pytest.approx(0.93, abs=0.05)


def test_every_predictor_variant_and_scope_has_a_row_of_the_study() -> None:
    rows = grid(0.5, 0.5)
    found = correlations_of([*rows, *(row | {"dataset": "sea"} for row in rows)], 100,
                         np.random.default_rng(0))  # fmt: skip
    assert len(found) == 2 * 3 * len(VARIANTS) * len(SCOPES)


def test_cells_without_the_distance_are_left_out() -> None:
    rows = grid(0.5, 0.5)
    rows[0] |= {"t2t_tp_mean": np.nan}
    found = scoped(rows)["pooled"]
    assert (found["num_cells"], found["num_blocks"]) == (71, 6)
    assert found["note"] == "few blocks (6)"
    none = scoped(rows, variant="calibrated")["pooled"]
    assert np.isnan([none["rho"], none["low"], none["high"]]).all()
    assert none["note"] == "needs 3 cells, there are 0; few blocks (0)"


def test_one_seed_has_rho_and_no_bounds() -> None:
    found = scoped(grid(0.5, 0.5, num_seeds=1))["pooled"]
    assert np.isfinite(found["rho"])
    assert np.isnan([found["low"], found["high"]]).all()


def test_equal_values_have_no_correlation() -> None:
    rows = [row | {"AP50": 0.3} for row in grid(0.5, 0.5)]
    assert np.isnan([row["rho"] for row in scoped(rows).values()]).all()


def test_nothing_is_left_of_a_predictor_that_n_explains() -> None:
    """Counts 10, 100, 1000: ranks on a line in log n."""
    rows = grid(0.5, 0.5)[:60]
    for index, row in enumerate(rows):
        row["t2t_tp_mean"] = row["gaussian_n"] = 10 ** (1 + index % 3)
    assert np.isnan(scoped(rows)["partial on log n"]["rho"])
