"""Leftovers: what may go goes, once, and nothing else; live workers and links are left alone."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.stores import (
    contents,
    key_of,
    leave_claim,
    live_worker,
    make_old,
    old_file,
    publish,
)

from ptl_sweep import ownership
from ptl_sweep.config.schema import ConfigError
from ptl_sweep.ownership import owned
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.store_listing import StoreListing
from ptl_sweep.pipeline.upkeep import removal
from ptl_sweep.pipeline.upkeep.leftovers import clock_of, find_leftovers
from ptl_sweep.pipeline.upkeep.removal import remove_leftovers
from ptl_sweep.pipeline.upkeep.used_stages import UsedStages
from ptl_sweep.store import Store

MakePlan = Callable[..., Plan]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "outputs" / "store")
    store.root.mkdir(parents=True)
    return store


@pytest.fixture(autouse=True)
def short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "WATCH_S", 0.2)
    monkeypatch.setattr(ownership, "WATCH_EVERY_S", 0.02)


def names(store: Store) -> set[str]:
    return {path.name for path in store.root.iterdir()} - {ownership.CLAIMS_LOCK}


def clean(store: Store, used: UsedStages | None = None) -> set[str]:
    """Names, relative to the store, of what is gone."""
    found = find_leftovers(store, now=clock_of(store.root), used=used)
    gone = remove_leftovers(store, found, used=used)
    return {item.path.relative_to(store.root).as_posix() for item in gone}


def elsewhere() -> dict[str, object]:
    """Part of the claim of a process of another machine."""
    return {"host": "node7", "life": "node7 boot pid:[1] 99"}


# --- without --unused


def test_what_killed_writers_left_goes_and_all_else_stays(store: Store) -> None:
    done, begun, dead = key_of(label="done"), key_of(label="begun"), key_of(label="dead")
    publish(store, done)
    old_file(store.path(done) / "meta.json.12345678.tmp")
    old_file(store.work_folder(done) / "checkpoint.pt")
    old_file(store.work_folder(begun) / "checkpoint.pt")
    old_file(store.work_folder(begun) / "checkpoint.pt.partial")
    old_file(store.work_folder(begun) / "media" / "media.json.12345678.tmp")
    old_file(store.work_folder(begun) / "checkpoint.pt.damaged")
    leave_claim(store, dead)
    old_file(store.root / f"{begun}.claim.0123abcd")
    old_file(store.root / ".probe.0123abcd")
    old_file(store.root / ".probe.twin")
    old_file(store.root / "something.0123abcd.tmp")
    old_file(store.root / f"{dead}.0123abcd.removed" / "model")
    old_file(store.root / "notes.txt")
    before = contents(store.root)
    gone = clean(store)
    assert gone == {
        f"{done}/meta.json.12345678.tmp", f"{done}.wip", f"{begun}.wip/checkpoint.pt.partial",
        f"{begun}.wip/media/media.json.12345678.tmp", f"{dead}.claim", f"{begun}.claim.0123abcd",
        ".probe.0123abcd", ".probe.twin", "something.0123abcd.tmp", f"{dead}.0123abcd.removed",
    }  # fmt: skip
    assert names(store) == {done, f"{begun}.wip", "notes.txt"}
    left = contents(store.root)
    assert {name: before[name] for name in left if name in before} == {
        name: text for name, text in left.items() if name in before
    }
    assert f"{begun}.wip/checkpoint.pt.damaged" in left


def test_a_second_clean_changes_nothing(store: Store) -> None:
    publish(store, key_of())
    old_file(store.work_folder(key_of()) / "checkpoint.pt")
    old_file(store.path(key_of()) / "model.12345678.tmp")
    leave_claim(store, key_of())
    assert len(clean(store)) == 3
    before = contents(store.root)
    assert clean(store) == set()
    assert contents(store.root) == before


def test_files_of_this_hour_are_left_to_their_writers(store: Store) -> None:
    publish(store, key_of())
    young = [
        store.root / f"{key_of()}.claim.0123abcd",
        store.root / ".probe.0123abcd",
        store.root / "x.tmp",
        store.path(key_of()) / "model.12345678.tmp",
    ]
    for path in young:
        path.write_text("")
    assert clean(store) == set()
    assert all(path.exists() for path in young)


def test_ages_are_those_of_the_file_systems_clock(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine whose clock is hours ahead, the file of a moment ago is young."""
    (store.root / "x.tmp").write_text("")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 10 * 3600)
    assert clean(store) == set()


def test_a_live_worker_is_left_alone(store: Store) -> None:
    key = key_of()
    with live_worker(store, key) as folder:
        old_file(folder / "checkpoint.pt.partial")
        before = contents(store.root)
        assert clean(store) == set()
        assert contents(store.root) == before
        publish_beside(store, key)
        assert clean(store) == set()
        assert (folder / "checkpoint.pt").exists()
    assert clean(store) == {f"{key}.wip"}
    assert names(store) == {key}


def publish_beside(store: Store, key: str) -> None:
    """The stage appears while its claim is held, as when a worker stood still for minutes."""
    (store.path(key)).mkdir()
    (store.path(key) / "meta.json").write_text('{"sha256": {}}')


def test_a_worker_whose_clock_is_hours_ahead_keeps_what_is_its(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim looks silent for hours, and is touched while we watch."""
    monkeypatch.setattr(ownership, "HEARTBEAT_S", 0.05)
    key = key_of()
    publish(store, key)
    with owned(store.claim_path(key)):
        old_file(store.work_folder(key) / "checkpoint.pt")
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 10 * 3600)
        assert not store.is_running(key)
        assert clean(store) == set()
        assert store.work_folder(key).is_dir()


def test_a_claim_taken_between_list_and_removal_counts(store: Store) -> None:
    publish(store, key_of())
    old_file(store.work_folder(key_of()) / "checkpoint.pt")
    found = find_leftovers(store)
    assert len(found) == 1
    with live_worker(store, key_of()):
        assert remove_leftovers(store, found) == []
        assert store.work_folder(key_of()).is_dir()
    assert remove_leftovers(store, found) == found


def test_a_file_that_was_written_again_since_it_was_listed_stays(store: Store) -> None:
    path = old_file(store.work_folder(key_of()) / "checkpoint.pt.partial")
    found = find_leftovers(store)
    path.write_bytes(b"a new attempt")
    assert remove_leftovers(store, found) == []
    assert path.exists()


def test_claims_that_are_not_dead_for_certain_go_with_a_published_stage_alone(
    store: Store,
) -> None:
    done, begun = key_of(label="done"), key_of(label="begun")
    publish(store, done)
    for key in (done, begun):
        make_old(leave_claim(store, key, **elsewhere()))
    assert clean(store) == {f"{done}.claim"}
    assert names(store) == {done, f"{begun}.claim"}


def test_an_unfinished_file_that_was_published_stays(store: Store) -> None:
    with store.claim(key_of()) as folder:
        old_file(folder / "odd.tmp")
        store.publish(key_of(), {})
    assert clean(store) == set()
    (store.path(key_of()) / "meta.json").write_text("{")
    old_file(store.path(key_of()) / "other.tmp")
    assert clean(store) == set()  # what was published is not known any more


def test_links_are_never_followed_out_of_the_store(store: Store, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    old_file(outside / "precious.tmp")
    old_file(outside / "checkpoint.pt")
    publish(store, key_of())
    begun = key_of(label="begun")
    store.work_folder(key_of()).mkdir()
    (store.work_folder(key_of()) / "elsewhere").symlink_to(outside)
    store.work_folder(begun).mkdir()
    (store.work_folder(begun) / "elsewhere").symlink_to(outside)
    (store.path(key_of()) / "elsewhere").symlink_to(outside)
    linked = key_of(label="linked")
    publish(store, linked)
    store.work_folder(linked).symlink_to(outside)
    (store.root / "a.tmp").symlink_to(outside)
    (store.root / f"{begun}.0123abcd.removed").symlink_to(outside)
    unused = key_of("ptl")
    store.path(unused).symlink_to(outside)
    before = contents(outside)
    assert clean(store) == {f"{key_of()}.wip"}
    assert contents(outside) == before
    clean(store, UsedStages(store.root.parent))
    assert contents(outside) == before
    assert names(store) == {f"{linked}.wip", "a.tmp", f"{begun}.0123abcd.removed", unused}


def test_a_reader_sees_a_whole_folder_or_none(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is renamed to what no listing takes for a stage; the next clean finishes a killed one."""
    publish(store, key_of())
    seen = []

    def killed(path: Path) -> None:
        seen.append((store.is_published(key_of()), Path(path).name))
        raise KeyboardInterrupt

    monkeypatch.setattr(removal.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        clean(store, UsedStages(store.root.parent))
    ((published, name),) = seen
    assert not published
    assert names(store) == {name}
    assert StoreListing(store).starting("") == []
    monkeypatch.undo()
    assert clean(store) == {name}
    assert names(store) == set()


# --- with --unused


GRID = ("real_count=2", "target=field", "synthetic=off,on")


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    return make_plan(*GRID)


def publish_all(plan: Plan) -> None:
    for key, stage in plan.stages.items():
        publish(plan.store, key, parents=stage.parents)


def test_stages_of_every_readable_plan_stay(plan: Plan, make_plan: MakePlan) -> None:
    other = make_plan("real_count=3", "target=karst", "synthetic=off,on")
    publish_all(plan)
    publish_all(other)
    lost = [key_of("train"), key_of("evaluate", parents=(key_of("train"),))]
    publish(plan.store, lost[0])
    publish(plan.store, lost[1], parents=lost[:1])
    old_file(plan.store.work_folder(key_of("ptl")) / "checkpoint.pt")
    old_file(plan.store.work_folder(next(iter(plan.stages))) / "checkpoint.pt")
    used = UsedStages(plan.root)
    assert clean(plan.store, used) == {
        *lost, f"{key_of('ptl')}.wip", f"{next(iter(plan.stages))}.wip",
    }  # fmt: skip
    assert names(plan.store) == {*plan.stages, *other.stages}


def test_a_stage_goes_when_the_last_plan_that_needs_it_does(
    plan: Plan, make_plan: MakePlan
) -> None:
    larger = make_plan("real_count=2", "target=field,karst", "synthetic=off,on")
    publish_all(larger)
    (plan.folder / "plan.json").unlink()
    assert clean(plan.store, UsedStages(plan.root)) == set()
    (larger.folder / "plan.json").unlink()
    assert clean(plan.store, UsedStages(plan.root)) == set(larger.stages)
    assert names(plan.store) == set()


def test_what_a_used_stage_rests_on_is_used_whether_a_plan_names_it_or_not(plan: Plan) -> None:
    """A plan of an older version: its stages' parents are known from meta.json alone."""
    first = key_of("train", "first")
    second = key_of("ptl", "second", [first])
    publish(plan.store, first)
    publish(plan.store, second, parents=[first])
    publish(plan.store, next(iter(plan.stages)), parents=[second])
    assert clean(plan.store, UsedStages(plan.root)) == set()


def test_stages_go_before_their_parents(store: Store) -> None:
    keys = [key_of("train", "a")]
    publish(store, keys[0])
    for number in range(1, 5):
        keys.append(key_of("ptl", f"z{number}" if number % 2 else f"a{number}", keys[-1:]))
        publish(store, keys[-1], parents=keys[-2:-1])
    found = find_leftovers(store, used=UsedStages(store.root.parent))
    assert [item.key for item in found] == keys[::-1]


@pytest.mark.parametrize("damage", ["cut", "of another version", "a dangling link", "no object"])
def test_a_plan_that_cannot_be_read_is_a_refusal_that_names_it(
    damage: str, plan: Plan, make_plan: MakePlan
) -> None:
    other = make_plan("real_count=3", "target=karst", "synthetic=off")
    path = other.folder / "plan.json"
    if damage == "cut":
        path.write_text(path.read_text()[:-100])
    elif damage == "of another version":
        path.write_text(json.dumps({**json.loads(path.read_text()), "stages": [{"kind": "x"}]}))
    elif damage == "no object":
        path.write_text("[]")
    else:
        path.unlink()
        path.symlink_to("nowhere")
    publish(plan.store, key_of())
    with pytest.raises(ConfigError, match=f"{path} cannot be read"):
        find_leftovers(plan.store, used=UsedStages(plan.root))


def test_plans_are_found_behind_links_deeper_and_where_folders_were_moved_to(
    plan: Plan, tmp_path: Path
) -> None:
    publish_all(plan)
    sweeps = plan.root / "sweeps"
    for place in (sweeps / "old" / "deeper" / plan.name, plan.root / "archive" / plan.name):
        place.parent.mkdir(parents=True)
        plan.folder.rename(place)
        assert clean(plan.store, UsedStages(plan.root)) == set()
        place.rename(plan.folder)
    plan.folder.rename(tmp_path / "moved")
    plan.folder.symlink_to(tmp_path / "moved")
    (sweeps / "circle").symlink_to(sweeps)
    assert clean(plan.store, UsedStages(plan.root)) == set()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
def test_a_folder_that_cannot_be_looked_into_is_a_refusal(plan: Plan) -> None:
    plan.folder.chmod(0)
    try:
        with pytest.raises(ConfigError, match="cannot be read"):
            UsedStages(plan.root).needed()
    finally:
        plan.folder.chmod(0o755)


def test_a_plan_that_appears_after_the_list_was_made_keeps_its_stages(
    plan: Plan, make_plan: MakePlan
) -> None:
    publish_all(plan)
    path = plan.folder / "plan.json"
    text = path.read_text()
    path.unlink()
    used = UsedStages(plan.root)
    found = find_leftovers(plan.store, used=used)
    assert {item.key for item in found} == set(plan.stages)
    path.write_text(text)
    assert remove_leftovers(plan.store, found, used=used) == []
    assert names(plan.store) == set(plan.stages)


def test_while_a_stage_of_an_unknown_plan_is_computed_nothing_is_called_unused(
    store: Store,
) -> None:
    key = key_of("ptl", parents=[key_of()])
    publish(store, key_of())
    with (
        live_worker(store, key),
        pytest.raises(ConfigError, match=f"{key} is being computed, but no plan"),
    ):
        find_leftovers(store, used=UsedStages(store.root.parent))
    assert store.is_published(key_of())


def test_a_worker_of_an_unknown_plan_that_starts_after_the_list_was_made_keeps_all_stages(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    key = key_of("ptl", parents=[key_of()])
    publish(store, key_of())
    store.work_folder(key).mkdir()
    used = UsedStages(store.root.parent)
    found = find_leftovers(store, used=used)
    with live_worker(store, key):
        assert remove_leftovers(store, found, used=used) == []
    assert f"{key} is computed" in caplog.text
    assert store.is_published(key_of())
