"""`sync`: a sweep comes up whole and once, a dead server loses nothing, mistakes end with 2."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.local_runs import rows_of
from helpers.wandb_server.backend import FakeBackend

from ptl_sweep.cli import commands, sync
from ptl_sweep.compose.errors import refuse_secrets, short_message
from ptl_sweep.config.schema import ConfigError, TrackingConfig
from ptl_sweep.pipeline.plan import Plan, load_plan, save_plan
from ptl_sweep.reduce.tracked_runs import tracked_runs
from ptl_sweep.tracking import run_id
from ptl_sweep.tracking.syncing import LocalRun, SyncOutcome

MakePlan = Callable[..., Plan]
GRID = ("real_count=3", "synthetic=off", "target=field")
SECRET = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Of a process without W&B settings or credentials."""
    (tmp_path / "home").mkdir()
    own = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    home = {"HOME": str(tmp_path / "home"), "NETRC": str(tmp_path / "home" / "netrc")}
    folders = {
        f"WANDB_{name}_DIR": str(tmp_path / "home" / name.lower()) for name in ("CACHE", "CONFIG")
    }
    return own | home | folders | {"WANDB_ERROR_REPORTING": "false", "WANDB_MODE": "offline"}


@pytest.fixture
def server() -> Iterator[FakeBackend]:
    """A W&B server that is up."""
    with FakeBackend() as backend:
        yield backend


def account(server: FakeBackend) -> dict[str, str]:
    return {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40}


def command(arguments: list[str], environment: dict[str, str]) -> Any:
    """The command line as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "ptl_sweep", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def synced(root: Path, environment: dict[str, str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code of `sync --json`, and the runs by id."""
    done = command(["sync", "--json", f"sweep.root={root}"], environment)
    assert done.stdout, done.stderr
    return done.returncode, {run["run"]: run for run in json.loads(done.stdout)["runs"]}


@pytest.mark.wandb
def test_a_sweep_comes_up_whole_and_once_after_the_server_was_away(
    server: FakeBackend, environment: dict[str, str], tiny: list[str], tmp_path: Path
) -> None:
    root = tmp_path / "outputs"
    tracked = [word for word in tiny if not word.startswith("tracking")]
    offline = ["-m", *GRID, "seed=0", *tracked, "tracking=offline", f"sweep.root={root}"]
    done = command(offline, environment)
    assert done.returncode == 0, done.stderr
    (folder,) = (root / "sweeps").iterdir()
    plan = load_plan(folder)
    expected = {key: history(plan, key) for key in plan.stages}

    away = environment | account(server) | {"WANDB_BASE_URL": "http://127.0.0.1:9"}
    code, runs = synced(root, away)
    assert code == 1
    assert {run["state"] for run in runs.values()} == {"failed"}
    assert not (root / "tracking" / "unreachable.json").exists()

    code, runs = synced(root, environment | account(server))
    assert code == 0, runs
    assert {run["state"] for run in runs.values()} == {"uploaded"}
    assert set(server.runs) == set(runs) >= {run_id(f"reduce-{plan.name}")}
    for key, rows in expected.items():
        if rows:
            sent = server.rows_of(run_id(key))[: len(rows)]
            pairs = zip(sent, rows, strict=True)
            assert all(row.items() <= there.items() for there, row in pairs)
    for run in runs.values():
        assert (run["before"], run["after"]) == (0, run["rows"])
        assert len(server.runs[run["run"]].rows) == run["rows"]
        assert server.runs[run["run"]].about["groupName"] == plan.name
        assert server.runs[run["run"]].exit_code == 0

    code, again = synced(root, environment | account(server))
    assert code == 0
    assert {run["state"] for run in again.values()} == {"already there"}
    assert {key: run["after"] for key, run in again.items()} == {
        key: run["rows"] for key, run in runs.items()
    }
    shown = command(["sync", f"sweep.root={root}"], environment | account(server))
    assert shown.returncode == 0
    assert f"runs    {len(runs)} already there" in shown.stdout
    assert server.unknown == []


REDUCE = """
import sys
from pathlib import Path
from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.pipeline.plan import load_plan
from ptl_sweep.reduce.run import reduce_sweep

reduce_sweep(load_plan(Path(sys.argv[1])), TrackingConfig(), jobs=None)
"""


@pytest.mark.wandb
def test_a_reduction_that_found_other_results_is_a_step_of_its_own(
    server: FakeBackend, environment: dict[str, str], make_plan: MakePlan
) -> None:
    plan = make_plan(*GRID)
    save_plan(plan)
    name = run_id(f"reduce-{plan.name}")
    failing, *_ = plan.stages
    states = []
    for number in range(3):
        if number == 2:
            plan.store.record_failure(failing, RuntimeError("no disk"), log_path=plan.folder)
        words = [sys.executable, "-c", REDUCE, str(plan.folder)]
        subprocess.run(words, check=True, env=environment, capture_output=True)
        code, runs = synced(plan.root, environment | account(server))
        assert code == 0
        states.append((runs[name]["before"], runs[name]["after"], runs[name]["state"]))
    assert states == [(0, 1, "uploaded"), (1, 1, "already there"), (1, 2, "uploaded")]
    first, second = server.rows_of(name)
    assert first["grid/results_sha256"] != second["grid/results_sha256"]
    assert first["grid/cells_ok"] == second["grid/cells_ok"] == 0
    for row in (first, second):
        assert {"grid/results", "grid/summary", "report"} <= row.keys()


def history(plan: Plan, key: str) -> list[dict[str, object]]:
    path = plan.store.path(key) / "history.jsonl"
    return rows_of(path.parent) if path.exists() else []


def test_without_a_key_it_says_where_one_belongs(
    make_plan: MakePlan, environment: dict[str, str], tmp_path: Path
) -> None:
    plan = make_plan(*GRID)
    done = command(["sync", f"sweep.root={plan.root}"], environment)
    assert done.returncode == 2
    assert "WANDB_API_KEY" in done.stderr
    assert "netrc" in done.stderr


def test_a_root_without_a_sweep_is_a_mistake(run: Any, tmp_path: Path) -> None:
    outcome = run("sync", f"sweep.root={tmp_path}")
    assert outcome.code == 2
    assert "no sweep in" in outcome.errors


def test_two_at_once_would_send_rows_twice(tmp_path: Path) -> None:
    with (
        sync.alone(tmp_path),
        pytest.raises(ConfigError, match="another sync"),
        sync.alone(tmp_path),
    ):
        pass
    with sync.alone(tmp_path):
        pass


def runs_of(plan: Plan) -> dict[str, LocalRun]:
    return {run.id: run for run in tracked_runs(plan, TrackingConfig(), "online")}


def test_rows_of_a_stage_in_work_are_those_that_are_whole(make_plan: MakePlan) -> None:
    plan = make_plan(*GRID)
    key = next(iter(plan.stages))
    folder = plan.store.work_folder(key)
    folder.mkdir(parents=True)
    (folder / "history.jsonl").write_text('{"train/step": 0}\n{"train/st')
    runs = runs_of(plan)
    assert runs[run_id(key)].num_steps == 1
    assert [run for run in runs.values() if not run.is_empty] == [runs[run_id(key)]]
    assert (folder / "history.jsonl").read_text().endswith('{"train/st')
    assert set(runs) == set(map(run_id, plan.stages))  # the sweep was not reduced


def test_a_history_that_is_no_json_is_named(make_plan: MakePlan, run: Any) -> None:
    plan = make_plan(*GRID)
    folder = plan.store.work_folder(next(iter(plan.stages)))
    folder.mkdir(parents=True)
    (folder / "history.jsonl").write_text('{"train/step": 0}\noops\n')
    outcome = run("sync", f"sweep.root={plan.root}")
    assert outcome.code == 1
    assert "history.jsonl:2: not JSON" in outcome.errors
    assert "move" in outcome.errors


def test_a_run_that_is_being_written_is_left_to_its_worker(make_plan: MakePlan) -> None:
    plan = make_plan(*GRID)
    key = next(iter(plan.stages))
    with plan.store.claim(key):
        assert {name for name, run in runs_of(plan).items() if run.is_running} == {run_id(key)}


def test_a_run_comes_up_after_those_whose_models_it_starts_from(make_plan: MakePlan) -> None:
    plan = make_plan(*GRID)
    runs = runs_of(plan)
    for key, stage in plan.stages.items():
        for parent in stage.parents:
            assert runs[run_id(parent)].depth < runs[run_id(key)].depth


def test_the_table_shows_counts_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    there = SyncOutcome(run="a", name="n20 s0", rows=5, before=5, after=5, state="already there")
    failed = SyncOutcome(
        run="b", name="n50 s0", rows=4, before=2, after=2, state="failed", why="[x] no"
    )
    skipped = SyncOutcome(run="c", name="reduce", rows=0, why="nothing")
    sync.show([there, failed, skipped])
    lines = [text.split() for text in capsys.readouterr().out.splitlines()]
    assert ["n20", "s0", "5", "5", "5", "already", "there"] in lines
    assert ["n50", "s0", "4", "2", "2", "failed:", "[x]", "no"] in lines
    assert ["reduce", "0", "-", "-", "skipped:", "nothing"] in lines
    assert lines[-1] == ["runs", "1", "already", "there,", "1", "skipped,", "1", "failed"]


# a sweep that is to be online


@pytest.fixture
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a netrc file has one."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


class QueuedLauncher:
    """A launcher after which nothing is left to say, as after a submission to SLURM."""

    def __init__(self, plan: Plan, *_: object) -> None:
        self.plan = plan
        modes.append((plan.settings.tracking.mode, os.environ.get("WANDB_MODE")))

    def run(self) -> bool:
        return False


modes: list[tuple[str, str | None]] = []


@pytest.fixture
def queued(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, run: Any) -> Callable[..., Any]:
    """Plan a sweep and start it; `modes` has what its workers read."""
    modes.clear()
    monkeypatch.setattr(commands, "find_launcher", lambda _name: QueuedLauncher)
    return lambda *words: run("-m", *GRID, "seed=0", *words, f"sweep.root={tmp_path / 'outputs'}")


def test_without_a_key_the_first_screen_says_once_that_runs_stay_offline(
    no_key: None, queued: Callable[..., Any], tmp_path: Path
) -> None:
    outcome = queued("tracking=wandb")
    assert outcome.code == 0
    (line,) = [line for line in outcome.output.splitlines() if "W&B" in line]
    assert line == sync.STAYS_OFFLINE
    assert "`sync`" in line
    assert "WANDB_API_KEY" in line
    assert modes == [("offline", None)]
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert load_plan(folder).settings.tracking.mode == "offline"


def test_the_mode_of_the_environment_is_settled_too(
    no_key: None, queued: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    assert sync.STAYS_OFFLINE in queued("tracking=offline").output
    assert modes == [("offline", "offline")]


@pytest.mark.parametrize("tracking", ["offline", "off"])
def test_who_does_not_ask_for_a_server_hears_nothing_of_keys(
    no_key: None, queued: Callable[..., Any], tracking: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "short")
    outcome = queued(f"tracking={tracking}")
    assert (outcome.code, modes) == (0, [(tracking, None)])
    assert "W&B" not in outcome.output + outcome.errors


def test_with_a_key_a_sweep_is_online(
    no_key: None, queued: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    outcome = queued("tracking=wandb")
    assert (outcome.code, modes) == (0, [("online", None)])
    assert "W&B" not in outcome.output


def test_a_malformed_key_is_named_before_anything_runs(
    no_key: None, queued: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET[:39])
    outcome = queued("tracking=wandb")
    assert (outcome.code, modes) == (2, [])
    assert "WANDB_API_KEY is no W&B key: it has 39 characters, a key 40 or more" in outcome.errors
    assert "fix:" in outcome.errors
    assert SECRET[:39] not in outcome.errors + outcome.output
    assert not (tmp_path / "outputs").exists()


def test_sync_refuses_a_malformed_key(
    no_key: None, make_plan: MakePlan, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "short")
    outcome = run("sync", f"sweep.root={make_plan(*GRID).root}")
    assert outcome.code == 2
    assert "it has 5 characters" in outcome.errors


# the key is no setting


@pytest.mark.parametrize(
    "word", ["tracking.api_key={}", "+tracking.api_key={}", "api_key={}", "tracking.apikey={}"]
)
@pytest.mark.parametrize("command", [[], ["-m"], ["plan"], ["check"]])
def test_an_api_key_in_the_configuration_is_refused_and_not_repeated(
    word: str, command: list[str], run: Any
) -> None:
    outcome = run(*command, word.format(SECRET))
    assert outcome.code == 2
    assert "WANDB_API_KEY" in outcome.errors
    assert "netrc" in outcome.errors
    assert SECRET not in outcome.errors + outcome.output


@pytest.mark.parametrize("value", [f"{SECRET},b", f"{{{SECRET}", f"[{SECRET}", f"'{SECRET}"])
def test_an_api_key_that_hydra_cannot_read_is_not_repeated(value: str, run: Any) -> None:
    outcome = run(f"tracking.api_key={value}")
    assert outcome.code == 2
    assert "WANDB_API_KEY" in outcome.errors
    assert SECRET not in outcome.errors + outcome.output


def test_secrets_are_found_among_any_words() -> None:
    refuse_secrets(["status", "--json", "sweep.root=api_key", "detector.key_frames=3"])
    with pytest.raises(ConfigError, match="WANDB_API_KEY") as caught:
        refuse_secrets(["status", f"tracking.api_key={SECRET}"])
    assert SECRET not in short_message(caught.value)
