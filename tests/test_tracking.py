"""history.jsonl survives kills; its W&B mirror repeats it exactly once and never fails a stage."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ptl_sweep import tracking
from ptl_sweep.config import TrackingConfig
from ptl_sweep.tracking import MAX_RUN_ID, History, Mirror, RunInfo, open_mirror, run_id

ROWS = [{"train/step": step, "train/loss": 1 / (1 + step)} for step in range(6)]
INFO = RunInfo(
    key="train-miniature-n20-s0-0123456789ab",
    name="n20 on s0 -> okutama",
    job_type="train",
    config={"real_count": 20, "target": "okutama"},
    step_metric="train/step",
)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials or settings of this machine; what open_mirror sets is undone afterwards."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("WANDB_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))


# history.jsonl


def test_history_returns_what_was_appended(tmp_path: Path) -> None:
    history = History(tmp_path / "work" / "history.jsonl")
    for row in ROWS:
        history.append(row)
    assert History(history.path).rows() == ROWS


def test_history_of_a_stage_that_logged_nothing_is_empty(tmp_path: Path) -> None:
    assert History(tmp_path / "history.jsonl").rows() == []


def test_a_torn_last_line_is_dropped_and_appending_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"train/step": 0}\n{"train/st', encoding="utf-8")
    history = History(path)
    history.append({"train/step": 1})
    assert history.rows() == [{"train/step": 0}, {"train/step": 1}]
    assert "torn" in caplog.text


def test_an_unreadable_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text('{"train/step": 0}\noops\n{"train/step": 1}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"history\.jsonl:2"):
        History(path).rows()


def test_non_finite_numbers_become_null_and_numpy_scalars_plain(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    history.append({"a": float("nan"), "b": np.float32("inf"), "c": np.int64(3), "d": "text"})
    assert (
        history.path.read_text(encoding="utf-8") == '{"a": null, "b": null, "c": 3, "d": "text"}\n'
    )


# identity


@pytest.mark.parametrize("key", ["train-a_1", "a/b:c;d,e#f?g'h", "ü" * 80, "k" * 64, "k" * 65])
def test_run_ids_are_accepted_by_wandb_and_deterministic(key: str) -> None:
    made = run_id(key)
    assert len(made) <= MAX_RUN_ID
    assert all(
        character.isascii() and (character.isalnum() or character in "-_") for character in made
    )
    assert made == run_id(key)


def test_different_keys_give_different_run_ids() -> None:
    keys = ["a/b", "a-b", "a:b", "k" * 70 + "1", "k" * 70 + "2", "k" * 64]
    assert len({run_id(key) for key in keys}) == len(keys)
    assert run_id("train-n20-0123456789ab") == "train-n20-0123456789ab"


def test_an_unknown_job_type_is_refused() -> None:
    with pytest.raises(ValueError, match="train, evaluate, reduce"):
        RunInfo(key="a", name="a", job_type="ptl")


def test_segments_of_other_runs_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "wandb"
    own, other = "offline-run-20260101_000000-abc", "offline-run-20260101_000000-train-abc"
    for name in (own, other):
        (folder / name).mkdir(parents=True)
    tracking._delete_segments(tmp_path, "abc")
    assert [path.name for path in folder.iterdir()] == [other]


# the mirror, against the real SDK, offline

# One writer process: replays the history, logs further rows up to `stop`, then ends as told.
WRITER = """
import os, signal, sys, time
from pathlib import Path
import numpy as np
from ptl_sweep.config import TrackingConfig
from ptl_sweep.tracking import History, RunInfo, open_mirror

root, stop, end = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
history = History(root / "history.jsonl")
info = RunInfo(key="train-k", name="n20 on s0 -> okutama", job_type="train",
               config={"real_count": 20}, step_metric="train/step")
with open_mirror(TrackingConfig(), root=root, sweep="sweep-1", run=info,
                 rows=history.rows()) as mirror:
    for step in range(len(history.rows()), stop):
        row = {"train/step": step, "train/loss": float("nan") if step == 1 else 1 / (1 + step)}
        history.append(row)
        mirror.log(row)
    if end == "kill":
        time.sleep(2.5)  # past the flush of the transaction log
        os.kill(os.getpid(), signal.SIGKILL)
    boxes = np.array([[1.0, 2.0, 9.0, 12.0]])
    images = [(np.full((16, 16, 3), level, np.uint8), boxes) for level in range(12)]
    mirror.log_images("ptl/selected", images)
    mirror.table("grid/results", ["cell", "AP50"], [["a", 0.25], ["b", float("nan")]])
    model = root / "model.bin"
    model.write_bytes(b"weights")
    mirror.artifact("model-train-k", "model", [model])
    mirror.summary({"AP50": 0.25, "AP": float("nan")})
    assert mirror.is_on
"""


def write(root: Path, stop: int, end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(root), str(stop), end],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if end == "kill" else 0), done.stderr


def segments(root: Path) -> list[Path]:
    return sorted(root.glob("wandb/offline-run-*-train-k/*.wandb"))


def inspect(path: Path) -> list[dict]:
    """The records of a .wandb file as W&B's own reader prints them."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in printed.splitlines() if line.startswith("{")]


def finished_records(path: Path) -> list[dict]:
    """The same once complete: `finish()` offline returns before the file is."""
    deadline = time.monotonic() + 20
    while True:
        records = inspect(path)
        if any(record["type"] == "exit" for record in records) or time.monotonic() > deadline:
            return records
        time.sleep(0.1)


def history_rows(records: list[dict]) -> list[dict]:
    items = [record["history"]["item"] for record in records if record["type"] == "history"]
    return [
        {name: value for name, value in item.items() if not name.startswith("_")} for item in items
    ]


@pytest.fixture(scope="module")
def killed_and_resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tracking")
    write(root, 3, "kill")
    write(root, 6, "finish")
    return root


def test_every_row_is_mirrored_once_although_the_writer_was_killed(
    killed_and_resumed: Path,
) -> None:
    (segment,) = segments(killed_and_resumed)
    rows = history_rows(finished_records(segment))
    metrics = [row for row in rows if "train/loss" in row]
    assert metrics == History(killed_and_resumed / "history.jsonl").rows()
    assert [row["train/step"] for row in metrics] == list(range(6))


def test_the_run_carries_group_name_config_and_summary(killed_and_resumed: Path) -> None:
    records = finished_records(segments(killed_and_resumed)[0])
    run = next(record["run"] for record in records if record["type"] == "run")
    assert (run["run_id"], run["run_group"], run["job_type"]) == ("train-k", "sweep-1", "train")
    assert run["display_name"] == "n20 on s0 -> okutama"
    assert run["config"]["update"]["real_count"] == 20
    summary = {}
    for record in records:
        if record["type"] == "summary":
            summary |= record["summary"].get("update", {})
    assert summary["AP50"] == 0.25
    assert summary["AP"] is None


def test_images_and_tables_make_one_step_after_the_rows_and_at_most_eight_are_shown(
    killed_and_resumed: Path,
) -> None:
    records = finished_records(segments(killed_and_resumed)[0])
    steps = [record["history"]["step"]["num"] for record in records if record["type"] == "history"]
    assert steps == list(range(7))
    last = next(r["history"]["item"] for r in reversed(records) if r["type"] == "history")
    media = json.dumps(last)
    assert "ptl/selected" in media
    assert "grid/results" in media
    folder = segments(killed_and_resumed)[0].parent / "files" / "media"
    assert len(list(folder.rglob("*.png"))) == 8
    (text,) = {path.read_text() for path in folder.rglob("*.boxes2D.json")}
    (box,) = json.loads(text)["box_data"]
    assert box["position"] == {"minX": 1.0, "minY": 2.0, "maxX": 9.0, "maxY": 12.0}


def test_the_artifact_names_its_file(killed_and_resumed: Path) -> None:
    records = finished_records(segments(killed_and_resumed)[0])
    artifacts = [record["artifact"] for record in records if record["type"] == "artifact"]
    (model,) = [artifact for artifact in artifacts if artifact["name"] == "model-train-k"]
    assert "model.bin" in json.dumps(model)


# the mirror, against a stand-in for the run


class RecordingRun(SimpleNamespace):
    """Takes what a wandb Run takes; the server already has `starting_step` rows."""

    def __init__(self, starting_step: int = 0) -> None:
        super().__init__(starting_step=starting_step, logged=[], exit_codes=[], summary={})

    def log(self, row: dict) -> None:
        self.logged.append(row)

    def finish(self, exit_code: int) -> None:
        self.exit_codes.append(exit_code)


def test_online_only_rows_that_the_server_lacks_are_sent() -> None:
    run = RecordingRun(starting_step=4)
    mirror = Mirror(run)
    for row in ROWS:
        mirror.log(row)
    assert run.logged == ROWS[4:]


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


def test_when_the_service_of_wandb_dies_the_next_stage_gets_a_mirror_again(tmp_path: Path) -> None:
    # preemption's SIGTERM reaches wandb-core, the only child of this program
    program = (
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "from ptl_sweep.config import TrackingConfig\n"
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
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
    assert done.stderr.count("W&B mirror off") == 1


def test_a_server_that_fails_gives_an_offline_run_with_every_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    offline, modes = RecordingRun(), []

    def start(config: object, *, mode: str, **_: object) -> RecordingRun:
        modes.append(mode)
        if mode == "online":
            raise TimeoutError("no answer")
        return offline

    monkeypatch.setattr(tracking, "_start_run", start)
    monkeypatch.setattr(tracking, "_end_service", lambda: None)
    config = TrackingConfig(mode="online")
    with open_mirror(config, root=tmp_path, sweep="s", run=INFO, rows=ROWS) as mirror:
        assert mirror.is_on
    assert modes == ["online", "offline"]
    assert offline.logged == ROWS


@pytest.mark.parametrize(
    ("config", "variable", "expected"),
    [("online", None, "online"), ("online", "offline", "offline"), ("offline", "online", "online")],
)
def test_wandb_mode_of_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    config: str,
    variable: str | None,
    expected: str,
) -> None:
    modes = []

    def start(config: object, *, mode: str, **_: object) -> RecordingRun:
        modes.append(mode)
        return RecordingRun()

    monkeypatch.setattr(tracking, "_start_run", start)
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    open_mirror(TrackingConfig(mode=config), root=tmp_path, sweep="s", run=INFO)
    assert modes == [expected]


def test_a_root_that_cannot_be_written_costs_the_mirror_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with open_mirror(TrackingConfig(), root=blocked, sweep="s", run=INFO, rows=ROWS) as mirror:
        mirror.log(ROWS[0])
        assert not mirror.is_on
    assert caplog.text.count("W&B mirror") == 1


@pytest.mark.parametrize(("mode", "variable"), [("off", "online"), ("offline", "disabled")])
def test_off_never_imports_wandb(tmp_path: Path, mode: str, variable: str) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from ptl_sweep.config import TrackingConfig\n"
        "from ptl_sweep.tracking import RunInfo, open_mirror\n"
        f"config = TrackingConfig(mode={mode!r})\n"
        "run = RunInfo(key='a', name='a', job_type='train')\n"
        "with open_mirror(config, root=Path('t'), sweep='s', run=run) as m:\n"
        "    m.log({'a': 1}); m.summary({'a': 1}); m.table('t', ['a'], [[1]])\n"
        "print(sorted({'wandb', 'torch'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | {"WANDB_MODE": variable},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert not (tmp_path / "t").exists()
