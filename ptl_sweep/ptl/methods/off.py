"""Real images only: the detector that every other method starts from."""

from collections.abc import Callable
from dataclasses import dataclass

from ptl_sweep.ptl.methods.base import S, SelectedVirtualImages, SelectionInput, SyntheticMethod


@dataclass(frozen=True, kw_only=True)
class Off(SyntheticMethod):
    """Adds nothing."""

    def chain(self, first: S, iterate: Callable[[int, S], S], num_iterations: int) -> list[S]:
        """The training on real images alone."""
        del iterate, num_iterations
        return [first]

    def select(self, given: SelectionInput) -> SelectedVirtualImages:
        """Never asked: the chain has no iteration. Raises: RuntimeError."""
        del given
        raise RuntimeError("synthetic.method=off selects nothing")
