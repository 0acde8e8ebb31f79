"""Times a case: results compared first, then our way and the others in turns A B A B."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from case import Case, Setting, Timed, Way


class ResultsDiffer(AssertionError):  # noqa: N818
    """Our way and a stock one do not give the same result."""


class Spread(NamedTuple):
    """Times of one way, milliseconds."""

    median: float
    low: float  # quartiles
    high: float

    @classmethod
    def of(cls, seconds: list[float]) -> "Spread":
        """The median and quartiles of the turns."""
        low, median, high = np.quantile(np.array(seconds) * 1e3, (0.25, 0.5, 0.75)).tolist()
        return cls(median, low, high)


class Measured(NamedTuple):
    """A case after its turns."""

    ours: Spread
    peers: Mapping[str, Spread]
    parts: Mapping[str, float]  # further readings of our last turn


def measure(case: Case, setting: Setting, turns: int | None = None) -> Measured:
    """Compare the results of all ways, then time them in turns.

    Raises: ResultsDiffer.
    """
    ways: dict[str, Way] = {"ours": case.ours, **case.peers}
    firsts = {name: _timed(way, setting) for name, way in ways.items()}
    for name in case.peers:
        try:
            case.agree(firsts["ours"].result, firsts[name].result)
        except AssertionError as error:
            raise ResultsDiffer(f"{name} gives another result than ours: {error}") from error
    counted = not case.warm_up
    seconds = {name: [first.seconds] * counted for name, first in firsts.items()}
    last = firsts["ours"]
    for _ in range((turns or case.turns) - counted):
        for name, way in ways.items():
            timed = _timed(way, setting)
            seconds[name].append(timed.seconds)
            last = timed if name == "ours" else last
    spreads = {name: Spread.of(found) for name, found in seconds.items()}
    return Measured(spreads.pop("ours"), spreads, last.parts)


def _timed(way: Way, setting: Setting) -> Timed:
    synchronise(setting)
    start = time.perf_counter()
    result: Any = way()
    synchronise(setting)
    seconds = time.perf_counter() - start
    return result if isinstance(result, Timed) else Timed(result, seconds)


def synchronise(setting: Setting) -> None:
    """Wait until the device has done what it was given."""
    if setting.device == "cuda":
        torch.cuda.synchronize()
