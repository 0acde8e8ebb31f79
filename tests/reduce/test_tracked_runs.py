"""Offline run files: written once, all in one process, and whole for `wandb sync`. Real SDK."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.local_runs import NUM_ROWS, PICTURE_ROWS, rows_of, run_program, run_stage
from helpers.wandb_server.backend import FakeBackend

pytestmark = pytest.mark.wandb

WRITE = """
import sys
from pathlib import Path
from helpers.local_runs import order_of
from ptl_sweep.reduce.tracked_runs import write_offline
from ptl_sweep.tracking.syncing import LocalRun

orders = [order_of(Path(sys.argv[1]), key, "offline") for key in sys.argv[2:]]
write_offline([LocalRun(order=order, num_steps=order.num_steps()) for order in orders])
"""


def assert_small(root: Path, key: str) -> None:
    """Nothing that a run shows lies on the disk twice, and W&B's own logs of it are not kept."""
    (run,) = (root / "tracking" / "wandb").glob(f"offline-run-*-{key}")
    data = (root / "tracking" / "data" / key).rglob("*")
    pictures = (root / "store" / key / "media").glob("*.png")
    places: dict[bytes, set[int]] = {}
    for path in (*(run / "files" / "media").rglob("*"), *data, *pictures):
        if path.is_file():
            places.setdefault(path.read_bytes(), set()).add(path.stat().st_ino)
    assert len(places) > len(PICTURE_ROWS)
    assert {len(inodes) for inodes in places.values()} == {1}
    assert list(run.rglob("*.log")) == []
    assert all(path.exists() for path in run.parent.iterdir())  # no link leads to what has gone


def test_offline_files_are_written_once_and_come_up_with_wandb_sync(
    backend: tuple[FakeBackend, dict[str, str]], tmp_path: Path
) -> None:
    server, environment = backend
    keys = ["train-k", "train-l"]
    for key in keys:
        run_stage(tmp_path, environment, mode="off", key=key)

    def written() -> dict[str, int]:
        done = run_program(WRITE, str(tmp_path), *keys, env=environment)
        assert done.returncode == 0, done.stderr
        found = (tmp_path / "tracking" / "wandb").glob("offline-run-*")
        return {path.name.partition("-train-")[2]: path.stat().st_mtime_ns for path in found}

    first = written()
    assert set(first) == {"k", "l"}
    assert written() == first
    with (tmp_path / "store" / "train-l" / "media.json").open("a") as file:
        file.write("\n")
    second = written()
    assert (second["k"], set(second)) == (first["k"], {"k", "l"})
    assert second["l"] != first["l"]
    assert server.operations == []  # nobody was asked
    for key in keys:
        assert_small(tmp_path, key)

    folders = [str(path) for path in (tmp_path / "tracking" / "wandb").glob("offline-run-*")]
    command = [sys.executable, "-m", "wandb", "sync", *folders]
    subprocess.run(
        command, env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=120
    )
    for key in keys:
        rows = server.rows_of(key)
        numbers = [{k: v for k, v in row.items() if not isinstance(v, dict)} for row in rows]
        assert numbers[:NUM_ROWS] == rows_of(tmp_path / "store" / key)
        assert [i for i in PICTURE_ROWS if f"pictures/{i}" in rows[i]] == list(PICTURE_ROWS)
        assert "best" in rows[NUM_ROWS]
        assert server.runs[key].summary["AP50"] == 0.5
        assert server.runs[key].exit_code == 0
    assert {artifact.collection for artifact in server.artifacts.values()} >= {"model-train-k"}
