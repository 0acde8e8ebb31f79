"""Measuring: every byte of the store is counted once, under what it is."""

from pathlib import Path

from helpers.stores import contents, key_of, leave_claim, live_worker, old_file, publish
from helpers.sweeps import Sweep

from ptl_sweep import checkpoints
from ptl_sweep.pipeline.upkeep import entries
from ptl_sweep.pipeline.upkeep.measure import Amount, measure_store
from ptl_sweep.store import Store


def filled(store: Store) -> None:
    publish(store, key_of("train"), content=b"12345")
    publish(store, key_of("evaluate"), content=b"123")
    old_file(store.work_folder(key_of("ptl")) / "checkpoint.pt", b"1234")
    old_file(store.work_folder(key_of("ptl")) / "translator.pt.damaged", b"12")
    old_file(store.work_folder(key_of("ptl")) / "checkpoint.pt.partial", b"1")
    old_file(store.root / f"{key_of()}.claim.0123abcd", b"{")
    old_file(store.root / f"{key_of()}.0123abcd.removed" / "model", b"{}")
    old_file(store.root / "notes.txt", b"mine")
    leave_claim(store, key_of("ptl"))


def test_parts_add_up_to_all_files_and_each_is_under_its_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    filled(store)
    before = contents(tmp_path)
    use = measure_store(store)
    assert contents(tmp_path) == before
    parts = [*use.stages.values(), use.work_folders, use.claims, use.remains, use.other]
    files = [p for p in tmp_path.rglob("*") if p.is_file() and p.name != ".claims.lock"]
    assert use.total.size == sum(path.stat().st_size for path in files)
    assert use.total.size == sum(part.size for part in parts)
    assert use.total.number == sum(part.number for part in parts) == 7
    assert {kind: amount.number for kind, amount in use.stages.items()} == {
        "train": 1, "ptl": 0, "evaluate": 1,
    }  # fmt: skip
    assert use.work_folders == Amount(1, 7)
    assert (use.remains, use.other) == (Amount(2, 3), Amount(1, 4))
    assert (use.checkpoints, use.set_aside) == (Amount(1, 4), Amount(1, 2))
    assert use.temporaries == Amount(1, 1)
    assert (use.claims.number, use.live_claims, use.unused) == (1, 0, None)


def test_what_no_plan_needs_is_counted_once_more(tmp_path: Path) -> None:
    store = Store(tmp_path)
    filled(store)
    use = measure_store(store, used={key_of("train")})
    assert use.unused == {"train": Amount(), "ptl": Amount(), "evaluate": use.stages["evaluate"]}


def test_one_sweep_is_what_belongs_to_its_stages(tmp_path: Path) -> None:
    store = Store(tmp_path)
    filled(store)
    use = measure_store(store, only={key_of("ptl")})
    assert (use.total.number, use.work_folders.number, use.claims.number) == (2, 1, 1)
    assert use.stages["train"] == Amount()


def test_a_live_claim_is_told_from_a_dead_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    leave_claim(store, key_of("ptl"))
    with live_worker(store, key_of()):
        use = measure_store(store)
    assert (use.claims.number, use.live_claims) == (2, 1)


def test_links_count_as_links(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    old_file(tmp_path / "outside" / "large", b"0" * 10**6)
    publish(store, key_of())
    (store.path(key_of()) / "link").symlink_to(tmp_path / "outside")
    (store.root / key_of("ptl")).symlink_to(tmp_path / "outside")
    use = measure_store(store)
    assert use.total.size < 10**5
    assert use.other.number == 1


def test_an_empty_store_and_none_hold_nothing(tmp_path: Path) -> None:
    assert measure_store(Store(tmp_path)).total == Amount()
    assert measure_store(Store(tmp_path / "nowhere")).total == Amount()


def test_a_real_sweep_is_all_used_stages(tiny_sweep: Sweep) -> None:
    plan = tiny_sweep.plan
    use = measure_store(plan.store, used=plan.stages.keys())
    assert sum(amount.number for amount in use.stages.values()) == len(plan.stages)
    assert use.unused is not None
    assert set(map(str, use.unused.values())) == {str(Amount())}
    assert (use.work_folders, use.remains, use.other) == (Amount(), Amount(), Amount())


def test_the_suffix_of_checkpoints_that_were_set_aside_is_that_of_checkpoints() -> None:
    assert entries.SET_ASIDE == checkpoints.DAMAGED
