"""What a notebook needs of a sweep; `from ptl_sweep import load_sweep`."""

from ptl_sweep.api.sweep import Sweep, load_sweep

__all__ = ["Sweep", "load_sweep"]
