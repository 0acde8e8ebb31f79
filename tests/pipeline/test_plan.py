"""The plan: equal stages of different cells are one, chains are tasks, and looking is light."""

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.config.schema import Config, ConfigError, LauncherConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.subsets import real_subset
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.pipeline.graph import Cell
from ptl_sweep.pipeline.plan import PLAN, Plan, load_plan, newest_sweep, plan_sweep, save_plan
from ptl_sweep.seeds import derive_seed
from ptl_sweep.stages.base import KINDS

Cells = Callable[..., list[Config]]
MakePlan = Callable[..., Plan]

GRID = ("real_count=2,3", "target=field,karst")
ALL_ITERATIONS = ("real_count=2,3", "target=field", "evaluate.iterations=all")

# The 192 cells of the paper, in a process that has no data and may load nothing heavy.
PAPER = """
import json, sys
from ptl_sweep.__main__ import main
code = main(["plan", "--json", "experiment=paper", *sys.argv[1:]])
heavy = {"torch", "torchvision", "wandb", "matplotlib"} & set(sys.modules)
answer = {"code": code, "heavy": sorted(heavy)}
print(json.dumps(answer), file=sys.stderr)
"""


def by_kind(plan: Plan) -> dict[str, int]:
    return dict(Counter(stage.kind for stage in plan.stages.values()))


@pytest.mark.parametrize(
    ("overrides", "naive", "unique"),
    [
        ([], (192, 480, 1344), (24, 120, 720)),  # 144 detectors on 4 targets and on validation
        (["evaluate.iterations=last"], (192, 480, 384), (24, 120, 240)),
        (["analysis.calibration=crossfit"], (192, 480, 672), (24, 120, 576)),
    ],
    ids=["all iterations", "last iteration", "no validation"],
)
def test_the_paper_grid_is_planned_without_data_without_torch(
    overrides: list[str], naive: tuple[int, ...], unique: tuple[int, ...], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PAPER, f"sweep.root={tmp_path}/outputs", *overrides],
        cwd=tmp_path,
        env={**os.environ, "PTL_DATA": str(tmp_path / "nothing")},
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(done.stderr.splitlines()[-1])
    assert (answer["code"], answer["heavy"]) == (0, [])
    plan = json.loads(done.stdout)
    assert plan["cells"] == 192
    assert tuple(plan["stages"][kind]["naive"] for kind in KINDS) == naive
    assert tuple(plan["stages"][kind]["unique"] for kind in KINDS) == unique
    assert tuple(plan["stages"][kind]["to_run"] for kind in KINDS) == unique
    for name in ("dataset visdrone", "pool archangel", "target okutama"):
        assert name in plan["missing_data"]
    assert list(tmp_path.iterdir()) == []  # looking writes nothing


def test_the_small_paper_grid_is_a_part_of_the_paper_grid() -> None:
    small, whole = (
        set(plan_sweep(compose_grid([f"experiment={name}"]), name).stages)
        for name in ("paper_small", "paper")
    )
    assert small < whole
    assert 2 * len(small) == len(whole)


def test_every_detector_is_evaluated_once_on_what_its_source_holds_back(cells: Cells) -> None:
    grid = ("real_count=2,3", "target=field,karst", "analysis.calibration=validation")
    plan = plan_sweep(cells(*grid), "")
    readings = [reading for cell in plan.cells for reading in cell.readings]
    assert {r.detector: r.validation for r in readings} == {
        plan.stages[str(r.validation)].parents[0]: r.validation for r in readings
    }
    for reading in readings:
        assert reading.validation is not None
        data = plan.evaluate_stage(reading.validation).data
        assert (data.place.name, data.split) == ("miniature-validation", "validation")


def test_a_target_that_is_the_validation_split_is_evaluated_once(cells: Cells) -> None:
    (cell,) = cells("synthetic=off", "target=source", "analysis.calibration=validation")
    plan = plan_sweep([cell], "")
    ((reading,),) = (cell.readings for cell in plan.cells)
    assert reading.evaluate == reading.validation


def test_a_source_that_holds_nothing_back_is_told_of_crossfit(cells: Cells) -> None:
    (cell,) = cells("synthetic=off", "target=field", "analysis.calibration=validation")
    cell.dataset.validation_split = "holdout"
    with pytest.raises((ConfigError, DataError), match=r"analysis\.calibration=crossfit"):
        plan_sweep([cell], "")


def test_no_training_depends_on_the_target(cells: Cells) -> None:
    three = plan_sweep(cells("real_count=2", "target=field,karst,yard"), "")
    one = plan_sweep([c for c in cells("real_count=2") if c.target.name == "yard"], "")
    trained = [
        {key for key, stage in plan.stages.items() if stage.kind != "evaluate"}
        for plan in (one, three)
    ]
    assert trained[0] == trained[1]
    assert by_kind(three)["evaluate"] == 3 * by_kind(one)["evaluate"]
    for stage in three.stages.values():
        assert ("target" in stage.inputs) == (stage.kind == "evaluate")


def test_the_seed_of_the_subset_draws_the_real_images_and_nothing_else(
    cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, same, other = (
        plan_sweep(cells("real_count=2", "seed=1", "synthetic=on", "target=field", *words), "")
        for words in ((), ("train.subset_seed=1",), ("train.subset_seed=0",))
    )
    assert set(same.stages) == set(plain.stages)  # that of the seed anyway: no further training
    assert set(other.stages).isdisjoint(plain.stages)
    drawn = []

    def fit(_stage: object, _ctx: object, given: Any) -> SimpleNamespace:
        drawn.append(given.real)
        return SimpleNamespace(summary={})

    monkeypatch.setattr("ptl_sweep.stages.fitting.fit_detector", fit)
    ctx: Any = SimpleNamespace(
        read_split=lambda data: registry.read_split(data.config(), data.split)
    )
    for plan in (plain, other):
        first: Any = next(one for one in plan.stages.values() if one.kind == "train")
        first.run(ctx)
        source = ctx.read_split(first.data).records
        assert [one.image_id for one in drawn[-1]] == [
            one.image_id for one in real_subset(source, 2, seed=1 if plan is plain else 0)
        ]
        assert first.seed_of("weights") == derive_seed(1, "weights")


def test_off_is_the_parent_of_on(cells: Cells) -> None:
    plan = plan_sweep(cells("real_count=2"), "")
    off = next(cell for cell in plan.cells if cell.id.synthetic == "off")
    first = next(stage for stage in plan.stages.values() if stage.kind == "ptl")
    assert first.parents == (off.readings[-1].detector,)
    assert plan.stages[off.readings[-1].detector].parents == ()


def test_every_choice_of_synthetic_starts_from_the_same_detector(cells: Cells) -> None:
    plan = plan_sweep(cells("real_count=2", "target=field", "synthetic=off,on,random"), "")
    assert by_kind(plan) == {"train": 1, "ptl": 4, "evaluate": 3}


def test_a_cell_reads_its_last_iteration_or_all(cells: Cells) -> None:
    (cell,) = cells("real_count=2", "target=field", "synthetic=on")
    last = plan_sweep([cell], "")
    cell.evaluate.iterations = "all"
    every = plan_sweep([cell], "")
    assert [r.iteration for r in last.cells[0].readings] == [2]
    assert [r.iteration for r in every.cells[0].readings] == [0, 1, 2]
    assert every.cells[0].readings[-1] == last.cells[0].readings[0]


def test_parents_come_before_their_children(cells: Cells) -> None:
    plan = plan_sweep(cells(*ALL_ITERATIONS), "")
    seen: set[str] = set()
    for key, stage in plan.stages.items():
        assert set(stage.parents) <= seen
        seen.add(key)


def test_tasks_are_trainings_chains_and_evaluations_of_one_detector(cells: Cells) -> None:
    plan = plan_sweep(cells(*GRID), "")
    assert Counter(task.kind for task in plan.tasks) == {"train": 2, "ptl": 2, "evaluate": 4}
    assert sorted(key for task in plan.tasks for key in task.stages) == sorted(plan.stages)
    for task in plan.tasks:
        stages = [plan.stages[key] for key in task.stages]
        assert {stage.kind for stage in stages} == {task.kind}
        if task.kind == "ptl":
            assert [s.parents for s in stages[1:]] == [(s.key,) for s in stages[:-1]]
            assert plan.parents_of(task) == set(stages[0].parents)
        if task.kind == "evaluate":
            assert len(stages) == 2
            assert len({stage.parents for stage in stages}) == 1
    assert len({task.name for task in plan.tasks}) == len(plan.tasks)


def test_a_chain_that_branches_waits_for_the_stage_that_it_leaves(cells: Cells) -> None:
    """Two cells whose translators differ at t=2 only."""
    warm, cold = cells("real_count=2", "target=field,karst", "synthetic=on")
    cold.translator.warm_start = False
    plan = plan_sweep([warm, cold], "")
    chains = [task for task in plan.tasks if task.kind == "ptl"]
    assert sorted(len(task.stages) for task in chains) == [1, 2]
    branch = min(chains, key=lambda task: len(task.stages))
    whole = max(chains, key=lambda task: len(task.stages))
    assert plan.parents_of(branch) == {whole.stages[0]}


def test_a_plan_comes_back_from_disk_as_it_was(make_plan: MakePlan, cells: Cells) -> None:
    plan = make_plan(*ALL_ITERATIONS)
    again = load_plan(plan.folder)
    assert again == plan
    assert list(again.stages) == list(plan.stages)
    assert again.settings.launcher == cells(*ALL_ITERATIONS)[0].launcher


def test_a_plan_holds_no_config_and_what_decides_no_result_stands_outside_the_keys(
    make_plan: MakePlan,
) -> None:
    plan = make_plan(*ALL_ITERATIONS)
    content = json.loads((plan.folder / PLAN).read_text())
    assert not {"configs", "config"} & {*content, *content["stages"][0], *content["cells"][0]}
    for stage in plan.stages.values():
        assert not {"label", "execution", "place"} & set(stage.spec)
        assert "place" not in stage.spec["data"]


def test_a_plan_does_not_depend_on_the_folder_it_is_run_from(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plan = make_plan("real_count=2")
    monkeypatch.chdir(tmp_path)
    relative = load_plan(plan.folder.relative_to(tmp_path))
    monkeypatch.chdir("/")
    assert relative.store.root == plan.store.root
    assert relative.root.is_absolute()


def test_the_same_grid_is_the_same_sweep_and_another_grid_is_not(cells: Cells) -> None:
    def name(**changes: dict[str, Any]) -> str:
        configs = [
            dataclasses.replace(
                config,
                **{
                    part: dataclasses.replace(getattr(config, part), **values)
                    for part, values in changes.items()
                },
            )
            for config in cells(*GRID)
        ]
        return plan_sweep(configs, "").name

    same = [
        name(launcher={"num_workers": 7}),
        name(tracking={"mode": "online"}),
        name(sweep={"root": "/scratch"}),
        plan_sweep(cells(*GRID)[::-1], "").name,
    ]
    assert set(same) == {name()}
    others = [name(train={"num_steps": 7}), plan_sweep(cells(*GRID)[1:], "").name]
    assert len({name(), *others}) == 3


def test_more_cells_add_stages_and_change_none(cells: Cells) -> None:
    many = plan_sweep(cells(*GRID), "")
    few = plan_sweep([c for c in cells(*GRID) if c.real_count == 2], "")
    assert set(few.stages) < set(many.stages)


def test_the_newest_sweep_is_the_one_planned_last(make_plan: MakePlan, tmp_path: Path) -> None:
    assert newest_sweep(tmp_path / "outputs") is None
    one, two = make_plan("real_count=2"), make_plan(*GRID)
    os.utime(one.folder / "plan.json", (1, 1))
    assert newest_sweep(one.root) == two.folder
    save_plan(one)
    time.sleep(0.01)
    assert newest_sweep(one.root) == one.folder


def test_a_plan_of_an_older_version_gives_new_keys_their_defaults(make_plan: MakePlan) -> None:
    plan = make_plan("real_count=2", "target=field")
    path = plan.folder / PLAN
    content = json.loads(path.read_text())
    del content["code"]
    del content["settings"]["launcher"]["signal_delay_s"]
    path.write_text(json.dumps(content))
    launcher = load_plan(plan.folder).settings.launcher
    assert launcher.signal_delay_s == LauncherConfig(name="local").signal_delay_s


def test_the_cells_behind_a_stage_are_those_that_need_it(cells: Cells) -> None:
    plan = plan_sweep(cells("real_count=2,3", "target=field,karst", "synthetic=off,on"), "test")

    def needs(cell: Cell, key: str) -> bool:
        def reaches(start: str) -> bool:
            return start == key or any(map(reaches, plan.stages[start].parents))

        return any(reaches(r.evaluate) or reaches(r.detector) for r in cell.readings)

    for key in plan.stages:
        assert plan.cells_behind(key) == [cell for cell in plan.cells if needs(cell, key)]
        assert plan.cells_behind(key)
