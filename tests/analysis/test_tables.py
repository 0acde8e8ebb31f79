import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import stats

from ptl_sweep.analysis.tables import (
    ALL_TARGETS,
    RESULT_COLUMNS,
    SUMMARY_COLUMNS,
    Group,
    demo_table,
    effect_of,
    find_summary,
    mean_of,
    result_columns,
    summarise,
    write_table,
)


def cell(count: int, synthetic: str, target: str, seed: int, ap50: float | None) -> dict:
    row = {"dataset": "town", "real_count": count, "synthetic": synthetic, "target": target}
    status = "failed" if ap50 is None else "ok"
    value = np.nan if ap50 is None else ap50
    return row | {
        "seed": seed, "status": status, "AP50": value, "AP": value / 2,
        "AP_t2t_001_shrunk": value / 3, "AP_t2t_010_shrunk": value / 4,
        "AP_t2t_050_shrunk": value / 5, "t2t_tp_mean_shrunk": 100 * value,
    }  # fmt: skip


def grid(num_seeds: int, counts=(20, 50), targets=("field", "yard"), gain: float = 0.1) -> list:
    rng = np.random.default_rng(0)
    return [
        cell(count, synthetic, target, seed, 0.2 + 0.02 * rng.random() + gain * (synthetic == "on"))
        for synthetic in ("off", "on")
        for count in counts
        for target in targets
        for seed in range(num_seeds)
    ]


def values(rows: list, synthetic: str, count: int, target: str) -> np.ndarray:
    key = (synthetic, count, target)
    return np.array(
        [r["AP50"] for r in rows if (r["synthetic"], r["real_count"], r["target"]) == key]
    )


def test_columns_are_in_the_order_of_the_architecture() -> None:
    assert RESULT_COLUMNS == (
        "dataset", "real_count", "synthetic", "target", "seed", "iteration", "status", "reason",
        "num_train_images", "num_synthetic", "num_ground_truth", "num_detections", "AP50", "AP",
        "AP_t2t_001", "AP_t2t_010", "AP_t2t_050",
        "AP_t2t_001_shrunk", "AP_t2t_010_shrunk", "AP_t2t_050_shrunk",
        "AP_t2t_001_lift", "AP_t2t_010_lift", "AP_t2t_050_lift",
        "t2t_tp_mean", "t2t_fp_mean", "t2t_tp_median", "t2t_fp_median",
        "t2t_tp_mean_shrunk", "t2t_fp_mean_shrunk", "t2t_tp_median_shrunk", "t2t_fp_median_shrunk",
        "t2t_tp_mean_calibrated", "t2t_fp_mean_calibrated", "t2t_tp_median_calibrated",
        "t2t_fp_median_calibrated", "gaussian_n", "gaussian_rank", "t2t_auroc", "train_key",
        "evaluate_key", "AP_t2t_001_equal_n", "AP_t2t_010_equal_n", "AP_t2t_050_equal_n",
        "t2t_tp_mean_equal_n", "t2t_fp_mean_equal_n", "t2t_tp_median_equal_n",
        "t2t_fp_median_equal_n",
    )  # fmt: skip


def test_other_thresholds_name_other_columns() -> None:
    assert "AP_t2t_030_lift" in result_columns((0.05, 0.3, 0.7))


def test_floats_come_back_exactly_and_missing_values_are_empty(tmp_path: Path) -> None:
    third = np.float64(1) / 3
    rows = [cell(20, "off", "field", 0, third), cell(20, "off", "field", 1, None)]
    rows[1]["reason"] = 'died, "badly"'
    path = write_table(rows, tmp_path, "results")
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert float(first["AP50"]) == third
    assert (second["AP50"], second["status"]) == ("", "failed")
    assert second["reason"] == 'died, "badly"'
    assert list(first) == list(RESULT_COLUMNS)
    assert first["iteration"] == first["t2t_auroc"] == first["train_key"] == ""


def test_parquet_holds_the_same_with_types(tmp_path: Path) -> None:
    rows = [cell(20, "off", "field", 0, 0.25), cell(20, "off", "field", 1, None)]
    write_table(rows, tmp_path, "results")
    table = pq.read_table(tmp_path / "results.parquet")
    assert table.column_names == list(RESULT_COLUMNS)
    assert table["AP50"].to_pylist() == [0.25, None]
    assert str(table["seed"].type) == "int64"
    assert str(table["reason"].type) == "string"
    assert str(table["AP_t2t_010_equal_n"].type) == "double"


def test_equal_rows_are_equal_bytes(tmp_path: Path) -> None:
    first = write_table(grid(2), tmp_path, "one").read_bytes()
    assert write_table(grid(2), tmp_path, "two").read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == {
        "one.csv", "one.parquet", "two.csv", "two.parquet",
    }  # fmt: skip


def test_an_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="AP5O"):
        write_table([{"AP5O": 1.0}], tmp_path, "results")


def test_summary_of_a_cell_is_the_t_interval_over_seeds() -> None:
    rows = grid(4)
    row = find_summary(summarise(rows), "AP50", Group("town", 20, "off", "field"))
    own = values(rows, "off", 20, "field")
    low, high = stats.t.interval(0.95, 3, own.mean(), stats.sem(own))
    assert mean_of(row) == pytest.approx((own.mean(), own.std(ddof=1), low, high, 4))


def test_the_effect_is_paired_by_seed() -> None:
    rows = grid(4)
    rows.reverse()  # the order of rows must not decide what is paired
    row = find_summary(summarise(rows), "AP50", Group("town", 50, "on", "yard"))
    difference = values(rows, "on", 50, "yard") - values(rows, "off", 50, "yard")
    expected = stats.ttest_1samp(difference, 0).confidence_interval(0.95)
    found = effect_of(row)
    assert found.mean == pytest.approx(difference.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert row["p"] == 2 / 2**4


def test_the_pooled_effect_flips_signs_per_seed() -> None:
    """8 differences, but only 4 independent ones: the smallest p is 2^-3, not 2^-7."""
    summary = summarise(grid(4, counts=(20,)))
    pooled = find_summary(summary, "AP50", Group("town", None, "on", ALL_TARGETS))
    assert pooled["num_pairs"] == 4
    assert pooled["p"] == 2 / 2**4
    assert pooled["note"] == "cannot reach 0.05 with 4 seeds"


def test_the_mean_over_targets_is_taken_within_the_seed() -> None:
    rows = grid(3)
    row = find_summary(summarise(rows), "AP50", Group("town", 20, "on", ALL_TARGETS))
    per_seed = (values(rows, "on", 20, "field") + values(rows, "on", 20, "yard")) / 2
    assert row["mean"] == pytest.approx(per_seed.mean())
    assert row["sd"] == pytest.approx(per_seed.std(ddof=1))


def test_a_failed_cell_takes_its_seed_out_of_the_averages_only() -> None:
    rows = [row for row in grid(3) if (row["target"], row["seed"]) != ("field", 2)]
    rows += [
        cell(count, kind, "field", 2, None if (kind, count) == ("on", 20) else 0.3)
        for kind in ("off", "on")
        for count in (20, 50)
    ]
    summary = summarise(rows)

    def num(count: int | None, target: str) -> object:
        return find_summary(summary, "AP50", Group("town", count, "on", target))["num_pairs"]

    assert num(20, "field") == 2
    assert num(20, "yard") == 3
    assert num(20, ALL_TARGETS) == 2
    assert num(50, ALL_TARGETS) == 3
    assert num(None, ALL_TARGETS) == 2


def test_a_cell_that_failed_for_every_seed_leaves_no_complete_average() -> None:
    rows = [
        row | {"AP50": np.nan, "status": "failed"}
        if (row["synthetic"], row["target"]) == ("on", "yard")
        else row
        for row in grid(3, counts=(20,))
    ]
    row = find_summary(summarise(rows), "AP50", Group("town", 20, "on", ALL_TARGETS))
    assert (row["num_seeds"], row["num_pairs"], row["note"]) == (0, 0, "no pair with off")


def test_holm_counts_the_cells_of_one_metric() -> None:
    summary = summarise(grid(8))
    row = find_summary(summary, "AP50", Group("town", 20, "on", "yard"))
    assert row["p"] == 2 / 2**8
    assert row["p_holm"] == pytest.approx(4 * 2 / 2**8)
    pooled = find_summary(summary, "AP50", Group("town", 20, "on", ALL_TARGETS))
    assert "p_holm" not in pooled


@pytest.mark.parametrize(
    ("num_seeds", "note"),
    [
        (1, "cannot reach 0.05 with 1 seed"),
        (5, "cannot reach 0.05 with 5 seeds"),
        (6, "Holm over 4 tests cannot reach 0.05 with 6 seeds"),
        (8, ""),
    ],
)
def test_the_note_says_when_the_test_has_no_power(num_seeds: int, note: str) -> None:
    row = find_summary(summarise(grid(num_seeds)), "AP50", Group("town", 20, "on", "field"))
    assert row["note"] == note


def test_distances_are_not_tested_across_gaussian_n() -> None:
    summary = summarise(grid(8))
    row = find_summary(summary, "t2t_tp_mean_shrunk", Group("town", 20, "on", "field"))
    assert np.isnan(row["p"])
    assert row["note"] == "not comparable across gaussian_n, so not tested"


def test_summary_rows_fit_their_table(tmp_path: Path) -> None:
    path = write_table(summarise(grid(3)), tmp_path, "summary", SUMMARY_COLUMNS)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * 2 * (2 * 2 + 2 + 1)  # metrics, on and off, cells, per count, pooled
    assert {row["target"] for row in rows} == {"field", "yard", ALL_TARGETS}


def test_demo_table_is_narrow_plain_and_has_units() -> None:
    text = demo_table(summarise(grid(3, counts=(20, 50, 100, 200))))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert text.isascii()
    assert "\x1b" not in text
    assert len(lines) == 1 + 2 + 8
    assert all(unit in lines[2] for unit in ("[%]", "[points]", "d^2", "s >= 0.01", "s >= 0.50"))
    assert lines[3].split()[:3] == ["20", "off", "3"]
    assert lines[4].split()[:3] == ["20", "on", "3"]
    assert "+-" in lines[4]


def test_demo_table_of_one_seed_has_no_interval() -> None:
    lines = demo_table(summarise(grid(1, counts=(20,)))).splitlines()
    assert "+-" not in "".join(lines[1:])


def test_a_sweep_without_results_still_has_a_table() -> None:
    rows = [row | {"AP50": np.nan, "AP": np.nan} for row in grid(1, counts=(20,))]
    assert "-" in demo_table(summarise(rows)).splitlines()[-1]
