"""The reducer: a row for every cell, whatever became of it; and tables that never change alone."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptl_sweep.datasets import registry
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.launchers import local
from ptl_sweep.meta import sealed
from ptl_sweep.pipeline import status
from ptl_sweep.pipeline.plan import load_plan, save_plan
from ptl_sweep.reduce.pictures import stage_costs
from ptl_sweep.reduce.rows import Reducer
from ptl_sweep.stages.base import KINDS
from ptl_sweep.study.schemas import results_schema
from ptl_sweep.worker import running

TABLES = ("results.csv", "results.parquet", "iterations.csv", "summary.csv")


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def without_equal_n(row: dict[str, str]) -> dict[str, str]:
    """What does not depend on the number of features that all cells of a sweep have."""
    return {k: v for k, v in row.items() if not k.endswith("_equal_n") and k != "reason"}


def measured(sweep: Any) -> list[dict[str, Any]]:
    """Rows of results.csv, without the report."""
    reducer = Reducer(sweep.plan, None)
    return [reducer.measure(cell, cell.readings[-1]).row for cell in sweep.plan.cells]


def stage_of(sweep: Any, kind: str, text: str = "") -> str:
    (key,) = [k for k, s in sweep.plan.stages.items() if s.kind == kind and text in k]
    return str(key)


def test_every_cell_of_a_tiny_sweep_is_ok(tiny_sweep: Any) -> None:
    rows = rows_of(tiny_sweep.file("results.csv"))
    assert [(r["synthetic"], r["target"]) for r in rows] == [
        ("off", "field"), ("off", "karst"), ("on", "field"), ("on", "karst"),
    ]  # fmt: skip
    assert {row["status"] for row in rows} == {"ok"}
    assert [(r["num_train_images"], r["num_synthetic"]) for r in rows] == [
        ("3", "0"), ("3", "0"), ("7", "4"), ("7", "4"),
    ]  # fmt: skip
    assert [r["iteration"] for r in rows] == ["0", "0", "1", "1"]


def test_columns_are_those_of_the_architecture_in_their_order(tiny_sweep: Any) -> None:
    for name in ("results.csv", "iterations.csv"):
        header = tiny_sweep.file(name).decode().splitlines()[0]
        assert tuple(header.split(",")) == tuple(results_schema((0.01, 0.1, 0.5)))


def test_numbers_are_of_the_stages_that_the_row_names(tiny_sweep: Any) -> None:
    store = tiny_sweep.plan.store
    for row in rows_of(tiny_sweep.file("results.csv")):
        metrics = json.loads(store.artifact(row["evaluate_key"], "metrics.json").read_text())
        assert (float(row["AP"]), float(row["AP50"])) == (metrics["AP"], metrics["AP50"])
        assert int(row["num_detections"]) == metrics["num_detections"]
        summary = store.meta(row["train_key"])["summary"]
        assert int(row["gaussian_n"]) == summary["gaussian_n"]
        assert tiny_sweep.plan.stages[row["evaluate_key"]].parents == (row["train_key"],)


def test_the_report_and_its_tables_are_written_beside_the_results(tiny_sweep: Any) -> None:
    names = {path.name for path in tiny_sweep.plan.folder.iterdir()}
    for stem in ("results", "iterations", "summary"):
        assert {f"{stem}.csv", f"{stem}.parquet"} <= names
    assert tiny_sweep.file("report.html").lstrip().startswith(b"<!")


def test_a_missing_cell_is_a_row_that_says_so(tiny_sweep: Any, copy_of: Any) -> None:
    sweep = copy_of(tiny_sweep)
    key = stage_of(sweep, "evaluate", "on-t1-karst")
    sweep.plan.store.path(key).rename(sweep.root / "moved-away")
    rows = measured(sweep)
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "missing"]
    assert rows[3]["reason"] == "not computed yet"
    assert rows[3]["evaluate_key"] == key
    assert "AP50" not in rows[3]


def test_a_failed_cell_is_a_row_with_the_failure_that_it_waits_for(
    tiny_sweep: Any, copy_of: Any
) -> None:
    sweep = copy_of(tiny_sweep)
    store = sweep.plan.store
    broken = stage_of(sweep, "ptl")
    for key in (broken, *(k for k in sweep.plan.stages if "on-t1-" in k and k != broken)):
        store.path(key).rename(sweep.root / key)
    store.record_failure(broken, RuntimeError("loss is NaN\nat step 3"), log_path=None)
    rows = measured(sweep)
    assert [row["status"] for row in rows] == ["ok", "ok", "failed", "failed"]
    assert {row["reason"] for row in rows[2:]} == {f"{broken}: RuntimeError: loss is NaN"}


@pytest.mark.parametrize("name", ["detections.parquet", "features.npy", "metrics.json"])
def test_a_damaged_evaluation_fails_its_own_row_and_names_the_file(
    name: str, tiny_sweep: Any, copy_of: Any, flip_byte: Callable[[Path], None]
) -> None:
    sweep = copy_of(tiny_sweep)
    path = sweep.plan.store.path(stage_of(sweep, "evaluate", "n3-s0-karst")) / name
    flip_byte(path)
    rows = measured(sweep)
    assert [row["status"] for row in rows] == ["ok", "failed", "ok", "ok"]
    assert str(path) in rows[1]["reason"]
    assert "run again" in rows[1]["reason"]


def test_the_same_command_again_starts_no_worker_and_changes_no_byte(
    tiny_sweep: Any, copy_of: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = copy_of(tiny_sweep)
    before = {name: sweep.file(name) for name in TABLES}

    def started(*_: object) -> None:
        raise AssertionError("a stage was computed")

    monkeypatch.setattr(running, "_compute", started)
    monkeypatch.setattr(local.LocalLauncher, "_spawn", started)
    outcome = run(*sweep.arguments, "launcher=local")
    assert outcome.code == 0
    assert {name: sweep.file(name) for name in TABLES} == before
    assert [path.name for path in (sweep.root / "sweeps").iterdir()] == [sweep.plan.name]
    table = {line.split()[0]: line.split() for line in outcome.output.splitlines() if line}
    for kind in KINDS:
        _, _, unique, cached, to_run, *_ = table[kind]
        assert (cached, to_run) == (unique, "0")


@pytest.mark.slow
def test_a_stage_that_fails_costs_its_cells_and_the_same_command_mends_them(
    tiny_sweep: Any, copy_of: Any, run: Any, flip_byte: Callable[[Path], None]
) -> None:
    """The detector that PTL starts from has rotted on disk; evaluations of it are done."""
    sweep = copy_of(tiny_sweep)
    store = sweep.plan.store
    before = sweep.file("results.csv")
    ptl, train = stage_of(sweep, "ptl"), stage_of(sweep, "train")
    for key in (ptl, *(k for k in sweep.plan.stages if "on-t1-" in k and k != ptl)):
        store.path(key).rename(sweep.root / key)
    flip_byte(store.path(train) / "model.safetensors")

    outcome = run(*sweep.arguments)
    assert outcome.code == 1
    rows = rows_of(sweep.file("results.csv"))
    assert [row["status"] for row in rows] == ["ok", "ok", "failed", "failed"]
    assert all(ptl in row["reason"] and "model.safetensors" in row["reason"] for row in rows[2:])
    assert "2 of 4 cells have no result" in outcome.output
    failure = json.loads((store.work_folder(ptl) / "FAILED.json").read_text())
    assert "Traceback (most recent call last)" in failure["traceback"]
    assert "StoreError" in failure["traceback"]

    shown = run("status", f"sweep.root={sweep.root}").output
    block = shown[shown.index("FAILED  ") :]
    assert block.startswith(f"FAILED  {ptl}")
    assert "checksum differs" in block
    assert "same command again" in block

    store.path(train).rename(sweep.root / "moved-away")  # what the failure asks for
    assert run(*sweep.arguments).code == 0
    assert sweep.file("results.csv") == before


@pytest.mark.slow
def test_eight_cells_of_six_steps_end_with_eight_rows_that_are_ok(
    tiny: list[str], run: Any, tmp_path: Path
) -> None:
    grid = ["real_count=2,3", "synthetic=off,on", "target=field,karst", "seed=0"]
    outcome = run("-m", *grid, *tiny, f"sweep.root={tmp_path}", "evaluate.iterations=all")
    assert outcome.code == 0
    (path,) = tmp_path.glob("sweeps/*/results.csv")
    assert [row["status"] for row in rows_of(path.read_bytes())] == ["ok"] * 8
    iterations = rows_of((path.parent / "iterations.csv").read_bytes())
    assert len(iterations) == 12  # off: 0; on: 0 and 1
    by_cell = {(r["synthetic"], r["iteration"], r["real_count"], r["target"]) for r in iterations}
    assert ("on", "0", "2", "karst") in by_cell


@pytest.mark.slow
def test_one_more_real_count_trains_only_what_is_new(
    tiny_sweep: Any, copy_of: Any, run: Any
) -> None:
    sweep = copy_of(tiny_sweep)
    before = {path.name: path.stat().st_mtime_ns for path in sweep.plan.store.root.glob("*/")}
    outcome = run(*sweep.arguments, "real_count=2,3")
    assert outcome.code == 0
    after = {path.name: path.stat().st_mtime_ns for path in sweep.plan.store.root.glob("*/")}
    new = after.keys() - before.keys()
    assert len(new) == 8  # two detectors, each on two targets and on validation
    assert all("-n2-" in key for key in new)
    assert {key: after[key] for key in before} == before
    (path,) = [p for p in (sweep.root / "sweeps").iterdir() if p.name != sweep.plan.name]
    old, new_rows = (
        [without_equal_n(row) for row in rows_of(content)]
        for content in (tiny_sweep.file("results.csv"), (path / "results.csv").read_bytes())
    )
    assert len(new_rows) == 8
    assert all(row in new_rows for row in old)


def test_a_report_needs_no_file_of_a_data_set(
    tiny_sweep: Any, copy_of: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = copy_of(tiny_sweep)

    def damaged(*words: Any) -> Any:
        raise DataError("a.txt:3: not a box")

    monkeypatch.setattr(registry, "read_split", damaged)
    assert run("report", str(sweep.plan.folder)).code == 0


def test_boxes_that_were_left_out_are_told_by_the_stages_that_read_them(
    tiny_sweep: Any, copy_of: Any, run: Any
) -> None:
    sweep = copy_of(tiny_sweep)
    (key, *_) = sweep.plan.of_kind("evaluate")
    path = sweep.plan.store.path(key) / "meta.json"
    meta = json.loads(path.read_text())
    assert meta["drops"] == {}  # the miniature world draws no box that must be left out
    path.write_text(json.dumps(sealed(meta | {"drops": {"lake (test)": {"no area": 3}}})))
    assert run("report", str(sweep.plan.folder)).code == 0
    page = (sweep.plan.folder / "report.html").read_text()
    assert "lake (test)" in page
    assert "no area" in page


def test_an_edited_number_reaches_no_table(tiny_sweep: Any, copy_of: Any, run: Any) -> None:
    sweep = copy_of(tiny_sweep)
    key = stage_of(sweep, "train")
    path = sweep.plan.store.path(key) / "meta.json"
    meta = json.loads(path.read_text())
    meta["summary"]["num_train_images"] += 1
    path.write_text(json.dumps(meta))
    outcome = run("report", str(sweep.plan.folder))
    assert "2 of 4 cells have no result" in outcome.output
    reasons = [row["reason"] for row in measured(sweep) if row["status"] == "failed"]
    assert len(reasons) == 2
    for reason in reasons:
        assert f"{path} cannot be read (its checksum differs" in reason
        assert f"move {path.parent} away and run again" in reason


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "name", ["selection.json", "translation.json", "manifest.json", "pictures"]
)
def test_a_damaged_file_that_only_the_page_shows_costs_no_table(
    tiny_sweep: Any, copy_of: Any, run: Any, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    sweep = copy_of(tiny_sweep)
    folder = sweep.plan.store.path(stage_of(sweep, "ptl"))
    paths = sorted(folder.rglob("*.png")) if name == "pictures" else [folder / name]
    assert paths
    for path in paths:
        cut_in_half(path)
    assert run("report", str(sweep.plan.folder)).code == 0
    assert "not shown" in caplog.text
    assert (sweep.plan.folder / "results.csv").read_bytes() == tiny_sweep.file("results.csv")


@pytest.mark.parametrize(
    ("stage", "failed"),
    [(("train",), 2), (("ptl",), 2), (("evaluate", "n3-s0-karst"), 1)],
    ids=["train", "ptl", "evaluate"],
)
def test_a_damaged_meta_file_costs_its_own_rows_and_is_named(
    tiny_sweep: Any, copy_of: Any, run: Any, stage: tuple[str, ...], failed: int
) -> None:
    sweep = copy_of(tiny_sweep)
    key = stage_of(sweep, *stage)
    cut_in_half(sweep.plan.store.path(key) / "meta.json")
    outcome = run("report", str(sweep.plan.folder))
    assert f"{failed} of 4 cells have no result" in outcome.output
    rows = measured(sweep)
    reasons = [row["reason"] for row in rows if row["status"] == "failed"]
    assert len(reasons) == failed
    assert all(key in reason and "move" in reason for reason in reasons)


def test_a_stage_that_does_not_say_how_long_it_worked_costs_nothing_else(
    tiny_sweep: Any, copy_of: Any, run: Any
) -> None:
    sweep = copy_of(tiny_sweep)
    path = sweep.plan.store.path(stage_of(sweep, "ptl")) / "meta.json"
    meta = json.loads(path.read_text())
    del meta["seconds"]
    path.write_text(json.dumps(sealed(meta)))
    assert run("report", str(sweep.plan.folder)).code == 0
    assert run("status", str(sweep.plan.folder)).code == 0


def test_a_resume_keeps_its_own_work_as_its_own(tiny_sweep: Any, copy_of: Any) -> None:
    plan = copy_of(tiny_sweep).plan
    states = status.stage_states(plan)
    before = stage_costs(plan, states)
    assert sum(cost.num_run for cost in before) == len(plan.stages)
    plan.first_planned = time.time()  # as a second command plans anew
    save_plan(plan)
    assert stage_costs(load_plan(plan.folder), states) == before


def test_a_report_reads_no_meta_twice(
    tiny_sweep: Any, copy_of: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = copy_of(tiny_sweep)
    metas: list[str] = []
    read_text = Path.read_text

    def counted(path: Path, *args: Any, **options: Any) -> str:
        if path.name == "meta.json":
            metas.append(path.parent.name)
        return read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", counted)
    assert run("report", str(sweep.plan.folder)).code == 0
    assert sorted(metas) == sorted(sweep.plan.stages)
