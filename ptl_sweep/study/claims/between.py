"""Contrasts of two sweeps: their cells in pairs, and what the pairs may claim over seeds."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from ptl_sweep.study.claims.cells import ArmPair
from ptl_sweep.study.claims.claim import family_claims
from ptl_sweep.study.claims.effects import PairedCells
from ptl_sweep.study.claims.table import Statement, claim_row
from ptl_sweep.study.groups import split_domains
from ptl_sweep.study.schemas import CLAIMS, NUMBER, frame_of
from ptl_sweep.study.statistics import mean_interval
from ptl_sweep.vocabulary import Row

PLACE = ["dataset", "real_count", "target", "seed"]  # of a cell, beside its value of synthetic
ARMS = ("treated", "reference")
KEYS = ("evaluate_key", "train_key")
BREAKDOWNS = {  # of a contrast -> the family of its rows
    ("target",): "targets",
    ("real_count",): "real counts",
    ("real_count", "target"): "real counts and targets",
}
SWEEP_CONTRASTS = pl.Schema({**CLAIMS, "treated_level": NUMBER, "reference_level": NUMBER})


class Values(NamedTuple):
    """A value of `synthetic` of one sweep, and that of the other which it is compared with."""

    treated: str
    reference: str


class _Part(NamedTuple):
    """What one row is about: cells of two values, and the target or count that they are of."""

    place: Row
    cells: PairedCells


def pair_cells(
    treated: pl.DataFrame, reference: pl.DataFrame, values: Values, metrics: Iterable[str]
) -> pl.DataFrame:
    """Cells of `results` that both sweeps have, in the order of `treated`; one row a pair.

    What the reference says has the suffix `_reference`. `is_shared`: one stage of the store is the
    cell of both, so no difference of it says anything.
    """
    columns = ["synthetic", "domain", "status", "num_ground_truth", *KEYS, *metrics]
    own, other = (
        rows.filter(synthetic=name).select(*PLACE, *columns)
        for rows, name in zip((treated, reference), values, strict=True)
    )
    pairs = own.join(other, PLACE, suffix="_reference", maintain_order="left")
    same = pl.col("evaluate_key") == pl.col("evaluate_key_reference")
    return pairs.rename(dict(zip(("synthetic", "synthetic_reference"), ARMS, strict=True))).select(
        *ARMS, pl.exclude(ARMS), same.fill_null(value=False).alias("is_shared")
    )


def sweep_contrasts(pairs: pl.DataFrame, metrics: Iterable[str]) -> pl.DataFrame:
    """Judge treated - reference in pairs of cells; rows of claims.csv with the levels of both.

    First over targets and real counts, then for each target, each count and each of both. A
    family is the rows of one metric and source of the same kind: every two values that are
    compared, or the targets, counts or cells of two values. Shared cells are left out: their
    zeros would count as trainings. So is, from means over targets, the source's own domain.
    """
    own = pairs.filter(~pl.col("is_shared"))
    rows: list[Row] = []
    for metric in metrics:
        for (dataset,), of_source in own.group_by("dataset", maintain_order=True):
            groups = [
                ({"dataset": str(dataset), **dict(zip(ARMS, names, strict=True))}, cells)
                for names, cells in of_source.group_by(ARMS, maintain_order=True)
            ]
            whole = [part for place, cells in groups for part in _parts(place, cells, metric, ())]
            rows += _judged(whole, metric, "contrasts")
            for place, cells in groups:
                for axes, family in BREAKDOWNS.items():
                    rows += _judged(_parts(place, cells, metric, axes), metric, family)
    return frame_of(rows, SWEEP_CONTRASTS)


def _parts(place: Row, cells: pl.DataFrame, metric: str, axes: Sequence[str]) -> list[_Part]:
    """The groups of `axes` in which some seed has every number."""
    kept = cells if "target" in axes else split_domains(cells)[0]
    groups = kept.group_by(axes, maintain_order=True) if axes else [((), kept)]
    found = ((key, _by_arm(own, metric)) for key, own in groups)
    return [
        _Part({**place, **dict(zip(axes, key, strict=True))}, own)
        for key, own in found
        if own is not None
    ]


def _by_arm(pairs: pl.DataFrame, metric: str) -> PairedCells | None:
    arms = [
        pairs.select(*PLACE, pl.col(column).alias(metric), synthetic=pl.lit(arm))
        for arm, column in zip(ARMS, (metric, f"{metric}_reference"), strict=True)
    ]
    return ArmPair(pl.concat(arms), *ARMS).cells(metric)


def _judged(parts: Sequence[_Part], metric: str, family: str) -> Iterator[Row]:
    effects = {str(index): part.cells.pooled_effect() for index, part in enumerate(parts)}
    judged = family_claims(effects, family).values()
    for part, claim in zip(parts, judged, strict=True):
        yield {
            **claim_row(Statement.CONTRAST, part.place, part.cells, claim, metric),
            **_levels(part.cells),
        }


def _levels(cells: PairedCells) -> Row:
    """Means of both over the seeds that the contrast is over."""
    complete = np.isfinite(cells.effects).all(axis=(1, 2))
    return {
        f"{arm}_level": mean_interval(getattr(cells, arm)[complete].mean(axis=(1, 2))).mean
        for arm in ARMS
    }
