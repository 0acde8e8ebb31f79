"""A detector without anchors goes through every stage of a sweep."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import parquet


def only(root: Path, pattern: str) -> Path:
    (found,) = (root / "store").glob(pattern)
    return found


def test_fcos_is_trained_selected_with_evaluated_and_reduced(
    run: Any, tiny: list[str], tmp_path: Path
) -> None:
    cell = ("real_count=3", "synthetic=on", "target=field", "seed=0")
    words = ("detector=fcos_tiny", "translator=identity", "analysis.calibration=none")
    outcome = run("-m", *cell, *tiny, *words, f"sweep.root={tmp_path}")
    assert outcome.code == 0
    (folder,) = (tmp_path / "sweeps").iterdir()
    with (folder / "results.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["status"] == "ok"
    assert 0 <= float(row["AP50"]) <= 1
    for stage in ("train", "ptl"):
        with np.load(only(tmp_path, f"{stage}-*/training_features.npz")) as features:
            assert features["features"].shape[1] == 48
            assert len(features["features"]) > 0
    persons = parquet.read_table(only(tmp_path, "evaluate-*-field-*/truths.parquet"))
    iou = persons["anchor_iou"].to_numpy()
    assert len(iou) > 0
    assert ((iou >= 0) & (iou <= 1)).all()
    assert set(persons["level"].to_pylist()) == {0}  # no person of that world is 64 pixels high
