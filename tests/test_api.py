"""`from ptl_sweep import load_sweep`: what a notebook reads is what the command line shows."""

import contextlib
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from helpers.sweeps import Sweep as Ran
from polars.testing import assert_frame_equal

import ptl_sweep
from ptl_sweep import Sweep, load_sweep
from ptl_sweep.api.coco import write_coco
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.detection.matching import IOU_THRESHOLDS, match_image
from ptl_sweep.detection.table import EvaluatedImage, ImageDetections, stack_detections
from ptl_sweep.stages.detecting import average_precisions
from ptl_sweep.study.tables import read_table

COLUMNS = {
    "detections": {
        "image_id": pl.String, "x1": pl.Float32, "y1": pl.Float32, "x2": pl.Float32,
        "y2": pl.Float32, "score": pl.Float32, "true_positive": pl.Boolean, "iou": pl.Float32,
        "ignored": pl.Boolean, "distance": pl.Float64,
    },
    "persons": {
        "image_id": pl.String, "x1": pl.Float32, "y1": pl.Float32, "x2": pl.Float32,
        "y2": pl.Float32, "missed": pl.Boolean,
    },
    "training_images": {
        "image_id": pl.String, "synthetic": pl.Boolean, "width": pl.Int64, "height": pl.Int64,
        "num_persons": pl.Int64, "path": pl.String,
    },
}  # fmt: skip


@pytest.fixture
def sweep(tiny_sweep: Ran) -> Sweep:
    return load_sweep(tiny_sweep.plan.folder)


def test_the_names_that_users_import_and_call_stay() -> None:
    assert set(ptl_sweep.__all__) == {"Sweep", "__version__", "load_sweep"}
    public = {name for name in dir(Sweep) if not name.startswith("_")}
    assert public == {
        "cell", "cells", "claims", "detections", "detector", "export_coco", "export_detections",
        "folder", "gaussian", "measure", "name", "persons", "plan", "results", "summary", "table",
        "training_images",
    }  # fmt: skip
    with pytest.raises(AttributeError, match="load_sweeps"):
        _ = ptl_sweep.load_sweeps


def test_a_sweep_is_found_by_folder_by_name_and_as_the_newest(tiny_sweep: Ran) -> None:
    plan = tiny_sweep.plan
    for name in (plan.folder, str(plan.folder), plan.name, plan.name.rpartition("-")[0], None):
        assert load_sweep(name, root=tiny_sweep.root).name == plan.name
    with pytest.raises(ConfigError, match="no sweep swep"):
        load_sweep("swep", root=tiny_sweep.root)


def test_tables_are_the_files_of_the_sweep(sweep: Sweep) -> None:
    assert_frame_equal(sweep.results, read_table(sweep.folder / "results.parquet"))
    for name in ("summary", "claims"):
        assert_frame_equal(getattr(sweep, name), sweep.table(name))
    places = ["dataset", "real_count", "synthetic", "target", "seed"]
    assert_frame_equal(sweep.cells, sweep.results.select(places), check_dtypes=False)
    with pytest.raises(ConfigError, match="no table sumary; did you mean summary"):
        sweep.table("sumary")


@pytest.mark.parametrize("name", COLUMNS)
def test_frames_have_these_columns(sweep: Sweep, name: str) -> None:
    frame = getattr(sweep, name)(sweep.cell(synthetic="on", target="field"))
    assert dict(frame.schema) == COLUMNS[name]
    assert len(frame)


def test_numbers_of_a_cell_follow_from_its_frames(sweep: Sweep) -> None:
    for row in sweep.results.to_dicts():
        where = {axis: row[axis] for axis in ("real_count", "synthetic", "target", "seed")}
        cell = sweep.cell(**where)
        found, persons = sweep.detections(cell), sweep.persons(cell)
        assert len(found) == row["num_detections"]
        assert len(persons) == row["num_ground_truth"]
        assert persons["missed"].sum() == len(persons) - found["true_positive"].sum()
        measured = found.filter(pl.col("distance").is_not_null())
        assert (measured["score"] >= 0.01).all()
        hits = measured.filter("true_positive")["distance"].to_numpy()
        expected = row["t2t_tp_median_shrunk"]
        if len(hits):
            np.testing.assert_allclose(np.median(hits), expected, rtol=1e-9)
        images = sweep.training_images(cell)
        assert len(images) == row["num_train_images"]
        assert images["synthetic"].sum() == row["num_synthetic"]
        paths = images.filter("synthetic")["path"].to_list()
        assert all(Path(path).is_file() for path in paths)


def test_the_gaussian_and_the_detector_of_a_cell_are_those_of_its_stage(sweep: Sweep) -> None:
    cell = sweep.cell(synthetic="none", target="karst")
    assert cell.synthetic == "off"
    assert (
        sweep.gaussian(cell).n
        == sweep.results.filter(pl.col("synthetic") == "off", pl.col("target") == "karst")[
            "gaussian_n"
        ].item()
    )
    assert sweep.gaussian(cell, covariance="ledoit_wolf") is not None
    detector = sweep.detector(cell)
    assert not detector.training
    assert detector.mean.device == torch.device("cpu")


def test_a_detector_measured_on_its_own_target_has_the_numbers_of_its_cell(sweep: Sweep) -> None:
    cell = sweep.cell(synthetic="on", target="field")
    row = sweep.results.filter(pl.col("synthetic") == "on", pl.col("target") == "field")
    found = sweep.measure(cell, "field", "target.num_images=4")
    assert_frame_equal(found, row.select(found.columns), check_dtypes=False)
    other = sweep.measure(cell, "yard", "target.num_images=3")
    assert other["target"].item() == "yard"
    assert 0 <= other["AP50"].item() <= 1
    with pytest.raises(ConfigError, match="feild"):
        sweep.measure(cell, "feild")


def of_pycocotools(folder: Path, most: int) -> tuple[float, float]:
    """AP50 and AP of an exported folder, as pycocotools has them."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(folder / "ground_truth.json")
        found = truth.loadRes(str(folder / "results.json"))
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.maxDets = [most]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 0]  # by IoU, from 0.5 on
    return float(precision[0].mean()), float(precision.mean())


def test_pycocotools_has_the_ap_of_each_cell_from_its_coco_files(
    sweep: Sweep, tmp_path: Path
) -> None:
    for row in sweep.results.to_dicts():
        cell = sweep.cell(**{axis: row[axis] for axis in ("synthetic", "target")})
        folder = sweep.export_coco(cell, tmp_path / f"{cell.synthetic}-{cell.target}")
        document = json.loads((folder / "detections.json").read_text())
        most = document["info"]["max_detections"]
        assert of_pycocotools(folder, most) == pytest.approx((row["AP50"], row["AP"]), abs=1e-9)
        found = sweep.detections(cell)
        assert len(document["annotations"]) == len(found) - found["ignored"].sum()
        far = [one["train2test_distance"] for one in document["annotations"]]
        expected = found["distance"].fill_nan(None).to_list()
        assert far == pytest.approx(expected, rel=1e-8)
        truth = json.loads((folder / "ground_truth.json").read_text())
        assert [one["missed"] for one in truth["annotations"]] == sweep.persons(cell)[
            "missed"
        ].to_list()
        assert truth["images"] == document["images"]


def test_detections_in_ignored_regions_that_hit_nobody_cost_no_ap(tmp_path: Path) -> None:
    corner = np.array([[0, 0, 10, 20], [50, 50, 60, 70], [80, 0, 90, 20]], dtype=np.float32)
    match = match_image(corner, np.array([0.5, 0.9, 0.8]), corner[:1], corner[1:2], IOU_THRESHOLDS)
    one = ImageDetections(
        boxes=corner, scores=np.array([0.5, 0.9, 0.8]), features=np.ones((3, 2)),
        levels=np.zeros(3, int), cells=np.zeros(3, int), truth=match.truth, iou=match.iou,
        ignored=match.ignored, truths=corner[:1], truth_places=np.zeros((1, 2), int),
        truth_anchor_iou=np.ones(1), truth_features=np.ones((1, 2)),
    )  # fmt: skip
    table = stack_detections([one], [EvaluatedImage("a.jpg", "a", 100, 100, 1, 3, capped=False)])
    info = {"tool": "test", "stage": "s", "folder": "f"}
    write_coco(table, np.array([1.0, 2.0, np.nan]), tmp_path / "out", info)
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [(one["score"], one["train2test_distance"]) for one in found] == [
        (0.5, 1.0),
        (0.8, None),
    ]
    ap50 = average_precisions(table, [match])["AP50"]
    assert of_pycocotools(tmp_path / "out", 100)[0] == pytest.approx(ap50) == pytest.approx(0.5)


def test_coco_files_take_the_place_of_their_own_and_of_nothing_else(
    sweep: Sweep, tmp_path: Path
) -> None:
    one, other = (
        sweep.cell(synthetic="on", target="field"),
        sweep.cell(synthetic="on", target="karst"),
    )
    folder = tmp_path / "out"
    sweep.export_coco(one, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(before) == {"detections.json", "results.json", "ground_truth.json"}
    sweep.export_coco(one, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(ConfigError, match="holds predictions of another stage"):
        sweep.export_coco(other, folder)
    with pytest.raises(ConfigError, match=r"holds something else .*\n  fix: name another folder"):
        sweep.export_coco(one, sweep.folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ({"synthetic": "on"}, "2 cells .* give target"),
        ({"target": "yard"}, r"has target='yard'; it has \['field', 'karst'\]"),
        ({"real_count": "3"}, r"has real_count='3'; it has \[3\]"),
        ({"seeds": 0}, "seeds is not an axis; a cell has"),
    ],
)
def test_what_names_no_cell_is_refused(sweep: Sweep, which: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep.cell(**which)


def test_an_iteration_that_was_not_evaluated_is_refused(sweep: Sweep) -> None:
    cell = sweep.cell(synthetic="on", target="field")
    assert_frame_equal(sweep.detections(cell, iteration=1), sweep.detections(cell))
    with pytest.raises(ConfigError, match=r"iteration 0 .* there: 1"):
        sweep.detections(cell, iteration=0)
    with pytest.raises(ConfigError, match="no cell of"):
        sweep.detections(cell._replace(seed=7))


def test_a_sweep_without_a_report_says_how_to_make_one(make_plan: Callable) -> None:
    plan = make_plan("real_count=3")
    with pytest.raises(ConfigError, match=r"results\.parquet is not there\n.*ptl_sweep report"):
        _ = load_sweep(plan.name, root=plan.root).results


def test_the_page_about_python_runs_as_it_stands(
    tiny_sweep: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 4
    (tmp_path / "outputs").symlink_to(tiny_sweep.root)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block.replace("real_count=20", "real_count=3"), "python.md", "exec"), names)
    assert isinstance(names["missed"], pl.DataFrame)
    (row,) = (
        names["sweep"]
        .results.filter(pl.col("synthetic") == "on", pl.col("target") == "field")
        .to_dicts()
    )
    assert names["ap50"] == pytest.approx(row["AP50"], abs=1e-9)
