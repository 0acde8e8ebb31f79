"""Where a number is from: processor, card, versions, load; and how fast the card multiplies."""

import os
import platform
import time
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

ALWAYS = ("torch", "torchvision", "numpy", "scipy")
MATMUL_SIDE, MATMUL_TURNS = 8192, 20


def machine() -> dict[str, Any]:
    """What a reader must know of the machine before comparing numbers."""
    found: dict[str, Any] = {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),  # others at work make every number worse
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    if torch.cuda.is_available():
        found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return found


def versions(needs: Iterable[str] = ()) -> dict[str, str]:
    """Of Python, and of the distributions that a row used and that are installed."""
    found = {"python": platform.python_version()}
    for name in (*ALWAYS, *needs):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def matmul_rate() -> float:
    """The card's bfloat16 matrix products, FLOP/s: what MFU is a share of."""
    side = MATMUL_SIDE
    left, right = (torch.randn(side, side, device="cuda", dtype=torch.bfloat16) for _ in "ab")
    begun, ended = (torch.cuda.Event(enable_timing=True) for _ in "ab")
    for _ in range(3):
        left @ right
    begun.record()
    for _ in range(MATMUL_TURNS):
        left @ right
    ended.record()
    torch.cuda.synchronize()
    return 2 * side**3 * MATMUL_TURNS / (begun.elapsed_time(ended) / 1e3)


def flops_of(function: Callable[[], Any]) -> float:
    """Floating-point operations of matrix products and convolutions in one call."""
    with FlopCounterMode(display=False) as counter:
        function()
    return float(counter.get_total_flops())
