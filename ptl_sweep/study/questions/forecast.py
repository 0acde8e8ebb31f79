"""What synthetic images will change on a target without labels, forecast from its distance (ours).

The distance is that of everything that detectors trained on real images alone find there, which
needs no label; the effect is regressed on its logarithm over the targets that have labels. Each of
these is forecast from the others, beside the guess that it is like their mean: a forecast no better
than the guess is none (docs/method.md, section 4).
"""

from itertools import permutations
from typing import NamedTuple

import numpy as np
import polars as pl
from jaxtyping import Bool, Float
from numpy import ndarray

from ptl_sweep.study.claims.claim import Claim, Verdict, claim_over_seeds
from ptl_sweep.study.groups import split_domains
from ptl_sweep.study.statistics import SIGNIFICANCE
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
    gain: Claim  # how much smaller the error by distance is, a number per seed

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
        """Found where both hold: over targets by `p`, and over trainings by `gain`.

        Trainings alone cannot say it: they repeat the same few targets.
        """
        if np.isnan(self.p) or self.gain.verdict is Verdict.OPEN:
            return Verdict.OPEN
        is_found = self.p <= SIGNIFICANCE and self.gain.direction == 1
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
    return found


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


def order_p(distance: Float[ndarray, " t"], effect: Float[ndarray, " t"]) -> float:
    """Share of the orders of the distances whose left-out errors are as small as theirs.

    Exact when no distance is related to an effect. NaN with fewer than MIN_TARGETS targets; orders
    of more than seven are drawn with seed 0.
    """
    if len(effect) < MIN_TARGETS:
        return np.nan
    errors = np.abs(left_out_errors(_orders(distance), effect)[0]).mean(axis=-1)
    return float(np.mean(errors <= errors[0] * (1 + ROUNDING)))


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


def _cells(arm: pl.DataFrame, off: pl.DataFrame, far: pl.DataFrame) -> _Cells:
    keys = list(_CELL)
    paired = arm.join(off, on=keys, suffix="_off").join(far.select(*keys, "median"), on=keys)
    is_labelled = pl.col("num_ground_truth") > 0
    change = pl.col(METRIC).cast(pl.Float64) - pl.col(f"{METRIC}_off").cast(pl.Float64)
    means = paired.group_by("seed", "target").agg(
        pl.col("median").log().mean().alias("distance"),
        pl.when(is_labelled.all()).then(change.mean()).otherwise(None).alias("effect"),
        is_labelled.all().alias("labelled"),
    )
    means = means.with_columns(pl.col("effect").fill_nan(None))
    wanted = pl.col("distance").is_finite() & (pl.col("effect").is_not_null() | ~pl.col("labelled"))
    num_targets = means["target"].n_unique()
    whole = means.filter((wanted.sum().over("seed") == num_targets) & wanted).sort("seed", "target")
    targets = tuple(sorted(set(whole["target"])))
    seeds = tuple(sorted(set(whole["seed"])))
    distance, effect = (
        whole[name].fill_null(np.nan).to_numpy().reshape(len(seeds), len(targets))
        for name in ("distance", "effect")
    )
    return _Cells(targets, seeds, distance, effect)


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
    return Forecast(
        targets=cells.targets,
        distance=distance,
        effect=effect,
        by_distance=by_distance,
        by_mean=by_mean,
        p=order_p(distance[known], effect[known]),
        gain=claim_over_seeds(gains),
    )
