"""Whatever happens to the server or to the job, every row and picture arrives once, and the job
ends as it would have ended without tracking. Real SDK, a stage like ours, a fake server.
"""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.local_runs import (
    NUM_ROWS,
    NUM_STEPS,
    OWN_EXIT_CODE,
    PICTURE_ROWS,
    finish,
    rows_of,
    run_program,
    run_stage,
    start_stage,
)
from helpers.wandb_server.backend import FakeBackend

pytestmark = pytest.mark.wandb

Backend = tuple[FakeBackend, dict[str, str]]

SYNC = """
import json, sys
from dataclasses import asdict, replace
from pathlib import Path
from helpers.local_runs import order_of
from ptl_sweep.tracking import syncing
from ptl_sweep.tracking.server import Server, end_service

syncing.PAUSE_S = 0.1
root, sweep, summary, *keys = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3]), *sys.argv[4:]
server = Server(project="ptl-sweep", entity=None)
orders = [replace(order_of(root, key), sweep=sweep, summary=summary) for key in keys]
runs = [syncing.LocalRun(order=order, num_steps=order.num_steps()) for order in orders]
print(json.dumps([asdict(outcome) for outcome in syncing.sync_runs(runs, server)]))
end_service()
"""


@pytest.fixture
def quick(backend: Backend) -> Backend:
    """The server, and an environment in which the SDK sends what it has at once."""
    server, environment = backend
    return server, environment | {
        "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "0.2",
        "WANDB_X_DISABLE_STATS": "true",
    }


def sync(
    root: Path,
    environment: dict[str, str],
    sweep: str = "sweep-1",
    summary: str = "{}",
    key: str = "train-k",
) -> dict[str, Any]:
    """The outcome of one run."""
    done = run_program(SYNC, str(root), sweep, summary, key, env=environment)
    assert done.returncode == 0, done.stderr
    (outcome,) = json.loads(done.stdout)
    return dict(outcome)


def counts(outcome: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(outcome[name] for name in ("rows", "before", "after", "state"))


def assert_exact(server: FakeBackend, root: Path, key: str = "train-k") -> None:
    """The run equals the folder: rows, pictures, table, model and summary, each once."""
    rows = rows_of(root / "store" / key)
    assert [row["train/step"] for row in rows] == list(range(NUM_ROWS))
    sent = server.rows_of(key)
    media = [[n for n, value in row.items() if isinstance(value, dict)] for row in sent]
    plain = [
        {name: value for name, value in row.items() if not isinstance(value, dict)} for row in sent
    ]
    assert plain[:NUM_ROWS] == rows
    shown = [[f"pictures/{row}"] if row in PICTURE_ROWS else [] for row in range(NUM_ROWS)]
    assert media == [*shown, ["best"]]
    run = server.runs[key]
    assert sum(name.startswith("media/images") for name in run.files) == len(PICTURE_ROWS)
    models = [a for a in server.artifacts.values() if a.collection == f"model-{key}"]
    assert [server.blob(model, "model.bin") for model in models] == [b"weights"]
    assert run.summary["AP50"] == 0.5
    assert (run.exit_code, run.state) == (0, "finished")
    assert server.unknown == []


def children(pid: int) -> list[int]:
    """Every process below this one."""
    tasks = Path("/proc", str(pid), "task").glob("*/children")
    own = [int(child) for task in tasks for child in task.read_text().split()]
    return own + [grandchild for child in own for grandchild in children(child)]


def wait_until(condition: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to this"
        time.sleep(0.05)


def has_rows(server: FakeBackend, key: str = "train-k") -> bool:
    return key in server.runs and bool(server.runs[key].rows)


def test_an_online_run_is_exact(quick: Backend, tmp_path: Path) -> None:
    server, environment = quick
    run_stage(tmp_path, environment)
    assert_exact(server, tmp_path)
    run = server.runs["train-k"]
    assert run.config["seed"] == {"value": 0}
    assert run.about["tags"] == ["sweep-1", "t" * 64]
    assert (run.about["groupName"], run.about["displayName"]) == ("sweep-1", "n20 train-k")
    outcome = sync(tmp_path, environment)
    assert counts(outcome) == (NUM_STEPS, NUM_STEPS, NUM_STEPS, "already there")


def test_rows_and_pictures_arrive_while_the_stage_runs(quick: Backend, tmp_path: Path) -> None:
    server, environment = quick
    stage = start_stage(tmp_path, environment, "wait")
    wait_until(lambda: has_rows(server) and len(server.rows_of("train-k")) == 4)
    assert "pictures/2" in server.rows_of("train-k")[2]
    (tmp_path / "go").touch()
    finish(stage)
    assert_exact(server, tmp_path)


@pytest.mark.parametrize("status", [429, 500])
@pytest.mark.parametrize("knob", ["fail_filestream", "fail_graphql"])
def test_a_storm_that_passes_costs_no_row(
    quick: Backend, tmp_path: Path, knob: str, status: int
) -> None:
    server, environment = quick
    server.fail_status = status
    setattr(server, knob, 2)  # the SDK waits 2 s, then 4 s, and on
    run_stage(tmp_path, environment)
    assert getattr(server, knob) == 0
    assert_exact(server, tmp_path)


@pytest.mark.parametrize("status", [404, 429, 500])
def test_rows_that_a_storm_keeps_out_to_the_end_come_up_with_sync(
    quick: Backend, tmp_path: Path, status: int
) -> None:
    server, environment = quick
    server.fail_status, server.fail_filestream = status, 10**6
    environment = environment | {"WANDB_FINISH_TIMEOUT": "3"}
    run_stage(tmp_path, environment)
    assert server.rows_of("train-k") == []
    refused = sync(tmp_path, environment)
    assert counts(refused) == (NUM_STEPS, 0, 0, "failed")
    assert refused["why"]
    server.fail_filestream = 0
    assert counts(sync(tmp_path, environment)) == (NUM_STEPS, 0, NUM_STEPS, "uploaded")
    assert_exact(server, tmp_path)


@pytest.mark.parametrize("pause", [0, 2.5])
def test_two_kills_and_a_resume_leave_every_row_and_picture_once(
    quick: Backend, tmp_path: Path, pause: float
) -> None:
    server, environment = quick
    run_stage(tmp_path, environment, "kill", stop=4, pause=pause)
    run_stage(tmp_path, environment, "kill", stop=8, pause=pause)
    run_stage(tmp_path, environment)
    assert_exact(server, tmp_path)


@pytest.mark.parametrize("whom", ["follower", "service", "all"])
def test_a_kill_beside_the_worker_is_made_good(quick: Backend, tmp_path: Path, whom: str) -> None:
    """SIGKILL to the process beside the worker, to W&B's service, or to both and the worker."""
    server, environment = quick
    stage = start_stage(tmp_path, environment, "wait")
    wait_until(lambda: has_rows(server))
    beside = children(stage.pid)
    assert len(beside) >= 2
    victims = {"follower": beside[:1], "service": beside[1:], "all": [stage.pid, *beside]}
    for pid in victims[whom]:
        os.kill(pid, signal.SIGKILL)
    (tmp_path / "go").touch()
    finish(stage, -signal.SIGKILL if whom == "all" else 0)
    if whom == "all":
        run_stage(tmp_path, environment)
    assert_exact(server, tmp_path)


def test_sigterm_to_every_process_of_a_job_leaves_the_exit_code_to_the_job(
    quick: Backend, tmp_path: Path
) -> None:
    server, environment = quick
    stage = start_stage(tmp_path, environment, "wait")
    wait_until(lambda: has_rows(server))
    for pid in [stage.pid, *children(stage.pid)]:  # as SLURM preempts
        os.kill(pid, signal.SIGTERM)
    finish(stage, OWN_EXIT_CODE)
    assert len(rows_of(tmp_path / "store" / "train-k.wip")) == 4
    assert len(server.rows_of("train-k")) == 4
    run_stage(tmp_path, environment)
    assert_exact(server, tmp_path)


def test_a_dead_server_is_asked_once_and_the_runs_come_up_later(
    quick: Backend, tmp_path: Path
) -> None:
    server, environment = quick
    server.is_dead = True
    environment = environment | {"WANDB_INIT_TIMEOUT": "3"}
    errors = run_stage(tmp_path, environment)
    assert "no run" in errors
    assert (tmp_path / "tracking" / "unreachable.json").exists()
    num_asked = server.num_unanswered
    run_stage(tmp_path, environment, key="train-l")
    assert server.num_unanswered == num_asked > 0
    server.is_dead = False
    assert server.runs == {}
    for key in ("train-k", "train-l"):
        assert sync(tmp_path, environment, key=key)["state"] == "uploaded"
        assert_exact(server, tmp_path, key)


def test_a_server_that_dies_in_the_middle_costs_no_row(quick: Backend, tmp_path: Path) -> None:
    server, environment = quick
    environment = environment | {"WANDB_FINISH_TIMEOUT": "3", "WANDB_INIT_TIMEOUT": "3"}
    stage = start_stage(tmp_path, environment, "wait")
    wait_until(lambda: has_rows(server))
    server.is_dead = True
    (tmp_path / "go").touch()
    finish(stage)
    server.is_dead = False
    sync(tmp_path, environment)
    assert_exact(server, tmp_path)


def test_twelve_runs_at_once_keep_their_rows_apart(quick: Backend, tmp_path: Path) -> None:
    server, environment = quick
    keys = [f"train-{number}" for number in range(12)]
    stages = [start_stage(tmp_path, environment, key=key) for key in keys]
    for stage in stages:
        finish(stage)
    assert sorted(server.runs) == sorted(keys)
    for key in keys:
        assert_exact(server, tmp_path, key)


def test_a_stage_without_tracking_comes_up_whole_and_a_second_sync_changes_nothing(
    quick: Backend, tmp_path: Path
) -> None:
    server, environment = quick
    run_stage(tmp_path, environment, mode="off")
    assert not (tmp_path / "tracking").exists()
    assert counts(sync(tmp_path, environment)) == (NUM_STEPS, 0, NUM_STEPS, "uploaded")
    assert_exact(server, tmp_path)
    server.operations.clear()
    again = sync(tmp_path, environment)
    assert counts(again) == (NUM_STEPS, NUM_STEPS, NUM_STEPS, "already there")
    assert {"UpsertBucket", "CreateArtifact"}.isdisjoint(name for name, _ in server.operations)


def test_a_run_of_another_sweep_gets_tag_and_numbers_and_keeps_all_else(
    quick: Backend, tmp_path: Path
) -> None:
    server, environment = quick
    run_stage(tmp_path, environment)
    run = server.runs["train-k"]
    about = {name: run.about.get(name) for name in ("groupName", "jobType", "displayName")}
    config = {name: item["value"] for name, item in run.config.items()}
    numbers = '{"AP_t2t_010_shrunk": 0.25, "t2t_auroc": null}'
    states = [
        sync(tmp_path, environment, name, numbers)["state"]
        for name in ("sweep-1", "grown", "grown", "x" * 70)
    ]
    assert states == ["uploaded", "uploaded", "already there", "uploaded"]
    assert run.about["tags"] == ["sweep-1", "t" * 64, "grown", "x" * 64]
    assert run.summary["AP_t2t_010_shrunk"] == 0.25
    assert {name: run.about.get(name) for name in about} == about
    assert {name: item["value"] for name, item in run.config.items()} == config
    assert_exact(server, tmp_path)


def test_a_stage_that_was_killed_for_good_is_a_failed_run_with_its_rows(
    quick: Backend, tmp_path: Path
) -> None:
    server, environment = quick
    run_stage(tmp_path, environment, "kill", mode="off", stop=4)
    assert counts(sync(tmp_path, environment)) == (4, 0, 4, "uploaded")
    assert server.runs["train-k"].state == "failed"
    assert counts(sync(tmp_path, environment)) == (4, 4, 4, "already there")
    run_stage(tmp_path, environment, mode="off")
    assert counts(sync(tmp_path, environment)) == (NUM_STEPS, 4, NUM_STEPS, "uploaded")
    assert_exact(server, tmp_path)
