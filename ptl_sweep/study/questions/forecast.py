"""What synthetic images will change on a target without labels, forecast from its distance (ours).

The distance is that of everything that detectors trained on real images alone find there, which
needs no label; the effect is regressed on its logarithm over the targets that have labels. Each of
these is forecast from the others, beside the guess that it is like their mean: a forecast no better
than the guess is none (docs/method.md, section 4).
"""

from collections.abc import Mapping
from itertools import permutations
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float
from numpy import ndarray

from ptl_sweep.study.claims.claim import Claim, Verdict, claim_over_seeds
from ptl_sweep.study.groups import split_domains
from ptl_sweep.study.statistics import SIGNIFICANCE, holm
from ptl_sweep.vocabulary import OFF

METRIC = "AP50"
VARIANT = "calibrated"  # multiples of what true positives of the source's validation split have
MIN_TARGETS = 4  # with labels: one is left out, and a line through two is no regression
MAX_EXACT_TARGETS = 7  # 7! = 5,040 orders are enumerated
NUM_DRAWN_ORDERS = 5_000  # beyond
RIDGE = np.log(1.1) ** 2  # of the slope: targets within a tenth of each other say little; ours
ROUNDING = 1e-9
_CELL = ("real_count", "target", "seed")


class ForecastPlace(NamedTuple):
    """What is forecast: the change by one value of `synthetic`."""

    dataset: str
    synthetic: str


class Forecast(NamedTuple):
    """The targets of other domains; a target without labels has a forecast and no effect."""

    targets: tuple[str, ...]
    distance: Float[ndarray, " t"]  # log of the calibrated distance, mean over counts and seeds
    effect: Float[ndarray, " t"]  # change of AP50, a fraction; NaN without labels
    by_distance: Float[ndarray, " t"]  # of a target with labels: from the other ones
    by_mean: Float[ndarray, " t"]
    p: float  # share of the orders of the distances that forecast as well; NaN: too few targets
    least_p: float  # what the best order would have
    gain: Claim  # how much smaller the error by distance is, a number per seed
    left_out: tuple[str, ...]  # targets that no seed has measured in full
    p_family: float = np.nan  # of both tests together, adjusted over the values of synthetic
    num_tests: int = 1  # of that family

    @property
    def labelled(self) -> Bool[ndarray, " t"]:
        """Targets whose effect was measured."""
        return np.asarray(np.isfinite(self.effect))

    @property
    def errors(self) -> tuple[float, float]:
        """Mean absolute error by distance, and by the mean of the others."""
        kept = self.labelled
        found = [np.abs(one - self.effect)[kept].mean() for one in (self.by_distance, self.by_mean)]
        return float(found[0]), float(found[1])

    @property
    def beyond(self) -> Bool[ndarray, " t"]:
        """Targets nearer than each, or farther than each, that the line was fitted to."""
        known = self.distance[self.labelled]
        outside = (self.distance < known.min()) | (self.distance > known.max())
        return np.asarray(outside & ~self.labelled)

    @property
    def verdict(self) -> Verdict:
        """Found where both hold: over targets, and over trainings.

        Trainings alone cannot say it: they repeat the same few targets. Open where no order of the
        distances could have been found.
        """
        can = self.num_tests * self.least_p <= SIGNIFICANCE  # False for NaN
        if not can or self.gain.verdict is Verdict.OPEN:
            return Verdict.OPEN
        is_found = self.p_family <= SIGNIFICANCE and self.gain.direction == 1
        return Verdict.FOUND if is_found else Verdict.NONE


def forecasts(results: pl.DataFrame, spreads: pl.DataFrame) -> dict[ForecastPlace, Forecast]:
    """A forecast for each value of `synthetic` with enough targets of other domains.

    `results` and `spreads` are results.csv and train2test.csv.
    """
    foreign = split_domains(results, with_unlabelled=True)[0]
    far = spreads.filter(kind="all", band="", variant=VARIANT, synthetic=OFF)
    found: dict[ForecastPlace, Forecast] = {}
    for (dataset, synthetic), arm in foreign.group_by("dataset", "synthetic", maintain_order=True):
        if synthetic != OFF:
            off = foreign.filter(dataset=dataset, synthetic=OFF)
            own = _forecast(_cells(arm, off, far.filter(dataset=dataset)))
            if own is not None:
                found[ForecastPlace(str(dataset), str(synthetic))] = own
    return _adjusted(found)


def _adjusted(found: Mapping[ForecastPlace, Forecast]) -> dict[ForecastPlace, Forecast]:
    """Both tests must hold, so the larger p is that of both; Holm over the arms of a data set."""
    adjusted = dict(found)
    for dataset in {place.dataset for place in found}:
        own = [place for place in found if place.dataset == dataset]
        p = holm(np.array([max(found[one].p, found[one].gain.p) for one in own]))
        for place, family in zip(own, p.tolist(), strict=True):
            adjusted[place] = found[place]._replace(p_family=family, num_tests=len(own))
    return adjusted


def line_forecast(
    distance: Float[ndarray, " n"], effect: Float[ndarray, " n"], at: Float[ndarray, " m"]
) -> Float[ndarray, " m"]:
    """The line of the effects over the distances, its slope shrunk (ridge), at other distances.

    Without shrinking, two targets that lie almost equally far would give any slope.
    """
    centred = distance - distance.mean()
    slope = float(centred @ effect) / (float(centred @ centred) + RIDGE)
    return np.asarray(effect.mean() + slope * (at - distance.mean()))


def left_out_errors(
    distance: Float[ndarray, "*m t"], effect: Float[ndarray, " t"]
) -> Float[ndarray, "2 *m t"]:
    """Forecast minus effect of each target from the others: by the line, and by their mean.

    By the leverage h of a target, without fitting again: its residual over 1 - h.
    """
    num = len(effect)
    centred = distance - distance.mean(axis=-1, keepdims=True)
    scale = (centred**2).sum(axis=-1, keepdims=True) + RIDGE
    change = effect - effect.mean()
    residual = (centred @ effect)[..., None] / scale * centred - change
    by_line = residual / (1 - 1 / num - centred**2 / scale)
    return np.stack([by_line, np.broadcast_to(-change * num / (num - 1), distance.shape)])


def order_p(distance: Float[ndarray, " t"], effect: Float[ndarray, " t"]) -> tuple[float, float]:
    """Share of the orders of the distances whose left-out errors are as small as theirs.

    Exact when no distance is related to an effect; beside it the share of the best order, below
    which it cannot be. NaN with fewer than MIN_TARGETS targets; orders of more than seven are drawn
    with seed 0.
    """
    if len(effect) < MIN_TARGETS:
        return np.nan, np.nan
    errors = np.abs(left_out_errors(_orders(distance), effect)[0]).mean(axis=-1)
    own, best = (
        float(np.mean(errors <= one * (1 + ROUNDING))) for one in (errors[0], errors.min())
    )
    return own, best


def _orders(distance: Float[ndarray, " t"]) -> Float[ndarray, "m t"]:
    """The distances in every order, or in many; first as they are."""
    if len(distance) <= MAX_EXACT_TARGETS:
        return np.asarray(distance[np.array(list(permutations(range(len(distance)))))])
    rng = np.random.default_rng(0)
    drawn = [rng.permutation(distance) for _ in range(NUM_DRAWN_ORDERS - 1)]
    return np.stack([distance, *drawn])


class _Cells(NamedTuple):
    """Means over the real counts of each seed that has every number."""

    targets: tuple[str, ...]
    seeds: tuple[int, ...]
    distance: Float[ndarray, "s t"]
    effect: Float[ndarray, "s t"]  # NaN in every seed for a target without labels
    left_out: tuple[str, ...]  # targets that no seed has in full


def _cells(arm: pl.DataFrame, off: pl.DataFrame, far: pl.DataFrame) -> _Cells:
    keys = list(_CELL)
    paired = (
        arm.select(*keys, "num_ground_truth", METRIC)
        .join(off.select(*keys, pl.col(METRIC).alias("off")), on=keys, how="left")
        .join(far.select(*keys, pl.col("median").log().alias("far")), on=keys, how="left")
        .with_columns(change=pl.col(METRIC).cast(pl.Float64) - pl.col("off").cast(pl.Float64))
        .with_columns(labelled=pl.col("num_ground_truth").max().over("target").fill_null(1) > 0)
    )
    means = paired.group_by("seed", "target").agg(
        pl.col("labelled").all(), _whole_mean("far"), _whole_mean("change")
    )
    is_whole = pl.col("far").is_not_nan() & (pl.col("change").is_not_nan() | ~pl.col("labelled"))
    means = means.with_columns(is_whole=is_whole).with_columns(
        known=pl.col("is_whole").any().over("target")
    )
    kept = means.filter("known").filter(pl.col("is_whole").all().over("seed"))
    kept = kept.sort("seed", "target")
    targets, seeds = (tuple(sorted(set(kept[name]))) for name in ("target", "seed"))
    distance, effect = (
        kept[name].to_numpy().reshape(len(seeds), len(targets)) for name in ("far", "change")
    )
    left_out = tuple(sorted(set(means.filter(~pl.col("known"))["target"])))
    return _Cells(targets, seeds, distance, effect, left_out)


def _whole_mean(name: str) -> pl.Expr:
    """Mean over the real counts; NaN where one of them has no number."""
    is_whole = pl.col(name).is_finite().fill_null(value=False).all()
    return pl.when(is_whole).then(pl.col(name).mean()).otherwise(np.nan).alias(name)


def _forecast(cells: _Cells) -> Forecast | None:
    """None where no seed has two targets with labels."""
    if not cells.seeds:
        return None
    distance, effect = cells.distance.mean(axis=0), cells.effect.mean(axis=0)
    known = np.isfinite(effect)
    if known.sum() < 2:
        return None
    by_distance = line_forecast(distance[known], effect[known], distance)
    by_mean = np.full_like(effect, effect[known].mean())
    errors = left_out_errors(distance[known], effect[known])
    by_distance[known], by_mean[known] = errors + effect[known]
    gains = {}
    for seed, far, change in zip(cells.seeds, cells.distance, cells.effect, strict=True):
        line, mean = np.abs(left_out_errors(far[known], change[known])).mean(axis=1)
        gains[seed] = float(mean - line)
    p, least_p = order_p(distance[known], effect[known])
    return Forecast(
        targets=cells.targets,
        distance=distance,
        effect=effect,
        by_distance=by_distance,
        by_mean=by_mean,
        p=p,
        least_p=least_p,
        gain=claim_over_seeds(gains),
        left_out=cells.left_out,
    )
