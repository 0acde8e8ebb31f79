"""Whatever happens to the server or to the job: every row arrives once, and the job ends as it
would have ended without tracking. Real SDK and CLI, a job like a stage, a fake server.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.wandb_server.backend import FakeBackend

from ptl_sweep.tracking import History

pytestmark = pytest.mark.wandb

Backend = tuple[FakeBackend, dict[str, str]]

OWN_EXIT_CODE = 7  # of a job that is told to stop: whatever it wants, not what tracking makes of it
NUM_ROWS = 12
SEVEN_BYTES = b":W&B\xe1\xbe\x00"  # the head of a log that was killed before its first flush
# Like a stage: history first, mirror second; SIGTERM sets a flag that the loop looks at.
JOB = f"""
import os, signal, sys, time
from pathlib import Path
from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import History, Recorder, RunInfo

root, key, stop, end = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(True))
history = History(root / key / "history.jsonl")
rows = history.rows()
steps = ["train/step"]
info = RunInfo(key=key, name=key, job_type="train", config={{"seed": 0}}, step_metrics=steps)
config = TrackingConfig(mode="online", live_after=float(sys.argv[5]))
place = {{"root": root / "tracking", "sweep": "s", "run": info, "rows": rows}}
with Recorder() as recorder, recorder.open_mirror(config, **place) as mirror:
    for step in range(len(rows), stop):
        row = {{"train/step": step, "train/loss": 1 / (1 + step)}}
        history.append(row)
        mirror.log(row)
        while step == 3 and end == "wait" and not (told or (root / "go").exists()):
            time.sleep(0.05)
        if told:
            sys.exit({OWN_EXIT_CODE})
    mirror.summary({{"AP50": 0.5}})
    if end == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "flushed":
        time.sleep(2.5)
        os.kill(os.getpid(), signal.SIGKILL)
"""

SYNC = """
import sys
from pathlib import Path
from ptl_sweep.tracking import History, Recorder, RunInfo
from ptl_sweep.tracking.server import Server
from ptl_sweep.tracking.syncing import LocalRun, Uploader

root, key = Path(sys.argv[1]), sys.argv[2]
with Recorder() as recorder:
    list(recorder.record_leftovers(root / "tracking"))
info = RunInfo(key=key, name=key, job_type="train", step_metrics=["train/step"])
rows = History(root / key / "history.jsonl").rows()
server = Server(project="ptl-sweep", entity=None)
uploader = Uploader(root=root / "tracking", sweep="s", server=server, pauses=(0.1, 1.0))
outcome = uploader.sync(LocalRun(info=info, rows=rows, summary={"AP50": 0.5}))
server.close()
print(outcome.state, outcome.why)
"""


@pytest.fixture
def quick(backend: Backend) -> Backend:
    """The server, and an environment in which the SDK sends what it has at once."""
    server, environment = backend
    return server, environment | {
        "WANDB_X_FILE_STREAM_TRANSMIT_INTERVAL": "0.2",
        "WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "1",
        "WANDB_X_DISABLE_STATS": "true",
    }


def start(
    root: Path,
    environment: dict[str, str],
    end: str,
    *,
    stop: int = NUM_ROWS,
    key: str = "train-k",
    live_after: float = 0,
) -> subprocess.Popen[str]:
    """Start a job in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(root), key, str(stop), end, str(live_after)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def with_wandb_core(job: subprocess.Popen[str]) -> list[int]:
    """The job, the process that mirrors it, and W&B's service, once it is there."""
    pids = [job.pid]
    while len(pids) < 3:
        assert job.poll() is None
        time.sleep(0.05)
        pids = [job.pid]
        for pid in pids:
            tasks = Path("/proc", str(pid), "task").glob("*/children")
            pids += [int(child) for task in tasks for child in task.read_text().split()]
    return pids


def finish(job: subprocess.Popen[str], expected: int = 0) -> str:
    """Wait for a job's end and exit code; what it said on standard error."""
    _, errors = job.communicate(timeout=90)
    assert job.returncode == expected, errors
    return errors


def sync(root: Path, environment: dict[str, str], key: str = "train-k") -> str:
    """What `sync` does with one run, twice; the state after the first time."""
    states = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", SYNC, str(root), key],
            env={k: v for k, v in environment.items() if k != "WANDB_MODE"},
            capture_output=True,
            text=True,
            check=True,
            timeout=90,
        )
        states.append(done.stdout.strip())
    assert states[1] == "already there"
    return states[0]


def assert_exact(server: FakeBackend, root: Path, key: str = "train-k") -> None:
    """The server holds each row of history.jsonl once and nothing else."""
    rows = History(root / key / "history.jsonl").rows()
    assert [row["train/step"] for row in rows] == list(range(NUM_ROWS))
    assert server.rows_of(key) == rows


def test_an_online_run_is_exact(quick: Backend, tmp_path: Path) -> None:
    server, environment = quick
    finish(start(tmp_path, environment, "finish"))
    assert_exact(server, tmp_path)
    run = server.runs["train-k"]
    assert (run.exit_code, run.state) == (0, "finished")
    assert run.summary["AP50"] == 0.5
    assert run.config["seed"] == {"value": 0}
    assert server.unknown == []


@pytest.mark.parametrize("status", [429, 500])
@pytest.mark.parametrize("knob", ["fail_filestream", "fail_graphql"])
def test_a_storm_that_passes_costs_no_row(
    quick: Backend, tmp_path: Path, knob: str, status: int
) -> None:
    server, environment = quick
    server.fail_status = status
    setattr(server, knob, 2)  # the SDK waits 2 s, then 4 s, and on
    finish(start(tmp_path, environment, "finish"))
    assert getattr(server, knob) == 0
    assert_exact(server, tmp_path)


@pytest.mark.parametrize("status", [404, 429, 500])
def test_rows_that_a_storm_keeps_out_to_the_end_come_up_with_sync(
    quick: Backend, tmp_path: Path, status: int
) -> None:
    server, environment = quick
    server.fail_status, server.fail_filestream = status, 10**6
    finish(start(tmp_path, environment | {"WANDB_FINISH_TIMEOUT": "3"}, "finish"))
    assert server.rows_of("train-k") == []
    server.fail_filestream = 0
    assert sync(tmp_path, environment) == "uploaded"
    assert_exact(server, tmp_path)


@pytest.mark.parametrize("end", ["kill", "flushed"])
@pytest.mark.parametrize("mode", ["online", "offline"])
def test_two_kills_and_a_resume_leave_every_row_once(
    quick: Backend, tmp_path: Path, mode: str, end: str
) -> None:
    server, environment = quick
    environment = environment | {"WANDB_MODE": mode}
    finish(start(tmp_path, environment, end, stop=4), expected=-signal.SIGKILL)
    finish(start(tmp_path, environment, end, stop=8), expected=-signal.SIGKILL)
    finish(start(tmp_path, environment, "finish"))
    if mode == "offline":
        assert server.runs == {}
        sync(tmp_path, environment)
    assert_exact(server, tmp_path)
    assert server.runs["train-k"].summary["AP50"] == 0.5


def test_two_kills_and_a_resume_of_a_stage_that_left_its_run_to_sync(
    quick: Backend, tmp_path: Path
) -> None:
    server, environment = quick
    environment = environment | {"WANDB_MODE": "offline"}
    for stop in (4, 8):
        job = start(tmp_path, environment, "kill", stop=stop, live_after=60)
        finish(job, expected=-signal.SIGKILL)
    finish(start(tmp_path, environment, "finish", live_after=60))
    assert not (tmp_path / "tracking" / "wandb").exists()
    sync(tmp_path, environment)
    assert_exact(server, tmp_path)
    assert server.runs["train-k"].summary["AP50"] == 0.5
    assert server.runs["train-k"].exit_code == 0


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_sigterm_to_every_process_of_a_job_leaves_the_exit_code_to_the_job(
    quick: Backend, tmp_path: Path, mode: str
) -> None:
    server, environment = quick
    environment = environment | {"WANDB_MODE": mode}
    job = start(tmp_path, environment, "wait")
    for pid in with_wandb_core(job):  # as SLURM preempts
        os.kill(pid, signal.SIGTERM)
    finish(job, expected=OWN_EXIT_CODE)
    assert len(History(tmp_path / "train-k" / "history.jsonl").rows()) == 4
    finish(start(tmp_path, environment, "finish"))
    sync(tmp_path, environment)
    assert_exact(server, tmp_path)


def test_a_dead_server_costs_the_timeout_and_the_rows_come_up_later(
    quick: Backend, tmp_path: Path
) -> None:
    server, environment = quick
    server.is_dead = True
    began = time.monotonic()
    errors = finish(start(tmp_path, environment | {"WANDB_INIT_TIMEOUT": "3"}, "finish"))
    assert time.monotonic() - began < 20
    assert "no online run" in errors
    server.is_dead = False
    assert server.runs == {}
    sync(tmp_path, environment)
    assert_exact(server, tmp_path)


def test_a_server_that_dies_in_the_middle_costs_no_row(quick: Backend, tmp_path: Path) -> None:
    server, environment = quick
    job = start(tmp_path, environment | {"WANDB_FINISH_TIMEOUT": "3"}, "wait")
    while "train-k" not in server.runs or not server.rows_of("train-k"):
        time.sleep(0.05)
    server.is_dead = True
    (tmp_path / "go").touch()
    finish(job)
    server.is_dead = False
    sync(tmp_path, environment)
    assert_exact(server, tmp_path)


def test_twelve_runs_at_once_keep_their_rows_apart(quick: Backend, tmp_path: Path) -> None:
    server, environment = quick
    keys = [f"train-{number}" for number in range(12)]
    jobs = [start(tmp_path, environment, "finish", key=key) for key in keys]
    for job in jobs:
        finish(job)
    assert sorted(server.runs) == sorted(keys)
    for key in keys:
        assert_exact(server, tmp_path, key)


def test_a_file_of_seven_bytes_disturbs_no_other_run(quick: Backend, tmp_path: Path) -> None:
    server, environment = quick
    environment = environment | {"WANDB_MODE": "offline"}
    torn = tmp_path / "tracking/wandb/offline-run-20260101_000000-train-other"
    torn.mkdir(parents=True)
    (torn / "run-train-other.wandb").write_bytes(SEVEN_BYTES)
    finish(start(tmp_path, environment, "finish"))
    sync(tmp_path, environment)
    assert_exact(server, tmp_path)
    assert list(server.runs) == ["train-k"]


def test_a_run_that_left_seven_bytes_is_replayed_by_its_next_attempt(
    quick: Backend, tmp_path: Path
) -> None:
    server, environment = quick
    environment = environment | {"WANDB_MODE": "offline"}
    finish(start(tmp_path, environment, "flushed", stop=4), expected=-signal.SIGKILL)
    (log,) = tmp_path.glob("tracking/wandb/offline-run-*-train-k/*.wandb")
    log.write_bytes(SEVEN_BYTES)
    finish(start(tmp_path, environment, "finish"))
    sync(tmp_path, environment)
    assert_exact(server, tmp_path)
