"""`table` and `figure`: what a paper takes from a sweep, and the sweep that a short name means."""

import csv
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from ptl_sweep.cli import tables
from ptl_sweep.datasets.miniature.scene import render_scene
from ptl_sweep.metrics import clusters
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.report import paper
from ptl_sweep.report.paper.layout import GAP

MakePlan = Callable[..., Plan]
GRID = ("real_count=2", "target=field,karst", "synthetic=off,on")


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    """A sweep of which nothing has run."""
    return make_plan(*GRID)


def root_of(plan: Plan) -> str:
    return f"sweep.root={plan.root}"


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_names_of_tables_are_those_that_can_be_made() -> None:
    assert tuple(paper.TABLES) == tables.TABLES


def test_a_table_of_a_sweep_that_never_ran_is_gaps_not_a_failure(plan: Plan, run: Any) -> None:
    name = "first"
    outcome = run("table", name, plan.name, root_of(plan))
    assert (outcome.code, outcome.errors) == (0, "")
    folder = plan.folder / "tables"
    assert files_in(folder) == [f"{name}.csv", f"{name}.md", f"{name}.tex"]
    for file in ("md", "csv", "tex"):
        assert outcome.output.splitlines().count(str(folder / f"{name}.{file}")) == 1
    assert outcome.output.startswith((folder / f"{name}.md").read_text())
    with (folder / f"{name}.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["target"] for line in lines} == {"field", "karst"}
    assert GAP in lines[0].values()


def test_a_sweep_without_the_figure_says_why_and_ends_with_1(plan: Plan, run: Any) -> None:
    outcome = run("figure", "t2t", root_of(plan))
    assert outcome.code == 1
    assert outcome.output.startswith(f"{plan.name} has no figure t2t: no detection has")


@pytest.mark.parametrize(
    ("command", "typo", "meant"),
    [("table", "crosdomain", "crossdomain"), ("figure", "t2tt", "t2t")],
)
def test_an_unknown_name_is_answered_with_the_nearest(
    command: str, typo: str, meant: str, plan: Plan, run: Any
) -> None:
    outcome = run(command, typo, root_of(plan))
    assert outcome.code == 2
    assert f"no {command} {typo}; did you mean {meant}?" in outcome.errors
    assert len(outcome.errors.splitlines()) <= 3


def test_files_of_a_figure_are_those_of_its_kind_alone(tmp_path: Path) -> None:
    for name in ("ap_t2t-town.svg", "ap_t2t-town.png", "ap-town.svg", "ap_t2t-town.txt"):
        (tmp_path / name).touch()
    found = tables.figure_files(tmp_path, "apt2t")
    assert [path.name for path in found] == ["ap_t2t-town.png", "ap_t2t-town.svg"]
    assert tables.figure_files(tmp_path, "curve") == []


def test_a_sweep_name_means_its_newest_sweep_and_says_which_of_several(
    make_plan: MakePlan, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    older, newer = make_plan(*GRID), make_plan(*GRID, "seed=7")
    make_plan(*GRID, "sweep.name=sweep-2")  # not called `sweep`
    for moment, plan in enumerate((older, newer)):
        os.utime(plan.folder / "plan.json", (moment, moment))
    shown = json.loads(run("status", "sweep", "--json", root_of(newer)).output)
    assert shown["sweep"] == newer.name
    said = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert said == [f"2 sweeps are called sweep; this is {newer.name}"]
    os.utime(older.folder / "plan.json", (9, 9))
    assert json.loads(run("status", "sweep", "--json", root_of(newer)).output)["sweep"] == (
        older.name
    )


def test_a_sweep_name_of_one_sweep_is_found_without_a_word(
    make_plan: MakePlan, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    make_plan(*GRID)
    other = make_plan(*GRID, "sweep.name=sweep-2")
    outcome = run("status", "sweep-2", "--json", root_of(other))
    assert json.loads(outcome.output)["sweep"] == other.name
    assert caplog.records == []


def test_a_finished_sweep_has_its_table_and_figure_without_another_reduction(
    tiny_sweep: Any, copy_of: Any, run: Any
) -> None:
    sweep = copy_of(tiny_sweep)
    reduced = sweep.plan.folder / "reduced.json"
    before = reduced.read_bytes()
    outcome = run("table", "crossdomain", "sweep", root_of(sweep.plan))
    assert outcome.code == 0
    with (sweep.plan.folder / "tables" / "crossdomain.csv").open() as file:
        lines = list(csv.DictReader(file))
    with (sweep.plan.folder / "results.csv").open() as file:
        results = {(r["target"], r["synthetic"]): float(r["AP50"]) for r in csv.DictReader(file)}
    for line in lines:
        assert line["off: AP50 [%]"] == f"{100 * results[line['target'], 'off']:.1f}"
        assert line["on, it. 1: AP50 [%]"] == f"{100 * results[line['target'], 'on']:.1f}"
        assert line["seeds"] == "1"
    as_json = json.loads(run("table", "crossdomain", "--json", root_of(sweep.plan)).output)
    assert as_json["sweep"] == sweep.plan.name
    assert [Path(path).suffix for path in as_json["paths"]] == [".md", ".csv", ".tex"]
    assert [dict(zip(as_json["header"], row, strict=True)) for row in as_json["rows"]] == lines
    shown = run("figure", "curve", "sweep", root_of(sweep.plan))
    assert shown.code == 0
    assert [Path(path).suffix for path in shown.output.split()] == [".png", ".svg"]
    assert all(Path(path).is_file() for path in shown.output.split())
    as_json = json.loads(run("figure", "curve", "--json", root_of(sweep.plan)).output)
    assert as_json["paths"] == shown.output.split()
    assert reduced.read_bytes() == before


def test_what_the_reducer_has_not_written_is_reduced_first(
    tiny_sweep: Any, copy_of: Any, run: Any
) -> None:
    sweep = copy_of(tiny_sweep)
    (sweep.plan.folder / "iterations.parquet").unlink()
    (sweep.plan.folder / "reduced.json").unlink()
    assert run("table", "first", root_of(sweep.plan)).code == 0
    assert (sweep.plan.folder / "reduced.json").is_file()


def test_tables_of_an_older_version_are_written_again(
    tiny_sweep: Any, copy_of: Any, run: Any
) -> None:
    """It knew no distance to neighbours, and predictors cannot do without."""
    sweep = copy_of(tiny_sweep)
    path = sweep.plan.folder / "results.parquet"
    now = pl.read_parquet(path)
    now.drop("d_knn", "d_rmd").write_parquet(path)
    outcome = run("table", "predictors", root_of(sweep.plan))
    assert outcome.code == 0
    assert "(d_knn)" in outcome.output
    assert pl.read_parquet(path).equals(now, null_equal=True)


def test_a_later_target_without_labels_trains_nothing_and_changes_no_claim(
    tiny_sweep: Any, copy_of: Any, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = copy_of(tiny_sweep)
    monkeypatch.chdir(tmp_path)
    bare = tmp_path / "bare"
    for folder in ("images", "labels"):
        (bare / folder).mkdir(parents=True)
    (bare / "data.yaml").write_text("names: {0: person}\n")
    for index in range(3):
        picture = render_scene("yard", 0, index, 128, (24, 36)).image
        Image.fromarray(picture).save(bare / "images" / f"{index}.png")
    (tmp_path / "conf" / "target").mkdir(parents=True)
    (tmp_path / "conf" / "target" / "bare.yaml").write_text(
        f"name: bare\nreader: yolo\nroot: {bare}\nsplit: all\n"
    )
    words = [word.replace("target=field,karst", "target=field,karst,bare")
             for word in sweep.arguments]  # fmt: skip
    outcome = run(*words, "dataset=miniature")
    assert outcome.code == 0, outcome.errors
    published = [line for line in outcome.output.splitlines() if line.startswith("published")]
    assert published
    assert all(line.startswith("published evaluate-") for line in published)
    folders = {path.name: path for path in (sweep.root / "sweeps").iterdir()}
    (later,) = folders.keys() - {sweep.plan.name}
    first, second = (pl.read_parquet(folders[name] / "claims.parquet")
                     for name in (sweep.plan.name, later))  # fmt: skip
    assert second.equals(first, null_equal=True)
    results = pl.read_parquet(folders[later] / "results.parquet").filter(target="bare")
    assert results["num_ground_truth"].to_list() == [0, 0]
    assert results["AP50"].null_count() == 2
    table = run("table", "forecast", later, root_of(sweep.plan), "--json")
    rows = {row[2]: row for row in json.loads(table.output)["rows"]}
    assert rows["bare"][4] == GAP
    assert rows["bare"][5] != GAP
    assert {row[4] == GAP for name, row in rows.items() if name != "bare"} == {False}


def test_clusters_are_sheets_of_each_target_and_value_of_synthetic(
    tiny_sweep: Any, copy_of: Any, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = copy_of(tiny_sweep)
    monkeypatch.setattr(clusters, "MIN_CLUSTERED", 4)  # its detectors find little
    outcome = run("figure", "clusters", root_of(sweep.plan))
    assert outcome.code == 0
    names = {Path(path).stem for path in outcome.output.split()}
    arms = [f"clusters-miniature-{target}-{synthetic}"
            for target in ("field", "karst") for synthetic in ("off", "on")]  # fmt: skip
    assert names == set(arms)
    drawn = Path(outcome.output.split()[1]).read_text()
    assert "most confident false positives by their features: " in drawn
    assert drawn.count("<image") >= 4


def test_a_sweep_without_pictures_of_false_positives_says_so(plan: Plan, run: Any) -> None:
    outcome = run("figure", "clusters", root_of(plan))
    assert outcome.code == 1
    assert f"{plan.name} has no figure clusters: no cell has enough" in outcome.output
