"""results.csv of grids whose effects are known: none, a shift of everything, or one of 2 sd.

A cell is seed + detector + cell noise, so that cells of a seed depend on each other; targets and
real counts have their own levels. Arrays have the axes seed, real count, target and arm, off first.
"""

import functools
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.config.analysis import EQUAL_COUNTS
from ptl_sweep.study.claims.effects import PairedCells
from ptl_sweep.study.claims.medium_confidence import READINGS, VARIANTS, Reading
from ptl_sweep.study.claims.table import FALSE_DISTANCE, Thresholds
from ptl_sweep.study.schemas import results_schema
from ptl_sweep.vocabulary import (
    COMPARABLE_DISTANCE,
    NEG_LOG_P,
    OFF,
    RELATIVE_DISTANCE,
    ApT2t,
    ApT2tAtCount,
    Domain,
)

COUNTS = (10, 20, 40, 80, 160)
TARGETS = ("field", "karst", "yard")
ARMS = (OFF, "on", "random")
POINTS = Thresholds((0.01, 0.1, 0.5), EQUAL_COUNTS)
SHARES = {"seed": 0.4, "detector": 0.3, "cell": 0.3}  # of the variance
RISE = 3.0  # sd of a cell per doubling of the real images
SHIFT = 4.0  # what synthetic changes where the null allows a change
FALSE, TRUE = FALSE_DISTANCE.name, COMPARABLE_DISTANCE.name
SCORES = tuple(ApT2t(score).name for score in POINTS.scores)  # low, medium, high

Rng = np.random.Generator
Levels = Float[ndarray, "s c t a"]
Grid = Callable[[int, int, Rng], pl.DataFrame]  # seeds, counts -> results.csv


def levels(
    num_seeds: int,
    num_counts: int,
    rng: Rng,
    *,
    rise: float = 0.0,
    shift: float = 0.0,
    arms: int = 2,
    targets: float = 10.0,
) -> Levels:
    """One metric; its targets differ with this sd, and by `shift` the arms from off."""
    shape = (num_seeds, num_counts, len(TARGETS), arms)
    parts = {"seed": (num_seeds, 1, 1, 1), "detector": (num_seeds, num_counts, 1, arms),
             "cell": shape}  # fmt: skip
    found = sum(np.sqrt(SHARES[name]) * rng.normal(size=size) for name, size in parts.items())
    found += rng.normal(0, targets, size=(1, 1, len(TARGETS), 1))
    found += rise * np.log2(COUNTS[:num_counts])[None, :, None, None]
    found[..., 1:] += shift
    return found


def with_on(found: Levels, by: Float[ndarray, "#c #t"] | float) -> Levels:
    """The same with the arm on moved."""
    moved = found.copy()
    moved[..., 1] += by
    return moved


def results(columns: Mapping[str, Levels]) -> pl.DataFrame:
    """results.csv with these metrics; every other number is missing."""
    shape = next(iter(columns.values())).shape
    cells = _cells(shape)
    return cells.with_columns(pl.Series(name, one.ravel()) for name, one in columns.items())


@functools.cache
def _cells(shape: tuple[int, int, int, int]) -> pl.DataFrame:
    names = (range(shape[0]), COUNTS, TARGETS, ARMS)
    rows = [
        tuple(own[i] for own, i in zip(names, place, strict=True)) for place in np.ndindex(shape)
    ]
    axes = pl.DataFrame(rows, ["seed", "real_count", "target", "synthetic"], orient="row")
    schema = results_schema(POINTS.scores)
    numbers = [name for name, kind in schema.items() if kind == pl.Float64()]
    return axes.with_columns(
        pl.lit("town").alias("dataset"), pl.lit(Domain.CROSS.value).alias("domain"),
        pl.lit(40).alias("num_ground_truth"),
        *(pl.lit(np.nan).alias(name) for name in numbers),
    )  # fmt: skip


def reading_noise(found: Levels, rng: Rng) -> Levels:
    """The same detections read in another way: most of the noise is common."""
    return found + rng.normal(0, 0.2, found.shape)


def band_columns(reading: Reading) -> list[str]:
    """AP_t2t of one reading at the low, medium and high operating point."""
    variant = VARIANTS[reading.recall, reading.scale]
    if reading.operating_point == "fixed scores":
        return [ApT2t(score, variant).name for score in POINTS.scores]
    return [ApT2tAtCount(count, variant).name for count in POINTS.equal_counts]


def bands(
    num_seeds: int,
    num_counts: int,
    rng: Rng,
    *,
    rise: float = 0.0,
    shift: float = 0.0,
    medium_by_synthetic: float = 0.0,
    medium_by_real: float = 0.0,
) -> dict[str, Levels]:
    """AP_t2t in every reading, where medium may gain more from synthetic or from real images."""
    of_bands = [levels(num_seeds, num_counts, rng, rise=rise, shift=shift) for _ in range(3)]
    of_bands[1] += medium_by_real * np.linspace(0, 1, num_counts)[:, None, None]
    of_bands[1] = with_on(of_bands[1], medium_by_synthetic)
    return {
        column: reading_noise(band, rng)
        for reading in READINGS
        for column, band in zip(band_columns(reading), of_bands, strict=True)
    }  # fmt: skip


def nothing(s: int, c: int, rng: Rng) -> pl.DataFrame:
    """Targets differ and AP50 rises with real images; synthetic images change nothing."""
    columns = {name: levels(s, c, rng) for name in (RELATIVE_DISTANCE, NEG_LOG_P, FALSE, TRUE)}
    return results({"AP50": levels(s, c, rng, rise=RISE), **columns, **bands(s, c, rng)})


def everything_shifted(s: int, c: int, rng: Rng) -> pl.DataFrame:
    """Synthetic images move every metric by one amount; -log p stays: the set only spreads."""
    moved = {RELATIVE_DISTANCE: -SHIFT, NEG_LOG_P: 0.0, FALSE: SHIFT, TRUE: -SHIFT}
    columns = {name: levels(s, c, rng, shift=by) for name, by in moved.items()}
    ap50 = levels(s, c, rng, rise=RISE, shift=SHIFT)
    return results({"AP50": ap50, **columns, **bands(s, c, rng, shift=SHIFT)})


def flat_curve(s: int, c: int, rng: Rng) -> pl.DataFrame:
    """AP50 of three equal arms that hardly rises, where equivalents scatter most."""
    return results({"AP50": levels(s, c, rng, rise=0.3, arms=3)})


def as_with_real_images(s: int, c: int, rng: Rng) -> pl.DataFrame:
    """Synthetic images give what real ones do: two doublings of AP50, medium confidence most."""
    read = bands(s, c, rng, rise=RISE, shift=SHIFT, medium_by_synthetic=3.0, medium_by_real=3.0)
    return results({"AP50": levels(s, c, rng, rise=RISE, shift=2 * RISE), **read})


def paired(found: Levels) -> PairedCells:
    """On against off."""
    seeds, counts = range(len(found)), COUNTS[: found.shape[1]]
    return PairedCells(
        seeds=tuple(seeds), counts=counts, targets=TARGETS,
        treated=found[..., 1], reference=found[..., 0],
    )  # fmt: skip


@functools.cache
def sd(statistic: Callable[[PairedCells], dict[int, float]], num_counts: int = 3) -> float:
    """Of a statistic over very many seeds."""
    many = paired(levels(4000, num_counts, np.random.default_rng(1)))
    return float(np.std(list(statistic(many).values())))


@functools.cache
def sd_of_excess() -> float:
    """Over seeds, of the advantage of medium over that of more real images, headline reading."""
    read = bands(4000, 3, np.random.default_rng(1))
    own = [paired(read[name]) for name in band_columns(READINGS[0])]
    synthetic = np.array([list(one.pooled_effect().values()) for one in own])
    real = np.array([list(one.real_images_effect().values()) for one in own])
    excess = [low_medium_high[1] - low_medium_high[::2].max(axis=0)
              for low_medium_high in (synthetic, real)]  # fmt: skip
    return float(np.std(excess[0] - excess[1]))


@functools.cache
def profile() -> Float[ndarray, " t"]:
    """Departures of three targets whose root mean square is twice their sd over seeds."""
    many = paired(levels(4000, 3, np.random.default_rng(1))).effects_by_target()
    each = np.array([list(one.values()) for one in many.values()])
    departures = each - each.mean(axis=0)
    return 2 * float(departures.std(axis=1).mean()) * np.array([1.0, -1.0, 0.0]) * np.sqrt(1.5)
