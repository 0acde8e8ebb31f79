"""One cell with the small FastCUT, from the command line to the tables."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from helpers.sweeps import TINY
from safetensors.numpy import load_file

ITERATIONS = "synthetic.num_iterations=2"


@pytest.mark.slow
def test_a_cell_with_fastcut_translates_and_hands_its_networks_to_the_next_iteration(
    run: Any, tmp_path: Path
) -> None:
    cell = ["real_count=3", "synthetic=on", "target=field", "seed=0"]
    words = [word for word in TINY if not word.startswith("synthetic.num_iterations=")]
    outcome = run(
        "-m", *cell, *words, ITERATIONS, "translator=fastcut_tiny", "translator.num_warm_steps=2",
        f"sweep.root={tmp_path}",
    )  # fmt: skip
    assert outcome.code == 0, outcome.errors
    (table,) = (tmp_path / "sweeps").glob("*/results.csv")
    with table.open(newline="") as file:
        assert {row["status"] for row in csv.DictReader(file)} == {"ok"}
    stages = sorted((tmp_path / "store").glob("ptl-*"))
    assert len(stages) == 2
    steps = []
    for stage in stages:
        spec = json.loads((stage / "meta.json").read_text())["spec"]["translator"]
        assert (spec["method"], spec["lambda_nce"]) == ("fastcut", 10)
        assert not {"lambda_cycle", "lambda_identity", "image_pool_size"} & spec.keys()
        networks = {name.split(".")[0] for name in load_file(stage / "translator.safetensors")}
        assert networks == {"to_real", "judge_real", "project"}
        assert not (stage / "translator.pt").exists()
        pictures = sorted((stage / "selected").glob("????.png"))
        assert any(
            path.read_bytes() != path.with_name(f"{path.stem}-virtual.png").read_bytes()
            for path in pictures
        )
        rows = map(json.loads, (stage / "history.jsonl").read_text().splitlines())
        steps.append([row["translate/step"] for row in rows if "translate/loss_nce" in row])
    assert steps == [[3], [2]]
