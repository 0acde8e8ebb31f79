"""`tiling` reaches every stage that looks at pictures."""

from pathlib import Path
from typing import Any

import numpy as np
from pyarrow import parquet

from ptl_sweep.pipeline.plan import load_plan


def only(root: Path, pattern: str) -> Path:
    (found,) = (root / "store").glob(pattern)
    return found


def test_training_features_and_evaluation_use_tiles(
    run: Any, tiny: list[str], tiny_sweep: Any, tmp_path: Path
) -> None:
    cell = ("real_count=3", "synthetic=off", "target=field", "seed=0")
    outcome = run("-m", *cell, *tiny, "tiling.size=64", f"sweep.root={tmp_path}")
    assert outcome.code == 0
    (folder,) = (tmp_path / "sweeps").iterdir()
    specs = [stage.spec["inference"]["tiling"] for stage in load_plan(folder).stages.values()]
    assert specs == [{"size": 64, "overlap": 32}] * 3  # trained, evaluated, calibrated

    for file in ("model.safetensors", "training_features.npz"):
        tiled, whole = (only(r, f"train-*/{file}") for r in (tmp_path, tiny_sweep.root))
        assert tiled.read_bytes() != whole.read_bytes()
    with np.load(only(tmp_path, "train-*/training_features.npz")) as features:
        assert len(features["features"]) > 0
    table = parquet.read_table(only(tmp_path, "evaluate-*-field-*/detections.parquet"))
    cells_of_a_whole_image = (128 // 8) ** 2
    assert max(table["cell"].to_pylist()) >= cells_of_a_whole_image
    assert max(table["x2"].to_pylist()) > 64
