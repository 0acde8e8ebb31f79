"""Claims: one owner a stage, a dead owner's claim is taken over, a live one's is not."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ptl_sweep import ownership
from ptl_sweep.ownership import StageClaimedError, missing_abilities, read_claim, take_claim
from ptl_sweep.store import Store

# Races for claims that a dead process left; prints how many owners each of them got.
RACE = """
import json, os, socket, sys, time
from pathlib import Path
from ptl_sweep import ownership

root, owners = Path(sys.argv[1]), []
root.mkdir()
for number in range(int(sys.argv[2])):
    path = root / f"{number}.claim"
    if number % 2:
        dead = os.fork()
        if dead == 0:
            os._exit(0)
        os.waitpid(dead, 0)
        path.write_text(json.dumps({"host": socket.gethostname(), "pid": dead, "token": "dead"}))
    start, children = time.monotonic() + 0.01, []
    tried, try_done = os.pipe()
    held, release = os.pipe()
    for _ in range(4):
        child = os.fork()
        if child == 0:
            os.close(release)
            while time.monotonic() < start:
                pass
            try:
                ownership.take_claim(path)
                code = 0
            except ownership.StageClaimedError:
                code = 1
            os.write(try_done, b".")
            os.read(held, 1)  # an owner lives until everybody has tried
            os._exit(code)
        children.append(child)
    for _ in children:
        assert os.read(tried, 1) == b"."
    os.close(release)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    for end in (tried, try_done, held):
        os.close(end)
    assert set(codes) <= {0, 1}, codes
    owners.append(codes.count(0))
print(json.dumps(owners))
"""


def program(text: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", text, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "store")
    store.root.mkdir()
    return store


@pytest.fixture(autouse=True)
def short_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "WATCH_S", 0.3)
    monkeypatch.setattr(ownership, "WATCH_EVERY_S", 0.01)


def left_claim(path: Path, *, hours: float = 0.0, **changes: object) -> None:
    """As a worker on another host wrote it, whose clock is ahead by so many hours."""
    path.write_text(json.dumps({"host": "gpu07", "pid": 1, "token": "theirs"} | changes))
    touched = time.time() + 3600 * hours
    os.utime(path, (touched, touched))


def test_a_claimed_stage_cannot_be_claimed_again_and_the_answer_says_by_whom(store: Store) -> None:
    with store.claim("k"):
        assert store.is_running("k")
        with pytest.raises(StageClaimedError) as caught, store.claim("k"):
            pass
    assert f"process {os.getpid()} on {socket.gethostname()}" in str(caught.value)
    assert not store.is_running("k")
    with store.claim("k"):
        pass


def test_another_process_cannot_claim_what_this_one_computes(store: Store) -> None:
    with store.claim("k"):
        other = program(
            "import sys; from pathlib import Path; from ptl_sweep.store import Store\n"
            "with Store(Path(sys.argv[1])).claim('k'): pass",
            store.root,
        )
    assert other.returncode == 1
    assert "StageClaimedError" in other.stderr


@pytest.mark.parametrize("left", ["dead process", "silent host", "torn and old"])
def test_a_stale_claim_is_taken_over(left: str, store: Store) -> None:
    path = store.claim_path("k")
    old = time.time() - ownership.STALE_AFTER_S - 1
    if left == "dead process":
        child = subprocess.Popen([sys.executable, "-c", ""])
        child.wait()
        path.write_text(
            json.dumps({"host": socket.gethostname(), "pid": child.pid, "token": "dead"})
        )
    elif left == "silent host":
        path.write_text(json.dumps({"host": "gpu07", "pid": 1, "token": "dead"}))
        os.utime(path, (old, old))
    else:
        path.write_text('{"host": "gp')
        os.utime(path, (old, old))
    assert not store.is_running("k")
    with store.claim("k"):
        claim = read_claim(path)
        assert claim is not None
        assert claim.pid == os.getpid()


@pytest.mark.parametrize(
    ("restart", "is_taken"), [("0", False), ("1", True)], ids=["same life", "requeued"]
)
def test_a_requeued_slurm_job_takes_over_the_claim_of_its_earlier_life_at_once(
    restart: str, is_taken: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {"host": "another", "pid": 1, "token": "t", "job": "812", "restart": 0}
    store.claim_path("train-x").write_text(json.dumps(left))
    monkeypatch.setenv("SLURM_JOB_ID", "812")
    monkeypatch.setenv("SLURM_RESTART_COUNT", restart)
    if is_taken:
        with store.claim("train-x"):
            claim = read_claim(store.claim_path("train-x"))
        assert claim is not None
        assert (claim.job, claim.restart) == ("812", 1)
    else:
        with pytest.raises(StageClaimedError), store.claim("train-x"):
            pass


@pytest.mark.parametrize("text", ['{"host": "gpu07", "pid": 1, "token": "t"}', '{"host": "gp'])
def test_a_fresh_claim_of_another_host_is_respected(text: str, store: Store) -> None:
    store.claim_path("k").write_text(text)
    assert store.is_running("k")
    with pytest.raises(StageClaimedError), store.claim("k"):
        pass
    assert store.claim_path("k").read_text() == text


def test_a_stopped_but_living_process_keeps_its_claim(store: Store) -> None:
    """Until the heartbeat is missed: STALE_AFTER_S."""
    child = subprocess.Popen(["sleep", "60"])
    child.send_signal(signal.SIGSTOP)
    store.claim_path("k").write_text(
        json.dumps({"host": socket.gethostname(), "pid": child.pid, "token": "t"})
    )
    try:
        assert store.is_running("k")
    finally:
        child.kill()
        child.wait()
    assert not store.is_running("k")


def test_a_heartbeat_keeps_a_claim_fresh(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "HEARTBEAT_S", 0.02)
    with store.claim("k"):
        os.utime(store.claim_path("k"), (0, 0))
        deadline = time.monotonic() + 10
        while not store.is_running("k") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert store.is_running("k")
    assert not [t for t in threading.enumerate() if t.name.startswith("heartbeat")]


def test_a_heartbeat_goes_on_after_a_server_did_not_answer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([errno.ESTALE, errno.EIO])
    touch = os.utime

    def slow_server(*arguments: object) -> None:
        code = next(answers, None)
        if code is not None:
            raise OSError(code, os.strerror(code))
        touch(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ownership, "HEARTBEAT_S", 0.02)
    monkeypatch.setattr(os, "utime", slow_server)
    with store.claim("k"):
        touch(store.claim_path("k"), (0, 0))
        deadline = time.monotonic() + 10
        while not store.is_running("k") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert store.is_running("k")


def test_a_worker_that_lost_its_claim_neither_refreshes_nor_removes_the_new_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "HEARTBEAT_S", 0.01)
    path = store.claim_path("k")
    with store.claim("k"):
        path.unlink()
        take_claim(path)  # as another worker would after STALE_AFTER_S
        os.utime(path, (0, 0))
        time.sleep(0.1)
        assert path.stat().st_mtime == 0
    assert path.exists()


def test_of_processes_that_race_for_a_stage_exactly_one_gets_it(tmp_path: Path) -> None:
    done = program(RACE, tmp_path / "race", 30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [1] * 30


@pytest.mark.slow
def test_of_processes_that_race_for_many_stages_exactly_one_gets_each(tmp_path: Path) -> None:
    done = program(RACE, tmp_path / "race", 200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [1] * 200


# --- clocks, process numbers, odd file systems


@pytest.mark.parametrize("hours", [-1.0, 1.0], ids=["clock behind", "clock ahead"])
@pytest.mark.parametrize("is_alive", [True, False], ids=["alive", "dead"])
def test_heartbeats_and_not_the_clocks_of_two_hosts_say_who_lives(
    hours: float, is_alive: bool, store: Store
) -> None:
    path, stop = store.claim_path("k"), threading.Event()
    left_claim(path, hours=hours)

    def beat() -> None:
        for number in range(1, 1000):
            if stop.wait(0.05):
                return
            touched = time.time() + 3600 * hours + number / 100
            os.utime(path, (touched, touched))

    thread = threading.Thread(target=beat)
    if is_alive:
        thread.start()
    try:
        if is_alive:
            with pytest.raises(StageClaimedError, match="gpu07"):
                take_claim(path)
        else:
            take_claim(path)
    finally:
        stop.set()
        if is_alive:
            thread.join()
    claim = read_claim(path)
    assert claim is not None
    assert (claim.token == "theirs") is is_alive


def test_a_claim_that_is_given_up_while_it_is_watched_is_taken(store: Store) -> None:
    path = store.claim_path("k")
    left_claim(path, hours=-1)
    threading.Timer(0.1, path.unlink).start()
    take_claim(path)


def life_with(**changes: str) -> str:
    life = ownership.process_life()
    assert life is not None
    parts = dict(zip(("host", "boot", "namespace", "start"), life.split(), strict=True))
    return " ".join((parts | changes).values())


@pytest.mark.parametrize(
    ("changes", "is_dead"),
    [
        ({}, True),
        ({"start": "1"}, True),
        ({"boot": "an-earlier-or-another-machine"}, False),
        ({"namespace": "pid:[1]"}, False),
        ({"host": "gpu07"}, False),
    ],
    ids=[
        "left by this process",
        "number used again",
        "another boot",
        "another container",
        "another host",
    ],
)
def test_a_process_number_counts_only_where_it_means_that_process(
    changes: dict[str, str], is_dead: bool, store: Store
) -> None:
    """On one host, or on two that share a name, another process may have the owner's number."""
    path = store.claim_path("k")
    left_claim(path, pid=os.getpid(), host=socket.gethostname(), life=life_with(**changes))
    claim = read_claim(path)
    assert claim is not None
    assert claim.is_dead is is_dead


def test_a_dead_number_of_another_container_is_no_proof(store: Store) -> None:
    path = store.claim_path("k")
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    left_claim(path, pid=child.pid, host=socket.gethostname(), life=life_with(namespace="pid:[1]"))
    with pytest.raises(StageClaimedError):
        take_claim(path)


@pytest.fixture
def odd_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither flock nor hard links."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def refuse_link(self: Path, target: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(self))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(Path, "hardlink_to", refuse_link)


@pytest.mark.usefixtures("odd_file_system")
def test_without_flock_and_hard_links_stages_are_claimed_and_published(store: Store) -> None:
    for key in ("a", "b"):
        with store.claim(key) as folder:
            with pytest.raises(StageClaimedError), store.claim(key):
                pass
            (folder / "model").write_bytes(b"weights")
            store.publish(key, {"status": "ok"})
    assert not list(store.root.glob("*.claim"))
    left_claim(store.claim_path("c"), pid=os.getpid(), life=life_with(start="1"))
    with store.claim("c"):
        pass
    assert missing_abilities(store.root) == ["hard links", "flock"]
    assert not list(store.root.glob(".probe*"))


def test_processes_that_start_at_once_look_at_the_file_system_side_by_side(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sweeps on one store ended with "File exists": their probes had one name for the link."""
    linked = ownership._linked
    others: list[list[str]] = []

    def link_while_another_does(source: Path, target: Path) -> bool:
        if not others:  # a process that looks between our link and its end
            others.append([])
            found = linked(source, target)
            others[0] = missing_abilities(store.root)
            return found
        return linked(source, target)

    monkeypatch.setattr(ownership, "_linked", link_while_another_does)
    assert missing_abilities(store.root) == []
    assert others == [[]]
    assert not list(store.root.glob(".probe*"))


def test_a_common_file_system_has_what_claims_use(store: Store) -> None:
    assert missing_abilities(store.root) == []


def test_of_processes_that_race_without_hard_links_exactly_one_gets_a_fresh_claim(
    tmp_path: Path,
) -> None:
    race = RACE.replace("number % 2", "False").replace(
        "root, owners", "ownership._linked = lambda *_: False\nroot, owners"
    )
    done = program(race, tmp_path / "race", 30)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [1] * 30
