"""Archives: a sweep arrives whole on another root, and nothing else does, whoever wrote it."""

import errno
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers.stores import contents, live_worker
from helpers.sweeps import Sweep

from ptl_sweep.config.schema import ConfigError
from ptl_sweep.launchers.slurm.journal import BOOK, SLURM_LOGS
from ptl_sweep.ownership import StageClaimedError
from ptl_sweep.pipeline.upkeep.leftovers import find_leftovers
from ptl_sweep.pipeline.upkeep.packing import CONTENTS, NOT_PACKED, pack_sweep
from ptl_sweep.pipeline.upkeep.unpacking import unpack_sweep
from ptl_sweep.pipeline.upkeep.verify import verify_store
from ptl_sweep.store import Store, StoreError

Member = tuple[tarfile.TarInfo, bytes]
BLOCK = tarfile.BLOCKSIZE


@pytest.fixture(scope="module")
def archive(tiny_sweep: Sweep, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("archive") / "tiny.tar"
    pack_sweep(tiny_sweep.plan, path)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "place" / "outputs"


def members_of(path: Path) -> list[Member]:
    with tarfile.open(path) as archive:
        found = []
        for member in archive:
            file = archive.extractfile(member)
            found.append((member, b"" if file is None else file.read()))
        return found


def write(path: Path, members: list[Member]) -> Path:
    with tarfile.open(path, "w") as archive:
        for member, content in members:
            if member.isreg():
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def plain(name: str, content: bytes = b"x") -> Member:
    return tarfile.TarInfo(name), content


def test_what_is_unpacked_is_what_was_packed(archive: Path, tiny_sweep: Sweep, root: Path) -> None:
    found = unpack_sweep(archive, root)
    assert found.added == [key for key in found.added if key in tiny_sweep.plan.stages]
    assert set(found.added) == set(tiny_sweep.plan.stages)
    for part in ("store", "sweeps"):
        here, there = contents(root / part), contents(tiny_sweep.root / part)
        files = {name: line.split()[0] for name, line in there.items() if "/logs" not in name}
        assert {name: line.split()[0] for name, line in here.items()} == files
    assert verify_store(Store(root / "store")).findings == []
    assert {path.name for path in root.iterdir()} == {"store", "sweeps"}


def test_parents_come_before_what_was_made_from_them(archive: Path, tiny_sweep: Sweep) -> None:
    keys = json.loads(members_of(archive)[-1][1])["stages"]
    for place, key in enumerate(keys):
        assert set(tiny_sweep.plan.stages[key].parents) <= set(keys[:place])


def test_an_archive_says_nothing_of_machine_user_and_time(archive: Path) -> None:
    for member, _ in members_of(archive):
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
        assert (member.mtime, member.mode) == (0, 0o644)


def test_work_folders_claims_jobs_and_temporary_files_are_not_packed(
    tiny_sweep: Sweep, copy_of: Callable[[Sweep], Sweep], tmp_path: Path, root: Path
) -> None:
    sweep = copy_of(tiny_sweep)
    store, folder = sweep.plan.store, sweep.plan.folder
    unfinished = next(key for key in sweep.plan.stages if key.startswith("evaluate-"))
    store.path(unfinished).rename(store.work_folder(unfinished))
    (store.path(next(iter(sweep.plan.stages))) / "late.tmp").write_text("not published")
    for name in (BOOK, str(SLURM_LOGS / "1_0.pkl"), "code/0123/file.py", "results.csv.1.tmp"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("of this cluster")
    (folder / "logs" / "train.log").write_text("a log")
    (folder / "secret").symlink_to("/etc/hostname")
    packed = pack_sweep(sweep.plan, tmp_path / "a.tar")
    assert (packed.num_missing, unfinished in packed.stages) == (1, False)
    assert {BOOK, str(SLURM_LOGS), "code"} == set(NOT_PACKED)
    names = {member.name for member, _ in members_of(tmp_path / "a.tar")}
    assert "sweep/logs/train.log" in names
    assert not [
        name
        for name in names
        if name.endswith((".tmp", ".pkl", BOOK, "secret", "file.py")) or ".wip" in name
    ]
    unpack_sweep(tmp_path / "a.tar", root)
    assert verify_store(Store(root / "store")).findings == []


def test_unpacking_again_changes_nothing_and_keeps_what_is_there(
    archive: Path, root: Path, tiny_sweep: Sweep
) -> None:
    first = unpack_sweep(archive, root)
    (first.folder / "results.csv").write_text("a newer report")
    before = contents(root)
    second = unpack_sweep(archive, root)
    assert (second.added, sorted(second.kept)) == ([], sorted(first.added))
    assert (second.size, second.has_plan, second.differing) == (0, True, [])
    assert contents(root) == before


def test_a_stage_that_is_there_is_kept_and_other_numbers_are_said(
    archive: Path, root: Path, tiny_sweep: Sweep
) -> None:
    key = next(key for key in tiny_sweep.plan.stages if key.startswith("train-"))
    store = Store(root / "store")
    with store.claim(key) as folder:
        (folder / "model.safetensors").write_bytes(b"other weights")
        store.publish(key, {"status": "ok", "parents": []})
    before = contents(store.path(key))
    found = unpack_sweep(archive, root)
    assert (found.kept, found.differing) == ([key], [key])
    assert contents(store.path(key)) == before


def _cuts(archive: Path) -> Iterator[int]:
    """Lengths up to the last byte that says something; zeros follow it."""
    with tarfile.open(archive) as opened:
        last = opened.getmembers()[-1]
    end = last.offset_data + last.size
    yield from (0, 1, BLOCK - 1, BLOCK, last.offset, last.offset_data, end - 1)
    yield from range(BLOCK, end, end // 12 // BLOCK * BLOCK)


def test_half_an_archive_is_refused_wherever_it_was_cut(
    archive: Path, tmp_path: Path, root: Path
) -> None:
    whole = archive.read_bytes()
    for length in _cuts(archive):
        cut = tmp_path / "cut.tar"
        cut.write_bytes(whole[:length])
        with pytest.raises(ConfigError, match=r"nothing was unpacked\n  fix: copy the archive"):
            unpack_sweep(cut, root)
        assert not list(root.rglob("*.tmp"))
        assert not list(root.glob("*/*"))


def test_a_flipped_bit_is_refused_wherever_it_counts(
    archive: Path, tmp_path: Path, root: Path
) -> None:
    with tarfile.open(archive) as opened:
        places = [(m.name, m.offset_data + m.size // 2) for m in opened if m.size]
    whole = archive.read_bytes()
    for name, place in places[:: len(places) // 12]:
        content = bytearray(whole)
        content[place] ^= 1
        path = tmp_path / "bad.tar"
        path.write_bytes(content)
        with pytest.raises(ConfigError, match="nothing was unpacked"):
            unpack_sweep(path, root)
        assert not list(root.glob("*/*")), name


def _link(name: str, target: str, kind: bytes) -> Member:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member, b""


def _device(name: str) -> Member:
    member = tarfile.TarInfo(name)
    member.type = tarfile.CHRTYPE
    return member, b""


STAGE = "store/train-x-0123456789ab"
HOSTILE = {
    "an absolute name": plain("/tmp/ptl-sweep-evil"),
    "a way out": plain("sweep/../../../evil"),
    "a way out of a stage": plain(f"{STAGE}/../../../evil"),
    "a way out beside": plain("store/../evil"),
    "a way out as a key": plain("store/../train-x-0123456789ab/evil"),
    "a dot": plain("sweep/./evil"),
    "two slashes": plain("sweep//evil"),
    "no folder": plain("evil"),
    "a file of the store": plain("store/evil"),
    "a claim": plain("store/train-x-0123456789ab.claim/evil"),
    "no key": plain("store/evil/model.safetensors"),
    "a soft link": _link("sweep/evil", "/etc/passwd", tarfile.SYMTYPE),
    "a soft link as folder": _link("sweep/figures", "/tmp", tarfile.SYMTYPE),
    "a hard link": _link(f"{STAGE}/evil", "/etc/passwd", tarfile.LNKTYPE),
    "a pipe": _link("sweep/evil", "", tarfile.FIFOTYPE),
    "a folder": _link("sweep/evil", "", tarfile.DIRTYPE),
    "a device": _device("sweep/evil"),
    "a second file of one name": plain("sweep/plan.json", b"{}"),
    "a file within a file": plain("sweep/plan.json/evil"),
    "a file that was not packed": plain("sweep/evil.html"),
    "a stage that was not packed": plain(f"{STAGE}/evil"),
    "a NUL": plain("sweep/ev\0il"),
    "a name without end": plain("sweep/" + "n" * 300),
}


@pytest.mark.parametrize("trick", HOSTILE)
def test_a_member_that_is_not_of_a_sweep_is_refused_and_nothing_is_written(
    trick: str, archive: Path, tmp_path: Path, root: Path
) -> None:
    *members, last = members_of(archive)
    path = write(tmp_path / "hostile.tar", [*members, HOSTILE[trick], last])
    before = contents(tmp_path)
    with pytest.raises((ConfigError, OSError)):
        unpack_sweep(path, root)
    after = contents(tmp_path)
    assert {name for name in after if not name.startswith("place")} == set(before)
    assert not list(root.glob("*/*"))
    assert not Path("/tmp/ptl-sweep-evil").exists()


def _changed(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found.update(changes)


CONTENTS_CHANGES = {
    "another format": _changed(format="ptl_sweep.pack/9"),
    "a sweep elsewhere": _changed(sweep="../../evil-01234567"),
    "a hidden sweep": _changed(sweep=".."),
    "another sweep": _changed(sweep="demo-01234567"),
    "no sweep": _changed(sweep=None),
    "no files": _changed(files={}),
    "files as a list": _changed(files=[]),
    "no stages": _changed(stages=[]),
    "stages of another type": _changed(stages=[{}]),
    "a stage twice": lambda found: found["stages"].append(found["stages"][0]),
    "children first": lambda found: found["stages"].reverse(),
}


@pytest.mark.parametrize("trick", CONTENTS_CHANGES)
def test_contents_that_do_not_fit_are_refused(
    trick: str, archive: Path, tmp_path: Path, root: Path
) -> None:
    *members, (last, text) = members_of(archive)
    found = json.loads(text)
    CONTENTS_CHANGES[trick](found)
    path = write(tmp_path / "changed.tar", [*members, (last, json.dumps(found).encode())])
    with pytest.raises(ConfigError, match="nothing was unpacked"):
        unpack_sweep(path, root)
    assert not list(root.glob("*/*"))


def test_a_plan_whose_names_lead_elsewhere_is_refused(
    archive: Path, tmp_path: Path, root: Path
) -> None:
    *members, (last, text) = members_of(archive)
    found = json.loads(text)
    for place, (member, content) in enumerate(members):
        if member.name == "sweep/plan.json":
            plan = json.loads(content)
            plan["tasks"][0]["name"] = "../../../evil"
            members[place] = (member, json.dumps(plan).encode())
            found["files"]["plan.json"] = hashlib.sha256(members[place][1]).hexdigest()
    path = write(tmp_path / "changed.tar", [*members, (last, json.dumps(found).encode())])
    with pytest.raises(ConfigError, match=r"a stage or a task called '\.\./"):
        unpack_sweep(path, root)


def test_a_stage_whose_parent_is_nowhere_is_refused_and_one_whose_parent_is_here_is_not(
    archive: Path, tmp_path: Path, root: Path
) -> None:
    *members, (last, text) = members_of(archive)
    found = json.loads(text)
    train = found["stages"].pop(0)
    assert train.startswith("train-")
    rest = [item for item in members if not item[0].name.startswith(f"store/{train}/")]
    path = write(tmp_path / "rest.tar", [*rest, (last, json.dumps(found).encode())])
    with pytest.raises(ConfigError, match=f"it lacks {train}, which "):
        unpack_sweep(path, root)
    unpack_sweep(archive, root)
    assert unpack_sweep(path, root).added == []


@pytest.mark.parametrize("call", [0, 7, 60, 120])
def test_a_full_disk_loses_nothing(
    call: int, archive: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpack_sweep(archive, root)
    (kept,) = (root / "sweeps").iterdir()
    for path in [kept, *sorted((root / "store").glob("evaluate-*"))[:2]]:
        path.rename(tmp_path / path.name)
    before, calls, fsync = contents(root), [0], os.fsync

    def full(descriptor: int) -> None:
        calls[0] += 1
        if calls[0] > call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left") as error:
            unpack_sweep(archive, root)
    assert str(root) in str(error.value.filename)
    after = contents(root)
    assert {name: line for name, line in after.items() if name in before} == before
    assert not list(root.rglob("*.tmp"))
    unpack_sweep(archive, root)
    assert verify_store(Store(root / "store")).findings == []
    assert kept.is_dir()


def test_a_full_disk_leaves_no_half_archive(
    tiny_sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        pack_sweep(tiny_sweep.plan, tmp_path / "a.tar")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_unpacking_left_is_removed_by_clean(root: Path) -> None:
    store = Store(root / "store")
    old = store.root / "unpack.0123abcd.tmp" / "sweep" / "plan.json"
    old.parent.mkdir(parents=True)
    old.write_text("half")
    assert find_leftovers(store) == []
    os.utime(old, (0, 0))
    (item,) = find_leftovers(store)
    assert item.path == store.root / "unpack.0123abcd.tmp"


def test_a_stage_that_is_computed_right_now_is_left_to_its_worker(
    archive: Path, root: Path, tiny_sweep: Sweep
) -> None:
    store = Store(root / "store")
    store.root.mkdir(parents=True)
    key = next(key for key in tiny_sweep.plan.stages if key.startswith("train-"))
    with live_worker(store, key), pytest.raises(StageClaimedError, match="run again"):
        unpack_sweep(archive, root)
    assert not store.is_published(key)
    assert unpack_sweep(archive, root).added
    assert store.is_published(key)


def test_damage_is_not_packed(
    tiny_sweep: Sweep,
    copy_of: Callable[[Sweep], Sweep],
    flip_byte: Callable[[Path], None],
    tmp_path: Path,
) -> None:
    sweep = copy_of(tiny_sweep)
    train = next(key for key in sweep.plan.stages if key.startswith("train-"))
    flip_byte(sweep.plan.store.path(train) / "model.safetensors")
    with pytest.raises(StoreError, match="checksum differs"):
        pack_sweep(sweep.plan, tmp_path / "a.tar")
    sweep.plan.store.path(train).rename(tmp_path / "away")
    with pytest.raises(StoreError, match=f"{train} is gone, and "):
        pack_sweep(sweep.plan, tmp_path / "a.tar")
    assert not list(tmp_path.glob("*.tar*"))
    assert not list(tmp_path.glob(".a.tar*"))


def test_contents_come_last(archive: Path) -> None:
    names = [member.name for member, _ in members_of(archive)]
    assert names.index(CONTENTS) == len(names) - 1
