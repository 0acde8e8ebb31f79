"""A stage hands its mirror to a process beside it: all arrives, and nothing comes back."""

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from helpers.local_runs import environment, finished_log, run_program
from hypothesis import given, settings
from hypothesis import strategies as st

from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import Recorder, RunInfo, StageMirror
from ptl_sweep.tracking.spool import FINISH, Call, Spool, calls, leftovers, read_call
from ptl_sweep.tracking.transaction_log import records

# Two stages of one process; `meddle` is done in the middle of the first.
STAGES = """
import logging, os, signal, sys, time
from pathlib import Path
from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import Recorder, RunInfo, recording_process as module

logging.basicConfig(format="%(message)s")

def children(pid):
    tasks = Path("/proc", str(pid), "task")
    return [int(c) for t in tasks.iterdir() for c in (t / "children").read_text().split()]

def mirror(key):
    info = RunInfo(key=key, name=key, job_type="train", step_metrics=["train/step"])
    config = TrackingConfig(live_after=0)
    return recorder.open_mirror(config, root=Path(sys.argv[1]), sweep="s", run=info)

def wait_for_core(pid):
    while not children(pid):
        time.sleep(0.05)

with Recorder() as recorder:
    with mirror("train-a") as first:
        for step in range(3):
            first.log({"train/step": step})
        (pid,) = children(os.getpid())
        wait_for_core(pid)
        MEDDLE
        for step in range(3, 6):
            first.log({"train/step": step})
    with mirror("train-b") as second:
        second.log({"train/step": 0})
        (other,) = children(os.getpid())
    print(pid == other, "wandb" in sys.modules)
"""


def run_stages(root: Path, meddle: str = "") -> tuple[str, str]:
    """What the program prints and logs."""
    program = STAGES.replace("MEDDLE", meddle)
    done = run_program(program, str(root), env=environment(root))
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr


def steps(root: Path, key: str) -> list[int]:
    (log,) = root.glob(f"wandb/offline-run-*-{key}/*.wandb")
    return [row["train/step"] for row in finished_log(log).rows]


# messages


def spool_in(root: Path) -> tuple[Spool, int]:
    """A spool, and a descriptor of who reads it."""
    spool = Spool.create(root, "train-a")
    return spool, os.open(spool.path, os.O_RDONLY)


@given(st.lists(st.one_of(st.text(max_size=20), st.binary(max_size=3000)), max_size=12))
@settings(max_examples=50)
def test_messages_of_any_length_arrive_in_their_order(values: list[object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        spool, reader = spool_in(Path(folder))
        for value in values:
            spool.append(Call("log", (value,)))
        spool.append(Call(FINISH))
        arrived = []
        for call in calls(reader, threading.Event()):
            if call.method == FINISH:
                break
            arrived.append(call.arguments[0])
        spool.close()
        os.close(reader)
    assert arrived == values


def test_a_reader_waits_for_the_rest_of_a_message(tmp_path: Path) -> None:
    spool, descriptor = spool_in(tmp_path)
    spool.append(Call("log", ("whole",)))
    size = spool.path.stat().st_size
    spool.append(Call("log", ("later",)))
    everything = spool.path.read_bytes()
    os.truncate(spool.path, size + 20)  # the second has its length and some bytes
    woken = threading.Event()
    reader = calls(descriptor, woken)
    assert next(reader).arguments == ("whole",)
    found: list[Call] = []
    thread = threading.Thread(target=lambda: found.append(next(reader)))
    thread.start()
    woken.set()
    while woken.is_set():  # until the reader has looked and waits again
        pass
    spool.path.write_bytes(everything)
    woken.set()
    thread.join()
    spool.close()
    os.close(descriptor)
    assert [call.arguments for call in found] == [("later",)]


@pytest.mark.parametrize("cut", [0, 3, 11])
def test_what_a_killed_stage_left_ends_as_failed_and_a_torn_message_is_cut(
    tmp_path: Path, cut: int
) -> None:
    spool, reader = spool_in(tmp_path)
    spool.append(Call("log", ("whole",)))
    size = spool.path.stat().st_size
    spool.append(Call("log", ("torn",)))
    os.truncate(spool.path, size + cut)
    spool.seal()
    spool.seal()
    messages = calls(reader, threading.Event())
    assert next(messages) == Call("log", ("whole",))
    assert next(messages) == Call(FINISH, options={"failed": True})
    assert read_call(reader, spool.path.stat().st_size) is None
    os.close(reader)
    spool.close()


def test_only_spools_of_stages_that_have_ended_are_left(tmp_path: Path) -> None:
    ended, living = (Spool.create(tmp_path, name) for name in ("train-a", "train-b"))
    ended.close()
    (found,) = leftovers(tmp_path)
    assert found.path == ended.path
    assert list(leftovers(tmp_path)) == []  # somebody has it
    found.set_aside()
    assert list(leftovers(tmp_path)) == []
    living.delete()


def test_a_new_attempt_takes_the_place_of_what_a_killed_one_left(tmp_path: Path) -> None:
    other, killed = (Spool.create(tmp_path, name) for name in ("train-a-2", "train-a"))
    other.close()
    killed.close()
    again = Spool.create(tmp_path, "train-a")
    assert {path.name for path in (tmp_path / "spool").iterdir()} == {
        again.path.name, other.path.name,
    }  # fmt: skip
    again.delete()


# the process, with the real SDK, offline


def test_stages_share_a_process_that_loads_wandb_for_them(tmp_path: Path) -> None:
    printed, errors = run_stages(tmp_path)
    assert printed == "True False"
    assert errors == ""
    assert (steps(tmp_path, "train-a"), steps(tmp_path, "train-b")) == (list(range(6)), [0])


# One stage that holds 400 MB until W&B has looked at it.
LARGE = """
import sys, time
from pathlib import Path
from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import Recorder, RunInfo

root, info = Path(sys.argv[1]), RunInfo(key="train-a", name="a", job_type="train")
with Recorder() as recorder:
    with recorder.open_mirror(TrackingConfig(live_after=0), root=root, sweep="s", run=info):
        held = bytearray(400 * 2**20)
        held[:: 2**10] = b"1" * (len(held) // 2**10)
        while not any(b"rssMB" in p.read_bytes() for p in root.glob("wandb/offline-run-*/*.wandb")):
            time.sleep(0.1)
"""


def test_wandb_watches_the_stage_and_names_its_command(tmp_path: Path) -> None:
    env = environment(tmp_path) | {"WANDB_X_STATS_SAMPLING_INTERVAL": "0.5"}
    done = run_program(LARGE, str(tmp_path), "task-of-a-sweep", env=env)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("wandb/offline-run-*-train-a/*.wandb")
    about = records_of(path, "environment")[0]
    assert about.program == "-c"
    assert list(about.args) == [str(tmp_path), "task-of-a-sweep"]
    items = [item for record in records_of(path, "stats") for item in record.item]
    assert max(float(i.value_json) for i in items if i.key == "proc.memory.rssMB") > 400


def records_of(path: Path, kind: str) -> list[Any]:
    from wandb.proto import wandb_internal_pb2

    found = []
    for content, _ in records(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(content)
        if record.WhichOneof("record_type") == kind:
            found.append(getattr(record, kind))
    return found


def test_signals_that_are_meant_for_the_stage_cost_no_row(tmp_path: Path) -> None:
    meddle = "[os.kill(pid, n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)]"
    printed, errors = run_stages(tmp_path, meddle)
    assert (printed, errors) == ("True False", "")
    assert steps(tmp_path, "train-a") == list(range(6))


def test_what_wandb_gave_up_is_written_afterwards(tmp_path: Path) -> None:
    meddle = "os.kill(children(pid)[0], signal.SIGKILL); time.sleep(0.5)"
    _, errors = run_stages(tmp_path, meddle)
    assert errors.count("W&B mirror") == 1  # off, or not even begun
    done = run_program(DRAIN, str(tmp_path), env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (steps(tmp_path, "train-a"), steps(tmp_path, "train-b")) == (list(range(6)), [0])
    assert list((tmp_path / "spool").iterdir()) == []


def test_after_the_death_of_the_process_the_next_stage_gets_another(tmp_path: Path) -> None:
    meddle = "os.kill(pid, signal.SIGKILL); time.sleep(0.5)"
    printed, errors = run_stages(tmp_path, meddle)
    assert printed == "False False"
    assert errors.count("W&B mirror off") == 1
    assert steps(tmp_path, "train-b") == [0]


def test_a_process_that_answers_nothing_is_killed_and_does_not_keep_a_stage(
    tmp_path: Path,
) -> None:
    once = "usual, short = module._patience, iter([1.0]); "
    once += "module._patience = lambda: next(short, usual())"
    meddle = f"{once}; os.kill(pid, signal.SIGSTOP)"
    printed, errors = run_stages(tmp_path, meddle)
    assert printed == "False False"
    assert errors.count("W&B mirror off") == 1
    assert "did not end the run within 1 s" in errors
    assert steps(tmp_path, "train-b") == [0]


def test_nothing_is_left_of_the_mirror_of_a_killed_stage(tmp_path: Path) -> None:
    meddle = (
        "core = children(pid); print(pid, *core, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = run_program(STAGES.replace("MEDDLE", meddle), str(tmp_path), env=environment(tmp_path))
    pids = [int(pid) for pid in done.stdout.split()]
    assert len(pids) == 2
    deadline = time.monotonic() + 60
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "a process of the mirror outlives its stage"
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


# without W&B


@pytest.mark.parametrize(("mode", "variable"), [("off", "offline"), ("offline", "disabled")])
def test_without_tracking_no_process_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, variable: str
) -> None:
    monkeypatch.setenv("WANDB_MODE", variable)
    run = RunInfo(key="k", name="k", job_type="train")
    with Recorder() as recorder:
        config = TrackingConfig(mode=mode)
        with recorder.open_mirror(config, root=tmp_path, sweep="s", run=run) as mirror:
            assert not mirror.is_on
            mirror.log({"train/step": 0})
        assert recorder._process is None
    assert list(tmp_path.iterdir()) == []


# offline, a stage that is shorter than live_after

SHORT = """
import sys, time
from pathlib import Path
from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import Recorder, RunInfo

root, after = Path(sys.argv[1]), float(sys.argv[2])
info = RunInfo(key="train-a", name="a", job_type="train", step_metrics=["train/step"])
with Recorder() as recorder:
    with recorder.open_mirror(
        TrackingConfig(live_after=after), root=root, sweep="s", run=info
    ) as mirror:
        for step in range(6):
            mirror.log({"train/step": step})
            time.sleep(0.1)
            END
    print(recorder._process is not None)
"""
DRAIN = """
import sys
from pathlib import Path
from ptl_sweep.tracking import Recorder

with Recorder() as recorder:
    for path in recorder.record_leftovers(Path(sys.argv[1])):
        assert not path.exists()
print("wandb" in sys.modules)
"""


def test_a_short_stage_starts_no_process_and_its_run_is_written_afterwards(tmp_path: Path) -> None:
    env = environment(tmp_path)
    begun = time.time()
    done = run_program(SHORT.replace("END", "pass"), str(tmp_path), "60", env=env)
    ended = time.time()
    assert done.stdout == "False\n", done.stderr
    assert not (tmp_path / "wandb").exists()
    for _twice in range(2):
        drained = run_program(DRAIN, str(tmp_path), env=env)
        assert (drained.stdout, drained.stderr) == ("False\n", "")
        (path,) = tmp_path.glob("wandb/offline-run-*-train-a/*.wandb")
        assert finished_log(path).exit_code == 0
        assert steps(tmp_path, "train-a") == list(range(6))
    assert list((tmp_path / "spool").iterdir()) == []
    times = [
        float(item.value_json)
        for row in records_of(path, "history")
        for item in row.item
        if "_timestamp" in (item.key, *item.nested_key)
    ]
    assert len(times) == 6
    assert begun <= times[0] < times[-1] <= ended  # of the stage, not of who wrote the run


def test_a_stage_goes_live_once_it_has_lasted(tmp_path: Path) -> None:
    env = environment(tmp_path)
    done = run_program(SHORT.replace("END", "pass"), str(tmp_path), "0.25", env=env)
    assert done.stdout == "True\n", done.stderr
    assert steps(tmp_path, "train-a") == list(range(6))
    assert list((tmp_path / "spool").iterdir()) == []


def test_the_rows_of_a_killed_short_stage_are_written_as_a_failed_run(tmp_path: Path) -> None:
    env = environment(tmp_path)
    kill = "step == 3 and __import__('os').kill(__import__('os').getpid(), 9)"
    done = run_program(SHORT.replace("END", kill), str(tmp_path), "60", env=env)
    assert done.returncode == -9
    drained = run_program(DRAIN, str(tmp_path), env=env)
    assert drained.stderr == ""
    (path,) = tmp_path.glob("wandb/offline-run-*-train-a/*.wandb")
    assert finished_log(path).exit_code == 1
    assert steps(tmp_path, "train-a") == list(range(4))


def test_what_cannot_be_recorded_is_a_warning_and_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    Spool.create(tmp_path, "train-a").close()
    monkeypatch.setattr(Recorder, "process", refuse)
    for _twice in range(2):
        list(Recorder().record_leftovers(tmp_path))
    assert caplog.text.count("Cannot allocate memory") == 1
    assert [path.suffix for path in (tmp_path / "spool").iterdir()] == [".failed"]


# without W&B at all


def test_what_cannot_be_sent_is_one_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Full:
        def send(self, _call: Call) -> None:
            raise OSError(28, "No space left on device")

        def finish(self, *, failed: bool) -> None:
            raise AssertionError(failed)

    with StageMirror(Full()) as mirror:  # type: ignore[arg-type]
        mirror.log({"train/step": 0})
        mirror.summary({"AP50": 0.5})
        mirror.artifact("model-k", "model", [tmp_path])
        assert not mirror.is_on
    assert caplog.text.count("No space left") == 1


def test_what_was_shown_before_is_sent_only_where_an_attempt_was_killed() -> None:
    class Told(list[Call]):
        send = list.append

        def finish(self, *, failed: bool) -> None:
            assert not failed

    for was_there in (False, True):
        told = Told()
        with StageMirror(told, was_there=was_there) as mirror:  # type: ignore[arg-type]
            mirror.log_images("again", [], repeated=True)
            mirror.log_images("first", [])
        names = [call.arguments[0] for call in told if call.method == "log_images"]
        assert names == ["again", "first"][not was_there :]
