"""What a reduced sweep shows in W&B, as files of its folder."""

import csv
import dataclasses
import io
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.pipeline.wandb_runs import reduce_order
from ptl_sweep.reduce import tracked_runs, wandb
from ptl_sweep.reduce.tracked_runs import evaluation_numbers
from ptl_sweep.study.schemas import SUMMARY, frame_of
from ptl_sweep.study.study import Study
from ptl_sweep.tracking import History
from ptl_sweep.tracking.media import read_media
from ptl_sweep.vocabulary import ALL_TARGETS


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


def test_a_row_holds_the_headline_and_is_written_once(tiny_sweep: Any) -> None:
    rows: list[Any] = History(tiny_sweep.plan.folder / "history.jsonl").rows()
    assert len(rows) == 1
    effect = rows[0]["grid/AP50_on"] - rows[0]["grid/AP50_off"]
    assert rows[0]["grid/effect_on"] == pytest.approx(effect)
    assert rows[0]["grid/effect_on_low"] is None  # one seed
    assert (rows[0]["grid/verdict_on"], rows[0]["grid/num_seeds_on"]) == ("open", 1)
    assert [rows[0][f"grid/cells_{status}"] for status in ("ok", "failed", "missing")] == [4, 0, 0]


def study_of(*arms: tuple[str, str, float]) -> Study:
    """AP50 over everything of (source, value of synthetic, mean)."""
    rows = [
        {"dataset": dataset, "synthetic": synthetic, "target": ALL_TARGETS, "metric": "AP50",
         "mean": mean, "num_seeds": 6}
        for dataset, synthetic, mean in arms
    ]  # fmt: skip
    empty = pl.DataFrame(schema={"status": pl.String})
    return Study(rows=empty, iteration_rows=empty, summary=frame_of(rows, SUMMARY))


def test_sources_are_in_the_names_where_there_are_several() -> None:
    one = study_of(("a", "off", 0.1), ("a", "on", 0.3))
    assert wandb.headline(one) == {
        "grid/AP50_off": 0.1, "grid/num_seeds_off": 6, "grid/AP50_on": 0.3, "grid/num_seeds_on": 6,
    }  # fmt: skip
    two = study_of(("a", "on", 0.3), ("b", "on", 0.2))
    assert set(wandb.headline(two)) == {
        "grid/AP50_a_on", "grid/num_seeds_a_on", "grid/AP50_b_on", "grid/num_seeds_b_on",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("statuses", "title", "is_warning"),
    [
        ({"failed": 0, "missing": 0}, "all 4 cells done", False),
        ({"failed": 1, "missing": 0}, "1 of 4 cells failed", True),
        ({"failed": 1, "missing": 2}, None, False),  # the sweep has not ended
        ({}, None, False),  # reduced before there were alerts
    ],
)
def test_an_alert_says_how_a_sweep_has_ended(
    tiny_sweep: Any, tmp_path: Path, statuses: dict[str, int], title: str | None, is_warning: bool
) -> None:
    plan = dataclasses.replace(tiny_sweep.plan, root=tmp_path)
    row = {f"grid/cells_{name}": number for name, number in statuses.items()}
    History(plan.folder / "history.jsonl").append({**row, "grid/effect_on": 0.25})
    order = reduce_order(plan, [], TrackingConfig(), "online")
    alert = tracked_runs._with_alert(plan, order).run.alert
    if title is None:
        assert alert is None
    else:
        assert alert is not None
        assert alert.title == f"{plan.name}: {title}"
        assert "effect_on: 0.250" in alert.text
        assert alert.is_warning == ("status" in alert.text) == is_warning
