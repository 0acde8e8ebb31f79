"""GPUs for worker processes: what CUDA_VISIBLE_DEVICES allows, and never too many tasks on one."""

import sys
from collections import Counter
from pathlib import Path

import pytest
from helpers.cards import SetUp
from hypothesis import given
from hypothesis import strategies as st

from ptl_sweep.worker import cards
from ptl_sweep.worker.cards import card_environment, cards_among, freest_card, visible_cards

A, B, C = "GPU-aaaa-1", "GPU-aaab-2", "GPU-cccc-3"
M1, M2 = "MIG-1111-1", "MIG-2222-2"
LISTING = f"""\
GPU 0: NVIDIA H100 80GB HBM3 (UUID: {A})
GPU 1: NVIDIA H100 80GB HBM3 (UUID: {B})
  MIG 3g.40gb     Device  0: (UUID: {M1})
  MIG 3g.40gb     Device  1: (UUID: {M2})
GPU 2: NVIDIA H100 80GB HBM3 (UUID: {C})
"""

# --- which cards there are


def test_every_gpu_is_found_and_in_place_of_a_sliced_one_its_slices(nvidia_smi: SetUp) -> None:
    nvidia_smi(f"[ $1 = -L ] && cat <<'END'\n{LISTING}END")
    assert visible_cards() == [A, M1, M2, C]


@pytest.mark.parametrize("lines", ["exit 9", "echo 'No devices were found'; exit 6", ":"])
def test_a_driver_that_shows_none_is_a_machine_without(nvidia_smi: SetUp, lines: str) -> None:
    nvidia_smi(lines)
    assert visible_cards() == []


def test_a_driver_that_hangs_is_not_waited_for(
    nvidia_smi: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "TIMEOUT_S", 0.2)
    nvidia_smi("exec sleep 60")
    assert visible_cards() == []


def test_without_nvidia_smi_the_driver_s_own_folder_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(cards, "DRIVER", tmp_path)
    assert visible_cards() == []
    for bus, uuid in (("0000:41:00.0", B), ("0000:01:00.0", A)):
        (tmp_path / bus).mkdir()
        (tmp_path / bus / "information").write_text(f"Model: \t\t H100\nGPU UUID: \t {uuid}\n")
    assert visible_cards() == [A, B]


def test_a_torch_without_cuda_uses_no_card(
    nvidia_smi: SetUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(f"echo '{A}'")
    torch = tmp_path / "torch"
    torch.mkdir()
    (torch / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for built_with, found in (("None", []), ("'12.8'", [A])):
        (torch / "version.py").write_text(f"cuda: Optional[str] = {built_with}\n")
        assert visible_cards() == found


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (None, [A, M1, M2, C]),
        ("2,0", ["2", "0"]),
        (" 1 , 0", ["1", "0"]),
        ("0,0,1", ["0", "1"]),
        (f"{C},{A}", [C, A]),
        ("GPU-cc", ["GPU-cc"]),
        (M2, [M2]),
        (f"MIG-{B}/1/0", [f"MIG-{B}/1/0"]),
        ("0,7,1", ["0"]),  # CUDA ends the list at what is not there
        ("0,GPU-ffff,1", ["0"]),
        ("1,-1,0", ["1"]),
        ("-1", []),
        ("", []),
        ("NoDevFiles", []),
    ],
)
def test_what_the_user_has_set_is_kept_to_in_order_and_spelling(
    wanted: str | None, found: list[str]
) -> None:
    assert cards_among([A, B, M1, M2, C], wanted) == found


def test_a_user_who_hides_every_card_is_not_kept_waiting_for_the_driver(
    nvidia_smi: SetUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(f"touch {tmp_path}/asked")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert visible_cards() == []
    assert not (tmp_path / "asked").exists()


def test_an_index_on_a_machine_without_a_card_is_no_card() -> None:
    assert cards_among([], "0,1") == []


# --- which card comes next

Turns = st.lists(st.one_of(st.none(), st.integers(0, 30)), max_size=60)  # start, or end one of them


@given(num_cards=st.integers(1, 5), per_card=st.integers(1, 4), turns=Turns)
def test_no_card_is_ever_overfull_none_stays_idle_and_a_place_that_is_freed_is_filled(
    num_cards: int, per_card: int, turns: list[int | None]
) -> None:
    names = [str(index) for index in range(num_cards)]
    running: list[str] = []
    for turn in turns:
        if turn is not None and running:
            running.pop(turn % len(running))
            continue
        before = Counter(running)
        card = freest_card(names, running, per_card)
        assert (card is None) == (len(running) == num_cards * per_card)
        if card is None:
            continue
        assert before[card] == min(before[name] for name in names)
        running.append(card)
        assert Counter(running)[card] <= per_card


@given(num_cards=st.integers(1, 5), per_card=st.integers(1, 4))
def test_every_card_has_a_task_before_one_has_two(num_cards: int, per_card: int) -> None:
    names = [str(index) for index in range(num_cards)]
    running: list[str] = []
    while (card := freest_card(names, running, per_card)) is not None:
        running.append(card)
    assert running == names * per_card


def test_on_a_machine_without_a_card_there_is_none_to_give() -> None:
    assert freest_card([], [None, None], 1) is None


def test_a_worker_sees_its_card_alone_and_without_one_what_it_saw_before() -> None:
    before = {"CUDA_VISIBLE_DEVICES": "2,3", "HOME": "/home/x"}
    assert card_environment(before, "3") == {**before, "CUDA_VISIBLE_DEVICES": "3"}
    assert card_environment(before, None) == before
