"""Stores with stages of a few bytes, and what killed workers leave in one."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ptl_sweep.store import Store, stage_key

HOURS_AGO = 7200.0
CLAIM = """
import sys, time
from pathlib import Path
from ptl_sweep.store import Store

with Store(Path(sys.argv[1])).claim(sys.argv[2]) as folder:
    (folder / "checkpoint.pt").write_bytes(b"half way")
    print("claimed", flush=True)
    sys.stdin.read()
"""


def key_of(kind: str = "train", label: str = "x", parents: Sequence[str] = ()) -> str:
    """A key that the store would give."""
    return stage_key(kind, label, version=1, spec={}, parents=parents)


def publish(store: Store, key: str, *, parents: Sequence[str] = (), content: bytes = b"w") -> Path:
    """A stage of two files."""
    with store.claim(key) as folder:
        (folder / "media").mkdir()
        (folder / "media" / "picture.jpg").write_bytes(content)
        (folder / "model").write_bytes(content)
        return store.publish(key, {"status": "ok", "parents": list(parents)})


def old_file(path: Path, content: bytes = b"torn") -> Path:
    """A file that nobody has touched for hours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    make_old(path)
    return path


def make_old(path: Path) -> None:
    """As if it had last been written hours ago."""
    os.utime(path, (time.time() - HOURS_AGO,) * 2)


def leave_claim(store: Store, key: str, **content: object) -> Path:
    """The claim of a process that is gone; with `life`, of one elsewhere."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    claim = {"host": os.uname().nodename, "pid": done.pid, "token": "dead", **content}
    store.claim_path(key).write_text(json.dumps(claim))
    return store.claim_path(key)


@contextmanager
def live_worker(store: Store, key: str) -> Iterator[Path]:
    """A process that holds the claim of a stage; yields the stage's work folder."""
    command = [sys.executable, "-c", CLAIM, str(store.root), key]
    worker = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "claimed\n"
        yield store.work_folder(key)
    finally:
        worker.communicate("")


def contents(folder: Path) -> dict[str, str]:
    """Every file and folder below one, with the time and the digest of each file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or path.is_dir():
            found[name] = "folder" if path.is_dir() else "link"
        else:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[name] = f"{digest} {path.stat().st_mtime_ns}"
    return found
