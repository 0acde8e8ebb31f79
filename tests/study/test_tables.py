import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from polars.testing import assert_frame_equal

from ptl_sweep.study.schemas import CONTRASTS, frame_of, results_schema
from ptl_sweep.study.summary import summarise
from ptl_sweep.study.tables import demo_table, read_table, write_table

THRESHOLDS = (0.01, 0.1, 0.5)
RESULTS = results_schema(THRESHOLDS)


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


def printed(rows: list) -> str:
    return demo_table(summarise(frame_of(rows, RESULTS), THRESHOLDS), THRESHOLDS)


def test_columns_are_in_the_order_of_the_architecture() -> None:
    assert tuple(RESULTS) == (
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
        "AP_t2t_001_null", "AP_t2t_010_null", "AP_t2t_050_null",
        "AP_t2t_001_matched", "AP_t2t_010_matched", "AP_t2t_050_matched",
        "AP_t2t_001_rematched", "AP_t2t_010_rematched", "AP_t2t_050_rematched",
        "AP_t2t_001_50_95", "AP_t2t_010_50_95", "AP_t2t_050_50_95",
        "AP_t2t_low", "AP_t2t_medium", "AP_t2t_high",
        "AP_t2t_001_matched_lift", "AP_t2t_010_matched_lift", "AP_t2t_050_matched_lift",
        "domain", "d_relative", "neg_log_p",
        "AP_t2t_20_per_image_shrunk", "AP_t2t_5_per_image_shrunk", "AP_t2t_1_per_image_shrunk",
        "AP_t2t_20_per_image_lift", "AP_t2t_5_per_image_lift", "AP_t2t_1_per_image_lift",
        "AP_t2t_20_per_image_null", "AP_t2t_5_per_image_null", "AP_t2t_1_per_image_null",
        "AP_t2t_20_per_image_matched", "AP_t2t_5_per_image_matched", "AP_t2t_1_per_image_matched",
        "AP_t2t_20_per_image_matched_lift", "AP_t2t_5_per_image_matched_lift",
        "AP_t2t_1_per_image_matched_lift", "d_knn", "d_rmd",
    )  # fmt: skip


def test_other_thresholds_name_other_columns() -> None:
    assert "AP_t2t_030_lift" in results_schema((0.05, 0.3, 0.7))


def test_floats_come_back_exactly_and_missing_values_are_empty(tmp_path: Path) -> None:
    third = np.float64(1) / 3
    rows = [cell(20, "off", "field", 0, third), cell(20, "off", "field", 1, None)]
    rows[1]["reason"] = 'died, "badly"'
    path = write_table(frame_of(rows, RESULTS), tmp_path, "results")
    with path.open(newline="") as file:
        first, second = csv.DictReader(file)
    assert float(first["AP50"]) == third
    assert (second["AP50"], second["status"]) == ("", "failed")
    assert second["reason"] == 'died, "badly"'
    assert list(first) == list(RESULTS)
    assert first["iteration"] == first["t2t_auroc"] == first["train_key"] == ""


def test_parquet_holds_the_same_with_types(tmp_path: Path) -> None:
    rows = [cell(20, "off", "field", 0, 0.25), cell(20, "off", "field", 1, None)]
    write_table(frame_of(rows, RESULTS), tmp_path, "results")
    table = pq.read_table(tmp_path / "results.parquet")
    assert table.column_names == list(RESULTS)
    assert table["AP50"].to_pylist() == [0.25, None]
    assert str(table["seed"].type) == "int64"
    assert str(table["reason"].type) == "string"
    assert str(table["AP_t2t_010_equal_n"].type) == "double"


def test_equal_rows_are_equal_bytes(tmp_path: Path) -> None:
    first = write_table(frame_of(grid(2), RESULTS), tmp_path, "one").read_bytes()
    assert write_table(frame_of(grid(2), RESULTS), tmp_path, "two").read_bytes() == first
    assert {path.name for path in tmp_path.iterdir()} == {
        "one.csv", "one.parquet", "two.csv", "two.parquet",
    }  # fmt: skip


def test_an_unknown_column_is_refused() -> None:
    with pytest.raises(ValueError, match="AP5O"):
        frame_of([{"AP5O": 1.0}], RESULTS)


def test_numbers_are_written_as_python_says_them(tmp_path: Path) -> None:
    numbers = [1e16, 1e-5, 0.1 + 0.2, -0.0, float("inf"), 100.0, 5e-324]
    rows = [{"AP50": value, "seed": 3} for value in [*numbers, np.nan, None]]
    path = write_table(frame_of(rows, RESULTS), tmp_path, "results")
    with path.open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["AP50"] for row in written] == [*map(repr, numbers), "", ""]
    assert {row["seed"] for row in written} == {"3"}


def test_a_count_that_does_not_exist_is_null_and_the_others_stay_integers() -> None:
    table = frame_of([{"gaussian_rank": np.nan}, {"gaussian_rank": 7}], RESULTS)
    assert table["gaussian_rank"].to_list() == [None, 7]
    assert isinstance(table["gaussian_rank"].to_list()[1], int)


def test_a_table_that_is_read_back_is_the_one_that_was_written(tmp_path: Path) -> None:
    rows = [cell(20, "off", "field", 0, 0.25), cell(20, "off", "yard", 1, None)]
    rows[0]["gaussian_rank"] = 7
    table = frame_of(rows, RESULTS)
    found = read_table(write_table(table, tmp_path, "results").with_suffix(".parquet"))
    assert_frame_equal(found, table)


def test_a_table_of_the_study_keeps_its_types_when_it_has_no_rows(tmp_path: Path) -> None:
    write_table(frame_of([], CONTRASTS), tmp_path, "contrasts")
    table = pq.read_table(tmp_path / "contrasts.parquet")
    types = {name: str(table[name].type) for name in ("scale", "claim", "num_seeds", "num_blocks")}
    assert types == {
        "scale": "string",
        "claim": "double",
        "num_seeds": "int64",
        "num_blocks": "int64",
    }


def test_demo_table_is_narrow_plain_and_has_units() -> None:
    text = printed(grid(3, counts=(20, 50, 100, 200)))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert text.isascii()
    assert "\x1b" not in text
    assert len(lines) == 1 + 2 + 8
    assert all(
        unit in lines[2] for unit in ("[%]", "[points]", "relative", "s >= 0.01", "s >= 0.50")
    )
    assert lines[3].split()[:3] == ["20", "off", "3"]
    assert lines[4].split()[:3] == ["20", "on", "3"]
    assert "+-" in lines[4]


def test_demo_table_of_one_seed_has_no_interval() -> None:
    lines = printed(grid(1, counts=(20,))).splitlines()
    assert "+-" not in "".join(lines[1:])


def test_a_sweep_without_results_still_has_a_table() -> None:
    rows = [row | {"AP50": np.nan, "AP": np.nan} for row in grid(1, counts=(20,))]
    assert "-" in printed(rows).splitlines()[-1]
