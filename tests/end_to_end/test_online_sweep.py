"""A whole sweep as the W&B server records it: sent online, or offline and then by `sync`."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from helpers.run_promises import differences, promised
from helpers.wandb_server.artifacts import COMMITTED, FakeArtifact
from helpers.wandb_server.backend import FakeBackend
from helpers.wandb_server.runs import FakeRun

from ptl_sweep.pipeline.plan import Plan, load_plan
from ptl_sweep.pipeline.wandb_runs import stage_run
from ptl_sweep.reduce.tables import FILES
from ptl_sweep.stages.train import MODEL
from ptl_sweep.tracking import History, run_id

pytestmark = pytest.mark.wandb
DETECTION_COLUMNS = ("picture", "image", "score", "iou", "true_positive", "x1", "y1", "x2", "y2")
STORY = ("history.jsonl", "attempts.jsonl")  # files that tell when and how fast
TABLES = "run_table"  # the kind of artifact that W&B itself makes of a table

NAMES = {  # kind of the stage and its labels, by display name
    "n3 s0": ("train", "train", "miniature"),
    "n3 on t1 s0": ("train", "ptl", "miniature", "on"),
    "n3 off s0 -> field": ("evaluate", "evaluate", "miniature", "off"),
    "n3 off s0 -> karst": ("evaluate", "evaluate", "miniature", "off"),
    "n3 off s0 -> miniature-validation": ("evaluate", "evaluate", "miniature", "off"),
    "n3 on t1 s0 -> field": ("evaluate", "evaluate", "miniature", "on"),
    "n3 on t1 s0 -> karst": ("evaluate", "evaluate", "miniature", "on"),
    "n3 on t1 s0 -> miniature-validation": ("evaluate", "evaluate", "miniature", "on"),
}
MEASURES = {
    "AP50", "AP", "AP_t2t_001_shrunk", "AP_t2t_010_shrunk", "AP_t2t_050_shrunk",
    "t2t_tp_mean_shrunk", "t2t_fp_mean_shrunk", "t2t_tp_median_shrunk", "t2t_fp_median_shrunk",
    "t2t_auroc",
}  # fmt: skip


class Tracked(NamedTuple):
    """A finished sweep and the server that has its runs."""

    server: FakeBackend
    plan: Plan
    environment: dict[str, str]
    where: tuple[str, str]  # entity and project of its runs

    @property
    def reducer(self) -> FakeRun:
        return self.server.runs[f"reduce-{self.plan.name}"]

    @property
    def stages(self) -> dict[str, FakeRun]:
        """Run by key of the stage."""
        return {key: self.server.runs[run_id(key)] for key in self.plan.stages}

    def of_type(self, job_type: str) -> list[FakeRun]:
        return [run for run in self.server.runs.values() if run.about["jobType"] == job_type]

    def artifacts_of(self, run: FakeRun) -> list[FakeArtifact]:
        """What the run filed, less what W&B makes of its tables."""
        filed = self.server.artifacts.values()
        return [a for a in filed if run.id in a.runs and a.kind != TABLES]


def ptl_sweep(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The command line as a process of its own: W&B's settings are one per process."""
    done = subprocess.run(
        [sys.executable, "-m", "ptl_sweep", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "W&B" not in done.stdout + done.stderr
    return done


def swept(server: FakeBackend, root: Path, grid: list[str], tracking: str) -> Tracked:
    """The grid, run with an environment that reaches this server and no other."""
    home = root / "home"
    home.mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = own | {
        "HOME": str(home),
        "WANDB_BASE_URL": server.url,
        "WANDB_API_KEY": "0" * 40,
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_CACHE_DIR": str(home / "cache"),
        "WANDB_CONFIG_DIR": str(home / "config"),
    }
    words = [word for word in grid if not word.startswith("tracking=")]
    outputs = f"sweep.root={root / 'outputs'}"
    ptl_sweep(*words, f"tracking={tracking}", outputs, environment=environment)
    (folder,) = (root / "outputs" / "sweeps").iterdir()
    return Tracked(server, load_plan(folder), environment, (server.entity, "ptl-sweep"))


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory, tiny_grid: list[str]) -> Iterator[Tracked]:
    """The tiny sweep, whose runs the server saw while they ran."""
    with FakeBackend() as server:
        yield swept(server, tmp_path_factory.mktemp("online"), tiny_grid, "wandb")


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory, tiny_grid: list[str]) -> Iterator[Tracked]:
    """The same offline, brought up afterwards by `sync`, to a project of another team."""
    with FakeBackend() as server:
        tracked = swept(server, tmp_path_factory.mktemp("synced"), tiny_grid, "offline")
        assert server.operations == []
        tracked = tracked._replace(where=("lab", "elsewhere"))
        states = sync(tracked)
        assert set(states.values()) == {"uploaded"}
        yield tracked


@pytest.fixture(scope="module", params=["online", "synced"])
def tracked(request: pytest.FixtureRequest) -> Tracked:
    """Both, one after the other."""
    found: Tracked = request.getfixturevalue(request.param)
    return found


def sync(tracked: Tracked) -> dict[str, str]:
    """What `sync` says of each run."""
    entity, project = tracked.where
    words = ["--json", "--entity", entity, "--project", project, f"sweep.root={tracked.plan.root}"]
    done = ptl_sweep("sync", *words, environment=tracked.environment)
    return {run["run"]: run["state"] for run in json.loads(done.stdout)["runs"]}


def values_of(run: FakeRun) -> dict[str, Any]:
    """The configuration without what W&B adds."""
    return {name: item["value"] for name, item in run.config.items() if name != "_wandb"}


def media_of(run: FakeRun) -> dict[str, dict[str, Any]]:
    """Pictures, tables and pages by name."""
    return {
        name: value for row in run.rows for name, value in row.items() if isinstance(value, dict)
    }


# runs


def test_the_server_has_a_finished_run_of_every_stage_and_of_the_reducer(tracked: Tracked) -> None:
    plan = tracked.plan
    assert set(tracked.server.runs) == {*map(run_id, plan.stages), f"reduce-{plan.name}"}
    for run in tracked.server.runs.values():
        assert (run.entity, run.project) == tracked.where
        assert (run.state, run.exit_code) == ("finished", 0)
        assert run.about["groupName"] == plan.name
    assert tracked.server.unknown == []


def test_runs_are_named_typed_and_tagged_so_that_they_can_be_told_apart(tracked: Tracked) -> None:
    expected = {
        name: (job_type, [tracked.plan.name, *tags]) for name, (job_type, *tags) in NAMES.items()
    }
    expected[f"reduce {tracked.plan.name}"] = (
        "reduce", [tracked.plan.name, "reduce", "miniature", "off", "on"],
    )  # fmt: skip
    about = [run.about for run in tracked.server.runs.values()]
    assert {a["displayName"]: (a["jobType"], a["tags"]) for a in about} == expected


def test_rows_are_those_of_the_history_once_each(tracked: Tracked) -> None:
    for key, run in tracked.stages.items():
        history = logged(tracked.plan.store.path(key))
        rows = tracked.server.rows_of(run.id)
        if len(rows) == len(history) + 1:  # the last one is of media that no row followed
            history.append({})
        assert [numbers(*pair) for pair in zip(rows, history, strict=True)] == history
    (row,) = tracked.server.rows_of(tracked.reducer.id)
    (reduction,) = logged(tracked.plan.folder)
    assert numbers(row, reduction) == reduction
    assert reduction["grid/cells_ok"] == 4


def logged(folder: Path) -> list[dict[str, Any]]:
    """The rows of a history without their times."""
    rows = History(folder / "history.jsonl").rows()
    return [{k: v for k, v in row.items() if k != "_timestamp"} for row in rows]


def numbers(row: dict[str, Any], logged: dict[str, Any]) -> dict[str, Any]:
    """A row without media, and without the iteration that W&B adds to pictures of it."""
    media = {name for name, value in row.items() if isinstance(value, dict)}
    of_media = {"ptl/iteration"} if any(name.startswith("ptl/") for name in media) else set()
    return {name: row[name] for name in row.keys() - media - (of_media - logged.keys())}


def test_the_summary_of_an_evaluation_is_what_results_csv_says(tracked: Tracked) -> None:
    text = (tracked.plan.folder / "results.csv").read_text()
    rows = {row["evaluate_key"]: row for row in csv.DictReader(io.StringIO(text))}
    assert len(rows) == 4
    for key, row in rows.items():
        summary = tracked.stages[key].summary
        assert set(summary) >= MEASURES
        for name in MEASURES:
            assert same(row[name], summary[name]), (key, name)


def test_the_reducers_summary_has_the_headline_of_the_study(tracked: Tracked) -> None:
    summary = tracked.reducer.summary
    (row,) = logged(tracked.plan.folder)
    with (tracked.plan.folder / "claims.csv").open(newline="") as lines:
        (effect,) = [one for one in csv.DictReader(lines) if one["statement"] == "effect"]
    assert summary["grid/cells_ok"] == 4
    assert summary["grid/cells_failed"] == summary["grid/cells_missing"] == 0
    assert same(effect["value"], summary["grid/effect_on"])
    assert (summary["grid/verdict_on"], summary["grid/num_seeds_on"]) == (effect["verdict"], 1)
    change = summary["grid/AP50_on"] - summary["grid/AP50_off"]
    assert change == pytest.approx(summary["grid/effect_on"])
    assert {name: summary.get(name) for name in row} == row
    assert row["grid/effect_on_low"] is None  # one seed has no interval


def test_an_alert_says_once_that_the_sweep_has_ended(tracked: Tracked) -> None:
    alerts = [(run.id, alert) for run in tracked.server.runs.values() for alert in run.alerts]
    ((run, alert),) = alerts
    assert run == tracked.reducer.id
    assert alert["title"] == f"{tracked.plan.name}: all 4 cells done"
    assert alert["severity"] == "INFO"
    assert "effect_on: " in alert["text"]


def test_every_run_has_notes_and_the_settings_that_it_read(tracked: Tracked) -> None:
    for key, run in tracked.stages.items():
        settings = values_of(run)["settings"]
        detector = tracked.plan.detector_stage(key)
        assert settings["train"]["num_steps"] == 6
        assert settings["dataset"]["fingerprint"] == detector.data.fingerprint
        assert run.about["notes"].endswith(f"\n\n`{tracked.plan.command}`".replace(
            f"={tracked.plan.root.parent}/", "="
        ))  # fmt: skip
    assert values_of(tracked.reducer)["settings"]["train"]["num_steps"] == 6


def test_the_configuration_is_that_of_the_cell_and_names_the_parents_model(
    tracked: Tracked,
) -> None:
    plan = tracked.plan
    for key, run in tracked.stages.items():
        stage = plan.stages[key]
        expected = dict(stage_run(plan, stage).config)
        for parent in stage.parents:
            digest = plan.store.meta(parent)["sha256"][MODEL]
            expected["inputs"] = {"model": f"model-{parent}", "digest": digest}
        assert values_of(run) == expected


# what docs/wandb.md promises


@pytest.mark.parametrize("job_type", ["train", "evaluate", "reduce"])
def test_runs_hold_exactly_what_the_documentation_promises(tracked: Tracked, job_type: str) -> None:
    promises = promised(job_type)
    runs = tracked.of_type(job_type)
    names = {name for run in runs for row in tracked.server.rows_of(run.id) for name in row}
    assert differences(names, promises.names) == []
    filed = {artifact.collection for run in runs for artifact in tracked.artifacts_of(run)}
    assert differences(filed, promises.artifacts) == []


def test_every_picture_table_and_page_arrived_as_it_was_logged(tracked: Tracked) -> None:
    for run in tracked.server.runs.values():
        for name, value in media_of(run).items():
            if value["_type"] == "images/separated":
                boxes = [layer["path"] for image in value["all_boxes"] for layer in image.values()]
                assert 0 < value["count"] == len(value["filenames"]) <= 8, name
                assert {*value["filenames"], *boxes} <= set(run.files), name
            else:
                content = run.files[value["path"]]
                assert sha256(content).hexdigest() == value["sha256"], name


def test_pictures_show_ground_truth_and_detections(tracked: Tracked) -> None:
    shown = {
        (run.id, name): value["all_boxes"]
        for run in tracked.stages.values()
        for name, value in media_of(run).items()
        if name in ("ptl/transformed", "evaluate/detected")
    }
    assert len(shown) == 7
    for where, images in shown.items():
        for layers in images:
            assert set(layers) == {"ground_truth", "detections"}, where


def test_the_tables_are_the_reducers_files_and_the_best_detections(tracked: Tracked) -> None:
    for name, file in (("grid/results", "results.csv"), ("grid/summary", "summary.csv")):
        with (tracked.plan.folder / file).open(newline="") as lines:
            header, *rows = csv.reader(lines)
        columns, data = table_of(tracked.reducer, name)
        assert columns == header
        for row, cells in zip(rows, data, strict=True):
            assert all(map(same, row, cells)), file
    for run in tracked.of_type("evaluate"):
        columns, data = table_of(run, "evaluate/detections")
        assert columns == list(DETECTION_COLUMNS)
        assert len(data) == min(500, run.summary["num_detections"]) > 0
        is_shown = [row[0] is not None for row in data]
        true = sum(row[columns.index("true_positive")] for row in data)
        assert sum(is_shown) == min(6, true) + min(6, len(data) - true)


def test_the_best_detections_come_with_a_picture(tracked: Tracked) -> None:
    """The table as the web page reads it: an artifact that W&B makes of it."""
    for run in tracked.of_type("evaluate"):
        (artifact,) = [
            a for a in tracked.server.artifacts.values() if run.id in a.runs and a.kind == TABLES
        ]
        (name,) = [name for name in artifact.files if name.endswith("detections.table.json")]
        table = json.loads(tracked.server.blob(artifact, name))
        kinds = table["column_types"]["params"]["type_map"]["picture"]["params"]["allowed_types"]
        assert {kind["wb_type"] for kind in kinds} == {"image-file", "none"}
        pictures = [row[0] for row in table["data"] if row[0] is not None]
        assert pictures
        for picture in pictures:
            content = tracked.server.blob(artifact, picture["path"])
            assert sha256(content).hexdigest() == picture["sha256"]
            assert len(content) < 4000
            assert (picture["width"], picture["height"]) == (64, 64)


def table_of(run: FakeRun, name: str) -> tuple[list[str], list[list[Any]]]:
    table = json.loads(run.files[media_of(run)[name]["path"]])
    return table["columns"], table["data"]


def same(text: str, value: float | str | None) -> bool:
    """Whether a cell of a CSV file says this value."""
    if value is None or isinstance(value, str):
        return text == (value or "")
    return float(text) == value


# artifacts and where they come from


def test_every_model_is_filed_with_the_bytes_of_the_store(tracked: Tracked) -> None:
    plan = tracked.plan
    detectors = {key for key, stage in plan.stages.items() if stage.kind != "evaluate"}
    for key, run in tracked.stages.items():
        filed = tracked.artifacts_of(run)
        assert [a.collection for a in filed] == ([f"model-{key}"] if key in detectors else [])
        for artifact in filed:
            assert (artifact.kind, artifact.version, artifact.state) == ("model", "v0", COMMITTED)
            digest = plan.store.meta(key)["sha256"][MODEL]
            assert contents_of(tracked.server, artifact) == {MODEL: digest}


def test_the_results_are_filed_as_they_lie_in_the_sweeps_folder(tracked: Tracked) -> None:
    (artifact,) = tracked.artifacts_of(tracked.reducer)
    assert artifact.collection == f"grid-results-{tracked.plan.name}"
    assert (artifact.kind, artifact.state) == ("results", COMMITTED)
    written = {name for name in FILES if (tracked.plan.folder / name).is_file()}
    assert {"results.csv", "summary.csv"} <= written
    assert set(artifact.files) == {*written, "report.html"}
    for name in artifact.files:
        content = (tracked.plan.folder / name).read_bytes()
        assert tracked.server.blob(artifact, name) == content, name


def test_artifacts_lie_in_the_project_of_their_run(tracked: Tracked) -> None:
    assert tracked.server.artifacts
    for artifact in tracked.server.artifacts.values():
        assert (artifact.entity, artifact.project) == tracked.where, artifact.collection


def test_online_an_edge_leads_from_every_stage_to_the_model_that_it_starts_from(
    online: Tracked,
) -> None:
    edges = {(run, a.collection) for a in online.server.artifacts.values() for run in a.used_by}
    expected = {
        (run_id(key), f"model-{parent}")
        for key, stage in online.plan.stages.items()
        for parent in stage.parents
    }
    assert edges == expected
    assert len(edges) == len(online.plan.stages) - 1


# the sweep itself


def test_results_are_the_same_with_tracking_and_without(tracked: Tracked, tiny_sweep: Any) -> None:
    results = (tracked.plan.folder / "results.csv").read_bytes()
    assert results == tiny_sweep.file("results.csv")


def test_stages_are_the_same_bytes_with_tracking_and_without(
    tracked: Tracked, tiny_sweep: Any
) -> None:
    """Pictures, tables and media.json too; the histories hold times."""
    for key in tracked.plan.stages:
        found, expected = (
            {k: v for k, v in plan.store.meta(key)["sha256"].items() if k not in STORY}
            for plan in (tracked.plan, tiny_sweep.plan)
        )
        assert found == expected, key


def test_sync_of_what_the_server_has_changes_nothing(tracked: Tracked) -> None:
    before = everything(tracked.server)
    states = sync(tracked)
    assert states == dict.fromkeys(tracked.server.runs, "already there")
    assert everything(tracked.server) == before
    assert tracked.server.unknown == []


def everything(server: FakeBackend) -> Any:
    """A copy of what the server holds."""
    return (
        {name: asdict(run) for name, run in server.runs.items()},
        {name: asdict(artifact) for name, artifact in server.artifacts.items()},
    )


def test_sync_of_an_offline_sweep_leaves_the_record_of_one_that_was_online(
    online: Tracked, synced: Tracked
) -> None:
    assert lasting_record(synced) == lasting_record(online)


def lasting_record(tracked: Tracked) -> dict[str, Any]:
    """By run, what two sweeps of one grid have in common: no times, random ids or edges."""
    about = ("displayName", "groupName", "jobType", "tags")
    return {
        run.id: {
            "about": {name: run.about[name] for name in about},
            "config": values_of(run),
            "rows": [lasting(row) for row in run.rows],
            "summary": lasting(run.summary),
            "artifacts": {
                artifact.collection: (artifact.kind, artifact.version, artifact.state, contents)
                for artifact in tracked.server.artifacts.values()
                if run.id in artifact.runs
                for contents in [contents_of(tracked.server, artifact)]
            },
        }
        for run in tracked.server.runs.values()
    }


def contents_of(server: FakeBackend, artifact: FakeArtifact) -> dict[str, str]:
    """SHA-256 by file; the report says how long the stages took."""
    digests = {n: sha256(server.blob(artifact, n)).hexdigest() for n in artifact.files}
    return digests | ({"report.html": "any"} if "report.html" in digests else {})


def lasting(values: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if name.startswith("_") and name != "_type":
            continue
        if name == "report":
            kept[name] = value["_type"]
        elif name == "artifact_path" or name.endswith("_per_second"):
            kept[name] = "any"
        else:
            kept[name] = lasting(value) if isinstance(value, dict) else value
    return kept
