"""A real tiny sweep over two axes: what its tables say, against a second derivation from them."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from helpers.sweeps import TINY, Sweep

from ptl_sweep import load_sweep
from ptl_sweep.__main__ import main
from ptl_sweep.cli.arguments import cells_of
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.pipeline.plan import load_plan
from ptl_sweep.pipeline.plan_text import grid_line
from ptl_sweep.pipeline.wandb_runs import stage_run
from ptl_sweep.reduce.selections import read_selections
from ptl_sweep.stages.base import StageKind

AXES = ["synthetic.temperature", "train.num_steps"]
CELL_TABLES = ("results", "iterations", "train2test", "gaussians", "errors", "summary", "contrasts")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """2 train.num_steps, each with one `off` and `on` at 2 synthetic.temperature."""
    root = tmp_path_factory.mktemp("axes")
    arguments = [
        "-m", *TINY, "real_count=3", "synthetic=off,on", "target=field", "seed=0",
        "synthetic.temperature=10,9", "train.num_steps=6,8", "analysis.calibration=none",
        f"sweep.root={root}",
    ]  # fmt: skip
    assert main(arguments) == 0
    (folder,) = (root / "sweeps").iterdir()
    return Sweep(root, load_plan(folder), arguments)


@pytest.fixture
def results(sweep: Sweep) -> Iterator[list[dict[str, str]]]:
    with (sweep.plan.folder / "results.csv").open(newline="") as file:
        yield list(csv.DictReader(file))


def test_stages_that_a_key_does_not_reach_are_shared(sweep: Sweep) -> None:
    plan = sweep.plan
    assert grid_line(plan) == (
        "grid    6 cells of 1 real_count x 2 synthetic x 1 target x 1 seed x "
        "2 synthetic.temperature x 2 train.num_steps"
    )
    numbers = {kind: len(plan.of_kind(kind)) for kind in StageKind}
    assert numbers == {StageKind.TRAIN: 2, StageKind.PTL: 4, StageKind.EVALUATE: 6}


def test_results_have_a_typed_column_for_each_axis_behind_the_coordinates(sweep: Sweep) -> None:
    table = load_sweep(sweep.plan.folder).results
    assert table.columns[:8] == [
        "dataset", "real_count", "synthetic", "target", "seed", "iteration", *AXES
    ]  # fmt: skip
    assert [table.schema[axis] for axis in AXES] == [pl.Float64(), pl.Int64()]
    temperatures = {
        (synthetic.split(", ")[0], temperature)
        for synthetic, temperature in table.fill_nan(None).select("synthetic", AXES[0]).iter_rows()
    }
    assert temperatures == {("off", None), ("on", 9.0), ("on", 10.0)}
    for name in CELL_TABLES:
        assert set(AXES) <= set(load_sweep(sweep.plan.folder).table(name).columns), name


def test_effects_are_differences_of_cells_with_the_same_steps(
    sweep: Sweep, results: list[dict[str, str]]
) -> None:
    """Paired by the columns of the axes alone, without any name of an arm."""
    off = {row["train.num_steps"]: float(row["AP50"]) for row in results if row[AXES[0]] == ""}
    on = {
        (row["train.num_steps"], float(row[AXES[0]])): float(row["AP50"])
        for row in results
        if row[AXES[0]] != ""
    }
    assert len(off) == 2
    assert len(on) == 4
    summary = load_sweep(sweep.plan.folder).summary.filter(metric="AP50", target="field")
    found = {
        (str(row["train.num_steps"]), row[AXES[0]]): row["effect"]
        for row in summary.filter(pl.col("synthetic") != "off").iter_rows(named=True)
    }
    assert found == pytest.approx({key: value - off[key[0]] for key, value in on.items()})


def test_every_figure_and_sentence_is_of_one_value(sweep: Sweep) -> None:
    page = (sweep.plan.folder / "report.html").read_text()
    for name in ("on, temperature=9", "on, temperature=10", "train.num_steps=6"):
        assert name in page
    assert "adjusted for the number of values" in page
    claims = load_sweep(sweep.plan.folder).claims
    assert set(claims["treated"].drop_nulls()) == {"on, temperature=9", "on, temperature=10"}
    assert claims["dataset"].str.contains(", train.num_steps=").all()
    effects = claims.filter(statement="effect")
    assert effects["family"].unique().to_list() == ["4 values of train.num_steps x temperature"]


def test_a_cell_is_found_by_its_axes_or_by_the_name_of_its_arm(sweep: Sweep, run: Any) -> None:
    here = load_sweep(sweep.plan.folder)
    one = here.cell(**{"synthetic": "on", AXES[0]: 9, AXES[1]: 8})
    assert one.synthetic == "on, temperature=9"
    assert one == here.cell(synthetic="on, temperature=9", **{AXES[1]: 8})
    assert here.cell(**{"synthetic": "off", AXES[1]: 6}).dataset == "miniature, train.num_steps=6"
    with pytest.raises(ConfigError, match=r"2 cells .* give synthetic.temperature"):
        here.cell(**{"synthetic": "on", AXES[1]: 6})
    with pytest.raises(ConfigError, match=r"a cell has dataset, .*, train.num_steps"):
        here.cell(**{"train.steps": 6})
    words = ["synthetic=on", f"{AXES[0]}=9.0", f"{AXES[1]}=8"]
    assert [cell.id for cell in cells_of(sweep.plan, words)] == [one]
    assert len(cells_of(sweep.plan, words[::2])) == 2
    listed = run("status", "--cells", f"sweep.root={sweep.root}").output
    assert "synthetic.temperature" in listed
    shown = json.loads(run("status", "--json", f"sweep.root={sweep.root}").output)["cells"]
    assert {cell.get(AXES[0]) for cell in shown} == {None, 9.0, 10.0}


def test_wandb_runs_have_the_values_that_all_their_cells_share(sweep: Sweep) -> None:
    plan = sweep.plan
    for key, stage in plan.stages.items():
        config = stage_run(plan, stage).config
        own = [cell.axes for cell in plan.cells_behind(key)]
        for axis in AXES:
            values = {one[axis] for one in own}
            assert config[axis] == (values.pop() if len(values) == 1 else None)
        is_on = stage.kind == StageKind.PTL
        assert not is_on or config["synthetic"].startswith("on, temperature=")
        assert config["synthetic"].endswith(f", train.num_steps={config[AXES[1]]}")


def test_what_was_selected_is_shown_under_the_arm_that_selected_it(sweep: Sweep) -> None:
    found = {(one.dataset, one.synthetic) for one in read_selections(sweep.plan)}
    assert found == {
        (cell.id.dataset, cell.id.synthetic)
        for cell in sweep.plan.cells
        if cell.id.synthetic != "off"
    }


def test_without_axes_the_plan_and_its_tables_are_as_they_were(tiny_sweep: Sweep) -> None:
    content = json.loads((tiny_sweep.plan.folder / "plan.json").read_text())
    assert {frozenset(cell) for cell in content["cells"]} == {frozenset({"id", "readings"})}
    table = load_sweep(Path(tiny_sweep.plan.folder)).results
    assert table.columns[5:7] == ["iteration", "status"]
