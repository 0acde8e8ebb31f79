"""What a row of the benchmark is: our way and the stock ways to one result, at one setting."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Setting(NamedTuple):
    """Where a row runs and how large it is."""

    device: str = "cpu"  # cpu | cuda
    small: bool = False  # a second's work: whether the row runs, not how fast

    def choose(self, *, small: Any, cpu: Any, cuda: Any = None) -> Any:
        """The size for this setting."""
        if self.small:
            return small
        return cuda if self.device == "cuda" else cpu


class Timed(NamedTuple):
    """The result of a function that knows better than a clock around it how long it took."""

    result: Any
    seconds: float
    parts: Mapping[str, float] = {}  # further readings by name and unit, such as "peak MB"


Way = Callable[[], Any]  # its result, or a Timed


def anything(ours: Any, theirs: Any) -> None:
    """For a row without a peer: nothing to compare."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row, ready to run; the first of its peers is the one that `ratio` is about."""

    what: str  # with sizes
    ours: Way
    peers: Mapping[str, Way] = field(default_factory=dict)
    agree: Callable[[Any, Any], None] = anything  # raises AssertionError where results differ
    turns: int = 5
    warm_up: bool = True  # False: the first turn counts as well
    flops: Callable[[], float] | None = None  # of one turn of ours
    needs: tuple[str, ...] = ()  # distributions whose versions the result names
