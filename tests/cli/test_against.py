"""`report --against`: which values of two sweeps are compared, and what it refuses in one line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ptl_sweep.cli.against import compared_values_of, evaluation_settings, find_named
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.study.schemas import frame_of, results_schema
from ptl_sweep.study.tables import write_table

MakePlan = Callable[..., Plan]
GRID = ("real_count=2,3", "target=field,karst", "synthetic=off,on", "seed=0,1")


@pytest.fixture
def own(make_plan: MakePlan) -> Plan:
    return make_plan(*GRID, "sweep.name=own")


@pytest.fixture
def other(make_plan: MakePlan) -> Plan:
    return make_plan(*GRID, "sweep.name=other", "translator=identity")


def reduced(plan: Plan, level: float) -> Plan:
    """A sweep whose results are written; AP50 rises with the seed."""
    rows = [
        {**cell.id._asdict(), "status": "ok", "AP50": level + 0.1 * cell.id.seed,
         "train_key": cell.readings[-1].detector, "evaluate_key": cell.readings[-1].evaluate}
        for cell in plan.cells
    ]  # fmt: skip
    table = frame_of(rows, results_schema(plan.settings.score_thresholds))
    write_table(table, plan.folder, "results")
    return plan


@pytest.fixture
def without_reducer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The results are those that a test has written."""
    monkeypatch.setattr("ptl_sweep.cli.against.reduce_where_needed", lambda *_: None)


def ask(run: Any, plan: Plan, *words: str) -> Any:
    return run("report", *words, f"sweep.root={plan.root}")


@pytest.mark.usefixtures("without_reducer")
def test_two_sweeps_are_compared_value_by_value(own: Plan, other: Plan, run: Any) -> None:
    reduced(own, 0.3)
    reduced(other, 0.2)
    outcome = ask(run, own, "own", "--against", "other", "--json")
    assert (outcome.code, outcome.errors) == (0, "")
    shown = json.loads(outcome.output)
    assert (shown["sweep"], shown["against"]) == (own.name, other.name)
    page, table = Path(shown["comparison"]), Path(shown["contrasts"])
    assert page == own.folder / f"comparison-with-{other.name}.html"
    assert page.is_file()
    rows = pl.read_parquet(table.with_suffix(".parquet")).filter(metric="AP50")
    assert set(rows["treated"]) == {"on"}  # `off` is the same training in both
    assert set(rows["verdict"]) == {"open"}
    (finding,) = shown["findings"]
    assert finding["verdict"] == "open"
    assert finding["sentence"].startswith(
        f"No verdict between synthetic=on in {own.name} and synthetic=on in {other.name} "
        "(2 seeds, 6 are needed): +10.0 points"
    )
    (shared,) = shown["notes"]
    assert shared.startswith(f"8 of 8 cells of synthetic=off in {own.name}")
    assert "Yet their AP50 differs by up to 10.00 points" in shared  # as this test wrote them


@pytest.mark.parametrize(
    ("mine", "theirs", "wanted"),
    [
        ("own", "other", [("off", "off"), ("on", "on")]),
        ("own:on", "other", [("on", "on")]),
        ("own", "other:off", [("on", "off")]),
        ("own:off", "other:on", [("off", "on")]),
        ("own:off", "other:off", [("off", "off")]),
    ],
)
@pytest.mark.usefixtures("own", "other")
def test_a_value_is_named_behind_a_colon(
    mine: str, theirs: str, wanted: list[tuple[str, str]], tmp_path: Path
) -> None:
    root = [f"sweep.root={tmp_path / 'outputs'}"]
    assert compared_values_of(find_named(mine, root), find_named(theirs, root)) == wanted


def test_a_colon_alone_means_the_newest_sweep(own: Plan) -> None:
    found = find_named(":on", [f"sweep.root={own.root}"])
    assert (found.plan.name, found.value) == (own.name, "on")


def test_a_sweep_of_off_alone_can_be_compared_with_any_value(make_plan: MakePlan) -> None:
    make_plan("synthetic=off", "sweep.name=real", "target=field")
    plan = make_plan("synthetic=on", "sweep.name=on", "target=field")
    root = [f"sweep.root={plan.root}"]
    found = compared_values_of(find_named("real", root), find_named("on:on", root))
    assert found == [("off", "on")]


def test_settings_of_an_evaluation_are_those_of_all_that_it_descends_from(
    own: Plan, other: Plan
) -> None:
    keys = [
        next(c.readings[-1].evaluate for c in plan.cells if c.id.synthetic == "on")
        for plan in (own, other)
    ]
    one, two = (
        evaluation_settings(plan)[key] for plan, key in zip((own, other), keys, strict=True)
    )
    assert (one["target.split"], one["dataset.split"]) == ("test", "train")
    assert one["synthetic.num_iterations"] == "2"
    assert {"train.num_steps", "evaluate.max_detections", "gaussian.min_iou"} <= one.keys()
    differing = {name for name in one.keys() | two.keys() if one.get(name) != two.get(name)}
    assert (one["translator.method"], two["translator.method"]) == ("cyclegan", "identity")
    assert all(name.startswith("translator.") for name in differing)


def refused(outcome: Any, *parts: str) -> None:
    assert outcome.code == 2
    assert len(outcome.errors.splitlines()) == 1
    for part in parts:
        assert part in outcome.errors


def test_what_cannot_be_compared_is_refused_in_one_line(
    own: Plan, other: Plan, make_plan: MakePlan, run: Any
) -> None:
    make_plan(*GRID, "sweep.name=scores", "translator=identity",
              "evaluate.score_thresholds=[0.01,0.2,0.5]")  # fmt: skip
    make_plan("real_count=2,3", "seed=7", "target=field", "sweep.name=seeds")
    make_plan("real_count=2", "synthetic=random", "seed=0", "target=field", "sweep.name=random")

    def against(name: str, mine: str = "own") -> Any:
        return ask(run, own, mine, "--against", name)

    refused(against("own"), "compared with itself; name another sweep")
    refused(against(str(own.folder)), "compared with itself")
    refused(against("scores"), "[0.01, 0.1, 0.5]", "evaluate.score_thresholds")
    refused(against("seeds"), "share no cell: seed=0,1 and 7; run one again")
    refused(against("random"), "name the two that are compared: report own-", ":on --against rand")
    refused(against("random:on"), "no synthetic=on in random-", "name one of random")
    refused(against("other:onn"), "did you mean on?")
    refused(
        against("other"), f"{other.name} is not reduced; run: python -m ptl_sweep report other-"
    )
    nobody = against("nobody")
    assert nobody.code == 2
    assert "no sweep nobody in" in nobody.errors
    assert not list(own.folder.glob("comparison*"))


def test_two_real_sweeps_have_a_page(tiny_sweep: Any, copy_of: Any, run: Any) -> None:
    """The second adds `random` to trainings of the first, in the same store."""
    sweep = copy_of(tiny_sweep)
    words = [w for w in sweep.arguments if not w.startswith("synthetic=")]
    assert run(*words, "synthetic=off,random", "sweep.name=random").code == 0
    outcome = ask(run, sweep.plan, "random:random", "--against", "sweep:on")
    assert outcome.code == 0, outcome.errors
    assert outcome.output.startswith("open    No verdict between synthetic=random in random-")
    same = ask(run, sweep.plan, "random", "--against", "sweep")
    assert "4 of 4 cells" not in same.output
    assert "note    2 of 2 cells of synthetic=off in random-" in same.output
    assert "Yet" not in same.output
