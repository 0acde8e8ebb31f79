"""Ours beside what a user would otherwise run, on this machine.

`python tests/bench/bench.py` prints one table of all rows; `--only NAME --json` one row as JSON.
Results are compared before anything is timed; then the ways take turns, and medians count.
"""

import argparse
import difflib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from case import Case, Setting
from machine import machine, matmul_rate, versions
from registry import ROWS
from timing import Measured, ResultsDiffer, measure

RESULTS_DIFFER, USER_MISTAKE = 1, 2


def main(arguments: Sequence[str]) -> int:
    """Run what was asked for. Returns 0, 1 where results differ, 2 for a mistake of the user."""
    options = _options(arguments)
    torch.set_num_threads(1)
    if options.list:
        for name, row in ROWS.items():
            print(f"{name:16}{row.about}{' (GPU)' if row.on_gpu else ''}")
        return 0
    if options.growth:
        from growth import print_growth

        print_growth(small=options.small)
        return 0
    if options.only is not None and options.only not in ROWS:
        return _mistake(f"no row {options.only!r}{_meant(options.only)}; --list names them all")
    if options.gpu and not torch.cuda.is_available():
        return _mistake(f"no CUDA GPU: torch {torch.__version__} says none is available here")
    return _run(options)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__)
    parser.add_argument("--only", metavar="NAME", help="one row")
    parser.add_argument("--json", action="store_true", help="rows as JSON objects, one a line")
    parser.add_argument("--list", action="store_true", help="the names of the rows")
    parser.add_argument("--gpu", action="store_true", help="on CUDA, with MFU")
    parser.add_argument("--turns", type=int, help="of each way, instead of the row's own number")
    parser.add_argument("--small", action="store_true", help="only whether the rows run")
    parser.add_argument("--growth", action="store_true", help="how time and memory grow instead")
    return parser.parse_args(arguments)


def _meant(name: str) -> str:
    close = difflib.get_close_matches(name, ROWS, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _mistake(text: str) -> int:
    print(text, file=sys.stderr)
    return USER_MISTAKE


def _run(options: argparse.Namespace) -> int:
    setting = Setting("cuda" if options.gpu else "cpu", options.small)
    rate = matmul_rate() if options.gpu else None
    if not options.json:
        print("\n".join(_heading(rate)), flush=True)
    code = 0
    for name in [options.only] if options.only else _names(setting):
        case = ROWS[name].case(setting)
        try:
            found = measure(case, setting, options.turns)
        except ResultsDiffer as error:
            print(f"{name}: {error}", file=sys.stderr)
            code = RESULTS_DIFFER
            continue
        row = as_object(name, case, found, rate)
        lines = [json.dumps(row)] if options.json else table_lines(row)
        print("\n".join(lines), flush=True)
    return code


def _names(setting: Setting) -> list[str]:
    return [name for name, row in ROWS.items() if row.on_gpu or setting.device == "cpu"]


def as_object(name: str, case: Case, found: Measured, rate: float | None) -> dict[str, Any]:
    """One row; milliseconds, quartiles as [low, high], `ratio` how many times faster ours is."""
    first = next(iter(found.peers.values()), None)
    row = {
        "name": name,
        "what": case.what,
        "ours_ms": found.ours.median,
        "peer_ms": None if first is None else first.median,
        "ratio": None if first is None else first.median / found.ours.median,
        "spread": {
            "ours_ms": list(found.ours[1:]),
            "peer_ms": None if first is None else list(first[1:]),
        },
        "peers": {
            peer: {
                "ms": spread.median,
                "spread": list(spread[1:]),
                "ratio": spread.median / found.ours.median,
            }
            for peer, spread in found.peers.items()
        },
        "parts": dict(found.parts),
        "machine": machine(),
        "versions": versions(case.needs),
    }
    if rate is not None and case.flops is not None:
        flops = case.flops()
        row |= {"tflop": flops / 1e12, "mfu": flops / (found.ours.median / 1e3) / rate}
    return row


def _heading(rate: float | None) -> Iterator[str]:
    where = machine()
    card = f", {where['gpu']}, {rate / 1e12:.0f} TFLOP/s in bf16" if rate else ""
    yield (
        f"{where['processor']}, {where['cores']} cores, one thread{card}, load {where['load']}, "
        f"{where['date']}, torch {torch.__version__}"
    )
    columns = f"{'':16}{'ours ms':>10} {'quartiles':>17}  {'peer ms':>10} {'quartiles':>17}"
    yield f"{columns} {'ratio':>6}"


def table_lines(row: dict[str, Any]) -> Iterator[str]:
    """One line for each peer, then the readings that only some rows have."""
    ours = f"{row['ours_ms']:10.1f} {_quartiles(row['spread']['ours_ms'])}"
    mfu = f"  MFU {row['mfu']:.1%}" if "mfu" in row else ""
    yield f"{row['name']}: {row['what']}{mfu}"
    if not row["peers"]:
        yield f"{'':16}{ours}"
    for peer, found in row["peers"].items():
        theirs = f"{found['ms']:10.1f} {_quartiles(found['spread'])} {found['ratio']:6.1f}"
        yield f"{'':16}{ours}  {theirs}  {peer}"
    for part, value in row["parts"].items():
        yield f"{'':18}{part}: {value:,.1f}"


def _quartiles(spread: Sequence[float]) -> str:
    return f"{spread[0]:8.1f}-{spread[1]:<8.1f}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
