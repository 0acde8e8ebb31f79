"""claims.csv: every statement of the study with its verdict, the numbers behind it, its control."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
import polars as pl

from ptl_sweep.study.claims.axis_values import Arm, ArmEffects, effects_of_arms
from ptl_sweep.study.claims.cells import ArmPair, strata, with_error_costs
from ptl_sweep.study.claims.claim import Claim, family_claims
from ptl_sweep.study.claims.distances import nearer_targets, prediction
from ptl_sweep.study.claims.effects import PairedCells
from ptl_sweep.study.claims.key_results import (
    KeyResult,
    adjusted_p,
    replacement_grows,
    rises_only_with_synthetic,
    targets_differ,
    through_false_positives,
)
from ptl_sweep.study.claims.medium_confidence import (
    HEADLINE,
    READINGS,
    Bands,
    Reading,
    columns_of,
    medium_confidence,
)
from ptl_sweep.study.claims.worth import worth
from ptl_sweep.study.groups import on_the_same_pictures, split_domains
from ptl_sweep.study.schemas import CLAIMS, frame_of
from ptl_sweep.vocabulary import (
    COMPARABLE_DISTANCE,
    ERROR_TYPES,
    NEG_LOG_P,
    OFF,
    RELATIVE_DISTANCE,
    ApT2t,
    Distance,
    Row,
    Value,
    cost_name,
)

METRIC = "AP50"
FALSE_DISTANCE = Distance("fp", "mean", COMPARABLE_DISTANCE.variant)


class Statement(StrEnum):
    """What a row of claims.csv is about."""

    EFFECT = "effect"  # on AP50, over counts and targets
    TARGET_EFFECT = "effect on a target"
    WORTH = "worth"  # real images alone that give the same AP50
    CONTRAST = "contrast"  # of two values of synthetic that are not off
    ERROR_COST = "cost of a type of error"  # AP50 that it costs, fixed as TIDE defines it
    NEARER = "nearer"  # synthetic images change the relative distance of the targets
    PREDICTION = "prediction"  # nearer detectors of a stratum have the higher AP50
    MEDIUM = "medium confidence"
    RISES_ONLY = "rises only with synthetic"
    REPLACEMENT = "replacement grows"
    TARGETS_DIFFER = "targets differ"
    FALSE_POSITIVES = "through false positives"


class Thresholds(NamedTuple):
    """The operating points of AP_t2t, low, medium and high."""

    scores: Sequence[float]
    equal_counts: Sequence[float]  # detections per image


@dataclass(frozen=True)
class _Pair:
    """Two values of `synthetic` of one source, and its cells."""

    results: pl.DataFrame
    dataset: str
    treated: str
    reference: str

    @cached_property
    def arms(self) -> ArmPair:
        return ArmPair(self.results, self.treated, self.reference)

    def cells(self, metric: str = METRIC) -> PairedCells | None:
        return self.arms.cells(metric)

    @property
    def arm(self) -> Arm:
        return self.dataset, self.treated

    @property
    def place(self) -> Row:
        return {"dataset": self.dataset, "treated": self.treated, "reference": self.reference}


class _KeyResultRows(NamedTuple):
    """A key result in claims.csv before the others are known."""

    whole: dict[str, Value]
    parts: Sequence[Row]  # what it is judged by
    normal_p: float


def claims(
    results: pl.DataFrame, thresholds: Thresholds, errors: pl.DataFrame | None = None
) -> pl.DataFrame:
    """Judge every statement that the grid can bear; one row each, and one per part of it.

    `errors` is the table of that name; without it nothing is said of what errors cost.
    """
    kept, _ = split_domains(results)
    if errors is not None:
        kept = with_error_costs(kept, errors)
    rows: list[Row] = []
    sources = kept.partition_by("dataset", maintain_order=True)
    arms = [list(_pairs_with_off(own)) for own in sources]
    effects = effects_of_arms({pair.arm: pair.cells() for pairs in arms for pair in pairs})
    for own, pairs in zip(sources, arms, strict=True):
        rows += _prediction_rows(own, own["dataset"][0])
        for pair in pairs:
            if pair.arm in effects:
                rows += _effect_rows(pair, effects[pair.arm])
            rows += [*_distance_rows(pair), *_key_rows(pair, thresholds)]
            if errors is not None:
                rows += _error_rows(pair)
        rows += _contrast_rows([replace(one, reference=other.treated)
                                for one, other in combinations(pairs, 2)])  # fmt: skip
    return frame_of(rows, CLAIMS)


def _pairs_with_off(results: pl.DataFrame) -> Iterator[_Pair]:
    """Every value of `synthetic` but off against off, of one source."""
    for name in results["synthetic"].unique(maintain_order=True):
        if name != OFF:
            yield _Pair(results, results["dataset"][0], name, OFF)


def _effect_rows(pair: _Pair, effects: ArmEffects) -> Iterator[Row]:
    cells = pair.cells()
    assert cells is not None
    yield claim_row(Statement.EFFECT, pair.place, cells, effects.whole)
    for name, claim in effects.by_target.items():
        yield claim_row(Statement.TARGET_EFFECT, pair.place, cells, claim) | {"target": name}
    curve = pair.arms.curve
    for one in worth(cells, curve, effects.whole).counts:
        yield {
            "statement": Statement.WORTH, **pair.place, "metric": METRIC, "part": "",
            "targets": ", ".join(cells.targets), "real_counts": _listed(curve.counts),
            "real_count": one.real_count, "verdict": one.verdict,
            "value": one.equivalent, "low": one.low, "high": one.high, "num_seeds": one.num_seeds,
        }  # fmt: skip


def _contrast_rows(pairs: Sequence[_Pair]) -> Iterator[Row]:
    """Every two values of one source: a family, for eight arms are already 21 tests."""
    found = [(pair, cells) for pair in pairs if (cells := pair.cells()) is not None]
    effects = {str(index): cells.pooled_effect() for index, (_, cells) in enumerate(found)}
    judged = family_claims(effects, "contrasts").values()
    for (pair, cells), claim in zip(found, judged, strict=True):
        yield claim_row(Statement.CONTRAST, pair.place, cells, claim)


def _distance_rows(pair: _Pair) -> Iterator[Row]:
    relative, log_p = pair.cells(RELATIVE_DISTANCE), pair.cells(NEG_LOG_P)
    if relative is not None and log_p is not None:
        claim = nearer_targets(relative.pooled_effect(), log_p.pooled_effect())
        yield claim_row(Statement.NEARER, pair.place, relative, claim, RELATIVE_DISTANCE)


def _error_rows(pair: _Pair) -> Iterator[Row]:
    """The types are a family: one of them changes by chance more often than a given one."""
    every = {kind: pair.cells(cost_name(kind)) for kind in ERROR_TYPES}
    cells = {kind: one for kind, one in every.items() if one is not None}
    if not cells:
        return
    effects = {kind: one.pooled_effect() for kind, one in cells.items()}
    for kind, claim in family_claims(effects, "types of error").items():
        yield claim_row(Statement.ERROR_COST, pair.place, cells[kind], claim, cost_name(kind))


def _prediction_rows(results: pl.DataFrame, dataset: str) -> Iterator[Row]:
    results = on_the_same_pictures(results)
    seeds = tuple(sorted(set(results["seed"])))
    ap50 = strata(results, METRIC)
    for metric in (RELATIVE_DISTANCE, COMPARABLE_DISTANCE.name):
        claim = prediction(seeds, strata(results, metric), ap50)
        yield {
            "statement": Statement.PREDICTION, "dataset": dataset, "metric": metric, "part": "",
            "targets": ", ".join(results["target"].unique().sort()),
            "real_counts": _listed(results["real_count"].unique().sort().to_list()),
            **_numbers(claim),
        }  # fmt: skip


def _key_rows(pair: _Pair, thresholds: Thresholds) -> Iterator[Row]:
    """The key results are a family: one of five agrees by chance more often than a given one."""
    judged = [*_key_results(pair, thresholds)]
    adjusted = adjusted_p([one.normal_p for one in judged])
    for one, p in zip(judged, adjusted, strict=True):
        yield one.whole | {"family": "key results", "p_family": p}
        yield from one.parts


def _key_results(pair: _Pair, thresholds: Thresholds) -> Iterator[_KeyResultRows]:
    medium = _medium_rows(pair, thresholds)
    if medium is not None:
        yield medium
    headline = ApT2t(thresholds.scores[1]).name
    for statement, metric, judge in (
        (Statement.RISES_ONLY, headline, rises_only_with_synthetic),
        (Statement.TARGETS_DIFFER, METRIC, targets_differ),
    ):
        cells = pair.cells(metric)
        if cells is not None:
            yield _result_rows(statement, pair, cells, judge(cells), metric)
    cells = pair.cells()
    if cells is not None:
        found = replacement_grows(cells, pair.arms.curve)
        yield _result_rows(Statement.REPLACEMENT, pair, cells, found, METRIC)
    false, true = pair.cells(FALSE_DISTANCE.name), pair.cells(COMPARABLE_DISTANCE.name)
    if false is not None and true is not None:
        found = through_false_positives(false, true)
        name = FALSE_DISTANCE.name
        yield _result_rows(Statement.FALSE_POSITIVES, pair, false, found, name)


def _medium_rows(pair: _Pair, thresholds: Thresholds) -> _KeyResultRows | None:
    readings: dict[Reading, Bands] = {}
    for reading in READINGS:
        bands = [pair.cells(name) for name in columns_of(reading, *thresholds)]
        known = [one for one in bands if one is not None]
        if len(known) == len(bands) and len({one.counts for one in known}) == 1:
            readings[reading] = Bands(*known)
    if HEADLINE not in readings:
        return None
    found = medium_confidence(readings)

    def row(reading: Reading, claim: Claim) -> dict[str, Value]:
        metric = columns_of(reading, *thresholds)[1]
        return claim_row(Statement.MEDIUM, pair.place, readings[reading].medium, claim, metric)

    return _KeyResultRows(
        whole=row(HEADLINE, found.claim) | {"agreement": found.agreement},
        parts=[row(one, own.advantage) | {"part": one.name} for one, own in found.readings.items()],
        normal_p=found.normal_p,
    )


def _result_rows(
    statement: Statement, pair: _Pair, cells: PairedCells, found: KeyResult, metric: str
) -> _KeyResultRows:
    def row(claim: Claim) -> dict[str, Value]:
        return claim_row(statement, pair.place, cells, claim, metric)

    return _KeyResultRows(
        whole=row(found.claim) | {"agreement": found.agreement},
        parts=[row(claim) | {"part": name} for name, claim in found.parts.items()],
        normal_p=found.normal_p,
    )


def claim_row(
    statement: Statement, place: Row, cells: PairedCells, claim: Claim, metric: str = METRIC
) -> dict[str, Value]:
    """Write a claim about `cells` as a row; `place` has the source and what is compared in it."""
    return {
        "statement": statement,
        **place,
        "metric": metric,
        "part": "",
        "targets": ", ".join(cells.targets),
        "real_counts": _listed(cells.counts),
        **_numbers(claim),
    }


def _numbers(claim: Claim) -> Mapping[str, Value]:
    control = claim.control
    return {
        "verdict": claim.verdict,
        "value": claim.value, "sd": claim.sd, "low": claim.low, "high": claim.high,
        "num_seeds": claim.num_seeds, "p": claim.p,
        "family": claim.family, "p_family": claim.p_family,
        "control": control.value if control else np.nan,
        "control_low": control.low if control else np.nan,
        "control_high": control.high if control else np.nan,
        "disagreeing": "; ".join(claim.disagreeing), "undecided": "; ".join(claim.undecided),
    }  # fmt: skip


def _listed(counts: Sequence[int]) -> str:
    return ", ".join(map(str, counts))
