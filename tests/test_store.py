"""The store: keys are content, a stage is whole or absent, and nobody computes it twice."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptl_sweep import store as store_module
from ptl_sweep.meta import sealed
from ptl_sweep.store import (
    Store,
    StoreError,
    canonical_json,
    is_disk_full,
    stage_key,
    write_atomically,
)

SPEC = {"dataset": {"reader": "miniature", "seed": 3}, "real_count": 20, "rate": 0.1}

# Publishes one stage as a worker does; a parent process says where it dies.
WORKER = """
import json, os, sys
from pathlib import Path
from ptl_sweep import ownership, store

root, point = Path(sys.argv[1]), sys.argv[2]
key = store.stage_key("train", "x", version=1, spec={"a": 1}, parents=())
home = store.Store(root)

def die(*_):
    os._exit(9)

def at(where):
    if where == point:
        die()

real_fsync, real_write, real_claim = store._fsync, store.write_atomically, ownership.take_claim

def fsync(path):
    if path == home.work_folder(key):
        at("meta done")
    if path == root:
        at("after rename")
    real_fsync(path)
    if path == root:
        at("after fsync of the parent")

def write(path, data):
    at("fsynced")
    if point == "half meta.json":
        torn = path.with_name(path.name + ".1234abcd" + store.TEMPORARY)
        torn.write_bytes(data[: len(data) // 2])
        die()
    real_write(path, data)

def claim(path):
    token = real_claim(path)
    at("before the wip folder")
    return token

store._fsync, store.write_atomically, ownership.take_claim = fsync, write, claim
with home.claim(key) as folder:
    at("after the wip folder")
    if point == "half an artifact":
        (folder / "model").write_bytes(b"half")
        die()
    (folder / "model").write_bytes(b"half and half")
    at("written")
    home.publish(key, {"status": "ok"})
    at("committed but not yet returned")
print(key)
"""
KILL_POINTS = [
    "before the wip folder", "after the wip folder", "half an artifact", "written", "fsynced",
    "half meta.json", "meta done", "after rename", "after fsync of the parent",
    "committed but not yet returned",
]  # fmt: skip
COMMITTED = KILL_POINTS[7:]

# Dies at the n-th line that store.py and ownership.py execute, for every n; the run after each
# death publishes.
EVERY_LINE = """
import json, os, sys
from pathlib import Path
from ptl_sweep import ownership, store

root = Path(sys.argv[1])
key = store.stage_key("train", "x", version=1, spec={"a": 1}, parents=())

def work(home):
    if home.is_published(key):
        return
    with home.claim(key) as folder:
        (folder / "model").write_bytes(b"half and half")
        home.publish(key, {"status": "ok"})

def check(home):
    assert home.artifact(key, "model").read_bytes() == b"half and half"
    names = sorted(path.name for path in home.path(key).iterdir())
    assert names == ["meta.json", "model"], names

def die_at(number, home):
    seen = 0
    def trace(frame, event, argument):
        nonlocal seen
        if frame.f_code.co_filename not in (store.__file__, ownership.__file__):
            return None
        if event == "line":
            seen += 1
            if seen == number:
                os._exit(9)
        return trace
    sys.settrace(trace)
    work(home)
    sys.settrace(None)
    os._exit(0)

deaths = 0
for number in range(1, 1000):
    home = store.Store(root / str(number))
    child = os.fork()
    if child == 0:
        die_at(number, home)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if home.is_published(key):
        check(home)
    work(home)
    check(home)
    if code == 0:
        break
    deaths += 1
print(deaths)
"""


def key_of(**changes: Any) -> str:
    values = {"kind": "train", "label": "x", "version": 1, "spec": SPEC, "parents": ()}
    return stage_key(**{**values, **changes})


def program(text: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", text, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def publish(store: Store, key: str, content: bytes = b"weights") -> Path:
    with store.claim(key) as folder:
        (folder / "model").write_bytes(content)
        return store.publish(key, {"status": "ok", "seconds": 1.5})


# --- keys


def test_a_key_is_kind_label_and_twelve_hex_digits() -> None:
    kind, label, digest = key_of().split("-")
    assert (kind, label, len(digest)) == ("train", "x", 12)
    assert int(digest, 16) >= 0


def test_equal_content_is_an_equal_key_whatever_the_order_of_its_parts() -> None:
    backwards = {name: SPEC[name] for name in reversed(SPEC)}
    assert key_of(spec=backwards) == key_of()
    assert key_of(parents=("a", "b")) == key_of(parents=("b", "a"))


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "ptl"},
        {"version": 2},
        {"parents": ("train-x-000000000000",)},
        {"spec": {**SPEC, "rate": 0.1 + 1e-15}},
        {"spec": {**SPEC, "dataset": {"reader": "miniature", "seed": None}}},
        {"spec": {**SPEC, "extra": None}},
    ],
)
def test_any_other_content_is_another_digest(changes: dict[str, Any]) -> None:
    assert key_of(**changes)[-12:] != key_of()[-12:]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)  # fmt: skip


@given(spec=st.dictionaries(st.text(max_size=5), JSON))
def test_a_stage_that_went_through_json_has_the_same_key(spec: dict[str, Any]) -> None:
    """The worker reads its stage from plan.json, and must publish where the planner looks."""
    assert key_of(spec=json.loads(json.dumps(spec))) == key_of(spec=spec)


def test_a_key_does_not_depend_on_the_process() -> None:
    text = (
        "from ptl_sweep.store import stage_key\n"
        f"print(stage_key('train', 'x', version=1, spec={SPEC!r}, parents=()))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    done = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == key_of()


def test_a_spec_that_json_cannot_hold_exactly_is_refused() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        canonical_json({"rate": float("inf")})


# --- publishing


def test_a_published_stage_holds_its_files_and_where_they_came_from(store: Store) -> None:
    folder = publish(store, key_of(parents=("train-y-0",)))
    assert sorted(path.name for path in folder.iterdir()) == ["meta.json", "model"]
    meta = store.meta(key_of(parents=("train-y-0",)))
    assert (meta["status"], meta["seconds"]) == ("ok", 1.5)
    assert store.artifact(folder.name, "model").read_bytes() == b"weights"


def test_nothing_of_a_stage_is_visible_before_it_is_whole(store: Store) -> None:
    key = key_of()
    with store.claim(key) as folder:
        (folder / "model").write_bytes(b"weights")
        assert not store.is_published(key)
        with pytest.raises(StoreError, match=f"{key} is not in"):
            store.artifact(key, "model")
        store.publish(key_of(), {})
        assert store.is_published(key)
    assert sorted(p.name for p in store.root.iterdir()) == [".claims.lock", key]


def test_files_in_folders_of_a_stage_are_published_too(store: Store) -> None:
    with store.claim(key_of()) as folder:
        (folder / "selected").mkdir()
        (folder / "selected" / "0000.png").write_bytes(b"png")
        store.publish(key_of(), {})
    assert store.artifact(key_of(), "selected/0000.png").read_bytes() == b"png"


@pytest.mark.parametrize("point", KILL_POINTS)
def test_a_worker_killed_at_any_point_leaves_a_whole_stage_or_none(
    point: str, store: Store
) -> None:
    died = program(WORKER, store.root, point)
    assert died.returncode == 9, died.stderr
    key = key_of(spec={"a": 1})
    assert store.is_published(key) == (point in COMMITTED)
    if point not in COMMITTED:
        again = program(WORKER, store.root, "nowhere")
        assert again.stdout.strip() == key, again.stderr
    assert store.artifact(key, "model").read_bytes() == b"half and half"
    assert sorted(path.name for path in store.path(key).iterdir()) == ["meta.json", "model"]
    assert not store.is_running(key)


def test_a_worker_killed_at_any_line_of_the_store_loses_nothing(tmp_path: Path) -> None:
    done = program(EVERY_LINE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 60  # lines between the claim and its release


def test_an_old_file_survives_a_failed_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "results.csv"
    write_atomically(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*results\.csv'"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("damage", ["one bit", "cut", "gone", "never there"])
def test_a_file_that_is_not_the_published_one_is_an_error_that_names_it(
    damage: str, store: Store
) -> None:
    path = publish(store, key_of()) / "model"
    if damage == "one bit":
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    if damage == "gone":
        path.unlink()
    name = "other" if damage == "never there" else "model"
    with pytest.raises(StoreError) as caught:
        store.artifact(key_of(), name)
    assert str(path.with_name(name)) in str(caught.value)
    assert "move" in str(caught.value)
    assert "run again" in str(caught.value)


def test_an_unreadable_meta_file_is_an_error_that_names_it(store: Store) -> None:
    folder = publish(store, key_of())
    (folder / "meta.json").write_text('{"kind": "tra')
    with pytest.raises(StoreError, match=rf"{folder}/meta\.json cannot be read"):
        store.artifact(key_of(), "model")


def edited(folder: Path, **changes: Any) -> None:
    path = folder / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes", [{"seconds": 1.6}, {"note": "mine"}, {"sha256": {}}, {"seal": "0" * 64}]
)
def test_an_edited_meta_file_is_refused_with_what_to_do(
    changes: dict[str, Any], store: Store
) -> None:
    folder = publish(store, key_of())
    edited(folder, **changes)
    with pytest.raises(StoreError) as caught:
        store.meta(key_of())
    assert f"{folder}/meta.json cannot be read (its checksum differs" in str(caught.value)
    assert f"move {folder} away and run again" in str(caught.value)


def test_a_meta_file_with_other_white_space_is_the_same(store: Store) -> None:
    folder = publish(store, key_of())
    before = store.meta(key_of())
    edited(folder)  # in one line
    assert store.meta(key_of()) == before


def test_a_meta_file_that_holds_nan_is_the_published_one(store: Store) -> None:
    with store.claim(key_of()):
        store.publish(key_of(), {"summary": {"AP50": float("nan")}})
    assert store.meta(key_of())["summary"]["AP50"] != 0


def test_a_meta_file_from_before_the_seal_is_read(store: Store) -> None:
    folder = publish(store, key_of())
    content = json.loads((folder / "meta.json").read_text())
    del content["seal"]
    (folder / "meta.json").write_text(json.dumps(content))
    assert store.meta(key_of()) == content
    assert store.artifact(key_of(), "model").read_bytes() == b"weights"


@given(
    st.dictionaries(
        st.one_of(st.text(), st.integers()),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text()),
            lambda part: st.lists(part) | st.dictionaries(st.integers(), part),
            max_leaves=5,
        ),
    )
)
def test_a_seal_holds_after_the_content_went_through_a_file(content: dict[Any, Any]) -> None:
    once = sealed(content)
    again = sealed(json.loads(json.dumps(once, indent=1, sort_keys=True)))
    assert json.dumps(again, sort_keys=True) == json.dumps(once, sort_keys=True)


# --- a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(mounted)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command")
    if done.returncode != 0:
        pytest.skip(f"may not mount a small file system: {done.stderr.decode().strip()}")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


def fill_disk(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_a_disk_that_fills_up_while_a_stage_is_published_loses_nothing(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    filler = small_disk / "filler"
    with store.claim(key_of()) as folder:
        (folder / "model").write_bytes(b"weights")
        fill_disk(filler)
        with pytest.raises(OSError, match="No space left on device") as caught:
            store.publish(key_of(), {})
        assert is_disk_full(caught.value)
        assert not store.is_published(key_of())
        assert [path.name for path in folder.iterdir()] == ["model"]
    filler.unlink()
    with store.claim(key_of()):
        store.publish(key_of(), {})
    assert store.artifact(key_of(), "model").read_bytes() == b"weights"


def test_a_claim_that_does_not_fit_on_the_disk_leaves_no_trace(small_disk: Path) -> None:
    store = Store(small_disk / "store")
    store.root.mkdir()
    filler = small_disk / "filler"
    fill_disk(filler)
    with pytest.raises(OSError, match="No space"), store.claim(key_of()):
        pass
    assert list(store.root.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_the_record_of_a_full_disk_says_where_and_what_to_do(store: Store, code: int) -> None:
    error = RuntimeError("PytorchStreamWriter: unexpected pos 704")  # as torch.save raises it
    error.__context__ = OSError(code, os.strerror(code))
    store.record_failure(key_of(), error, log_path=None)
    failure = store.failure(key_of())
    assert failure is not None
    assert failure["what"].startswith(f"no space left on device in {store.root}: free some")
    assert "same command again" in failure["what"]
    assert "unexpected pos 704" in failure["what"]


def test_other_errors_are_no_full_disk() -> None:
    assert not is_disk_full(PermissionError(errno.EACCES, "no"))
    assert not is_disk_full(ValueError("loss is NaN"))


def test_a_failure_that_cannot_be_written_down_is_logged(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store_module, "write_atomically", full)
    store.record_failure(key_of(), ValueError("loss is NaN"), log_path=None)
    assert "No space left on device" in caplog.text
    assert store.failure(key_of()) is None


# --- failures


def test_a_failure_keeps_message_place_traceback_and_log(store: Store, tmp_path: Path) -> None:
    try:
        store.meta("train-x-0")
    except StoreError as error:
        store.record_failure("train-x-0", error, log_path=tmp_path / "a.log")
    failure = store.failure("train-x-0")
    assert failure is not None
    assert failure["what"].startswith("StoreError: ")
    assert failure["where"].startswith("store.py:")
    assert "FileNotFoundError" in failure["traceback"]
    assert failure["log"] == str(tmp_path / "a.log")


def test_a_new_attempt_forgets_the_failure_and_keeps_the_checkpoint(store: Store) -> None:
    with store.claim("k") as folder:
        (folder / "checkpoint.pt").write_bytes(b"step 400")
    store.record_failure("k", ValueError("loss is NaN"), log_path=None)
    assert store.failure("k") is not None
    with store.claim("k") as folder:
        assert store.failure("k") is None
        assert (folder / "checkpoint.pt").read_bytes() == b"step 400"


def test_progress_is_the_last_row_of_the_history(store: Store) -> None:
    assert store.progress("k") == {}
    with store.claim("k") as folder:
        rows = [json.dumps({"train/step": step, "note": "x" * 300}) for step in range(100)]
        (folder / "history.jsonl").write_text("\n".join(rows) + "\n")
        assert store.progress("k")["train/step"] == 99
