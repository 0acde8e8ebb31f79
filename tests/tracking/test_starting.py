"""A mirror starts in the mode that was asked for; a server that is away costs one wait."""

import json
import logging
import os
import time
from pathlib import Path

import pytest
from helpers.local_runs import INFO, ROWS, RecordingRun, environment, run_program
from helpers.wandb_server.backend import FakeBackend

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import open_mirror, starting, unreachable


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No credentials or settings of this machine; what open_mirror sets is undone afterwards."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    for name in ("WANDB_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))


class Starts:
    """Stands in for `start_run`: notes the modes; online, waits and raises while it is dead."""

    def __init__(self) -> None:
        self.modes: list[str] = []
        self.runs: list[RecordingRun] = []
        self.is_dead = False
        self.wait = 0.02  # seconds until it raises

    def __call__(self, _config: object, *, mode: str, **_: object) -> RecordingRun:
        self.modes.append(mode)
        if mode == "online" and self.is_dead:
            time.sleep(self.wait)
            raise TimeoutError("no answer")
        self.runs.append(RecordingRun(offline=mode == "offline"))
        return self.runs[-1]


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> Starts:
    stand_in = Starts()
    monkeypatch.setattr(starting, "start_run", stand_in)
    monkeypatch.setattr(starting, "end_service", lambda: None)
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "0.02")
    return stand_in


def start(root: Path, mode: str = "online") -> None:
    with open_mirror(TrackingConfig(mode=mode), root=root, sweep="s", run=INFO, rows=ROWS) as made:
        assert made.is_on


def test_segments_of_other_runs_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "wandb"
    own, other = "offline-run-20260101_000000-abc", "offline-run-20260101_000000-train-abc"
    for name in (own, other):
        (folder / name).mkdir(parents=True)
    starting.delete_segments(tmp_path, "abc")
    assert [path.name for path in folder.iterdir()] == [other]


def test_a_server_that_fails_gives_an_offline_run_with_every_row(
    starts: Starts, tmp_path: Path
) -> None:
    starts.is_dead = True
    start(tmp_path)
    assert starts.modes == ["online", "offline"]
    assert starts.runs[0].logged == ROWS


def test_a_server_that_is_away_is_waited_for_once_by_all_stages(
    starts: Starts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    starts.is_dead = True
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            start(tmp_path)
    assert starts.modes == ["online", "offline", "offline", "offline"]
    assert caplog.text.count("no online run") == 1
    assert caplog.text.count("did not answer") == 2
    mark = json.loads((tmp_path / "unreachable.json").read_text())
    assert mark["url"] == "https://api.wandb.ai"
    assert mark["what"] == "no answer"
    assert 0 <= time.time() - mark["time"] < 60


def test_after_a_quarter_of_an_hour_the_server_is_asked_again_and_forgiven(
    starts: Starts, tmp_path: Path
) -> None:
    starts.is_dead = True
    start(tmp_path)
    path = tmp_path / "unreachable.json"
    mark = json.loads(path.read_text())
    path.write_text(json.dumps(mark | {"time": mark["time"] - unreachable.RETRY_AFTER - 1}))
    starts.is_dead = False
    start(tmp_path)
    assert starts.modes == ["online", "offline", "online"]
    assert not path.exists()


def test_another_server_is_asked_at_once(
    starts: Starts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts.is_dead = True
    start(tmp_path)
    starts.is_dead = False
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org/")
    start(tmp_path)
    assert starts.modes == ["online", "offline", "online"]


def test_a_server_that_refuses_without_a_wait_is_asked_by_every_stage(
    starts: Starts, tmp_path: Path
) -> None:
    starts.is_dead, starts.wait = True, 0
    os.environ["WANDB_INIT_TIMEOUT"] = "30"
    for _ in range(2):
        start(tmp_path)
    assert starts.modes == ["online", "offline"] * 2
    assert not (tmp_path / "unreachable.json").exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"time": 1}', '{"time": "x", "url": "y"}'])
def test_a_torn_or_foreign_mark_counts_for_nothing(
    starts: Starts, tmp_path: Path, content: str
) -> None:
    (tmp_path / "unreachable.json").write_text(content)
    start(tmp_path)
    assert starts.modes == ["online"]


@pytest.mark.parametrize(
    ("config", "variable", "expected"),
    [("online", None, "online"), ("online", "offline", "offline"), ("offline", "online", "online")],
)
def test_wandb_mode_of_the_environment_wins(
    starts: Starts,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    config: str,
    variable: str | None,
    expected: str,
) -> None:
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    start(tmp_path, config)
    assert starts.modes == [expected]


def test_settings_of_the_environment_win_over_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert starting._settings() == starting.SETTINGS
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "5")
    assert starting._settings() == {
        name: value for name, value in starting.SETTINGS.items() if name != "init_timeout"
    }


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
        "from ptl_sweep.config.schema import TrackingConfig\n"
        "from ptl_sweep.tracking import RunInfo, open_mirror\n"
        f"config = TrackingConfig(mode={mode!r})\n"
        "run = RunInfo(key='a', name='a', job_type='train')\n"
        "with open_mirror(config, root=Path(sys.argv[1]), sweep='s', run=run) as m:\n"
        "    m.log({'a': 1}); m.summary({'a': 1}); m.table('t', ['a'], [[1]])\n"
        "    m.artifact('a', 'model', []); m.log_html('h', Path('h')); m.use_artifact('a')\n"
        "print(sorted({'wandb', 'torch'} & set(sys.modules)))\n"
    )
    root = tmp_path / "t"
    env = environment(tmp_path) | {"WANDB_MODE": variable}
    done = run_program(program, str(root), env=env)
    assert done.stdout.strip() == "[]", done.stderr
    assert not root.exists()


# Starts as many stages, one after the other, as are named, and says how each went.
STAGES = """
import logging, sys, time
from pathlib import Path
from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import RunInfo, open_mirror

logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
for key in sys.argv[2:]:
    begun = time.monotonic()
    run = RunInfo(key=key, name=key, job_type="train")
    config = TrackingConfig(mode="online")
    with open_mirror(config, root=Path(sys.argv[1]), sweep="s", run=run) as mirror:
        print(mirror.is_on, mirror.is_online, time.monotonic() - begun)
        mirror.log({"a": 1})
"""


@pytest.mark.wandb
def test_a_dead_server_costs_the_first_stage_its_init_timeout_and_the_others_nothing(
    backend: tuple[FakeBackend, dict[str, str]], tmp_path: Path
) -> None:
    server, env = backend
    root = tmp_path / "tracking"
    server.is_dead = True
    timed = env | {"WANDB_INIT_TIMEOUT": "5"}
    done = run_program(STAGES, str(root), "train-a", "train-b", "train-c", env=timed)
    said = [line.split() for line in done.stdout.splitlines()]
    assert [words[:2] for words in said] == [["True", "False"]] * 3, done.stderr
    first, *others = [float(words[2]) for words in said]
    assert first > 5 > max(others)
    assert done.stderr.count("did not answer") == 2
    server.is_dead = False
    (root / "unreachable.json").unlink()
    done = run_program(STAGES, str(root), "train-d", env=timed)
    assert done.stdout.startswith("True True"), done.stderr
    assert server.rows_of("train-d") == [{"a": 1}]
