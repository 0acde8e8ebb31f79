"""How far can synthetic images replace real ones? PTL sweeps, train2test distance and AP_t2t."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptl_sweep.api import Sweep, load_sweep

__all__ = ["Sweep", "__version__", "load_sweep"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`load_sweep` and `Sweep`, which bring torch along, when they are asked for."""
    if name in ("Sweep", "load_sweep"):
        return getattr(import_module("ptl_sweep.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
