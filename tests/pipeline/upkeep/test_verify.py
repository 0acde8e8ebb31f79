"""Verification: every kind of damage is found, with its file and its fix, and nothing else is."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.stores import contents, key_of, old_file, publish
from helpers.sweeps import Sweep
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ptl_sweep.meta import sealed
from ptl_sweep.pipeline.upkeep import verify
from ptl_sweep.pipeline.upkeep.verify import Finding, verify_store
from ptl_sweep.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def the_finding(store: Store) -> Finding:
    (finding,) = verify_store(store).findings
    return finding


def test_a_whole_store_has_no_findings_and_stays_as_it_is(tiny_sweep: Sweep) -> None:
    before = contents(tiny_sweep.root)
    found = verify_store(tiny_sweep.plan.store)
    files = [p for p in tiny_sweep.plan.store.root.rglob("*") if p.is_file()]
    named = [path for path in files if path.name not in ("meta.json", ".claims.lock")]
    assert found.findings == []
    assert (found.stages, found.files) == (len(tiny_sweep.plan.stages), len(named))
    assert found.size == sum(path.stat().st_size for path in named)
    assert contents(tiny_sweep.root) == before


def test_each_file_of_a_real_stage_is_guarded(
    tiny_sweep: Sweep, copy_of: Callable[[Sweep], Sweep], flip_byte: Callable[[Path], None]
) -> None:
    store = copy_of(tiny_sweep).plan.store
    key = next(key for key in tiny_sweep.plan.stages if key.startswith("ptl-"))
    for path in [path for path in store.path(key).rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        flip_byte(path)
        finding = the_finding(store)
        assert (finding.key, finding.path) == (key, str(path))
        assert finding.fix == f"move {store.path(key)} away and run again"
        assert finding.is_damage
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("damage", "words"),
    [("gone", "is gone"), ("empty", "checksum differs"), ("a folder", "is no file")],
)
def test_a_file_that_is_not_what_it_was(damage: str, words: str, store: Store) -> None:
    path = publish(store, key_of()) / "media" / "picture.jpg"
    path.unlink()
    if damage == "empty":
        path.touch()
    if damage == "a folder":
        path.mkdir()
    finding = the_finding(store)
    assert finding.path == str(path)
    assert words in finding.problem


@pytest.mark.parametrize("text", ["", "{", "[1]", "5", '{"seal": "0"}', "{}", '{"sha256": []}'])
def test_a_meta_file_that_is_not_what_it_was(text: str, store: Store) -> None:
    path = publish(store, key_of()) / "meta.json"
    path.write_text(text)
    finding = the_finding(store)
    assert finding.path == str(path)
    assert finding.is_damage
    assert f"move {path.parent} away" in finding.fix


def test_a_meta_file_that_is_gone(store: Store) -> None:
    (publish(store, key_of()) / "meta.json").unlink()
    assert "No such file" in the_finding(store).problem


def test_a_meta_file_that_names_files_elsewhere_has_none_of_them_read(
    store: Store, tmp_path: Path
) -> None:
    path = publish(store, key_of()) / "meta.json"
    for name in ("../../secret", "/etc/hostname"):
        path.write_text(json.dumps(sealed({"sha256": {name: "0"}})))
        finding = the_finding(store)
        assert finding.path == str(path)
        assert name in finding.problem


def test_a_file_that_was_not_published_is_named_and_no_damage(store: Store) -> None:
    folder = publish(store, key_of())
    (folder / "notes.txt").write_text("mine")
    old_file(folder / "media" / "x.tmp")
    (folder / "link").symlink_to("/")
    found = verify_store(store)
    assert not found.is_damaged
    assert {(Path(f.path).name, "store clean" in f.fix) for f in found.findings} == {
        ("notes.txt", False), ("x.tmp", True), ("link", False),
    }  # fmt: skip


def test_a_parent_that_is_not_published_is_damage(store: Store) -> None:
    child = key_of("evaluate", parents=[key_of()])
    publish(store, child, parents=[key_of()])
    finding = the_finding(store)
    assert (finding.key, finding.path) == (child, str(store.path(key_of())))
    assert "run again" in finding.fix
    publish(store, key_of())
    assert verify_store(store).findings == []


def test_a_stage_that_was_moved_elsewhere_and_linked_is_read_there(
    store: Store, tmp_path: Path
) -> None:
    folder = publish(store, key_of())
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert verify_store(store).stages == 1
    (tmp_path / "elsewhere" / "model").write_bytes(b"other")
    assert the_finding(store).path == str(folder / "model")


def test_a_stage_that_is_moved_away_meanwhile_is_no_finding(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = publish(store, key_of())

    def moved(path: Path) -> str:
        folder.rename(tmp_path / "away")
        raise FileNotFoundError(path)

    monkeypatch.setattr(verify, "sha256_of", moved)
    found = verify_store(store)
    assert (found.findings, found.stages) == ([], 0)


def test_files_that_the_disk_refuses_are_findings(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(store, key_of())

    def fails(path: Path) -> str:
        raise OSError(5, os.strerror(5), str(path))

    monkeypatch.setattr(verify, "sha256_of", fails)
    found = verify_store(store)
    assert [f.problem for f in found.findings] == ["cannot be read: Input/output error"] * 2


def test_only_the_stages_that_were_asked_for_are_read(store: Store) -> None:
    one, other = key_of(label="one"), key_of(label="other")
    publish(store, one)
    (publish(store, other) / "model").unlink()
    assert verify_store(store, only=[one, key_of("ptl")]).stages == 1
    assert not verify_store(store, only=[one]).is_damaged
    assert verify_store(store, only=[other]).is_damaged


def test_stages_are_read_by_threads_a_few_at_a_time_and_counted(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "BATCH", 3)
    monkeypatch.setattr(verify, "NUM_THREADS", 3)
    for number in range(8):
        publish(store, key_of(label=str(number)))
    together = threading.Barrier(3, timeout=30)
    real, shown = verify.verify_stage, []

    def waiting(home: Store, key: str) -> verify.Verification:
        if len(shown) < 3:
            together.wait()
        return real(home, key)

    monkeypatch.setattr(verify, "verify_stage", waiting)
    found = verify_store(store, progress=lambda done, total: shown.append((done, total)))
    assert shown == [(number, 8) for number in range(1, 9)]
    assert found.files == 16


SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(suppress_health_check=SLOW, max_examples=40, deadline=None)
@given(
    content=st.binary(min_size=1, max_size=50),
    place=st.integers(0, 10**6),
    change=st.integers(1, 255),
)
def test_any_changed_byte_is_found(content: bytes, place: int, change: int, tmp_path: Path) -> None:
    store = Store(tmp_path / os.urandom(6).hex())
    path = publish(store, key_of(), content=content) / "model"
    changed = bytearray(content)
    changed[place % len(content)] ^= change
    path.write_bytes(changed)
    assert the_finding(store).path == str(path)
