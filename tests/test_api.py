"""`from ptl_sweep import load_sweep`: what a notebook reads is what the command line shows."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from helpers.sweeps import Sweep as Ran
from polars.testing import assert_frame_equal

import ptl_sweep
from ptl_sweep import Sweep, load_sweep
from ptl_sweep.config.schema import ConfigError
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
        "cell", "cells", "claims", "detections", "detector", "folder", "gaussian", "measure",
        "name", "persons", "plan", "results", "summary", "table", "training_images",
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
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block.replace("real_count=20", "real_count=3"), "python.md", "exec"), names)
    assert isinstance(names["missed"], pl.DataFrame)
