"""What differs between two sweeps: settings of the whole, and what the stages of a pair read."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import polars as pl

from ptl_sweep.study.claims.between import ARMS
from ptl_sweep.study.claims.table import METRIC

NO_SINGLE_VALUE = "(not one value in this sweep)"
Settings: TypeAlias = Mapping[str, str]  # key -> value


class ComparedValues(NamedTuple):
    """Two values of `synthetic` of two sweeps, and the pairs of cells that both have of them."""

    treated: str
    reference: str
    num_pairs: int
    num_shared: int  # one stage of the store in both sweeps
    num_evaluated: int  # one detector in both, evaluated in two ways
    largest_change: float  # |difference| of AP50 in a shared pair; 0 within one store
    differs_in: str  # settings that the stages of the others read differently


def differing_settings(treated: Settings, reference: Settings) -> pl.DataFrame:
    """Keys whose values differ, or that vary from cell to cell in one of the sweeps."""
    keys = sorted(set(_differing(treated, reference)))
    rows = [
        (key, *(side.get(key, NO_SINGLE_VALUE) for side in (treated, reference))) for key in keys
    ]
    return pl.DataFrame(rows, dict.fromkeys(("key", *ARMS), pl.String), orient="row")


def _differing(one: Settings, other: Settings) -> list[str]:
    return [key for key in one.keys() | other.keys() if one.get(key) != other.get(key)]


def compared_values(
    pairs: pl.DataFrame, treated: Mapping[str, Settings], reference: Mapping[str, Settings]
) -> list[ComparedValues]:
    """What stands behind each contrast; `treated`, `reference`: by key of an evaluation."""
    return [
        _compared(str(names[0]), str(names[1]), own, (treated, reference))
        for names, own in pairs.group_by(ARMS, maintain_order=True)
    ]


def _compared(
    treated: str, reference: str, pairs: pl.DataFrame, stages: Sequence[Mapping[str, Settings]]
) -> ComparedValues:
    shared, others = pairs.filter("is_shared"), pairs.filter(~pl.col("is_shared"))
    change = (shared[METRIC] - shared[f"{METRIC}_reference"]).abs()
    keys = others.select("evaluate_key", "evaluate_key_reference").drop_nulls().iter_rows()
    differing = {name for one, two in keys for name in _differing(stages[0][one], stages[1][two])}
    return ComparedValues(
        treated=treated,
        reference=reference,
        num_pairs=len(pairs),
        num_shared=len(shared),
        num_evaluated=others.filter(pl.col("train_key") == pl.col("train_key_reference")).height,
        largest_change=max(change.drop_nulls().drop_nans(), default=0.0),
        differs_in=", ".join(sorted(differing)),
    )
