"""What the terminal shows: aligned, at most 100 columns, failures last and with their fix."""

import json
import socket
from collections.abc import Callable

import pytest
from rich.console import Console

from ptl_sweep.config.schema import LauncherConfig
from ptl_sweep.detection.architectures.retinanet_tiny import TinyRetinaNet
from ptl_sweep.launchers.inline import InlineLauncher
from ptl_sweep.pipeline import costs, plan_text, status, status_text
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.terminal import WIDTH, duration, text_table

MakePlan = Callable[..., Plan]
GRID = ("real_count=2", "target=field,karst", "synthetic=off,on")


@pytest.fixture
def plan(make_plan: MakePlan, no_training: list[str]) -> Plan:
    return make_plan(*GRID)


@pytest.fixture
def failed(plan: Plan) -> Plan:
    """Its second PTL iteration fails."""
    key = [key for key, stage in plan.stages.items() if stage.kind == "ptl"][1]
    plan.store.root.mkdir(parents=True)
    (plan.store.root / f"fail-{key}").touch()
    InlineLauncher(plan, LauncherConfig(name="inline"), Console(quiet=True)).run()
    return plan


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_columns_of_a_table_are_aligned_first_left_others_right() -> None:
    table = text_table(["stage", "n"], [["train", "12"], ["a", "7"]])
    assert table.splitlines() == ["stage   n", "train  12", "a       7"]


def test_the_grid_is_shown_as_a_product(plan: Plan) -> None:
    line = plan_text.grid_line(plan)
    assert line == "grid    4 cells = 1 real_count x 2 synthetic x 2 target x 1 seed"


def test_a_grid_with_holes_is_no_product(plan: Plan) -> None:
    plan.cells.pop()
    line = plan_text.grid_line(plan)
    assert line == "grid    3 cells of 1 real_count x 2 synthetic x 2 target x 1 seed"


def test_plan_and_status_fit_into_100_columns_without_ansi(failed: Plan) -> None:
    for text in (plan_text.plan_text(failed), status_text.status_text(failed)):
        assert "\x1b" not in text
        tables = [line for line in text.splitlines() if "/" not in line]
        assert max(map(len, tables)) <= WIDTH


def test_data_that_is_not_there_is_named_in_the_plan(make_plan: MakePlan) -> None:
    plan = make_plan("real_count=2", "dataset=visdrone", "target=okutama", "detector=retinanet_r50")
    text = plan_text.plan_text(plan)
    for name in ("dataset visdrone", "target okutama", "detector weights imagenet"):
        assert name in text
    assert plan_text.missing_data(plan) == sorted(plan_text.missing_data(plan))


def test_a_failure_is_shown_once_and_last_with_what_where_kept_effect_and_fix(
    failed: Plan,
) -> None:
    text = status_text.status_text(failed)
    assert text.count("FAILED  ") == 1
    block = text[text.index("FAILED") :].splitlines()
    assert [line.split()[0] for line in block] == [
        "FAILED", "what", "where", "kept", "effect", "fix", "repro",
    ]  # fmt: skip
    assert "ValueError: told to fail at miniature-n2-s0-on-t2" in block[1]
    assert "2 stages and 2 of 4 cells wait" in block[4]
    assert "same command again" in block[5]


def test_a_running_stage_shows_its_step(plan: Plan) -> None:
    key = next(iter(plan.stages))
    with plan.store.claim(key) as folder:
        assert status_text.progress_note(plan, key).startswith("starting, ")
        assert status_text.progress_note(plan, key).endswith(
            f"{socket.gethostname()}, seen 0 s ago"
        )
        (folder / "history.jsonl").write_text('{"translate/step": 40}\n')
        assert status_text.progress_note(plan, key).startswith("translator step 40, ")
        row = {"train/step": 40, "train/images_per_second": 12.34}
        (folder / "history.jsonl").write_text(json.dumps(row) + "\n")
        assert status_text.progress_note(plan, key).startswith("train 40/360, 12.3 images/s, ")
        assert f"running {key}" in status_text.status_text(plan)


def test_the_live_view_counts_stages_and_estimates_the_time_left(plan: Plan) -> None:
    console = Console(record=True, width=WIDTH, quiet=True)
    with plan.store.claim(next(iter(plan.stages))):
        view = status_text.progress_view(
            plan, status.stage_states(plan), elapsed_s=5, num_workers=2
        )
        with console.capture() as captured:
            console.quiet = False
            console.print(view)
    shown = captured.get()
    guess = TinyRetinaNet.default_seconds._asdict()
    left = (guess["train"] + 2 * guess["ptl"] + 4 * guess["evaluate"]) / 2
    assert f"5 s so far, about {duration(left)} left" in shown
    assert "train miniature-n2-s0" in shown


def test_json_says_the_same_as_the_text(failed: Plan) -> None:
    plan = plan_text.plan_json(failed)
    assert plan["cells"] == 4
    assert plan["stages"]["ptl"] == {
        **plan["stages"]["ptl"], "naive": 4, "unique": 2, "cached": 1, "to_run": 1,
    }  # fmt: skip
    assert status_text.status_json(failed)["stages"] == status.stage_states(failed)


@pytest.mark.parametrize(
    ("state", "is_left"),
    [
        ("queued", True), ("waiting", True), ("running", True),
        ("published", False), ("failed", False), ("blocked", False),
    ],
)  # fmt: skip
def test_what_is_left_is_all_that_may_still_run(plan: Plan, state: str, is_left: bool) -> None:
    left = costs.time_left(plan, dict.fromkeys(plan.stages, state), 1)
    guess = TinyRetinaNet.default_seconds._asdict()
    whole = guess["train"] + 2 * guess["ptl"] + 4 * guess["evaluate"]
    assert left == (whole if is_left else 0)
