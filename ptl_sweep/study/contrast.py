"""Medium-confidence contrast (seed, section on AP_t2t): synthetic helps most above a medium score.

E(s) = AP_t2t_s(synthetic) - AP_t2t_s(off); the advantage of the medium band is
E(medium) - max(E(low), E(high)), `claim` in the columns.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.metrics.bootstrap import Replicates, few_blocks_note, percentile_interval
from ptl_sweep.study.groups import by_group, members, paired_effects, seeds_of
from ptl_sweep.study.paired import PairedReplicates, paired_replicates
from ptl_sweep.study.schemas import CONTRASTS, frame_of
from ptl_sweep.study.statistics import joined_notes, mean_interval, power_note, sign_flip_p
from ptl_sweep.vocabulary import BANDS, ApT2t, CellKey, Value, band_name, bounded


def contrasts(
    results: pl.DataFrame,
    thresholds: Sequence[float],
    replicates: Mapping[CellKey, Replicates] | None = None,
    rng: np.random.Generator | None = None,
) -> pl.DataFrame:
    """One row per scale and group with synthetic, then over targets, then over counts as well.

    Averages over targets and counts are taken within a seed, before the maximum; the advantage of
    a group is the mean of those of its seeds, with Student's t interval and exact sign-flip p.
    `claim_image_*`: per resample of the test images, that of each seed, then their mean.

    The maximum is of two noisy numbers, so without any difference between the three the
    advantage is negative on average, and more so under resampling: one above zero is evidence for
    the seed's statement, one below zero is weak evidence against it.
    `rng` (seed 0 when not given) draws sign flips beyond 16 seeds.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    scales = {
        "cumulative": [ApT2t(score).name for score in thresholds],
        "band": [band_name(band) for band in BANDS],
    }
    seeds = np.array(seeds_of(results))
    rows = []
    for scale, columns in scales.items():
        each = [by_group(results, column) for column in columns]
        parts = members(each[0])
        by_column = [paired_effects(series) for series in each]
        for group in by_column[0]:
            effects = np.stack([one[group] for one in by_column], axis=1)
            complete = np.isfinite(effects).all(axis=1)
            paired = paired_replicates(replicates or {}, parts[group], seeds[complete].tolist())
            columns_of_group = {
                **_seed_columns(effects[complete], rng),
                **_image_columns(paired, scale, power_note(int(complete.sum()))),
            }
            rows.append({**group._asdict(), "scale": scale, **columns_of_group})
    return frame_of(rows, CONTRASTS)


def medium_band_advantage(effects: Float[ndarray, "s 3 *b"]) -> Float[ndarray, " s *b"]:
    """E(medium) - max(E(low), E(high)) of each seed; NaN where one of them is."""
    return np.asarray(effects[:, 1] - np.maximum(effects[:, 0], effects[:, 2]))


def _seed_columns(effects: Float[ndarray, "s 3"], rng: np.random.Generator) -> dict[str, Value]:
    columns: dict[str, Value] = {"num_seeds": len(effects)}
    advantage = medium_band_advantage(effects)
    for name, values in (*zip(BANDS, effects.T, strict=True), ("claim", advantage)):
        columns |= zip(bounded(name), mean_interval(values).bounded, strict=True)
    return columns | {"p": sign_flip_p(advantage, rng)}


def _image_columns(paired: PairedReplicates | None, scale: str, note: str) -> dict[str, Value]:
    if paired is None:
        return {"note": note}
    effects = paired.AP_t2t if scale == "cumulative" else paired.AP_t2t_bands
    low, high = percentile_interval(medium_band_advantage(effects).mean(axis=0))
    return {
        "claim_image_low": low,
        "claim_image_high": high,
        "num_blocks": paired.num_blocks,
        "note": joined_notes(note, few_blocks_note(paired.fewest_blocks)),
    }
