"""Crops and runs for trainings of translators, and a comparison of what they end with."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ptl_sweep.ptl.translators.base import FitRun


def fit_run(folder: Path, **changes: Any) -> FitRun:
    """A run on the CPU that nobody watches or stops."""
    fields = {
        "seed": 3,
        "folder": folder,
        "warm_start": None,
        "on_step": lambda _step, _losses: None,
        "device": torch.device("cpu"),
        "checkpoint_minutes": 5.0,
        "should_stop": lambda: False,
    }
    return FitRun(**(fields | changes))


def blocky_crops(seed: int, n: int = 5, side: int = 18) -> np.ndarray:
    """Crops of 6 x 6 blocks, each of a random colour."""
    coarse = np.random.default_rng(seed).integers(0, 255, size=(n, 6, 6, 3), dtype=np.uint8)
    return coarse.repeat(side // 6, axis=1).repeat(side // 6, axis=2)


def same_weights(first: torch.nn.Module, second: torch.nn.Module) -> bool:
    """Whether two networks agree to the bit."""
    left, right = first.state_dict(), second.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def num_parameters(network: torch.nn.Module) -> int:
    """Numbers that a training changes."""
    return sum(parameter.numel() for parameter in network.parameters())
