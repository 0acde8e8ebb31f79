"""`sync` brings every row of a run to the server exactly once, whatever is on disk or there."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from helpers.wandb_server.backend import FakeBackend

from ptl_sweep.tracking import RunInfo, syncing
from ptl_sweep.tracking.segments import Segment, find_segments, next_segment
from ptl_sweep.tracking.server import Standing
from ptl_sweep.tracking.transaction_log import read_log
from ptl_sweep.tracking.trimming import Span, span_of, write_remainder

RUN = "train-k-0123456789ab"
PICTURES = 3  # of a run: one with each of the first rows

# One stage of training: replays its history, logs further rows up to `stop`, ends as it is told.
STAGE = """
import os, signal, sys, time, urllib.request
from pathlib import Path
import numpy as np
from ptl_sweep.config.schema import TrackingConfig
from ptl_sweep.tracking import History, RunInfo, ShownImage, open_mirror

root, mode, stop, end = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
history = History(root / "history.jsonl")
info = RunInfo(key="train-k-0123456789ab", name="n20 s0", job_type="train",
               config={"real_count": 20}, step_metrics=["train/step"])
with open_mirror(TrackingConfig(mode=mode), root=root, sweep="sweep-1", run=info,
                 rows=history.rows()) as mirror:
    for step in range(len(history.rows()), stop):
        row = {"train/step": step, "train/loss": 1 / (1 + step), "text": "x" * 20_000}
        history.append(row)
        if step < 3:
            pixels = np.full((8, 8, 3), step, np.uint8)
            boxes = np.array([[1.0, 2.0, 5.0, 6.0]])
            shown = ShownImage(pixels=pixels, truths=boxes, detections=None, scores=None)
            mirror.log_images("pictures", [shown])
        mirror.log(row)
    if end == "kill":
        time.sleep(2.5)  # past the flush of the transaction log
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "fail":
        raise SystemExit(3)  # the rows are sent before the process ends
    model = root / "model.bin"
    model.write_bytes(b"weights")
    mirror.artifact("model-train-k", "model", [model])
    mirror.summary({"AP50": 0.25})
import wandb
wandb.teardown()  # offline, finish() returns before the file is whole
"""

SYNC = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from ptl_sweep.tracking import History, RunInfo
from ptl_sweep.tracking.server import Server
from ptl_sweep.tracking.syncing import LocalRun, Uploader

root = Path(sys.argv[1])
server = Server(project="ptl-sweep", entity=None)
uploader = Uploader(root=root, sweep=sys.argv[2], server=server, pauses=(0.1, 0.1, 0.1))
info = RunInfo(key="train-k-0123456789ab", name="n20 s0", job_type="train")
run = LocalRun(info=info, rows=History(root / "history.jsonl").rows(), summary={"AP50": 0.25})
outcome = uploader.sync(run)
server.close()
print(json.dumps(outcome and asdict(outcome)))
"""

Backend = tuple[FakeBackend, dict[str, str]]
Stage = Callable[..., None]
Sync = Callable[..., dict[str, Any]]


@pytest.fixture
def stage(backend: Backend, tmp_path: Path) -> Stage:
    """Runs the stage in mode, up to a row; it must not notice what W&B does."""

    def call(mode: str, stop: int, *, end: str = "finish") -> None:
        arguments = [str(tmp_path), mode, str(stop), end]
        done = python(STAGE, arguments, backend[1])
        assert done.returncode == {"finish": 0, "fail": 3, "kill": -9}[end], done.stderr

    return call


@pytest.fixture
def sync(backend: Backend, tmp_path: Path) -> Sync:
    """Syncs the stage's run and returns the outcome."""

    def call(sweep: str = "sweep-1") -> dict[str, Any]:
        done = python(SYNC, [str(tmp_path), sweep], backend[1])
        assert done.returncode == 0, done.stderr
        outcome: dict[str, Any] = json.loads(done.stdout)
        return outcome

    return call


def python(script: str, arguments: Sequence[str], environment: dict[str, str]) -> Any:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def counts(outcome: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(outcome[name] for name in ("rows", "before", "after", "state"))


def assert_exact(backend: Backend, root: Path, num_pictures: int = PICTURES) -> None:
    """Each row of history.jsonl is on the server once, in its place, with its pictures."""
    server = backend[0]
    rows = [json.loads(line) for line in (root / "history.jsonl").read_text().splitlines()]
    sent = server.rows_of(RUN)
    assert [{k: v for k, v in row.items() if k != "pictures"} for row in sent] == rows
    assert sum("pictures" in row for row in sent) == num_pictures
    run = server.runs[RUN]
    assert sum(name.startswith("media/images") for name in run.files) == num_pictures
    assert run.summary["AP50"] == 0.25
    assert server.unknown == []


@pytest.mark.wandb
def test_an_offline_run_comes_up_once_and_a_second_sync_changes_nothing(
    backend: Backend, stage: Stage, sync: Sync, tmp_path: Path
) -> None:
    stage("offline", 5)
    assert counts(sync()) == (5, 0, 5, "uploaded")
    assert_exact(backend, tmp_path)
    assert backend[0].runs[RUN].exit_code == 0
    requests = len([name for name, _ in backend[0].operations if name == "UpsertBucket"])
    assert counts(sync()) == (5, 5, 5, "already there")
    assert_exact(backend, tmp_path)
    again = len([name for name, _ in backend[0].operations if name == "UpsertBucket"])
    assert again == requests
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("sync-")] == []


@pytest.mark.wandb
def test_a_run_of_another_sweep_gets_the_tag_of_this_one_and_keeps_all_else(
    backend: Backend, stage: Stage, sync: Sync, tmp_path: Path
) -> None:
    stage("online", 5)
    run = backend[0].runs[RUN]
    about = {name: run.about.get(name) for name in ("groupName", "jobType", "displayName")}
    config = dict(run.config)
    assert "_wandb" in config  # x axes of metrics are there
    for name in ("sweep-1", "grown", "grown", "x" * 70):
        assert sync(name)["state"] == "already there"
    assert run.about["tags"] == ["sweep-1", "grown", "x" * 64]
    assert {name: run.about.get(name) for name in about} == about
    assert {name: item["value"] for name, item in run.config.items()} == {
        name: item["value"] for name, item in config.items()
    }
    assert_exact(backend, tmp_path)


def test_an_online_run_is_left_alone(
    backend: Backend, stage: Stage, sync: Sync, tmp_path: Path
) -> None:
    stage("online", 4)
    assert counts(sync()) == (4, 4, 4, "already there")
    assert_exact(backend, tmp_path)


@pytest.mark.wandb
@pytest.mark.parametrize("num_before", [0, 2])
def test_rows_that_the_server_refused_online_are_recovered(
    num_before: int, backend: Backend, stage: Stage, sync: Sync, tmp_path: Path
) -> None:
    if num_before:
        stage("online", num_before, end="fail")
    backend[0].fail_filestream, backend[0].fail_status = 10**6, 404
    stage("online", 5)
    backend[0].fail_filestream = 0
    assert len(backend[0].runs[RUN].rows) == num_before
    assert counts(sync()) == (5, num_before, 5, "uploaded")
    assert_exact(backend, tmp_path)


@pytest.mark.wandb
def test_a_run_that_began_online_and_went_on_offline_has_no_row_twice(
    backend: Backend, stage: Stage, sync: Sync, tmp_path: Path
) -> None:
    stage("online", 2, end="fail")
    stage("offline", 5)
    assert counts(sync()) == (5, 2, 5, "uploaded")
    assert_exact(backend, tmp_path)
    assert counts(sync()) == (5, 5, 5, "already there")


@pytest.mark.wandb
def test_a_sync_that_the_server_refuses_is_no_success_and_the_next_one_is(
    backend: Backend, stage: Stage, sync: Sync, tmp_path: Path
) -> None:
    stage("offline", 4)
    backend[0].fail_filestream, backend[0].fail_status = 10**6, 404
    refused = sync()
    assert counts(refused) == (4, 0, 0, "failed")
    assert "Fatal error" in refused["why"]
    assert list((tmp_path / "wandb").glob("offline-run-*/*.synced")) == []
    backend[0].fail_filestream = 0
    assert counts(sync()) == (4, 0, 4, "uploaded")
    assert_exact(backend, tmp_path)


@pytest.mark.wandb
@pytest.mark.parametrize("status", [404, 429, 500])
def test_one_refusal_is_tried_again(
    status: int, backend: Backend, stage: Stage, sync: Sync, tmp_path: Path
) -> None:
    stage("offline", 4)
    backend[0].fail_filestream, backend[0].fail_status = 1, status
    assert counts(sync()) == (4, 0, 4, "uploaded")
    assert_exact(backend, tmp_path)


@pytest.mark.wandb
def test_rows_without_any_wandb_file_are_sent_from_the_history(
    backend: Backend, stage: Stage, sync: Sync, tmp_path: Path
) -> None:
    stage("offline", 4)
    for path in (tmp_path / "wandb").glob("offline-run-*"):
        path.rename(tmp_path / f"lost-{path.name}")
    assert counts(sync()) == (4, 0, 4, "uploaded")
    assert_exact(backend, tmp_path, num_pictures=0)
    assert list((tmp_path / "wandb").glob("*run-*")) in ([], [tmp_path / "wandb" / "latest-run"])
    assert counts(sync()) == (4, 4, 4, "already there")


@pytest.mark.wandb
def test_rows_that_the_mirror_missed_are_added_from_the_history(
    backend: Backend, stage: Stage, sync: Sync, tmp_path: Path
) -> None:
    stage("offline", 3)
    with (tmp_path / "history.jsonl").open("a") as file:
        file.writelines(f'{{"train/step": {step}, "train/loss": 0.5}}\n' for step in (3, 4))
    assert counts(sync()) == (5, 0, 5, "uploaded")
    assert_exact(backend, tmp_path)
    assert counts(sync()) == (5, 5, 5, "already there")


@pytest.mark.wandb
def test_an_unreadable_folder_is_passed_over_with_a_line(
    backend: Backend, stage: Stage, sync: Sync, tmp_path: Path
) -> None:
    stage("offline", 4, end="kill")
    empty = tmp_path / "wandb" / f"offline-run-20260101_000000-{RUN}"
    garbage = tmp_path / "wandb" / f"run-20260101_000001-{RUN}"
    for folder, content in ((empty, b":W&B\xe1\xbe\x00"), (garbage, b"not a log at all")):
        folder.mkdir()
        (folder / f"run-{RUN}.wandb").write_bytes(content)
    outcome = sync()
    assert counts(outcome) == (4, 0, 4, "uploaded")
    assert [line.split(":")[0].split(" ")[0] for line in outcome["unreadable"]] == [
        empty.name,
        garbage.name,
    ]
    assert len(backend[0].rows_of(RUN)) == 4


# without a server


def segment(name: str, first: int, end: int) -> Segment:
    return Segment(Path(f"{name}-20260101_00000{end}-k") / "run-k.wandb", Span(first, end, True))


def test_the_segment_that_reaches_farthest_without_a_gap_goes_first() -> None:
    online = [segment("run", 0, 2), segment("run", 2, 5), segment("run", 6, 9)]
    whole = segment("offline-run", 0, 5)
    now = Standing(0, has_ended=False)
    assert next_segment([*online, whole], now) == whole
    assert next_segment(online, now) == online[0]
    assert next_segment(online, Standing(3, has_ended=False)) == online[1]
    assert next_segment(online, Standing(5, has_ended=True)) is None  # step 5 is nowhere
    assert next_segment(online, Standing(9, has_ended=True)) is None
    assert next_segment([], now) is None


def test_a_run_whose_rows_are_there_is_sent_once_more_only_for_its_end() -> None:
    online, offline = segment("run", 0, 5), segment("offline-run", 0, 5)
    assert next_segment([online], Standing(5, has_ended=True)) is None
    assert next_segment([online], Standing(5, has_ended=False)) == online
    assert next_segment([offline], Standing(5, has_ended=True)) == offline


def test_a_row_that_no_file_holds_is_named_and_nothing_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = segment("run", 2, 5)
    monkeypatch.setattr(syncing, "find_segments", lambda *_: ([late], []))
    server: Any = SimpleNamespace(standing=lambda _id: Standing(1, has_ended=False))
    uploader = syncing.Uploader(root=tmp_path, sweep="sweep-1", server=server, pauses=())
    run = syncing.LocalRun(info=RunInfo(key="k", name="k", job_type="train"), rows=[{"a": 0}])
    outcome = uploader.sync(run)
    assert outcome is not None
    assert (outcome.state, outcome.why) == ("failed", "row 1 is in no file here")
    assert (outcome.rows, outcome.before, outcome.after) == (5, 1, 1)


def test_folders_of_other_runs_are_not_ours(tmp_path: Path) -> None:
    for name in ("run-20260101_000000-other-k", "run-20260101_000000-k2", "latest-run"):
        (tmp_path / "wandb" / name).mkdir(parents=True)
    assert find_segments(tmp_path, "k") == ([], [])


def test_a_remainder_holds_the_rows_after_the_cut_across_blocks(
    tmp_path: Path, backend: Backend
) -> None:
    stage_rows = 6
    done = python(STAGE, [str(tmp_path), "offline", str(stage_rows), "finish"], backend[1])
    assert done.returncode == 0, done.stderr
    (path,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert os.path.getsize(path) > 3 * 32768  # noqa: PTH202 - several blocks
    whole = read_log(path)
    for cut in (0, 2, stage_rows):
        copy = write_remainder(path, tmp_path / f"cut-{cut}", cut, entity="e", project="p")
        log = read_log(copy)
        assert log.is_whole
        assert log.rows == whole.rows[cut:]
        assert (log.summary, log.exit_code, log.run_id) == (whole.summary, 0, RUN)
        assert span_of(copy) == Span(0, stage_rows - cut, True)
        assert (copy.parent / "files").resolve() == (path.parent / "files").resolve()
