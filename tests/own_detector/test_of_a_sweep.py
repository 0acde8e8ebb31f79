"""A detector of a sweep, exported and measured from its files: the numbers of results.csv."""

import contextlib
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from helpers.own_detections import write
from helpers.sweeps import Sweep as Ran
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ptl_sweep import Sweep, load_sweep
from ptl_sweep.config.schema import FeatureConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.detection.inference import detect_records
from ptl_sweep.detection.table import load_detections
from ptl_sweep.distance.gaussian import fit_gaussian
from ptl_sweep.distance.train2test import distances
from ptl_sweep.metrics.bootstrap import percentile_interval
from ptl_sweep.metrics.measure import measure_detector, read_training_features
from ptl_sweep.metrics.replicates import cell_replicates
from ptl_sweep.own_detector.training import training_features
from ptl_sweep.pipeline.status import stage_states
from ptl_sweep.predict.document import scored_boxes
from ptl_sweep.predict.published import PublishedDetector
from ptl_sweep.reduce.measure import detector_jobs
from ptl_sweep.seeds import derive_seed
from ptl_sweep.stages.fitting import view_of
from ptl_sweep.stages.train import MANIFEST
from ptl_sweep.stages.training_set import read_training_set

ARMS = ("off", "on")
TRAINED = "training_features.npz"
HEADLINE = ("AP50", "AP", "t2t_tp_mean_shrunk", "t2t_fp_mean_shrunk", "AP_t2t_010_shrunk")
OF_SWEEPS = {  # columns that say which cell of which sweep it is
    "dataset", "real_count", "synthetic", "seed", "iteration", "status", "num_train_images",
    "num_synthetic", "train_key", "evaluate_key", "domain",
}  # fmt: skip


@pytest.fixture(scope="module")
def sweep(tiny_sweep: Ran) -> Sweep:
    return load_sweep(tiny_sweep.plan.folder)


@pytest.fixture(scope="module", params=ARMS)
def exported(
    request: pytest.FixtureRequest, sweep: Sweep, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What a detector found, and the name of its arm."""
    folder = tmp_path_factory.mktemp("exported") / str(request.param)
    cell = sweep.cell(synthetic=str(request.param), target="field")
    assert sweep.export_detections(cell, folder) == folder
    return folder


def rows_of(sweep: Sweep, folder: Path) -> dict[str, dict[str, Any]]:
    """Rows of results.csv by target."""
    rows = sweep.results.filter(pl.col("synthetic") == folder.name).to_dicts()
    return {row["target"]: row for row in rows}


def measured(run: Any, *words: Path | str) -> dict[str, Any]:
    answer = run("measure", *map(str, words), "--json")
    assert answer.code == 0, answer.errors
    return json.loads(answer.output)


def assert_same(found: dict[str, Any], row: dict[str, Any]) -> None:
    """Compare every number of a cell to 1e-9; nothing may exist on one side alone."""
    names = [name for name, value in row.items() if isinstance(value, int | float)]
    for name in set(names) & set(found):
        if row[name] is None or np.isnan(row[name]):
            assert found[name] is None, name
        else:
            assert found[name] == pytest.approx(row[name], rel=1e-9, abs=1e-9), name


def test_measures_of_an_exported_detector_are_those_of_results_csv(
    exported: Path, sweep: Sweep, run: Any
) -> None:
    content = measured(run, exported)
    rows = rows_of(sweep, exported)
    assert [one["target"] for one in content["targets"]] == ["field", "karst"]
    for one in content["targets"]:
        row = rows[one["target"]]
        assert_same(one, row)
        measured_there = [name for name in HEADLINE if np.isfinite(row[name])]
        assert {"AP50", "AP", "t2t_fp_mean_shrunk", "AP_t2t_010_shrunk"} <= {*measured_there}
        assert set(row) - set(one) == OF_SWEEPS


def test_every_column_of_a_cell_is_measured_from_its_files(
    exported: Path, sweep: Sweep, run: Any
) -> None:
    """With settings by which even three training images have all distances."""
    words = ("analysis.relative_n=3", "analysis.equal_n_min=5")
    key = rows_of(sweep, exported)["field"]["train_key"]
    (job,) = (one for one in detector_jobs(sweep.plan, stage_states(sweep.plan)) if one.key == key)
    settings = replace(job.settings, relative_n=3, equal_n_min=5)
    found = measure_detector(replace(job, settings=settings, equal_n=6))
    content = measured(run, exported, *words, "--equal-n", "6")
    for one, evaluation in zip(content["targets"], job.evaluations, strict=True):
        columns = found.cells[evaluation.key].columns
        assert_same(one, columns)
        finite = {name for name, value in columns.items() if np.isfinite(value)}
        assert {"d_relative", "neg_log_p", "t2t_fp_mean_calibrated", "AP_t2t_010_equal_n"} <= finite
    assert_same(content["gaussian"], found.gaussian)


def test_training_detections_of_a_detector_give_the_features_that_its_stage_has_stored(
    exported: Path, sweep: Sweep, run: Any, tmp_path: Path
) -> None:
    """The selection that `measure` makes is that of training: all detections on R_t are given."""
    folder = shutil.copytree(exported, tmp_path / "lab")
    stage = sweep.plan.detector_stage(rows_of(sweep, exported)["field"]["train_key"])
    source = registry.read_split(stage.data.config(), stage.data.split)
    training = read_training_set(sweep.plan.store.artifact(stage.key, MANIFEST), source.records)
    records = training.records(sweep.plan.store)
    published = PublishedDetector.open(sweep.plan.store, stage.key)
    view = view_of(published.spec, published.inference)
    network = published.load(torch.device("cpu"))
    found = list(
        detect_records(network, records, published.inference, cache=ImageCache(0), view=view)
    )
    with np.load(folder / "train" / "training_features.npz") as stored:
        expected, images = stored["features"], stored["images"]
    (folder / "train" / "training_features.npz").unlink()
    write_training(folder / "train", records, found)
    words = ("gaussian.min_score=0.01", "gaussian.min_iou=0.05")  # those of TINY
    selected, _ = training_features(
        folder / "train", FeatureConfig(min_score=0.01, min_iou=0.05), None
    )
    np.testing.assert_array_equal(selected.images, images)
    np.testing.assert_allclose(selected.features, expected, rtol=1e-5, atol=1e-6)
    whole, from_stage = measured(run, folder, *words), measured(run, exported)
    for one, other in zip(whole["targets"], from_stage["targets"], strict=True):
        for name in HEADLINE:
            assert one[name] == pytest.approx(other[name], rel=1e-4, abs=1e-9), name


def write_training(folder: Path, records: Any, found: Any) -> None:
    """All detections on training images, with float32 features, by number of the image."""
    images = [{"id": n, "file_name": f"{n}"} for n in range(len(records))]
    sized = [
        (n, [*box[:2], *(box[2:] - box[:2])]) for n, one in enumerate(records) for box in one.boxes
    ]
    annotations = [
        {"id": i, "image_id": n, "category_id": 1, "bbox": [float(v) for v in box]}
        for i, (n, box) in enumerate(sized)
    ]
    categories = [{"id": 1, "name": "person"}]
    truth = {"images": images, "annotations": annotations, "categories": categories}
    results = [
        row
        for n, one in enumerate(found)
        for row in scored_boxes(n, one.boxes.numpy(), one.scores.numpy())
    ]
    write(folder / "ground_truth.json", truth)
    write(folder / "results.json", results)
    np.save(folder / "features.npy", np.concatenate([one.features.numpy() for one in found]))


def test_pycocotools_has_the_ap_of_each_exported_target(exported: Path, run: Any) -> None:
    for one in measured(run, exported)["targets"]:
        ap50, ap = of_pycocotools(exported / one["target"])
        assert (one["AP50"], one["AP"]) == pytest.approx((ap50, ap), abs=1e-9)


def test_intervals_are_those_of_the_bootstrap_over_the_images_of_the_cell(
    exported: Path, sweep: Sweep, run: Any
) -> None:
    settings, thresholds = sweep.plan.settings.analysis, sweep.plan.settings.score_thresholds
    for one in measured(run, exported)["targets"]:
        row = rows_of(sweep, exported)[one["target"]]
        table = load_detections(sweep.plan.store.path(row["evaluate_key"]))
        seed = derive_seed(0, "bootstrap", sorted(image.image_id for image in table.images))
        fit = fit_gaussian(read_training_features(exported / "train" / TRAINED).features, "oas")
        again = cell_replicates(table, distances(table.features, fit), settings, thresholds, seed)
        bounds = [one["AP50_low"], one["AP50_high"]]
        assert bounds == pytest.approx(percentile_interval(again.AP50), abs=1e-9)
        assert bounds[0] <= one["AP50"] <= bounds[1]
        medium = [one["AP_t2t_010_shrunk_low"], one["AP_t2t_010_shrunk_high"]]
        assert medium == pytest.approx(percentile_interval(again.AP_t2t[1]), abs=1e-9)
        assert one["num_blocks"] == len({image.scene for image in table.images})


def test_the_command_writes_what_the_method_writes(
    exported: Path, sweep: Sweep, run: Any, tmp_path: Path
) -> None:
    folder, root = tmp_path / "by command", f"sweep.root={sweep.plan.root}"
    answer = run("export-detections", f"synthetic={exported.name}", str(folder), root, "--json")
    assert answer.code == 0, answer.errors
    assert json.loads(answer.output)["splits"] == ["train", "validation", "field", "karst"]
    names = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert names == {path.relative_to(exported) for path in exported.rglob("*") if path.is_file()}
    for name in names:
        assert (folder / name).read_bytes() == (exported / name).read_bytes()
    again = run("export-detections", f"synthetic={exported.name}", str(folder), root)
    assert (again.code, again.errors.startswith(f"{folder} holds something else")) == (2, True)


def test_cells_of_two_detectors_are_refused(sweep: Sweep, run: Any, tmp_path: Path) -> None:
    answer = run(
        "export-detections", "seed=0", str(tmp_path / "x"), f"sweep.root={sweep.plan.root}"
    )
    assert answer.code == 2
    assert answer.errors.startswith(f"2 detectors of {sweep.name} are seed=0; for example: ")


def of_pycocotools(folder: Path) -> tuple[float, float]:
    """AP50 and AP with as many detections an image as there are."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(folder / "ground_truth.json")
        evaluation = COCOeval(truth, truth.loadRes(str(folder / "results.json")), "bbox")
        evaluation.params.maxDets = [10_000]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, 0]  # by IoU, from 0.5 on
    return float(precision[0].mean()), float(precision.mean())
