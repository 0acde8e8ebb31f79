"""What the tab key offers behind `ptl-sweep`; nothing stands in the prompt where Hydra stumbles."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ptl_sweep.cli.commands import COMMANDS
from ptl_sweep.cli.flags.completion import completions
from ptl_sweep.cli.store.store import VERBS
from ptl_sweep.pipeline.plan import Plan


@pytest.fixture
def plan(make_plan: Callable[..., Plan]) -> Plan:
    return make_plan("real_count=2", "target=field", "synthetic=off")


def test_a_first_word_is_a_command_or_a_key(capfd: pytest.CaptureFixture[str]) -> None:
    assert {*COMMANDS, "real_count=", "target=", "train."} <= set(completions("ptl-sweep "))
    assert completions("ptl-sweep re") == ["rerun", "report", "real_count="]
    assert capfd.readouterr() == ("", "")


def test_sweeps_complete_commands_about_sweeps(plan: Plan) -> None:
    root = f"sweep.root={plan.root}"
    assert completions(f"ptl-sweep status {root} ") == [plan.name]
    assert completions(f"ptl-sweep wait {root} {plan.name[:7]}") == [plan.name]
    assert completions(f"ptl-sweep store {root} ") == [*VERBS, plan.name]
    assert completions("ptl-sweep status sweep.root=/nowhere ") == []


@pytest.mark.parametrize("before", ["plan ", "-m seed=1 ", "check target=yard "])
def test_keys_and_choices_complete_grids(before: str) -> None:
    assert completions(f"ptl-sweep {before}target=fi") == ["target=field"]
    assert completions(f"ptl-sweep {before}train.num_s") == ["train.num_steps="]


def test_measure_completes_the_keys_that_it_takes() -> None:
    assert completions("ptl-sweep measure out/lab det") == ["detections="]
    assert completions("ptl-sweep measure analysis.shr") == ["analysis.shrinkage="]
    assert completions("ptl-sweep measure ") == []


@pytest.mark.parametrize("typed", ["plan (", "plan target=[", "--nosuch x", "new-target ", "-m '"])
def test_what_hydra_cannot_read_completes_to_nothing_and_says_nothing(
    typed: str, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = dict(os.environ)
    assert completions(f"ptl-sweep {typed}") == []
    assert capfd.readouterr() == ("", "")
    assert dict(os.environ) == before
