"""What the W&B runs of stages are called, filed under and say of where they come from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.pipeline import wandb_runs
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.wandb_runs import follow_stage, reduce_run, stage_order, stage_run
from ptl_sweep.stages.train import MODEL
from ptl_sweep.store import sha256_of
from ptl_sweep.tracking import Order


def stage_of(plan: Plan, kind: str, text: str = "") -> str:
    return next(k for k, s in plan.stages.items() if s.kind == kind and text in k)


def order_of(plan: Plan, key: str) -> Order:
    return stage_order(plan, plan.stages[key], TrackingConfig(), "offline")


def test_runs_are_tagged_by_sweep_kind_data_set_and_synthetic(tiny_sweep: Any) -> None:
    plan = tiny_sweep.plan
    tags = {}
    for kind, text in (("train", ""), ("ptl", ""), ("evaluate", "on-t1"), ("evaluate", "s0-field")):
        key = stage_of(plan, kind, text)
        info = stage_run(plan, plan.stages[key])
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
            stage_run(plan, stage).config[name] for name in names
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


@pytest.mark.parametrize("kind", ["ptl", "evaluate"])
def test_inputs_name_the_parents_model_by_the_digest_of_the_store(
    tiny_sweep: Any, kind: str
) -> None:
    plan = tiny_sweep.plan
    key = stage_of(plan, kind)
    (parent,) = plan.stages[key].parents
    run = order_of(plan, key).run
    digest = sha256_of(plan.store.path(parent) / MODEL)
    assert run.config["inputs"] == {"model": f"model-{parent}", "digest": digest}
    assert run.uses == [f"model-{parent}"]


def test_every_detector_is_filed_and_no_evaluation(tiny_sweep: Any) -> None:
    plan = tiny_sweep.plan
    for key, stage in plan.stages.items():
        makes = order_of(plan, key).run.makes
        if stage.kind == "evaluate":
            assert makes is None
        else:
            assert makes is not None
            assert (makes.name, makes.kind) == (f"model-{key}", "model")
            assert all((plan.store.path(key) / file).is_file() for file in makes.files)


class Told:
    """A companion that keeps what it is told, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.orders: list[Order] = []
        self.error = error

    def follow(self, order: Order) -> None:
        if self.error is not None:
            raise self.error
        self.orders.append(order)


@pytest.mark.parametrize(("mode", "num_orders"), [("online", 1), ("offline", 0), ("off", 0)])
def test_only_an_online_stage_is_followed(
    make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch, mode: str, num_orders: int
) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    plan = make_plan(*GRID)
    stage = next(iter(plan.stages.values()))
    plan.settings.tracking.mode = mode
    told: Any = Told()
    follow_stage(plan, stage, told)
    assert [order.folder for order in told.orders] == [plan.store.path(stage.key)] * num_orders


def test_a_fault_in_telling_w_and_b_is_a_warning(
    make_plan: Callable[..., Plan], caplog: pytest.LogCaptureFixture
) -> None:
    plan = make_plan(*GRID)
    plan.settings.tracking.mode = "online"
    told: Any = Told(RuntimeError("anything"))
    follow_stage(plan, next(iter(plan.stages.values())), told)
    assert "W&B is not told" in caplog.text


def test_no_two_runs_of_a_sweep_have_one_name(tiny_sweep: Any) -> None:
    plan = tiny_sweep.plan
    names = {key: order_of(plan, key).run.name for key in plan.stages}
    assert len(set(names.values())) == len(names)
    assert names[stage_of(plan, "evaluate", "on-t1-karst")] == "n3 on t1 s0 -> karst"
    assert names[stage_of(plan, "evaluate", "n3-s0-karst")] == "n3 off s0 -> karst"


def settings_of(plan: Plan) -> dict[str, dict[str, Any]]:
    """By label, as in `told`."""
    return {name: found[0] for name, found in told(plan, "settings").items()}


def test_runs_hold_the_settings_that_the_stage_and_its_detector_read(
    make_plan: Callable[..., Plan],
) -> None:
    plan = make_plan(*GRID, "train.learning_rate=0.002", "synthetic.temperature=7")
    found = settings_of(plan)
    real = {"dataset", "detector", "train", "gaussian", "evaluate"}
    ptl = real | {"pool", "synthetic", "translator"}
    assert {name: set(sections) for name, sections in found.items()} == {
        "train": real,
        "field": real | {"target"},
        "miniature-validation": real | {"target"},
        **{f"on-t{t}": ptl for t in (1, 2)},
        **{f"on-t{t}-{data}": ptl | {"target"} for t in (1, 2) for data in (
            "field", "miniature-validation",
        )},
    }  # fmt: skip
    for sections in found.values():
        assert sections["train"]["learning_rate"] == 0.002
        assert sections["dataset"]["split"] == "train"
    assert found["on-t2-field"]["synthetic"]["temperature"] == 7
    assert found["on-t2-field"]["target"]["split"] == "test"
    assert found["on-t2"]["translator"]["method"] == "cyclegan"


def test_a_setting_that_a_stage_does_not_read_is_not_in_its_run(
    make_plan: Callable[..., Plan],
) -> None:
    """Else one run, which several sweeps share, would hold what one of them happened to say."""
    one = settings_of(make_plan(*GRID))
    other = settings_of(make_plan(*GRID, "synthetic.temperature=7", "train.image_cache_mb=7"))
    assert {name for name in one if one[name] != other[name]} == {
        name for name in one if name.startswith("on-")
    }


def test_no_folder_of_this_machine_is_in_settings_or_notes(
    make_plan: Callable[..., Plan], tmp_path: Path
) -> None:
    plan = make_plan(*GRID)
    plan.command = f"python -m ptl_sweep -m real_count=3 sweep.root={tmp_path}/outputs 'a=~/x/y'"
    runs = [stage_run(plan, stage) for stage in plan.stages.values()]
    for run in (*runs, reduce_run(plan)):
        text = json.dumps([run.config["settings"], run.notes])
        assert str(tmp_path) not in text
        assert "sweep.root=outputs" in run.notes
    options = {"options": {"catalog": "/home/me/lists/a.csv", "size": [3, "~/b/c"], "ratio": "1/2"}}
    shown = wandb_runs._without_folders(options)
    assert shown == {"options": {"catalog": "a.csv", "size": [3, "c"], "ratio": "1/2"}}


def test_the_reducers_run_holds_the_grid_and_what_its_stages_agree_on(
    make_plan: Callable[..., Plan],
) -> None:
    grid = [word for word in GRID if not word.startswith(("target=", "synthetic=on", "real_count"))]
    plan = make_plan(*grid, "real_count=3,4", "synthetic=on,raw", "target=field,karst")
    config = json.loads(json.dumps(reduce_run(plan).config))
    assert config["axes"] == {
        "dataset": ["miniature"], "real_count": [3, 4], "synthetic": ["on", "raw"],
        "target": ["field", "karst"], "seed": [0],
    }  # fmt: skip
    settings = config["settings"]
    assert settings["dataset"]["num_images"] == 12
    assert settings["analysis"]["calibration"] == "validation"
    assert "fingerprint" not in settings["target"]  # two targets
    assert "method" not in settings["synthetic"]  # on and raw
    assert settings["train"] == stage_run(plan, next(iter(plan.stages.values()))).config[
        "settings"
    ]["train"]  # fmt: skip


def test_notes_say_what_a_run_is(make_plan: Callable[..., Plan]) -> None:
    plan = make_plan(*GRID)
    notes = [stage_run(plan, stage).notes.partition("\n")[0] for stage in plan.stages.values()]
    assert len(set(notes)) == len(notes)
    for expected in (
        "Detector of 3 real images of miniature (train), seed 0, without synthetic images.",
        "The detector n3 on t1 s0 on field (test).",
        "The detector n3 s0 on miniature-validation (validation), which calibrates distances.",
    ):
        assert expected in notes
    (iteration,) = [text for text in notes if text.startswith("PTL iteration 2 of synthetic=on")]
    assert "pool miniature, translated by cyclegan_tiny" in iteration
