"""The command line as a user meets it: exit codes, short answers, commands, clean pipes."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from ptl_sweep.cli import commands
from ptl_sweep.cli.commands import COMMANDS
from ptl_sweep.compose import requirements
from ptl_sweep.compose.compose import compose_grid
from ptl_sweep.config.schema import DatasetConfig, LauncherConfig
from ptl_sweep.launchers.inline import InlineLauncher
from ptl_sweep.pipeline.plan import Plan, plan_sweep

MakePlan = Callable[..., Plan]
GRID = ("real_count=2", "target=field,karst", "synthetic=off,on")


def process(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ptl_sweep", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def plan(make_plan: MakePlan, no_training: list[str]) -> Plan:
    return make_plan(*GRID)


def test_the_version_is_ours_and_that_of_hydra(run: Any) -> None:
    outcome = run("--version")
    assert outcome.code == 0
    assert re.fullmatch(r"ptl-sweep [\d.]+, Hydra 1\.3[\d.]*\n", outcome.output)


def test_help_lists_every_command_and_no_other(tmp_path: Path) -> None:
    done = process("--help", cwd=tmp_path)
    assert done.returncode == 0
    shown = set(re.findall(r"python -m ptl_sweep ([a-z][a-z-]*)(?= |$)", done.stdout, re.M))
    assert {word for word in shown if f"{word}=" not in done.stdout} >= set(COMMANDS)
    assert shown - {"key"} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        COMMANDS[command](["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert f"python -m ptl_sweep {command}" in shown
    assert COMMANDS[command].__doc__ in shown.replace("\n", " ")


def test_json_of_commands_is_json_and_nothing_else(plan: Plan, run: Any) -> None:
    root = f"sweep.root={plan.root}"
    for arguments in (
        ["plan", "--json", *GRID, root],
        ["status", "--json", root],
        ["check", "--json", "target=field", "target.num_images=2", "real_count=2"],
    ):
        outcome = run(*arguments)
        assert outcome.code == 0
        json.loads(outcome.output)


def test_exit_codes_of_plan_tell_whether_there_is_work(plan: Plan, run: Any) -> None:
    arguments = ["plan", *GRID, "analysis.calibration=none", f"sweep.root={plan.root}"]
    assert run(*arguments).code == 0
    assert run(*arguments, "--exit-code").code == 3  # 2 is a mistake
    InlineLauncher(plan, LauncherConfig(name="inline"), Console(quiet=True)).run()
    assert run(*arguments, "--exit-code").code == 0


def test_a_plan_writes_nothing(run: Any, tmp_path: Path) -> None:
    assert run("plan", *GRID, f"sweep.root={tmp_path / 'outputs'}").code == 0
    assert list(tmp_path.iterdir()) == []


def test_none_and_ptl_are_the_stages_of_off_and_on_under_their_names() -> None:
    grid = ["real_count=2,3", "target=field"]
    one, other = (
        plan_sweep(compose_grid([*grid, synthetic]), "plan")
        for synthetic in ("synthetic=none,ptl", "synthetic=off,on")
    )
    assert list(one.stages) == list(other.stages)
    assert one.name == other.name
    assert [cell.id for cell in one.cells] == [cell.id for cell in other.cells]
    assert {cell.id.synthetic for cell in one.cells} == {"off", "on"}


def test_one_cell_cannot_be_given_in_both_spellings(run: Any) -> None:
    outcome = run("plan", "real_count=2", "target=field", "synthetic=on,ptl")
    assert outcome.code == 2
    assert "two cells of the grid are both" in outcome.errors


def test_a_sweep_is_found_by_name_by_short_name_by_folder_and_as_the_newest(
    plan: Plan, run: Any
) -> None:
    root = f"sweep.root={plan.root}"
    shown = {
        run("status", *name, root).output
        for name in ([plan.name], ["sweep"], [str(plan.folder)], [])
    }
    assert len(shown) == 1
    assert plan.name in shown.pop()


def test_a_sweep_name_with_a_typo_is_answered_with_the_nearest(plan: Plan, run: Any) -> None:
    outcome = run("status", "swep-" + plan.name[-8:], f"sweep.root={plan.root}")
    assert outcome.code == 2
    assert f"did you mean {plan.name}?" in outcome.errors
    assert len(outcome.errors.splitlines()) <= 3


def test_a_damaged_store_is_a_warning_not_a_traceback(
    plan: Plan, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    InlineLauncher(plan, LauncherConfig(name="inline"), Console(quiet=True)).run()
    path = plan.store.path(next(iter(plan.stages))) / "meta.json"
    path.write_text("{")
    outcome = run("plan", *GRID, f"sweep.root={plan.root}")
    assert outcome.code == 0
    (warning,) = caplog.messages
    assert f"{path} cannot be read" in warning
    assert "run again" in warning


def test_one_stage_can_be_repeated_by_its_key(plan: Plan, run: Any, no_training: list[str]) -> None:
    key = next(iter(plan.stages))
    root = f"sweep.root={plan.root}"
    mistyped = run("rerun", key[:-1] + "x", root)
    assert (mistyped.code, no_training) == (2, [])
    assert f"did you mean {key}?" in mistyped.errors
    assert run("rerun", key, root).code == 0
    assert no_training == [key]


def test_piped_output_has_no_ansi_and_tables_of_at_most_100_columns(
    plan: Plan, tmp_path: Path
) -> None:
    for arguments in (["plan", *GRID], ["status"]):
        done = process(*arguments, f"sweep.root={plan.root}", cwd=tmp_path, TERM="xterm-256color")
        assert done.returncode == 0
        assert "\x1b" not in done.stdout + done.stderr
        assert max(len(line) for line in done.stdout.splitlines() if "/" not in line) <= 100


def test_ctrl_c_ends_with_130_and_says_how_to_go_on(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ptl_sweep.cli import commands

    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "run_sweep", interrupted)
    outcome = run("real_count=2")
    assert outcome.code == 130
    assert "the same command goes on" in outcome.errors


def test_ctrl_c_while_modules_are_loaded_is_no_traceback(tmp_path: Path) -> None:
    """A module of that name comes first on the path, and is interrupted."""
    (tmp_path / "omegaconf.py").write_text("raise KeyboardInterrupt")
    done = process("plan", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 130
    assert done.stderr == "interrupted; the same command goes on where this one stopped\n"


def test_a_full_disk_ends_with_1_and_says_what_to_do(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ptl_sweep.cli import commands

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device", "outputs/sweeps/x/plan.json")

    monkeypatch.setattr(commands, "run_sweep", full)
    outcome = run("real_count=2")
    assert outcome.code == 1
    assert "outputs/sweeps/x/plan.json" in outcome.errors
    assert "free some space and run the same command again" in outcome.errors


@pytest.mark.slow
def test_a_disk_that_is_too_small_fails_cells_with_a_reason_and_more_space_mends_them(
    tiny_grid: list[str], tiny_sweep: Any, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("may not mount a small file system")
    try:
        arguments = [*tiny_grid, f"sweep.root={disk}"]
        done = process(*arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert "free some" in done.stderr
        assert "Traceback" not in done.stderr
        assert not any((disk / "store").glob("train-*[0-9a-f]/"))
        subprocess.run(["mount", "-o", "remount,size=300m", str(disk)], check=True)
        done = process(*arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        (path,) = disk.glob("sweeps/*/results.csv")
        assert path.read_bytes() == tiny_sweep.file("results.csv")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    "command",
    [name for name in COMMANDS if name not in ("manifest", "measure", "new-dataset", "new-target")],
)
def test_help_of_a_command_says_which_key_value_it_takes(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        COMMANDS[command](["--help"])
    grid = command in ("plan", "check", "pool")
    assert ("key=value as in a run" if grid else "sweep.root=FOLDER") in capsys.readouterr().out


LOOKING = ("status", "wait", "cancel", "logs", "report", "publish", "sync")


@pytest.mark.parametrize("command", LOOKING)
def test_a_sweep_that_cannot_be_read_is_a_mistake_not_a_traceback(
    command: str, plan: Plan, run: Any, tmp_path: Path
) -> None:
    name = "--sweep" if command == "logs" else None
    where = f"sweep.root={plan.root}"

    def ask(sweep: str) -> Any:
        return run(command, *([name] if name else []), sweep, where)

    assert ask("nobody").code == 2
    (tmp_path / "file").write_text("no folder")
    assert ask(str(tmp_path / "file")).code == 2
    assert run(command, f"sweep.root={tmp_path / 'file'}").code == 2
    assert run(command, f"sweep.root={tmp_path / 'empty'}").code == 2
    path = plan.folder / "plan.json"
    path.write_text(path.read_text()[:-200])
    outcome = ask(plan.name)
    assert outcome.code == 2
    assert "plan.json cannot be read" in outcome.errors
    assert "fix: " in outcome.errors


def test_a_pair_of_data_sets_is_compared_once_whatever_the_number_of_cells(
    cells: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []
    monkeypatch.setattr(
        requirements, "require_separate", lambda one, two: compared.append((one.name, two.name))
    )
    grid = cells("real_count=2,3", "synthetic=off,on", "target=field,karst", "seed=0,1")
    assert len(grid) == 16
    commands.require_data(grid)
    assert len(compared) == len(set(compared)) == 2


def test_a_run_says_that_no_image_of_a_target_shows_a_person(
    cells: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "a.png")
    (tmp_path / "data.yaml").write_text("names: [person]")
    grid = cells("real_count=2", "synthetic=off", "target=field")
    grid[0].target = DatasetConfig(name="lake", reader="yolo", root=str(tmp_path), split="all")
    commands.require_data(grid)
    assert "target lake (all): no image shows a person, so AP" in caplog.text
