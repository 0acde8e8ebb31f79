"""What a reduced sweep shows in W&B, as files of its folder."""

import csv
import io
from pathlib import Path
from typing import Any

from ptl_sweep.reduce import wandb
from ptl_sweep.reduce.tracked_runs import evaluation_numbers
from ptl_sweep.tracking.media import read_media


def test_figures_are_the_twenty_that_matter_most(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ["zebra-a", *(f"precision-{i}" for i in range(30)), "effect-a", "ap-a", "ap_t2t-a"]:
        (tmp_path / "figures" / f"{name}.png").touch()
        (tmp_path / "figures" / f"{name}.svg").touch()
    names = [path.stem for path in wandb.figures_of(tmp_path)]
    assert names[:3] == ["effect-a", "ap-a", "ap_t2t-a"]
    assert len(names) == 20
    assert "zebra-a" not in names


def test_numbers_of_evaluations_are_those_of_the_reducer_to_the_digit(tiny_sweep: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(tiny_sweep.file("iterations.csv").decode())))
    found = evaluation_numbers(tiny_sweep.plan.folder, (0.01, 0.1, 0.5))
    assert set(found) == {row["evaluate_key"] for row in rows}
    for row in rows:
        numbers = found[row["evaluate_key"]]
        assert set(numbers) == {
            "AP_t2t_001_shrunk", "AP_t2t_010_shrunk", "AP_t2t_050_shrunk", "t2t_tp_mean_shrunk",
            "t2t_fp_mean_shrunk", "t2t_tp_median_shrunk", "t2t_fp_median_shrunk", "t2t_auroc",
        }  # fmt: skip
        for name, value in numbers.items():
            assert value == (float(row[name]) if row[name] else None), name


def test_a_sweep_that_was_not_reduced_has_no_numbers_yet(tmp_path: Path) -> None:
    assert evaluation_numbers(tmp_path, (0.01, 0.1, 0.5)) == {}


def test_every_file_that_a_reduction_shows_is_there(tiny_sweep: Any) -> None:
    folder = tiny_sweep.plan.folder
    entries = read_media(folder)
    assert {"grid/results", "grid/summary", "report", "figure/ap-miniature"} <= {
        entry.name for entry in entries
    }
    for entry in entries:
        assert entry.row == 0
        files = [entry.table, entry.page, *(image.file for image in entry.images)]
        assert all((folder / file).is_file() for file in files if file), entry.name
