"""results.csv of a sweep over numbers of virtual images, with AP50 that says where it is from."""

from itertools import product

import polars as pl

from ptl_sweep.study.claims.claim import MIN_SEEDS
from ptl_sweep.vocabulary import Domain

SEEDS = tuple(range(MIN_SEEDS))
AXES = ("synthetic.images_per_iteration", "train.real_fraction")
TARGETS = {"sea": Domain.CROSS, "hill": Domain.CROSS, "own": Domain.IN}


def arm_name(total: int, share: float | None) -> str:
    if not total:
        return "off"
    return f"on, images_per_iteration={total}" + (f", real_fraction={share}" if share else "")


def dose_grid(**changes: object) -> pl.DataFrame:
    """results.csv of two counts, off and five arms, two foreign targets and the source's own."""
    arms = ((0, None), (20, None), (60, None), (20, 0.5), (60, 0.5))
    places = product((20, 50), arms, TARGETS, SEEDS)
    rows = [
        {
            "dataset": "here", "real_count": count, "synthetic": arm_name(total, share),
            "target": target, "seed": seed, "num_synthetic": total, "domain": TARGETS[target],
            "num_ground_truth": 40,
            "AP50": count / 1000 + total / 1000 + seed / 100 + (target == "hill") / 10
            + (share or 0),
            AXES[0]: total or None, AXES[1]: share,
        }
        for count, (total, share), target, seed in places
    ]  # fmt: skip
    return pl.DataFrame(rows).with_columns(**changes)
