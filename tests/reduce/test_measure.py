"""Detectors of a sweep, measured from the store: side by side, and around damage."""

import json
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptl_sweep.datasets import registry
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.meta import sealed
from ptl_sweep.pipeline import status
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.reduce.error_crops import cut_errors
from ptl_sweep.reduce.measure import detector_jobs, measure_sweep
from ptl_sweep.reduce.selections import read_selections
from ptl_sweep.store import sha256_of


def measured(plan: Plan) -> Any:
    return measure_sweep(plan, status.stage_states(plan))


def evaluations(plan: Plan, text: str) -> str:
    (key,) = [k for k, s in plan.stages.items() if s.kind == "evaluate" and text in k]
    return key


def test_each_detector_is_one_job_with_all_its_targets(tiny_sweep: Any) -> None:
    jobs = list(detector_jobs(tiny_sweep.plan, status.stage_states(tiny_sweep.plan)))
    assert [len(job.evaluations) for job in jobs] == [2, 2]
    assert {job.validation.name for job in jobs if job.validation} == {
        reading.validation for cell in tiny_sweep.plan.cells for reading in cell.readings
    }
    first, second = ([e.seed for e in job.evaluations] for job in jobs)
    assert first == second  # detectors of one target see the same resamples
    assert len(set(first)) == 2


def test_the_number_of_workers_changes_no_digit(tiny_sweep: Any, copy_of: Any) -> None:
    plan = copy_of(tiny_sweep).plan
    found = []
    for num_workers in (1, 2):
        plan.settings.analysis.num_workers = num_workers
        found.append(measured(plan))
    one, two = found
    assert list(one.cells) == list(two.cells)
    for key in one.cells:
        np.testing.assert_equal(one.cells[key].columns, two.cells[key].columns)
        np.testing.assert_equal(one.cells[key].replicates, two.cells[key].replicates)
    np.testing.assert_equal(one.gaussians, two.gaussians)


def test_a_killed_process_costs_time_and_no_number(
    tiny_sweep: Any, copy_of: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """The kernel kills a worker whose memory is full; here each ends as it starts."""
    plan = copy_of(tiny_sweep).plan
    expected = measured(plan)
    plan.settings.analysis.num_workers = 2
    resource_tracker.ensure_running()  # of multiprocessing, which is to live
    monkeypatch.setenv("PYTHONPATH", str(plan.root))
    (plan.root / "sitecustomize.py").write_text("import os; os._exit(9)")
    found = measured(plan)
    assert "was killed" in caplog.text
    for key in expected.cells:
        np.testing.assert_equal(found.cells[key].columns, expected.cells[key].columns)


def test_a_damaged_file_costs_its_cell_and_no_other(
    tiny_sweep: Any, copy_of: Any, flip_byte: Any
) -> None:
    plan = copy_of(tiny_sweep).plan
    key = evaluations(plan, "on-t1-karst")
    flip_byte(plan.store.path(key) / "truth_features.npy")
    found = measured(plan)
    assert set(found.problems) == {key}
    assert "truth_features.npy" in found.problems[key]
    assert len(found.cells) == 3


def test_a_damaged_validation_costs_calibrated_distances_only(
    tiny_sweep: Any, copy_of: Any, flip_byte: Any
) -> None:
    plan = copy_of(tiny_sweep).plan
    key = evaluations(plan, "on-t1-miniature-validation")
    flip_byte(plan.store.path(key) / "features.npy")
    found = measured(plan)
    assert not found.problems
    off, on = (found.cells[evaluations(plan, text)] for text in ("n3-s0-karst", "on-t1-karst"))
    assert np.isnan(on.columns["t2t_fp_mean_calibrated"])
    assert any("calibrated" in reason for reason in on.reasons)
    assert not any("no validation split" in reason for reason in off.reasons)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [((80, 300), (80, 80)), ((20, 300), (None, 300)), ((20, 30), (None, None))],
)
def test_detectors_are_compared_at_the_smallest_number_of_features_that_is_enough(
    counts: tuple[int, int], expected: tuple[int | None, ...], tiny_sweep: Any, copy_of: Any
) -> None:
    plan = copy_of(tiny_sweep).plan
    detectors = [key for key, stage in plan.stages.items() if stage.kind != "evaluate"]
    for key, count in zip(detectors, counts, strict=True):
        path = plan.store.path(key) / "meta.json"
        meta = json.loads(path.read_text())
        meta["summary"]["gaussian_n"] = count
        path.write_text(json.dumps(sealed(meta)))
    jobs = {job.key: job for job in detector_jobs(plan, status.stage_states(plan))}
    assert tuple(jobs[key].equal_n for key in detectors) == expected


def test_selections_say_what_an_iteration_saw_and_took(tiny_sweep: Any) -> None:
    (selection,) = read_selections(tiny_sweep.plan)
    assert (selection.synthetic, selection.iteration, selection.real_count) == ("on", 1, 3)
    assert len(selection.gap) == 12
    assert selection.selected.sum() == 4
    assert 1 <= selection.effective_sample_size <= 12
    assert set(selection.attributes) == {"altitude_m", "radius_m"}
    assert all(len(values) == 12 for values in selection.attributes.values())
    written = json.loads(translation_file(tiny_sweep.plan).read_text())["summary"]
    assert selection.translation == (
        written["gap_untranslated_median"], written["gap_translated_median"],
        written["gap_real_median"], 1.0, written["found_translated"], written["found_real"],
    )  # fmt: skip


def test_a_stage_that_compared_no_gaps_has_a_selection_all_the_same(
    tiny_sweep: Any, copy_of: Any
) -> None:
    """As where nothing was translated, and as a stage that is older than the comparison."""
    plan = copy_of(tiny_sweep).plan
    path = translation_file(plan)
    meta = path.with_name("meta.json")
    for text in ('{"images": [], "summary": {}}', None):
        content = json.loads(meta.read_text())
        if text is None:
            path.unlink()
            del content["sha256"][path.name]
        else:
            path.write_text(text)
            content["sha256"][path.name] = sha256_of(path)
        meta.write_text(json.dumps(sealed(content)))
        (selection,) = read_selections(plan)
        assert selection.translation is None
        assert selection.selected.sum() == 4


def translation_file(plan: Plan) -> Path:
    (stage,) = plan.ptl_stages()
    return plan.store.path(stage.key) / "translation.json"


def test_crops_of_false_positives_are_kept_for_a_reduction_without_the_pictures(
    tiny_sweep: Any, copy_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = copy_of(tiny_sweep).plan
    cells = measured(plan).cells
    crops = cut_errors(plan, cells)
    assert {crop.group for crop in crops} == {"most confident", "nearest"}
    assert all(crop.path.endswith(".png") and "3 real" in crop.caption for crop in crops)

    def gone(*_: Any) -> Any:
        raise DataError("no folder /nowhere")

    monkeypatch.setattr(registry, "read_split", gone)  # the pictures are gone
    assert cut_errors(plan, cells) == crops
