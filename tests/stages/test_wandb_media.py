"""What W&B is shown of a sweep: the right numbers, of bounded size, and never another result."""

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.run_promises import differences, promised

from ptl_sweep.datasets import registry
from ptl_sweep.datasets.images import FileImage, ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.table import DetectionTable, load_detections
from ptl_sweep.pipeline.plan import Plan, config_of
from ptl_sweep.reduce import wandb
from ptl_sweep.stages import ptl, wandb_media
from ptl_sweep.stages.context import Workspace
from ptl_sweep.stages.detector import FEATURES, MODEL, load_detector
from ptl_sweep.stages.selection_heatmap import count_selected, draw_selection
from ptl_sweep.stages.training_set import MANIFEST, TransformedImage
from ptl_sweep.stages.wandb_runs import reduce_run, stage_run
from ptl_sweep.store import canonical_json, sha256_of
from ptl_sweep.tracking import History, StageMirror, read_log, transaction_log

Open = Callable[..., Workspace]


class Shown(StageMirror):
    """A mirror that is on and keeps what it is given."""

    is_on = True  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[str, Sequence[Any]] = {}
        self.repeated: list[str] = []
        self.tables: dict[str, tuple[Sequence[str], list[Any]]] = {}
        self.numbers: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.used: list[str] = []
        self.artifacts: dict[str, tuple[str, Sequence[Path], Any]] = {}

    def log_images(self, name: str, images: Sequence[Any], *, repeated: bool = False) -> None:
        self.images[name] = images
        if repeated:
            self.repeated.append(name)

    def table(self, name: str, columns: Sequence[str], rows: Any) -> None:
        self.tables[name] = columns, [dict(zip(columns, row, strict=True)) for row in rows]

    def summary(self, values: Mapping[str, Any]) -> None:
        self.numbers |= values

    def update_config(self, values: Mapping[str, Any]) -> None:
        self.config |= values

    def use_artifact(self, name: str) -> None:
        self.used.append(name)

    def artifact(self, name: str, kind: str, paths: Sequence[Path], metadata: Any = None) -> None:
        self.artifacts[name] = kind, paths, metadata


def stage_of(plan: Plan, kind: str, text: str = "") -> str:
    return next(k for k, s in plan.stages.items() if s.kind == kind and text in k)


@pytest.fixture
def opened(tiny_sweep: Any, tmp_path: Path) -> Open:
    """A workspace of a finished stage, with a mirror that records."""

    def make(kind: str, text: str = "", mirror: StageMirror | None = None) -> Workspace:
        plan = tiny_sweep.plan
        stage = plan.stages[stage_of(plan, kind, text)]
        folder = tmp_path / "outputs" / "store" / f"{stage.key}.wip"
        folder.mkdir(parents=True)
        return Workspace(
            stage=stage,
            config=config_of(plan, plan.stage_config[stage.key]),
            store=plan.store,
            folder=folder,
            should_stop=lambda: False,
            history=History(folder / "history.jsonl"),
            mirror=mirror or Shown(),
            cache=ImageCache(2**20),
        )

    return make


def found_of(work: Workspace) -> tuple[DetectionTable, Sequence[ImageRecord]]:
    table = load_detections(work.store.path(work.stage.key))
    return table, registry.read_split(work.config.target, work.config.target.split).records


def row_of(sweep: Any, key: str) -> dict[str, str]:
    rows = csv.DictReader(io.StringIO(sweep.file("results.csv").decode()))
    return next(row for row in rows if row["evaluate_key"] == key)


# evaluate


def test_the_summary_of_an_evaluation_is_what_the_reducer_finds_to_the_digit(
    tiny_sweep: Any, opened: Open
) -> None:
    work = opened("evaluate", "on-t1-field")
    table, _ = found_of(work)
    wandb_media.show_measures(work, table, FEATURES)
    expected = row_of(tiny_sweep, work.stage.key)
    numbers = work.mirror.numbers
    assert set(numbers) == {
        "AP_t2t_001_shrunk", "AP_t2t_010_shrunk", "AP_t2t_050_shrunk", "t2t_tp_mean_shrunk",
        "t2t_fp_mean_shrunk", "t2t_tp_median_shrunk", "t2t_fp_median_shrunk", "t2t_auroc",
    }  # fmt: skip
    for name, value in numbers.items():
        assert value == float(expected[name]), name


def test_a_long_table_of_detections_keeps_the_5000_highest_scores(opened: Open) -> None:
    table, records = found_of(opened("evaluate", "on-t1-field"))
    num = 6000
    arrays = {
        name: np.resize(value, (num, *value.shape[1:]))
        for name, value in vars_of(table).items()
        if isinstance(value, np.ndarray) and name != "features"
    }
    arrays["score"] = np.random.default_rng(0).uniform(0.01, 1, num).astype(np.float32)
    features = np.resize(table.features, (num, table.features.shape[1]))
    long = dataclasses.replace(table, **arrays, features=features)
    columns = wandb_media.DETECTION_COLUMNS
    values = wandb_media._detection_rows(long, np.arange(float(num)))
    rows = [dict(zip(columns, row, strict=True)) for row in values]
    order = np.argsort(-long.score)[:5000]
    assert [row["score"] for row in rows] == long.score[order].tolist()
    assert [row["distance"] for row in rows] == order.tolist()
    assert [row["true_positive"] for row in rows] == long.true_positive[order].tolist()
    assert {row["image"] for row in rows} <= {record.image_id for record in records}
    corners = [[row[name] for name in columns[-4:]] for row in rows]
    assert np.allclose(corners, long.boxes[order], atol=0.051)


def vars_of(table: DetectionTable) -> dict[str, Any]:
    return {field.name: getattr(table, field.name) for field in dataclasses.fields(table)}


def test_without_a_gaussian_the_numbers_are_empty_and_the_table_is_shown(
    opened: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    few = tmp_path / "few.npz"
    np.savez(few, features=np.zeros((1, 48), np.float32), images=np.zeros(1, np.int64))
    monkeypatch.setattr(Workspace, "parent", lambda _self, _name: few)
    work = opened("evaluate", "on-t1-field")
    table, _ = found_of(work)
    wandb_media.show_measures(work, table, FEATURES)
    assert np.isnan(list(work.mirror.numbers.values())).all()
    _, rows = work.mirror.tables["evaluate/detections"]
    assert len(rows) == len(table.score)


def test_detections_below_the_score_of_features_have_no_distance(opened: Open) -> None:
    table, _ = found_of(opened("evaluate", "on-t1-field"))
    cut = dataclasses.replace(
        table, score=np.where(np.arange(len(table.score)) < 5, 0.5, 0.001).astype(np.float32),
        features=table.features[:5],
    )  # fmt: skip
    rows = list(wandb_media._detection_rows(cut, np.arange(5.0)))
    assert [row[4] for row in rows[:5]] == [0, 1, 2, 3, 4]
    assert np.isnan([row[4] for row in rows[5:]]).all()


def test_a_long_target_shows_eight_pictures_from_its_whole_length(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = opened("evaluate", "on-t1-field")
    table, records = found_of(work)
    many = [records[index % len(records)] for index in range(30)]
    read: list[ImageRecord] = []

    def keep(record: ImageRecord) -> Any:
        read.append(record)
        return record.pixels.read()

    monkeypatch.setattr(work.cache, "read", keep)
    wandb_media.show_found(work, table, many)
    images = work.mirror.images["evaluate/detected"]
    assert len(images) == len(read) == 8
    shown = [image.truths.tolist() for image in images]
    assert shown[0] == many[0].boxes.tolist()
    assert shown[-1] == many[-1].boxes.tolist()


def test_only_confident_detections_are_drawn_and_large_pictures_shrink_with_their_boxes() -> None:
    boxes = np.array([[100, 200, 300, 400], [0, 0, 50, 50]], np.float32)
    record = ImageRecord(
        image_id="a", width=2560, height=1000, boxes=boxes[:1],
        ignored=np.zeros((0, 4), np.float32), scene="a", pixels=FileImage(Path("a.png")),
    )  # fmt: skip
    pixels = np.zeros((1000, 2560, 3), np.uint8)
    shown = wandb_media._shown(record, pixels, boxes, np.array([0.9, 0.29], np.float32))
    assert shown.pixels.shape == (500, 1280, 3)
    assert shown.truths.tolist() == [[50, 100, 150, 200]]
    assert shown.detections.tolist() == [[50, 100, 150, 200]]
    assert shown.scores.tolist() == [np.float32(0.9)]


# train and ptl


def test_transformed_pictures_are_shown_with_truths_and_detections(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wandb_media, "MIN_SCORE", 0.0)
    work = opened("evaluate", "on-t1-field")  # its parent is the detector of the iteration
    parent = work.stage.parents[0]
    manifest = json.loads((work.store.path(parent) / MANIFEST).read_text())
    own = [TransformedImage(**image) for image in manifest["transformed"]]
    records = [image.record(work.store.path(parent)) for image in own]
    wandb_media.show_transformed(work, load_detector(work), records * 3)
    images = work.mirror.images["ptl/transformed"]
    assert len(images) == 8
    for image, record in zip(images, records * 2, strict=True):
        assert np.array_equal(image.pixels, record.pixels.read())
        assert np.array_equal(image.truths, record.boxes)
        assert 0 < len(image.detections) == len(image.scores) <= 60


def test_the_heat_map_counts_pool_and_selection_over_altitude_and_radius() -> None:
    altitude = np.array([0, 8, 8, 8, np.nan])
    radius = np.array([0, 80, 80, 0, 5.0])
    counts = count_selected(altitude, radius, np.array([False, True, False, True, True]))
    assert counts is not None
    assert counts.altitude.tolist() == list(range(9))
    assert counts.radius.tolist() == list(range(0, 81, 10))
    assert dict(np.ndenumerate(counts.pool)) == Counter({(0, 0): 1, (7, 7): 2, (7, 0): 1}) | {
        place: 0 for place in np.ndindex(8, 8) if place not in {(0, 0), (7, 7), (7, 0)}
    }
    assert counts.selected[7, 7] == counts.selected[7, 0] == 1
    assert counts.selected.sum() == 2


def test_in_the_heat_map_the_fullest_cell_is_darkest_and_high_altitude_is_up() -> None:
    altitude, radius = np.array([0.0, 8, 8, 8]), np.array([0.0, 80, 80, 0])
    counts = count_selected(altitude, radius, np.ones(4, bool))
    assert counts is not None
    picture = draw_selection(counts).astype(int).sum(2)
    top_right, bottom_left, empty = picture[28, 375], picture[340, 64], picture[110, 110]
    assert top_right < bottom_left < empty == 3 * 255


def test_a_pool_without_altitudes_has_no_heat_map(opened: Open) -> None:
    work = opened("ptl")
    pool = registry.read_pool(work.config.pool).records
    chosen = {"selected": [pool[0].image_id]}
    wandb_media.show_selection(work, [dataclasses.replace(r, attributes={}) for r in pool], chosen)
    assert work.mirror.images == {}
    wandb_media.show_selection(work, pool, chosen)
    (image,) = work.mirror.images["ptl/selected_pool"]
    assert image.truths.shape == (0, 4)


def test_the_mirror_is_told_what_a_killed_attempt_has_shown(opened: Open) -> None:
    work = opened("ptl")
    shown: list[tuple[dict[str, Any], bool]] = []
    for _attempt in range(2):
        ptl._once(work, "step.json", lambda: {"a": 1}, lambda *told: shown.append(told))
    assert shown == [({"a": 1}, False), ({"a": 1}, True)]


def test_a_selection_that_was_shown_says_so(opened: Open) -> None:
    work = opened("ptl")
    places = {"altitude_m": 10.0, "radius_m": 20.0}
    pool = [dataclasses.replace(r, attributes=places) for r in work.read_pool().records]
    wandb_media.show_selection(work, pool, {"selected": []})
    assert work.mirror.repeated == []
    wandb_media.show_selection(work, pool, {"selected": []}, repeated=True)
    assert work.mirror.repeated == ["ptl/selected_pool"]


def test_the_row_of_an_iteration_tells_how_the_gaps_are_spread(tiny_sweep: Any) -> None:
    folder = tiny_sweep.plan.store.path(stage_of(tiny_sweep.plan, "ptl"))
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    (row,) = [row for row in rows if "ptl/iteration" in row]
    pool = json.loads((folder / "selection.json").read_text())["pool"]
    gaps = [image["gap"] for image in pool if image["gap"] is not None]
    names = ("ptl/gap_mean", "ptl/gap_p10", "ptl/gap_median", "ptl/gap_p90")
    expected = (np.mean(gaps), *np.quantile(gaps, (0.1, 0.5, 0.9)))
    assert [row[name] for name in names] == pytest.approx(expected)
    assert 1 <= row["ptl/effective_sample_size"] <= len(gaps)
    assert ptl._gap_spread(np.array([np.nan])) == {
        "gap_mean": None, "gap_p10": None, "gap_p90": None,
    }  # fmt: skip


# models and where they are from


@pytest.mark.parametrize("kind", ["ptl", "evaluate"])
def test_inputs_name_the_parents_model_by_the_digest_of_the_store(opened: Open, kind: str) -> None:
    work = opened(kind)
    wandb_media.use_model(work, MODEL)
    (parent,) = work.stage.parents
    digest = sha256_of(work.store.path(parent) / MODEL)
    assert work.mirror.config == {"inputs": {"model": f"model-{parent}", "digest": digest}}
    assert work.mirror.used == [f"model-{parent}"]


@pytest.mark.parametrize("can_link", [True, False])
def test_a_filed_model_is_still_there_when_its_stage_is_published(
    opened: Open, monkeypatch: pytest.MonkeyPatch, can_link: bool
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("no hard links here")

    if not can_link:
        monkeypatch.setattr(os, "link", refuse)
    work = opened("train")
    work.store = dataclasses.replace(work.store, root=work.folder.parent)
    (work.folder / MODEL).write_bytes(b"weights")
    wandb_media.log_model(work, MODEL)
    (work.folder / MODEL).write_bytes(b"weights of another attempt")
    wandb_media.log_model(work, MODEL)
    published = work.folder.rename(work.folder.with_suffix(""))
    kind, (path,), metadata = work.mirror.artifacts[f"model-{work.stage.key}"]
    assert kind == "model"
    assert path.read_bytes() == b"weights of another attempt"
    assert (path.stat().st_ino == (published / MODEL).stat().st_ino) == can_link
    assert metadata["key"] == work.stage.key
    assert metadata["sha256"] == sha256_of(published / MODEL)
    assert len(metadata["spec_sha256"]) == len(metadata["sha256"])
    assert canonical_json(metadata)


# never in the way


def test_nothing_runs_without_a_mirror(opened: Open) -> None:
    work = opened("train", mirror=StageMirror())
    nothing: Any = None
    wandb_media.use_model(work, nothing)
    wandb_media.log_model(work, nothing)
    wandb_media.show_selection(work, nothing, nothing)
    wandb_media.show_transformed(work, nothing, nothing)
    wandb_media.show_found(work, nothing, nothing)
    wandb_media.show_measures(work, nothing, nothing)


def test_what_cannot_be_shown_is_one_warning(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    work = opened("evaluate")
    table, _ = found_of(work)
    wandb_media.show_measures(work, table, "no-such-file.npz")
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "show measures left out" in record.getMessage()
    assert work.mirror.numbers == {}


# names


def test_runs_are_tagged_by_sweep_kind_data_set_and_synthetic(tiny_sweep: Any) -> None:
    plan = tiny_sweep.plan
    tags = {}
    for kind, text in (("train", ""), ("ptl", ""), ("evaluate", "on-t1"), ("evaluate", "s0-field")):
        key = stage_of(plan, kind, text)
        info = stage_run(plan, plan.stages[key], config_of(plan, plan.stage_config[key]))
        tags[kind, text] = info.tags
        assert info.config["launcher"] == "inline"
    assert tags == {
        ("train", ""): (plan.name, "train", "miniature"),  # one training for on and off
        ("ptl", ""): (plan.name, "ptl", "miniature", "on"),
        ("evaluate", "on-t1"): (plan.name, "evaluate", "miniature", "on"),
        ("evaluate", "s0-field"): (plan.name, "evaluate", "miniature", "off"),
    }
    assert reduce_run(plan).tags == (plan.name, "reduce", "miniature", "off", "on")
    evaluations = sum(stage.kind == "evaluate" for stage in plan.stages.values())
    assert reduce_run(plan).config["inputs"] == {"evaluations": evaluations}


GRID = (
    "real_count=3", "synthetic=on", "target=field", "seed=0", "dataset.num_images=12",
    "synthetic.num_iterations=2", "evaluate.iterations=all", "analysis.calibration=validation",
)  # fmt: skip


def told(plan: Plan, *names: str) -> dict[str, list[Any]]:
    """What the config of each run tells, by label of its stage."""
    return {
        stage.label.removeprefix("miniature-n3-s0").strip("-") or stage.kind: [
            stage_run(plan, stage, config_of(plan, plan.stage_config[key])).config[name]
            for name in names
        ]
        for key, stage in plan.stages.items()
    }


def test_runs_tell_which_iteration_they_are_of_and_what_they_are_for(
    make_plan: Callable[..., Plan],
) -> None:
    """Though every cell is `on`, nothing synthetic is in the detector of iteration 0."""
    found = told(make_plan(*GRID), "synthetic", "iteration", "translator", "role", "target")
    raw, on = ["off", 0, None], [["on", t, "cyclegan_tiny"] for t in (1, 2)]
    target, validation = ["target", "field"], ["validation", "miniature-validation"]
    assert found == {
        "train": [*raw, None, None],
        "field": [*raw, *target],
        "miniature-validation": [*raw, *validation],
        "on-t1": [*on[0], None, None],
        "on-t1-field": [*on[0], *target],
        "on-t1-miniature-validation": [*on[0], *validation],
        "on-t2": [*on[1], None, None],
        "on-t2-field": [*on[1], *target],
        "on-t2-miniature-validation": [*on[1], *validation],
    }


def test_what_the_source_holds_back_is_a_target_where_a_cell_asks_for_it(
    make_plan: Callable[..., Plan],
) -> None:
    found = told(make_plan(*GRID, "target=field,source"), "role")
    assert found["on-t2-miniature-validation"] == ["target"]


def test_ids_of_slurm_are_in_the_config_where_there_is_one(
    tiny_sweep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"):
        monkeypatch.delenv(name, raising=False)
    assert not [name for name in reduce_run(tiny_sweep.plan).config if "slurm" in name]
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "75")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    config = reduce_run(tiny_sweep.plan).config
    assert (config["slurm_job"], config["slurm_array_task"]) == ("77", "75_2")


def test_figures_are_the_twenty_that_matter_most(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    for name in ["zebra-a", *(f"precision-{i}" for i in range(30)), "effect-a", "ap-a", "ap_t2t-a"]:
        (tmp_path / "figures" / f"{name}.png").touch()
        (tmp_path / "figures" / f"{name}.svg").touch()
    names = [path.stem for path in wandb.figures_of(tmp_path)]
    assert names[:3] == ["effect-a", "ap-a", "ap_t2t-a"]
    assert len(names) == 20
    assert "zebra-a" not in names


# the whole sweep, with the real SDK, offline


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory, tiny_grid: list[str]) -> Path:
    """Root of the tiny sweep, run by a process of its own with tracking=offline."""
    root = tmp_path_factory.mktemp("offline")
    home = tmp_path_factory.mktemp("home")
    arguments = [*(a for a in tiny_grid if a != "tracking=off"), "tracking=offline"]
    command = [sys.executable, "-m", "ptl_sweep", *arguments, f"sweep.root={root}"]
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    environment = own | {"HOME": str(home), "WANDB_ERROR_REPORTING": "false"}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, cwd=home, env=environment
    )
    assert "W&B mirror" not in done.stdout + done.stderr
    return root


def logs_of(root: Path) -> dict[str, Path]:
    """Transaction log by run id."""
    found = (root / "tracking" / "wandb").glob("offline-run-*/*.wandb")
    return {read_log(path).run_id: path for path in found}


def records_of(path: Path, kind: str) -> list[Any]:
    from wandb.proto import wandb_internal_pb2

    records = []
    for data, _ in transaction_log.records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.WhichOneof("record_type") == kind:
            records.append(getattr(record, kind))
    return records


@pytest.mark.wandb
def test_results_are_the_same_with_tracking_and_without(offline: Path, tiny_sweep: Any) -> None:
    (folder,) = (offline / "sweeps").iterdir()
    for path in sorted(tiny_sweep.plan.folder.glob("*.csv")):
        assert (folder / path.name).read_bytes() == path.read_bytes(), path.name
    for key in tiny_sweep.plan.stages:
        expected, found = (
            {
                name: digest
                for name, digest in json.loads((root / "store" / key / "meta.json").read_text())[
                    "sha256"
                ].items()
                if name not in ("history.jsonl", "attempts.jsonl")
            }
            for root in (tiny_sweep.root, offline)
        )
        assert found == expected, key


@pytest.mark.wandb
def test_every_stage_and_the_reducer_have_a_whole_run(offline: Path, tiny_sweep: Any) -> None:
    plan = tiny_sweep.plan
    runs = {name: read_log(path) for name, path in logs_of(offline).items()}
    assert set(runs) == {*plan.stages, f"reduce-{plan.name}"}
    for run in runs.values():
        assert (run.is_whole, run.exit_code, run.group) == (True, 0, plan.name)


@pytest.mark.wandb
def test_runs_show_what_their_kind_promises(offline: Path, tiny_sweep: Any) -> None:
    plan = tiny_sweep.plan
    logs = logs_of(offline)
    shown = {
        kind: {
            name: value
            for row in read_log(logs[stage_of(plan, kind)]).rows
            for name, value in row.items()
            if isinstance(value, dict)
        }
        for kind in ("train", "ptl", "evaluate")
    }
    assert shown["train"] == {}
    assert {name: value["count"] for name, value in shown["ptl"].items()} == {
        "ptl/selected_pool": 1,
        "ptl/transformed": 4,
    }
    assert shown["evaluate"]["evaluate/detected"]["count"] <= 8
    assert shown["evaluate"]["evaluate/detections"]["nrows"] <= 5000
    (row,) = read_log(logs[f"reduce-{plan.name}"]).rows
    assert {"grid/results", "grid/summary", "report", "figure/ap-miniature"} <= set(row)
    assert row["grid/results"]["nrows"] == row["grid/cells_ok"] == 4
    assert sum(name.startswith("figure/") for name in row) <= 20


@pytest.mark.wandb
def test_every_file_of_every_artifact_is_there_for_a_later_sync(
    offline: Path, tiny_sweep: Any
) -> None:
    plan = tiny_sweep.plan
    artifacts = {
        artifact.name: artifact
        for path in logs_of(offline).values()
        for artifact in records_of(path, "artifact")
    }
    models = {f"model-{key}" for key, stage in plan.stages.items() if stage.kind != "evaluate"}
    assert models <= set(artifacts)
    results = artifacts[f"grid-results-{plan.name}"]
    assert {"results.csv", "summary.csv", "report.html"} <= {
        entry.path for entry in results.manifest.contents
    }
    for artifact in artifacts.values():
        assert artifact.manifest.contents
        assert all(Path(entry.local_path).is_file() for entry in artifact.manifest.contents)


@pytest.mark.wandb
def test_lineage_leads_from_every_evaluation_to_the_model_in_the_store(
    offline: Path, tiny_sweep: Any
) -> None:
    for key, stage in tiny_sweep.plan.stages.items():
        items = [
            item for record in records_of(logs_of(offline)[key], "config") for item in record.update
        ]
        inputs = [json.loads(item.value_json) for item in items if item.key == "inputs"]
        if stage.kind == "train":
            assert not inputs
            continue
        digest = sha256_of(offline / "store" / stage.parents[0] / MODEL)
        assert inputs[-1] == {"model": f"model-{stage.parents[0]}", "digest": digest}


@pytest.mark.wandb
def test_runs_hold_exactly_the_names_that_the_readme_promises(
    offline: Path, tiny_sweep: Any
) -> None:
    logs = [read_log(path) for path in logs_of(offline).values()]
    assert {log.job_type for log in logs} == {"train", "evaluate", "reduce"}
    for job_type in ("train", "evaluate", "reduce"):
        names = {
            name for log in logs if log.job_type == job_type for row in log.rows for name in row
        }
        promises = promised(job_type)
        assert differences(names, promises.names) == [], job_type


@pytest.mark.wandb
def test_no_two_runs_of_a_sweep_have_one_name(offline: Path, tiny_sweep: Any) -> None:
    plan = tiny_sweep.plan
    names = {
        key: stage_run(plan, stage, config_of(plan, plan.stage_config[key])).name
        for key, stage in plan.stages.items()
    }
    assert len(set(names.values())) == len(names)
    assert names[stage_of(plan, "evaluate", "on-t1-karst")] == "n3 on t1 s0 -> karst"
    assert names[stage_of(plan, "evaluate", "n3-s0-karst")] == "n3 off s0 -> karst"
