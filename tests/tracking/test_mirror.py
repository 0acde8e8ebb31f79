"""The mirror repeats history.jsonl exactly once and never fails a stage."""

import json
import logging
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers.local_runs import ROWS, RecordingRun, environment, finished_log, run_program
from helpers.wandb_server.backend import FakeBackend

from ptl_sweep.tracking import SETTINGS, History, Mirror, RunLog, read_log
from ptl_sweep.tracking.media import ShownImage

# against the real SDK, offline

# One writer process: replays the history, logs further rows up to `stop`, then ends as told.
WRITER = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import History, RunInfo, ShownImage, open_mirror

root, stop, end = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
history = History(root / "history.jsonl")
info = RunInfo(key="train-k", name="n20 on s0 -> okutama", job_type="train",
               config={"real_count": 20}, step_metrics=["train/step"])
with open_mirror(TrackingConfig(), root=root, sweep="sweep-1", run=info,
                 rows=history.rows()) as mirror:
    pixels = np.zeros((4, 4, 3), np.uint8)
    mirror.log_images("again", [ShownImage(pixels, np.zeros((0, 4)))], repeated=True)
    for step in range(len(history.rows()), stop):
        row = {"train/step": step, "train/loss": float("nan") if step == 1 else 1 / (1 + step)}
        history.append(row)
        mirror.log(row)
    if end == "kill":
        time.sleep(2.5)  # past the flush of the transaction log
        os.kill(os.getpid(), signal.SIGKILL)
    mirror.summary({"AP50": 0.25, "AP": float("nan")})
    mirror.table("grid/results", ["cell", "AP50"], [["a", 0.25]])
    assert mirror.is_on and not mirror.is_online
"""


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tracking")
    killed = run_program(WRITER, str(root), "3", "kill", env=environment(root))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (log,) = root.glob("wandb/offline-run-*-train-k/*.wandb")
    assert not any("again" in row for row in read_log(log).rows)
    resumed = run_program(WRITER, str(root), "6", "finish", env=environment(root))
    assert resumed.returncode == 0, resumed.stderr
    return root


def read(root: Path) -> RunLog:
    (segment,) = root.glob("wandb/offline-run-*-train-k/*.wandb")
    return finished_log(segment)


def test_every_row_is_mirrored_once_although_the_writer_was_killed(
    killed_and_resumed: Path,
) -> None:
    *rows, media = read(killed_and_resumed).rows
    assert "again" in rows[3]  # lost with the killed attempt's folder
    del rows[3]["again"]
    assert rows == History(killed_and_resumed / "history.jsonl").rows()
    assert [row["train/step"] for row in rows] == list(range(6))
    assert "grid/results" in media  # no row followed: a last step of its own
    assert "train/loss" not in media


def test_the_run_carries_group_name_config_and_summary(killed_and_resumed: Path) -> None:
    run = read(killed_and_resumed)
    assert (run.run_id, run.group, run.job_type) == ("train-k", "sweep-1", "train")
    assert (run.exit_code, run.is_whole) == (0, True)
    assert run.summary["AP50"] == 0.25
    assert run.summary["AP"] is None


def test_the_reader_of_wandb_prints_the_same_rows(killed_and_resumed: Path) -> None:
    (segment,) = killed_and_resumed.glob("wandb/offline-run-*-train-k/*.wandb")
    read(killed_and_resumed)
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(segment)]
    done = subprocess.run(
        command, env=environment(killed_and_resumed), capture_output=True, text=True, check=True
    )
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    history = [record["history"] for record in records if record["type"] == "history"]
    assert [row["step"]["num"] for row in history] == list(range(7))
    ours = [row["item"].get("train/loss") for row in history[:6]]
    assert ours == [row["train/loss"] for row in read(killed_and_resumed).rows[:6]]
    run = next(record["run"] for record in records if record["type"] == "run")
    assert run["display_name"] == "n20 on s0 -> okutama"
    assert run["config"]["update"]["real_count"] == 20


def test_no_file_of_an_online_run_holds_the_api_key(
    backend: tuple[FakeBackend, dict[str, str]], tmp_path: Path
) -> None:
    server, env = backend
    key = "f00d" * 10
    program = WRITER.replace("TrackingConfig()", "TrackingConfig(mode='online')").replace(
        "and not mirror.is_online", "and mirror.is_online"
    )
    root = tmp_path / "root"
    done = run_program(program, str(root), "3", "finish", env=env | {"WANDB_API_KEY": key})
    assert done.returncode == 0, done.stderr
    assert server.rows_of("train-k")[:3] == History(root / "history.jsonl").rows()
    files = [path for path in root.rglob("*") if path.is_file()]
    assert any(path.suffix == ".wandb" for path in files)
    assert [path for path in files if key.encode() in path.read_bytes()] == []
    assert not any("key" in name for name in SETTINGS)


def test_when_the_service_of_wandb_dies_the_next_stage_gets_a_mirror_again(tmp_path: Path) -> None:
    # preemption's SIGTERM reaches wandb-core, the only child of this program
    program = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from ptl_sweep.config.schema import TrackingConfig\n"
        "from ptl_sweep.tracking import RunInfo, open_mirror\n"
        "def mirror(key):\n"
        "    run = RunInfo(key=key, name=key, job_type='train')\n"
        "    return open_mirror(TrackingConfig(), root=Path(sys.argv[1]), sweep='s', run=run)\n"
        "with mirror('train-a') as first:\n"
        "    first.log({'a': 1})\n"
        "    for task in Path('/proc/self/task').iterdir():\n"
        "        for child in (task / 'children').read_text().split():\n"
        "            os.kill(int(child), signal.SIGTERM)\n"
        "    time.sleep(1)\n"
        "    for step in range(3):\n"
        "        first.log({'a': step})\n"
        "    print(first.is_on)\n"
        "with mirror('train-b') as second:\n"
        "    print(second.is_on)\n"
    )
    done = run_program(program, str(tmp_path), env=environment(tmp_path))
    assert done.stdout.split() == ["False", "True"]
    assert done.stderr.count("W&B mirror off") == 1


# Goes on without a server after its first row, and with the time that the end took.
DESERTED = """
import sys, time
from pathlib import Path
from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import RunInfo, open_mirror

root = Path(sys.argv[1])
run = RunInfo(key="train-k", name="k", job_type="train")
with open_mirror(TrackingConfig(mode="online"), root=root, sweep="s", run=run) as mirror:
    (root / "started").touch()
    while not (root / "dead").exists():
        time.sleep(0.02)
    for step in range(5):
        mirror.log({"train/step": step})
    begun = time.monotonic()
print(time.monotonic() - begun)
"""


@pytest.mark.wandb
def test_the_end_of_a_run_waits_for_a_dead_server_no_longer_than_the_finish_timeout(
    backend: tuple[FakeBackend, dict[str, str]], tmp_path: Path
) -> None:
    server, env = backend
    root = tmp_path / "root"
    env |= {"WANDB_FINISH_TIMEOUT": "3"}
    command = [sys.executable, "-c", DESERTED, str(root)]
    begun = time.monotonic()
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as job:
        while not (root / "started").exists():
            assert job.poll() is None
            time.sleep(0.02)
        server.is_dead = True
        (root / "dead").touch()
        printed, _ = job.communicate(timeout=60)
    assert job.returncode == 0
    assert 2.5 < float(printed) < 3 + 5
    assert time.monotonic() - begun < 30
    (log,) = root.glob("wandb/run-*/*.wandb")
    assert [row["train/step"] for row in finished_log(log).rows] == list(range(5))


@pytest.mark.wandb
def test_a_service_that_answers_nothing_does_not_keep_a_stage_from_ending(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from ptl_sweep.config.schema import TrackingConfig\n"
        "from ptl_sweep.tracking import RunInfo, mirror as module, open_mirror\n"
        "module.GRACE = 1\n"
        "run = RunInfo(key='train-a', name='a', job_type='train')\n"
        "root, config = Path(sys.argv[1]), TrackingConfig()\n"
        "with open_mirror(config, root=root, sweep='s', run=run) as mirror:\n"
        "    mirror.log({'a': 1})\n"
        "    for task in Path('/proc/self/task').iterdir():\n"
        "        for child in (task / 'children').read_text().split():\n"
        "            os.kill(int(child), signal.SIGSTOP)\n"
        "    begun = time.monotonic()\n"
        "print(time.monotonic() - begun)\n"
    )
    env = environment(tmp_path) | {"WANDB_FINISH_TIMEOUT": "1"}
    done = run_program(program, str(tmp_path), env=env)
    assert done.returncode == 0
    assert 1.5 < float(done.stdout) < 10
    assert done.stderr.count("W&B mirror off") == 1


# against a stand-in for the run


def test_online_only_rows_that_the_server_lacks_are_sent() -> None:
    run = RecordingRun(starting_step=4)
    mirror = Mirror(run)
    mirror.replay(ROWS)
    assert run.logged == ROWS[4:]


@pytest.mark.parametrize(
    ("offline", "rows", "expected"), [(True, ROWS, True), (True, [], False), (False, ROWS, False)]
)
def test_media_are_shown_again_offline_when_rows_of_an_earlier_attempt_were_replayed(
    offline: bool, rows: list[dict], expected: bool
) -> None:
    mirror = Mirror(RecordingRun(offline=offline))
    mirror.replay(rows)
    mirror.log_images("again", [], repeated=True)
    assert ("again" in mirror._media) is expected
    mirror.log_images("first", [])
    assert "first" in mirror._media


def test_media_travel_with_the_next_row_that_is_sent() -> None:
    run = RecordingRun(starting_step=1)
    with Mirror(run) as mirror:
        mirror._media["images"] = ["picture"]
        mirror.log(ROWS[0])
        mirror.log(ROWS[1])
        mirror.log(ROWS[2])
    assert run.logged == [ROWS[1] | {"images": ["picture"]}, ROWS[2]]


def test_a_failed_stage_ends_its_run_as_failed_and_leaves_no_step_that_is_no_row() -> None:
    run = RecordingRun()
    with pytest.raises(KeyError), Mirror(run) as mirror:  # noqa: PT012
        mirror._media["images"] = ["picture"]
        raise KeyError("stage")
    assert run.logged == []
    assert run.exit_codes == [1]


def test_a_failure_is_logged_once_and_turns_the_mirror_off(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class DeadRun(RecordingRun):
        def log(self, _row: dict) -> None:
            raise ConnectionResetError("service is gone")

    run = DeadRun()
    with caplog.at_level(logging.WARNING), Mirror(run) as mirror:
        for row in ROWS:
            mirror.log(row)
        mirror.summary({"AP50": 0.5})
        assert not mirror.is_on
    assert caplog.text.count("service is gone") == 1
    assert run.exit_codes == [1]


def test_a_figure_or_page_that_is_missing_costs_the_mirror_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for show in (Mirror.log_figure, Mirror.log_html):
        mirror = Mirror(RecordingRun())
        show(mirror, "figure/none", tmp_path / "none.html")
        assert not mirror.is_on
    assert caplog.text.count("W&B mirror off") == 2


def test_edges_are_drawn_online_from_the_latest_artifact_unless_an_alias_is_named() -> None:
    online, offline = RecordingRun(), RecordingRun(offline=True)
    for run in (online, offline):
        mirror = Mirror(run)
        mirror.use_artifact("model-train/k")
        mirror.use_artifact("model-k:v2")
    assert online.used == ["model-train-k:latest", "model-k:v2"]
    assert offline.used == []


def test_an_artifact_that_the_server_lacks_does_not_turn_the_mirror_off() -> None:
    class Bare(RecordingRun):
        def use_artifact(self, name: str) -> None:
            raise ValueError(f"no {name}")

    run = Bare()
    with Mirror(run) as mirror:
        mirror.use_artifact("model-k")
        mirror.log(ROWS[0])
    assert run.logged == ROWS[:1]


def test_a_mirror_that_is_off_takes_everything(tmp_path: Path) -> None:
    with Mirror() as mirror:
        mirror.log(ROWS[0])
        mirror.replay(ROWS)
        mirror.log_images("a", [ShownImage(tmp_path / "none.png", None)])
        mirror.log_figure("a", tmp_path / "none.png")
        mirror.log_html("a", tmp_path / "none.html")
        mirror.update_config({"a": 1})
        mirror.use_artifact("a")
        assert mirror.artifact("a", "model", [tmp_path / "none"]) is None
    assert not mirror.is_on
