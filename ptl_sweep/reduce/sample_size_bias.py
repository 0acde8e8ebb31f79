"""The appendix's simulation, kept below ``sweep.root``: it depends on settings and on no stage."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ptl_sweep.config.analysis import AnalysisConfig
from ptl_sweep.distance.sample_size_bias import DriftRow, simulate
from ptl_sweep.seeds import derive_seed
from ptl_sweep.store import canonical_json, write_atomically

VERSION = 1  # raise it when the simulation's numbers change
FOLDER = "simulations"
SETTINGS = ("shrinkage", "calibration", "equal_n_shrinkage", "equal_n_draws", "equal_n_min")


def kept_simulation(
    root: Path, dimension: int, counts: Sequence[int], settings: AnalysisConfig
) -> list[DriftRow]:
    """Rows of `simulate` for a sweep's settings, computed once for all sweeps below `root`."""
    values = asdict(settings)
    about = {
        "version": VERSION,
        "dimension": dimension,
        "counts": list(counts),
        **{name: values[name] for name in SETTINGS},
    }
    path = root / FOLDER / f"sample_size_bias-{derive_seed(0, about):016x}.json"
    kept = _read(path, canonical_json(about))
    if kept is not None:
        return kept
    rng = np.random.default_rng(derive_seed(0, "drift"))
    rows = simulate(dimension, counts, rng, settings=settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"about": about, "rows": [row._asdict() for row in rows]}
    write_atomically(path, json.dumps(content).encode())
    return rows


def _read(path: Path, about: str) -> list[DriftRow] | None:
    """None for a file that is not there, is damaged, or is about something else."""
    try:
        content = json.loads(path.read_text())
        if canonical_json(content["about"]) != about:
            return None
        return [DriftRow(**row) for row in content["rows"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
