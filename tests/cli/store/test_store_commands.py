"""`store du`, `verify`, `clean`, `pack` and `unpack` as a user meets them."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.stores import contents, key_of, leave_claim, live_worker, old_file, publish
from helpers.sweeps import Sweep

from ptl_sweep.cli.store.store import VERBS

Copy = Callable[[Sweep], Sweep]


@pytest.fixture
def sweep(tiny_sweep: Sweep, copy_of: Copy) -> Sweep:
    """A copy with what killed workers leave, and two stages that no plan needs."""
    sweep = copy_of(tiny_sweep)
    store, keys = sweep.plan.store, list(sweep.plan.stages)
    old_file(store.work_folder(keys[0]) / "checkpoint.pt")
    old_file(store.path(keys[1]) / "model.12345678.tmp")
    leave_claim(store, keys[2])
    publish(store, key_of())
    publish(store, key_of("evaluate", parents=[key_of()]), parents=[key_of()])
    return sweep


LEFT = 3  # leftovers of `sweep` but unused stages


def test_after_clean_a_resumed_sweep_has_the_same_results(
    sweep: Sweep, tiny_sweep: Sweep, run: Any
) -> None:
    root = f"sweep.root={sweep.root}"
    lost = next(key for key in sweep.plan.stages if key.startswith("evaluate-"))
    sweep.plan.store.path(lost).rename(sweep.root / "away")
    assert run("store", "clean", "--unused", "--yes", root).code == 0
    outcome = run(*sweep.arguments)
    assert outcome.code == 0, outcome.errors
    assert sweep.file("results.csv") == tiny_sweep.file("results.csv")
    assert sweep.plan.store.is_published(lost)
    assert run("store", "verify", root).code == 0


def test_clean_says_what_it_freed_and_has_nothing_to_do_the_second_time(
    sweep: Sweep, run: Any
) -> None:
    command = ["store", "clean", f"sweep.root={sweep.root}"]
    before = contents(sweep.root)
    tried = run(*command, "--dry-run", "--json")
    assert contents(sweep.root) == before
    first = run(*command, "--json")
    wanted, done = json.loads(tried.output), json.loads(first.output)
    assert (wanted["removed"], done["removed"], len(done["items"])) == (False, True, LEFT)
    assert {item["path"] for item in done["items"]} == {item["path"] for item in wanted["items"]}
    assert done["bytes"] == wanted["bytes"] == sum(item["bytes"] for item in done["items"]) > 0
    assert not any(Path(item["path"]).exists() for item in done["items"])
    after = contents(sweep.root)
    second = run(*command)
    assert second.output == f"nothing to remove in {sweep.root / 'store'}\n"
    assert contents(sweep.root) == after
    assert set(before) - set(after) == {
        name for name in before if any(f"{sweep.root / name}".startswith(item["path"])
                                       for item in done["items"])
    }  # fmt: skip


@pytest.mark.parametrize("flags", [["--unused"], ["--unused", "--yes", "--dry-run"]])
def test_unused_stages_are_shown_and_kept_until_the_user_says_yes(
    flags: list[str], sweep: Sweep, run: Any
) -> None:
    before = contents(sweep.root)
    outcome = run("store", "clean", *flags, f"sweep.root={sweep.root}")
    assert outcome.code == 0
    assert contents(sweep.root) == before
    assert outcome.output.count("would remove  ") == LEFT + 2
    assert f"would remove  {key_of()} (" in outcome.output
    assert "no sweep's plan needs it" in outcome.output
    assert "would free " in outcome.output
    assert ("nothing was removed" in outcome.output) == (flags == ["--unused"])
    assert max(map(len, outcome.output.splitlines()[:-2])) <= 100


def test_unused_stages_go_when_the_user_says_yes_and_all_others_stay(
    sweep: Sweep, run: Any
) -> None:
    outcome = run("store", "clean", "--unused", "--yes", f"sweep.root={sweep.root}")
    assert outcome.code == 0
    assert outcome.output.count("removed  ") == LEFT + 2
    left = {path.name for path in sweep.plan.store.root.iterdir()}
    assert left == {*sweep.plan.stages, ".claims.lock"}


def test_a_store_without_any_plan_is_not_emptied(sweep: Sweep, run: Any) -> None:
    (sweep.root / "sweeps").rename(sweep.root.parent / "away")
    before = contents(sweep.root)
    outcome = run("store", "clean", "--unused", "--yes", f"sweep.root={sweep.root}")
    assert outcome.code == 2
    assert "has no plan.json of any sweep" in outcome.errors
    assert contents(sweep.root) == before


def test_without_its_flag_clean_keeps_unused_stages(sweep: Sweep, run: Any) -> None:
    assert run("store", "clean", "--yes", f"sweep.root={sweep.root}").code == 0
    assert sweep.plan.store.is_published(key_of())


def test_a_plan_that_cannot_be_read_refuses_unused_and_nothing_else(
    sweep: Sweep, run: Any, caplog: pytest.LogCaptureFixture
) -> None:
    path = sweep.plan.folder / "plan.json"
    path.write_text(path.read_text()[:-50])
    before = contents(sweep.root)
    root = f"sweep.root={sweep.root}"
    outcome = run("store", "clean", "--unused", "--yes", root)
    assert outcome.code == 2
    assert f"{path} cannot be read" in outcome.errors
    assert "fix: " in outcome.errors
    assert contents(sweep.root) == before
    assert run("store", "du", root).code == 0
    assert f"{path} cannot be read" in caplog.text
    assert run("store", "clean", root).code == 0


def test_the_work_folder_of_a_live_worker_is_left_alone(sweep: Sweep, run: Any) -> None:
    store, key = sweep.plan.store, next(iter(sweep.plan.stages))
    with live_worker(store, key) as folder:
        outcome = run("store", "clean", "--unused", "--yes", f"sweep.root={sweep.root}")
        assert outcome.code == 0
        assert (folder / "checkpoint.pt").read_bytes() == b"half way"
        assert store.claim_path(key).exists()


def test_du_counts_by_kind_and_says_what_no_sweep_uses(sweep: Sweep, run: Any) -> None:
    outcome = run("store", "du", f"sweep.root={sweep.root}")
    assert outcome.code == 0
    rows = {line[:22].strip(): line[22:].split() for line in outcome.output.splitlines()}
    kinds = [key.split("-")[0] for key in sweep.plan.stages]
    for kind, unused in {"train": 1, "ptl": 0, "evaluate": 1}.items():
        assert (rows[kind][0], rows[kind][3]) == (str(kinds.count(kind) + unused), str(unused))
    assert rows["work folders (.wip)"][0] == rows["claims"][0] == "1"
    assert max(map(len, outcome.output.splitlines()[1:])) <= 100
    assert "claims: 0 of live workers" in outcome.output


def test_du_and_verify_of_one_sweep_are_about_its_stages_alone(sweep: Sweep, run: Any) -> None:
    root = f"sweep.root={sweep.root}"
    (sweep.plan.store.path(key_of()) / "model").unlink()
    used = json.loads(run("store", "du", "--json", sweep.plan.name, root).output)
    assert used["sweep"] == sweep.plan.name
    assert sum(part["number"] for part in used["stages"].values()) == len(sweep.plan.stages)
    assert used["unused"] is None
    outcome = run("store", "verify", sweep.plan.name, "--json", root)
    assert outcome.code == 0
    assert json.loads(outcome.output)["stages"] == len(sweep.plan.stages)
    assert run("store", "verify", root).code == 1


def test_verify_names_the_damaged_file_and_its_fix_which_works(
    sweep: Sweep, run: Any, flip_byte: Callable[[Path], None], tiny_sweep: Sweep
) -> None:
    root = f"sweep.root={sweep.root}"
    whole = run("store", "verify", root)
    assert (whole.code, "all as published; 1 file too many" in whole.output) == (0, True)
    folder = sweep.plan.store.path(next(k for k in sweep.plan.stages if k.startswith("ptl-")))
    flip_byte(folder / "model.safetensors")
    outcome = run("store", "verify", root)
    assert outcome.code == 1
    text = " ".join(outcome.output.split())
    assert f"damage {folder}/model.safetensors is not the file that was published" in text
    assert f"fix move {folder} away and run again" in text
    found = json.loads(run("store", "verify", "--json", root).output)
    assert found["damaged"] is True
    folder.rename(sweep.root / "away")
    assert run(*sweep.arguments).code == 0
    assert run("store", "verify", root).code == 0
    assert sweep.file("results.csv") == tiny_sweep.file("results.csv")


def test_a_sweep_goes_on_where_it_was_unpacked(
    tiny_sweep: Sweep, copy_of: Copy, run: Any, tmp_path: Path
) -> None:
    sweep = copy_of(tiny_sweep)
    lost = next(key for key in sweep.plan.stages if "karst" in key)
    sweep.plan.store.path(lost).rename(tmp_path / "away")
    archive, there = tmp_path / "tiny.tar", tmp_path / "elsewhere"
    packed = run("store", "pack", sweep.plan.name, str(archive), f"sweep.root={sweep.root}")
    assert packed.code == 0, packed.errors
    assert f"packed  {sweep.plan.name}: {len(sweep.plan.stages) - 1} finished" in packed.output
    assert "note    1 stages of the plan are not finished" in packed.output
    shutil.rmtree(sweep.root)
    unpacked = run("store", "unpack", str(archive), f"sweep.root={there}")
    assert unpacked.code == 0, unpacked.errors
    assert f"unpacked  {sweep.plan.name}: {len(sweep.plan.stages) - 1} stages" in unpacked.output
    folder = there / "sweeps" / sweep.plan.name
    assert f"ptl_sweep report {folder}" in unpacked.output
    assert "waiting" in run("status", f"sweep.root={there}").output
    (folder / "results.csv").unlink()
    assert run("report", str(folder)).code == 0
    rows = (folder / "results.csv").read_text().splitlines()
    gone = [row for row in rows if ",missing,not computed yet," in row]
    assert len(gone) == 1
    assert {*rows} - {*gone} < {*tiny_sweep.file("results.csv").decode().splitlines()}
    more = [word for word in tiny_sweep.arguments if not word.startswith("sweep.root=")]
    outcome = run(*more, "seed=0,1", "synthetic=off", f"sweep.root={there}")
    assert outcome.code == 0, outcome.errors
    assert outcome.output.count("published train-") == 1  # of the new seed alone
    outcome = run(*more, f"sweep.root={there}")
    assert outcome.code == 0, outcome.errors
    assert (folder / "results.csv").read_bytes() == tiny_sweep.file("results.csv")
    assert run("store", "verify", f"sweep.root={there}").code == 0


def test_pack_and_unpack_say_sizes_to_a_script(tiny_sweep: Sweep, run: Any, tmp_path: Path) -> None:
    archive, there = tmp_path / "tiny.tar", tmp_path / "there"
    packed = run("store", "pack", str(archive), "--json", f"sweep.root={tiny_sweep.root}")
    said = json.loads(packed.output)
    assert (said["bytes"], said["unfinished"]) == (archive.stat().st_size, 0)
    assert set(said["stages"]) == set(tiny_sweep.plan.stages)
    first, second = (
        json.loads(run("store", "unpack", str(archive), "--json", f"sweep.root={there}").output)
        for _ in range(2)
    )
    assert sorted(first["added"]) == sorted(second["kept"]) == sorted(tiny_sweep.plan.stages)
    files = [path for path in there.rglob("*") if path.is_file()]
    assert first["size"] == sum(path.stat().st_size for path in files)
    assert second["size"] == 0


def test_what_pack_and_unpack_refuse_ends_with_2(
    tiny_sweep: Sweep, run: Any, tmp_path: Path
) -> None:
    root = f"sweep.root={tiny_sweep.root}"
    there, no_tar = tmp_path / "there.tar", tmp_path / "text.tar"
    there.mkdir()
    no_tar.write_text("no archive" * 100)
    for words, said in {
        ("pack", tiny_sweep.plan.name): "the archive is a file that ends in .tar",
        ("pack", str(there)): "is there already",
        ("pack", str(tmp_path / "no" / "a.tar")): "is no folder; make it",
        ("pack", str(tiny_sweep.root / "store" / "a.tar")): "name a place outside of it",
        ("pack", "nowhere", str(tmp_path / "a.tar")): "no sweep nowhere",
        ("unpack", str(tmp_path / "no.tar")): "no archive",
        ("unpack", str(tmp_path)): "no archive",
        ("unpack", str(no_tar)): "no archive of a sweep",
    }.items():
        outcome = run("store", *words, root)
        assert outcome.code == 2
        assert said in outcome.errors
        assert len(outcome.errors.splitlines()) <= 3
    assert sorted(tmp_path.iterdir()) == [no_tar, there]


MISTAKES = {
    "no verb": ([], ["store: needs a verb", "du|verify|clean|pack|unpack"]),
    "a flag alone": (["--json"], ["store: needs a verb"]),
    "unknown verb": (["verfy"], ["unknown verb verfy; did you mean verify?", "du|verify|clean"]),
    "no store": (["du"], ["no sweep has computed anything in outputs", "sweep.root="]),
    "nothing to clean": (["clean"], ["no sweep has computed anything in outputs"]),
    "an override of a run": (["verify", "seed=3"], ["seed", "sweep.root=..."]),
    "unknown sweep": (["du", "nowhere"], ["no sweep nowhere"]),
    "no sweep to pack": (["pack", "a.tar"], ["no sweep in outputs/sweeps", "sweep.root="]),
    "no archive": (["unpack", "a.tar"], ["no archive a.tar", "`store pack`"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_ends_with_2_and_a_line_that_helps(
    mistake: str, run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, words = MISTAKES[mistake]
    outcome = run("store", *arguments)
    assert outcome.code == 2
    assert 1 <= len(outcome.errors.splitlines()) <= 3
    for word in words:
        assert word in outcome.errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        VERBS[verb](["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert f"python -m ptl_sweep store {verb}" in shown
    assert VERBS[verb].__doc__ in shown.replace("\n", " ")
    assert "--json" in shown
    assert "sweep.root=FOLDER" in shown


@pytest.mark.parametrize("words", [["du"], ["verify"], ["clean", "--dry-run"], ["pack", "a.tar"]])
def test_verbs_need_no_torch(words: list[str], tiny_sweep: Sweep, tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from ptl_sweep.__main__ import main\n"
        f"code = main(['store', *{words!r}, 'sweep.root={tiny_sweep.root}'])\n"
        "heavy = {'torch', 'torchvision', 'wandb', 'matplotlib', 'polars'} & set(sys.modules)\n"
        "print(code, sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stderr.splitlines()[-1] == "0 []"


def test_piped_output_has_no_ansi(sweep: Sweep, tmp_path: Path) -> None:
    for words in (["du"], ["verify"], ["clean", "--dry-run"]):
        command = [sys.executable, "-m", "ptl_sweep", "store", *words, f"sweep.root={sweep.root}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        assert "\x1b" not in done.stdout + done.stderr
        assert done.stderr == ""
