"""Medium-confidence contrast (seed, section on AP_t2t): synthetic helps most above a medium score.

E(s) = AP_t2t_s(synthetic) - AP_t2t_s(off); the advantage of the medium band is
E(medium) - max(E(low), E(high)), `claim` in the columns.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.metrics.bootstrap import Replicates, few_blocks_note, percentile_interval
from ptl_sweep.study.groups import ap_t2t_of, by_group, members, paired_effects
from ptl_sweep.study.paired import PairedReplicates, paired_replicates
from ptl_sweep.study.statistics import joined_notes, mean_interval, power_note, sign_flip_p
from ptl_sweep.vocabulary import BANDS, CellKey, Group, Row, Value, band_name, bounded

Scale: TypeAlias = Literal["cumulative", "band"]


class _SeedEffects(NamedTuple):
    """E of one group, at the seeds that have it at all three thresholds."""

    seeds: list[int]
    effects: Float[ndarray, "s 3"]


def contrasts(
    rows: Sequence[Row],
    replicates: Mapping[CellKey, Replicates] | None = None,
    rng: np.random.Generator | None = None,
) -> list[dict[str, Value]]:
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
    scales: dict[Scale, list[str]] = {
        "cumulative": [one.name for one in ap_t2t_of(rows)],
        "band": [band_name(band) for band in BANDS],
    }
    result = []
    for scale, columns in scales.items():
        parts = members(by_group(rows, "AP50"))
        for group, found in _effects(rows, columns).items():
            paired = paired_replicates(replicates or {}, parts[group], found.seeds)
            result.append(
                {
                    **group._asdict(),
                    "scale": scale,
                    **_seed_columns(found, rng),
                    **_image_columns(paired, scale, power_note(len(found.seeds))),
                }
            )
    return result


def medium_band_advantage(effects: Float[ndarray, "s 3 *b"]) -> Float[ndarray, " s *b"]:
    """E(medium) - max(E(low), E(high)) of each seed; NaN where one of them is."""
    return np.asarray(effects[:, 1] - np.maximum(effects[:, 0], effects[:, 2]))


def _effects(rows: Sequence[Row], columns: Sequence[str]) -> dict[Group, _SeedEffects]:
    each = [paired_effects(by_group(rows, column)) for column in columns]
    if not each:
        return {}
    found = {}
    for group in each[0]:
        seeds = sorted(set.intersection(*(set(one[group]) for one in each)))
        values = [[one[group][seed] for one in each] for seed in seeds]
        found[group] = _SeedEffects(seeds, np.array(values, np.float64).reshape(-1, len(BANDS)))
    return found


def _seed_columns(found: _SeedEffects, rng: np.random.Generator) -> dict[str, Value]:
    columns: dict[str, Value] = {"num_seeds": len(found.seeds)}
    advantage = medium_band_advantage(found.effects)
    for name, values in (*zip(BANDS, found.effects.T, strict=True), ("claim", advantage)):
        columns |= zip(bounded(name), mean_interval(values).bounded, strict=True)
    return columns | {"p": sign_flip_p(advantage, rng)}


def _image_columns(paired: PairedReplicates | None, scale: Scale, note: str) -> dict[str, Value]:
    if paired is None:
        return {"claim_image_low": np.nan, "claim_image_high": np.nan, "note": note}
    effects = paired.AP_t2t if scale == "cumulative" else paired.AP_t2t_bands
    low, high = percentile_interval(medium_band_advantage(effects).mean(axis=0))
    return {
        "claim_image_low": low,
        "claim_image_high": high,
        "num_blocks": paired.num_blocks,
        "note": joined_notes(note, few_blocks_note(paired.fewest_blocks)),
    }
