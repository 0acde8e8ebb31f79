"""A detector that nobody here has trained: its measures against SciPy, and what changes none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from helpers.own_detections import detection, read, write
from scipy.spatial.distance import mahalanobis

Measure = Callable[..., dict[str, Any]]
SAME = ("AP50", "AP", "AP_t2t_010", "AP_t2t_010_shrunk", "t2t_tp_mean", "t2t_fp_mean",
        "t2t_tp_mean_shrunk", "t2t_tp_mean_calibrated", "d_relative", "AP50_low")  # fmt: skip


def overlaps(result: Any) -> bool:
    """Whether a detection of the lab is one of a person: those of nothing stand between them."""
    return result["bbox"][0] != 60.0


def assert_same(
    found: dict[str, Any], other: dict[str, Any], names: tuple[str, ...] = SAME
) -> None:
    for target, row in found["targets"].items():
        for name in names:
            assert row[name] == pytest.approx(other["targets"][target][name], rel=1e-6), name


def test_the_raw_distance_is_that_of_scipy(lab: Path, measure: Measure) -> None:
    features = np.load(lab / "train" / "features.npy").astype(np.float64)
    training = features[[overlaps(one) for one in read(lab / "train" / "results.json")]]
    inverse = np.linalg.inv(np.cov(training, rowvar=False, bias=True))
    found = measure(lab)
    assert found["gaussian"]["n"] == len(training)
    for target in ("quarry", "shore"):
        results = read(lab / target / "results.json")
        far = [
            mahalanobis(one, training.mean(axis=0), inverse) ** 2
            for one in np.load(lab / target / "features.npy").astype(np.float64)
        ]
        for kind, is_hit in (("tp", True), ("fp", False)):
            own = [d for d, one in zip(far, results, strict=True) if overlaps(one) == is_hit]
            row = found["targets"][target]
            assert row[f"t2t_{kind}_mean"] == pytest.approx(np.mean(own), rel=1e-6)
            assert row[f"t2t_{kind}_median"] == pytest.approx(np.median(own), rel=1e-6)


def test_a_shifted_target_is_farther_and_validation_is_the_unit(
    lab: Path, measure: Measure
) -> None:
    found = measure(lab)["targets"]
    for name in ("t2t_tp_mean", "t2t_tp_mean_shrunk", "t2t_tp_mean_equal_n", "d_relative"):
        assert found["shore"][name] > 2 * found["quarry"][name]
    (lab / "shore").rename(lab / "elsewhere")
    (lab / "validation").rename(lab / "shore")
    (lab / "validation").symlink_to(lab / "shore")
    unit = measure(lab)["targets"]["shore"]
    assert unit["d_relative"] == pytest.approx(1)
    assert unit["t2t_tp_mean_calibrated"] == pytest.approx(1)


def test_the_order_of_entries_and_detections_of_other_categories_change_nothing(
    lab: Path, measure: Measure
) -> None:
    before = measure(lab)
    rng = np.random.default_rng(1)
    for folder in lab.iterdir():
        results, features = read(folder / "results.json"), np.load(folder / "features.npy")
        order = rng.permutation(len(results))
        other = detection(1, [10.0, 20.0, 30.0, 60.0], 0.9) | {"category_id": 8}
        write(folder / "results.json", [other, *(results[row] for row in order)])
        far = np.full((1, features.shape[1]), np.nan, dtype=np.float32)
        (folder / "features.npy").unlink()
        np.savez(folder / "features.npz", features=np.concatenate([far, features[order]]))
        truth = read(folder / "ground_truth.json")
        truth["categories"].append({"id": 8, "name": "boat"})
        write(folder / "ground_truth.json", truth)
    after = measure(lab)
    assert_same(after, before)
    assert measure(lab, "--category", "Person") == after


def test_a_detection_given_twice_with_one_feature_trains_the_gaussian_once(
    lab: Path, measure: Measure
) -> None:
    """As anchors of one cell of a sweep's detector, which share the feature."""
    before = measure(lab)
    folder = lab / "train"
    results, features = read(folder / "results.json"), np.load(folder / "features.npy")
    write(folder / "results.json", [*results, *results])
    np.save(folder / "features.npy", np.concatenate([features, features]))
    assert_same(measure(lab), before)


def test_selected_features_alone_stand_for_the_training_detections(
    lab: Path, measure: Measure
) -> None:
    before, folder = measure(lab), lab / "train"
    results, features = read(folder / "results.json"), np.load(folder / "features.npy")
    rows = [row for row, one in enumerate(results) if overlaps(one)]
    rows.sort(key=lambda row: (results[row]["image_id"], -results[row]["score"]))
    images = np.array([results[row]["image_id"] for row in rows])
    for path in folder.iterdir():
        path.unlink()
    np.savez(folder / "training_features.npz", features=features[rows], images=images)
    assert_same(measure(lab), before)


def test_a_linear_map_of_the_features_changes_no_raw_distance(lab: Path, measure: Measure) -> None:
    before = measure(lab)
    for path in lab.glob("*/*features.npy"):
        mixed = np.load(path).astype(np.float64) @ np.diag([1e3, 1, 1e-3, 5]) + [900, 0, 0, 1e6]
        np.save(path, mixed)
    after = measure(lab)
    assert_same(after, before, ("t2t_tp_mean", "t2t_fp_mean", "AP_t2t_010", "AP50"))


def test_detections_in_a_crowd_count_neither_way(lab: Path, measure: Measure) -> None:
    before = measure(lab)["targets"]["quarry"]
    path = lab / "quarry" / "ground_truth.json"
    truth, features = read(path), np.load(lab / "quarry" / "truth_features.npy")
    for image in truth["images"]:  # where this detector sees what is not there
        crowd = {"id": 1000 + image["id"], "image_id": image["id"], "category_id": 7,
                 "bbox": [55, 0, 30, 100], "area": 3000, "iscrowd": 1}  # fmt: skip
        truth["annotations"].append(crowd)
    write(path, truth)
    nobody = np.full((len(truth["images"]), features.shape[1]), np.nan, dtype=np.float32)
    np.save(lab / "quarry" / "truth_features.npy", np.concatenate([features, nobody]))
    after = measure(lab)["targets"]["quarry"]
    assert after["AP50"] > before["AP50"]
    assert after["t2t_fp_mean"] is None
    assert after["num_ground_truth"] == before["num_ground_truth"]
    assert after["d_relative"] == pytest.approx(before["d_relative"])


def test_what_is_not_given_is_missing_with_its_reason(lab: Path, measure: Measure) -> None:
    (lab / "quarry" / "truth_features.npy").unlink()
    found = measure(lab)["targets"]
    assert found["quarry"]["d_relative"] is None
    assert found["shore"]["d_relative"] is not None
    assert "no relative" not in found["shore"]["reason"]
    assert "no relative distances: no truth_features.npy in quarry" in found["quarry"]["reason"]
    assert found["quarry"]["t2t_tp_mean_calibrated"] is not None
    for path in (lab / "validation").iterdir():
        path.unlink()
    (lab / "validation").rmdir()
    row = measure(lab)["targets"]["shore"]
    assert row["t2t_tp_mean_calibrated"] is None
    assert row["t2t_tp_mean_shrunk"] == pytest.approx(found["shore"]["t2t_tp_mean_shrunk"])
    assert "no calibrated distances: no validation split was evaluated" in row["reason"]


def test_a_detector_that_finds_nothing_has_an_ap_of_zero(lab: Path, measure: Measure) -> None:
    write(lab / "shore" / "results.json", [])
    np.save(lab / "shore" / "features.npy", np.zeros((0, 4), dtype=np.float32))
    row = measure(lab)["targets"]["shore"]
    assert (row["AP50"], row["AP_t2t_010_shrunk"], row["t2t_tp_mean_shrunk"]) == (0, 0, None)
    assert "no true positive with score >= 0.01" in row["reason"]


def test_scenes_are_resampled_whole(lab: Path, measure: Measure) -> None:
    path = lab / "quarry" / "ground_truth.json"
    truth = read(path)
    assert measure(lab)["targets"]["quarry"]["num_blocks"] == 40
    for image in truth["images"]:
        image["scene"] = "north" if image["id"] <= 20 else "south"
    write(path, truth)
    row = measure(lab)["targets"]["quarry"]
    assert row["num_blocks"] == 2
    assert "few blocks (2)" in row["reason"]


def test_settings_are_those_of_the_analysis(lab: Path, measure: Measure) -> None:
    plain = measure(lab, "--equal-n", "50")["targets"]["shore"]
    other = measure(
        f"detections={lab}", "analysis.shrinkage=ledoit_wolf", "gaussian.min_score=0.6",
        "evaluate.score_thresholds=[0.05,0.2,0.6]",
    )["targets"]["shore"]  # fmt: skip
    assert other["gaussian_n"] < plain["gaussian_n"]
    assert other["t2t_tp_mean_shrunk"] != plain["t2t_tp_mean_shrunk"]
    assert {"AP_t2t_005_shrunk", "AP_t2t_060_shrunk_low"} <= set(other)
    assert plain["t2t_tp_mean_equal_n"] != measure(lab)["targets"]["shore"]["t2t_tp_mean_equal_n"]


def test_files_and_terminal_say_what_json_says(
    lab: Path, measure: Measure, run: Any, tmp_path: Path
) -> None:
    content = measure(lab, "--out", str(tmp_path / "out"))
    table = pl.read_csv(tmp_path / "out" / "measures.csv")
    assert table["target"].to_list() == ["quarry", "shore"]
    for row in table.to_dicts():
        assert row == {name: content["targets"][row["target"]][name] for name in row}
    assert pl.read_parquet(tmp_path / "out" / "measures.parquet").to_dicts() == table.to_dicts()
    written = json.loads((tmp_path / "out" / "measures.json").read_text())
    assert {one["target"]: one for one in written["targets"]} == content["targets"]
    shown = run("measure", str(lab)).output
    row = content["targets"]["shore"]
    low, high = (f"{100 * row[f'AP50_{bound}']:.1f}" for bound in ("low", "high"))
    assert f"{100 * row['AP50']:.1f}" in shown
    assert f"{low} to {high}" in shown
    assert f"{row['t2t_tp_mean_shrunk']:.4g}" in shown
    assert "only several trainings of each can say" in shown.replace("\n", " ")
    assert max(map(len, shown.splitlines())) <= 100
    assert not (tmp_path / "lab" / "measures.csv").exists()
