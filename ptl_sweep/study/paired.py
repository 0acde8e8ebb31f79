"""Uncertainty from the test images: AP of resampled images or scenes (ours; docs/method.md, 4).

All detectors of one target are resampled with the same weights, so their differences are paired.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.metrics.bootstrap import Replicates
from ptl_sweep.vocabulary import OFF, CellKey, Group, cell_key


class PairedReplicates(NamedTuple):
    """What synthetic changes, per seed and resample of the test images."""

    AP50: Float[ndarray, "s b"]
    AP_t2t: Float[ndarray, "s 3 b"]
    AP_t2t_bands: Float[ndarray, "s 3 b"]
    num_blocks: int  # of all targets together, which are resampled independently
    fewest_blocks: int  # of any target


def paired_replicates(
    replicates: Mapping[CellKey, Replicates], groups: Sequence[Group], seeds: Sequence[int]
) -> PairedReplicates | None:
    """Replicates of synthetic minus those of off, mean over `groups` (none is an average).

    None when there is no seed or a cell has no replicates.
    """
    on = [[cell_key(group, seed) for group in groups] for seed in seeds]
    off = [[cell_key(group._replace(synthetic=OFF), seed) for group in groups] for seed in seeds]
    if not on or any(key not in replicates for keys in (*on, *off) for key in keys):
        return None
    blocks = {key[3]: replicates[key].num_blocks for key in on[0]}

    def difference(field: str) -> ndarray:
        """Mean over groups; first axis seeds, last axis resamples."""
        minuend, subtrahend = (
            np.array([[getattr(replicates[key], field) for key in keys] for keys in cells])
            for cells in (on, off)
        )
        return np.asarray((minuend - subtrahend).mean(axis=1))

    return PairedReplicates(
        difference("AP50"),
        difference("AP_t2t"),
        difference("AP_t2t_bands"),
        sum(blocks.values()),
        min(blocks.values()),
    )
