"""The benchmark: every row runs, compares before it times, and answers in one form."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCH = Path(__file__).parent / "bench"
PROMISED = (
    "host_step", "train_step", "pool", "cyclegan", "ap", "distances", "reduce", "plan", "start",
)  # fmt: skip
SLOW = (  # whole commands, and a second network of full size
    "plan", "plan_192", "start", "scanning", "looking", "reduce", "tracking_cost", "train_step_20",
)  # fmt: skip


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module; its neighbours are found as when it is run."""
    monkeypatch.syspath_prepend(str(BENCH))
    threads = torch.get_num_threads()
    import bench

    yield bench
    torch.set_num_threads(threads)


def one_row(bench: ModuleType, capsys: pytest.CaptureFixture[str], name: str) -> dict[str, Any]:
    assert bench.main(["--only", name, "--json", "--small", "--turns", "1"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    row: dict[str, Any] = json.loads(line)
    assert row["name"] == name
    assert row["ours_ms"] > 0
    return row


def names() -> list[str]:
    listed = subprocess.run(
        [sys.executable, "-c", "from registry import ROWS; print(*ROWS)"],
        cwd=BENCH, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return listed.stdout.split()


NAMES = names()


def test_the_rows_that_are_promised_exist(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == NAMES
    assert {*PROMISED, *SLOW} <= {*NAMES}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SLOW])
def test_a_row_runs_and_agrees_with_its_peers(
    bench: ModuleType, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    one_row(bench, capsys, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_row_that_takes_longer_runs_too(
    bench: ModuleType, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    one_row(bench, capsys, name)


def test_a_row_as_json_has_times_spread_and_origin(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    row = one_row(bench, capsys, "ap")
    assert row["ratio"] == pytest.approx(row["peer_ms"] / row["ours_ms"])
    assert row["peers"]["pycocotools"]["ms"] == row["peer_ms"]
    for side in ("ours_ms", "peer_ms"):
        low, high = row["spread"][side]
        assert low <= row[side] <= high
    assert {"processor", "cores", "threads", "load", "date"} <= row["machine"].keys()
    assert row["versions"]["torch"] == version("torch")
    assert "pycocotools" in row["versions"]
    without_peer = one_row(bench, capsys, "rendering")
    assert without_peer["peer_ms"] is without_peer["ratio"] is None


def test_a_wrong_name_is_a_mistake_with_the_nearest_row(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--only", "cycelgan", "--json"]) == 2
    assert "no row 'cycelgan'; did you mean cyclegan?" in capsys.readouterr().err


def test_other_results_end_with_1_and_are_never_timed(
    bench: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import rows.distances as row

    from ptl_sweep.distance.gaussian import squared_mahalanobis

    monkeypatch.setattr(row, "squared_mahalanobis", lambda *given: 2 * squared_mahalanobis(*given))
    assert bench.main(["--only", "distances", "--small", "--json"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "distances: scipy gives another result than ours" in told.err
    assert "Mismatched elements: 2000 / 2000" in told.err


def test_ways_take_turns_after_one_run_each_that_does_not_count(bench: ModuleType) -> None:
    from case import Case, Setting, Timed
    from timing import measure

    calls: list[str] = []

    def way(name: str, *seconds: float) -> Any:
        left = iter(seconds)

        def run() -> Timed:
            calls.append(name)
            return Timed(1.0, next(left))

        return run

    case = Case(what="", ours=way("A", 9, 1, 2, 6), peers={"peer": way("B", 9, 3, 4, 5)}, turns=3)
    found = measure(case, Setting())
    assert calls == ["A", "B"] * 4
    assert found.ours == pytest.approx((2000, 1500, 4000))
    assert found.peers["peer"].median == pytest.approx(4000)
    once = Case(what="", ours=way("A", 7), turns=1, warm_up=False)
    assert measure(once, Setting()).ours.median == pytest.approx(7000)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_the_gpu_is_asked_for_in_one_line(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["--gpu"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert "no CUDA GPU" in told.err


@pytest.mark.slow
def test_rows_of_the_gpu_need_no_package_that_a_bare_machine_lacks() -> None:
    program = """
import sys
import bench
from importlib import import_module
for row in bench.ROWS.values():
    if row.on_gpu:
        import_module(row.module)
print(*{name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=BENCH, capture_output=True, text=True, check=True
    )
    loaded = {*done.stdout.split()}
    assert "torchvision" in loaded
    assert not {"pycocotools", "pyarrow", "polars", "wandb", "matplotlib", "submitit"} & loaded


def test_exponents_are_those_of_power_laws_and_memory_too_small_to_see_has_none(
    bench: ModuleType,
) -> None:
    from growth import Point, summary

    sizes = (100, 200, 400, 800)
    found = [Point(size, 3 * size**1.5, 0.1 * size) for size in sizes]
    assert summary(found) == "time ~ size^1.50, memory ~ size^1.00"
    unseen = [Point(size, 7.0, 0.001 * size) for size in sizes]
    assert summary(unseen) == "time ~ size^0.00, memory at most 1 MB"
    elsewhere = [Point(size, 2.0 * size, None) for size in sizes]
    assert summary(elsewhere) == "time ~ size^1.00"


@pytest.mark.slow
def test_growth_names_an_exponent_for_every_quantity(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    from growth import AXES

    assert bench.main(["--growth", "--small"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": time ~ size^")[0] for line in lines if "size^" in line] == [
        axis.what for axis in AXES
    ]
    assert len(lines) == 3 * len(AXES)  # two points each


def test_mfu_is_the_share_of_the_rate_that_the_arithmetic_of_a_turn_needs(
    bench: ModuleType,
) -> None:
    from case import Setting
    from machine import flops_of
    from timing import Measured, Spread

    left, right = torch.rand(8, 16, requires_grad=True), torch.rand(16, 4, requires_grad=True)
    assert flops_of(lambda: (left @ right).sum().backward()) == 3 * 2 * 8 * 16 * 4
    case = bench.ROWS["cyclegan"].case(Setting(small=True))
    assert case.flops is not None
    flops = case.flops()
    found = Measured(Spread(20.0, 20.0, 20.0), {}, {})  # milliseconds
    row = bench.as_object("cyclegan", case, found, rate=flops / 0.01)
    assert row["mfu"] == pytest.approx(0.5)
    assert any("MFU 50.0%" in line for line in bench.table_lines(row))
