"""The process beside a worker: orders one after the other, a dead server asked once, no faults."""

import io
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.local_runs import order_of, run_program

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import Companion, Order, companion, follow, mode_of, offline, unreachable
from ptl_sweep.tracking import wandb as projection
from ptl_sweep.tracking.wandb import StartError


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of this machine."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)


class Projections:
    """Stands in for `project`: notes the runs, and raises what it is told to."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.errors: list[Exception] = []

    def __call__(self, order: Order, _has_ended: Callable[[], bool]) -> None:
        self.made.append(order.run_id)
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Projections:
    stand_in = Projections()
    monkeypatch.setattr(follow, "project", stand_in)
    monkeypatch.setattr(follow, "_end_service", lambda: None)  # none was started
    return stand_in


def carried_out(root: Path, key: str = "train-k", mode: str = "online") -> str | None:
    return follow.carry_out(order_of(root, key, mode), lambda: True)


def dead() -> StartError:
    return StartError(TimeoutError("no answer"), 120.0)


# orders


def test_an_order_survives_its_line(tmp_path: Path) -> None:
    order = replace(order_of(tmp_path, "train-k"), summary={"AP": 0.5, "b": None}, is_live=True)
    assert Order.from_line(order.to_line()) == order
    reduction = replace(order, work_folder=None, run=replace(order.run, makes=None))
    assert Order.from_line(reduction.to_line()) == reduction
    assert "\n" not in order.to_line()


def test_orders_come_in_turn_and_the_next_line_ends_a_live_one(tmp_path: Path) -> None:
    keys = ["train-a", "train-b"]
    lines = "".join(f"{order_of(tmp_path, key).to_line()}\n\n" for key in keys)
    orders = follow.OrderReader(io.StringIO(lines))
    assert not orders.has_more(0)
    orders.start()
    orders.join()
    found = []
    for order in orders:
        assert orders.has_more(0)  # the empty line, or the end of the input
        found.append(order.run_id)
    assert found == keys


# a server that is away


def test_a_server_that_is_away_is_waited_for_once_by_all_stages(
    made: Projections, tmp_path: Path
) -> None:
    made.errors = [dead()]
    problems = [carried_out(tmp_path, f"train-{i}") for i in range(3)]
    assert made.made == ["train-0"]
    assert all(problems)
    mark = json.loads((tmp_path / "tracking" / "unreachable.json").read_text())
    assert mark["url"] == "https://api.wandb.ai"
    assert 0 <= time.time() - mark["time"] < 60


def test_after_a_quarter_of_an_hour_the_server_is_asked_again_and_forgiven(
    made: Projections, tmp_path: Path
) -> None:
    made.errors = [dead()]
    carried_out(tmp_path)
    path = tmp_path / "tracking" / "unreachable.json"
    mark = json.loads(path.read_text())
    path.write_text(json.dumps(mark | {"time": mark["time"] - unreachable.RETRY_AFTER - 1}))
    assert carried_out(tmp_path) is None
    assert made.made == ["train-k"] * 2
    assert not path.exists()


def test_another_server_is_asked_at_once(
    made: Projections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.errors = [dead()]
    carried_out(tmp_path)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org/")
    assert carried_out(tmp_path) is None


def test_offline_files_are_written_though_the_server_is_away(
    made: Projections, tmp_path: Path
) -> None:
    made.errors = [dead()]
    carried_out(tmp_path)
    assert carried_out(tmp_path, mode="offline") is None


def test_a_refusal_without_a_wait_is_tried_twice_and_blames_no_other_stage(
    made: Projections, tmp_path: Path
) -> None:
    made.errors = [StartError(PermissionError("key"), 0.5)] * 2
    assert "key" in str(carried_out(tmp_path))
    assert made.made == ["train-k"] * 2
    assert not (tmp_path / "tracking" / "unreachable.json").exists()


def test_what_w_and_b_raises_is_tried_once_more_and_a_damaged_history_is_not(
    made: Projections, tmp_path: Path
) -> None:
    made.errors = [ConnectionResetError("service")]
    assert carried_out(tmp_path) is None
    made.errors = [ValueError("history.jsonl:2: not JSON")]
    assert "not JSON" in str(carried_out(tmp_path))
    assert len(made.made) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", '{"time": 1}', '{"time": "x", "url": "y"}'])
def test_a_torn_or_foreign_mark_counts_for_nothing(
    made: Projections, tmp_path: Path, content: str
) -> None:
    (tmp_path / "tracking").mkdir()
    (tmp_path / "tracking" / "unreachable.json").write_text(content)
    assert carried_out(tmp_path) is None


# the worker's side


@pytest.mark.parametrize(
    ("config", "variable", "expected"),
    [
        ("online", None, "online"),
        ("offline", None, "offline"),
        ("online", "offline", "offline"),
        ("offline", "online", "online"),
        ("off", "online", None),
        ("offline", "disabled", None),
    ],
)
def test_wandb_mode_of_the_environment_wins_save_over_off(
    monkeypatch: pytest.MonkeyPatch, config: str, variable: str | None, expected: str | None
) -> None:
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    assert mode_of(TrackingConfig(mode=config)) == expected


def test_settings_of_the_environment_win_over_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    assert projection.setting("init_timeout") == 120
    monkeypatch.setenv("WANDB_INIT_TIMEOUT", "5")
    assert projection.setting("init_timeout") == 5
    assert projection._settings() == {
        name: value for name, value in projection.SETTINGS.items() if name != "init_timeout"
    }


def test_a_process_that_cannot_start_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(companion, "FOLLOW", [str(tmp_path / "no-such-program")])
    with Companion() as beside:
        beside.follow(order_of(tmp_path, "train-k"))
        beside.end()
    assert "W&B is not told" in caplog.text


def test_a_process_that_never_reads_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(companion, "FOLLOW", asleep)
    monkeypatch.setattr(companion, "CLOSE_S", 0.1)
    began = time.monotonic()
    with Companion() as beside:
        for _ in range(200):  # more than a pipe holds
            beside.follow(order_of(tmp_path, "train-k"))
            beside.end()
    assert time.monotonic() - began < 20
    assert "W&B is not told" in caplog.text
    assert "did not end" in caplog.text


def test_whatever_becomes_of_the_process_every_run_has_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = '{"run": "train-0", "problem": null}'
    monkeypatch.setattr(companion, "FOLLOW", [sys.executable, "-c", f"print('{said}')"])
    monkeypatch.setattr(companion, "ANSWER_S", 20.0)
    orders = [order_of(tmp_path, f"train-{i}") for i in range(2)]
    found = companion.carry_out(orders)
    assert found["train-0"] is None
    assert "ended" in str(found["train-1"])
    assert companion.carry_out([]) == {}


def test_ctrl_c_does_not_wait_for_what_w_and_b_still_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = "import json, os, time; print(json.dumps({'run': 'a', 'problem': str(os.getpid())}))"
    program = f"{busy}; import sys; sys.stdout.flush(); time.sleep(60)"
    monkeypatch.setattr(companion, "FOLLOW", [sys.executable, "-c", program])
    processes = []
    real = companion._start

    def start(*arguments: Any, **streams: Any) -> Any:
        processes.append(real(*arguments, **streams))
        return processes[-1]

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(companion, "_start", start)
    began = time.monotonic()
    orders = [order_of(tmp_path, f"train-{i}") for i in range(2)]
    with pytest.raises(KeyboardInterrupt):
        companion.carry_out(orders, at_once=2, on_done=interrupt)
    assert time.monotonic() - began < 30
    assert [process.poll() for process in processes] == [-signal.SIGKILL] * 2


def test_a_worker_never_loads_wandb(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from ptl_sweep.pipeline import wandb_runs\n"
        "from ptl_sweep.tracking import Companion\n"
        "with Companion() as companion:\n"
        "    companion.end()\n"
        "print(sorted({'wandb', 'torch'} & set(sys.modules)))\n"
    )
    done = run_program(program, env=os.environ)
    assert done.stdout.strip() == "[]", done.stderr


def test_offline_folders_of_other_runs_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "wandb"
    own, other = "offline-run-20260101_000000-abc", "offline-run-20260101_000000-train-abc"
    for name in (own, other):
        (folder / name).mkdir(parents=True)
    offline.delete_offline_runs(tmp_path, "abc")
    assert [path.name for path in folder.iterdir()] == [other]
