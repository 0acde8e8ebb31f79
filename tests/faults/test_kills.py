"""Workers that are killed at any moment: the sweep ends with the numbers of an undisturbed one."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.fault_trials import Tally, broken_stages, in_child
from helpers.sweeps import TINY

from ptl_sweep.store import Store

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]

KILLS = 200
ROUNDS = 8  # each with a seed of its own
# Both kinds of training; short, because a sweep that is killed again and again is run often.
GRID = ("-m", "real_count=3", "synthetic=off,on", "target=field", "seed=0", *TINY,
        "train.num_steps=20", "translator.num_steps=15", "train.checkpoint_minutes=0")  # fmt: skip


def results(root: Path) -> bytes:
    (path,) = root.glob("sweeps/*/results.csv")
    return path.read_bytes()


def models(root: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in root.glob("store/*/model.safetensors")}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """An undisturbed sweep, and the seconds that it took."""
    root = tmp_path_factory.mktemp("reference")
    started = time.monotonic()
    assert in_child([*GRID, f"sweep.root={root}"], root / "log") == 0
    return root, time.monotonic() - started


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_sweep_that_is_killed_again_and_again_ends_with_the_same_numbers(
    seed: int, reference: Any, tmp_path: Path, tally: Tally, share: float
) -> None:
    expected, seconds = reference
    tally.fault = f"SIGKILL at a random moment, seed {seed}"
    rng = np.random.default_rng(seed)
    store = Store(tmp_path / "store")
    arguments = [*GRID, f"sweep.root={tmp_path}"]
    while tally.tries < max(1, share * KILLS / ROUNDS):
        born, kind = time.time(), str(rng.choice(_missing(store, expected)))
        delay = rng.uniform(0, 0.02 if kind else 0.3) * seconds
        moment = partial(_has_begun, store, kind, born)
        if (code := in_child(arguments, tmp_path / "log", delay, moment)) is not None:
            assert code == 0, (tmp_path / "log").read_text()[-2000:]
            for path in (*tmp_path.glob("store"), *tmp_path.glob("sweeps")):
                path.rename(tmp_path / f"{path.name}-done-{tally.tries}")
            continue
        tally.tries += 1
        tally.note("+".join(sorted(_claimed(store, born))) or "no stage")
        if store.root.exists():
            tally.lost += broken_stages(store)
    assert in_child(arguments, tmp_path / "log") == 0, (tmp_path / "log").read_text()[-2000:]
    if results(tmp_path) != results(expected):
        tally.lost.append("results.csv differs")
    tally.lost += [
        f"the weights of {key} differ"
        for key, weights in models(expected).items()
        if models(tmp_path)[key] != weights
    ]
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert not list(store.root.glob("*.claim"))
    assert tally.lost == []


def _missing(store: Store, expected: Path) -> list[str]:
    """Kinds of stages that a sweep has yet to publish, and none: a sweep that starts or reduces."""
    keys = [path.parent.name for path in expected.glob("store/*/meta.json")]
    return ["", *sorted({key.split("-")[0] for key in keys if not store.is_published(key)})]


def _has_begun(store: Store, kind: str, since: float) -> bool:
    return not kind or kind in _claimed(store, since)


def _claimed(store: Store, since: float) -> set[str]:
    """Kinds of the stages that were claimed since then; the dead of before left claims as well."""
    claims = store.root.glob("*.claim")
    return {path.name.split("-")[0] for path in claims if _changed(path) >= since}


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # published meanwhile
        return 0.0
