"""A made-up study with plausible numbers, every table filled and gaps, for figures and report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ptl_sweep.config.analysis import EQUAL_COUNTS
from ptl_sweep.distance.train2test import DISTANCE_EDGES, DistanceHistogram
from ptl_sweep.report.figures import CellHistogram
from ptl_sweep.study import schemas
from ptl_sweep.study.claims.table import Thresholds, claims
from ptl_sweep.study.schemas import frame_of
from ptl_sweep.study.statistics import mean_interval
from ptl_sweep.study.study import SCALES, SCOPES, PoolSelection, Study, TranslationGap
from ptl_sweep.study.summary import summarise
from ptl_sweep.vocabulary import (
    ALL_TARGETS,
    AT_COUNT,
    BANDS,
    FALSE_POSITIVE_TYPES,
    KINDS,
    MISSED,
    NEARNESS,
    NEG_LOG_P,
    OFF,
    RANKINGS,
    RELATIVE_DISTANCE,
    SIZES,
    UNHIT,
    VARIANTS,
    ApT2tAtCount,
    Condition,
    Domain,
    Group,
)

DIMENSION = 48
DATASET = "town"
THRESHOLDS = (0.01, 0.1, 0.5)
NUM_ADDED = 40  # synthetic images per iteration
GAIN = {"on": 1.0, "random": 0.35}  # of AP50 per iteration, relative
TYPE_SHARE = {"localisation": 0.12, "duplicate": 0.04, "background": 0.84}


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What the made-up grid looks like."""

    counts: Sequence[int] = (20, 50, 100, 200)
    targets: Sequence[str] = ("field", "karst", "yard")
    synthetics: Sequence[str] = (OFF, "on", "random")
    num_seeds: int = 6
    num_iterations: int = 2
    with_gaps: bool = True  # a failed and a missing cell

    def level(self, target: str) -> float:
        """How easy a target is."""
        return (1.0, 0.7, 1.2)[list(self.targets).index(target) % 3]

    def cells(self) -> Iterator[tuple[int, str, int]]:
        """(real count, target, seed)."""
        for count in self.counts:
            for target in self.targets:
                for seed in range(self.num_seeds):
                    yield count, target, seed


def result_row(demo: Demo, cell: tuple[int, str, int], synthetic: str, iteration: int) -> dict:
    """One cell; the effect of synthetic shrinks with the real count."""
    count, target, seed = cell
    place = list(demo.targets).index(target)
    rng = np.random.default_rng([count, iteration, place, seed, len(synthetic)])
    shared = np.random.default_rng([count, seed]).standard_normal()  # images and initial weights
    num_synthetic = NUM_ADDED * iteration
    level = demo.level(target) * (0.1 + 0.045 * np.log2(count / 10))
    level += 0.7 * GAIN.get(synthetic, 0.0) * iteration / (count + 10)
    level += 0.008 * shared + 0.008 * rng.standard_normal()
    row = dict.fromkeys(schemas.results_schema(THRESHOLDS))
    row |= {
        "dataset": DATASET, "real_count": count, "synthetic": synthetic, "target": target,
        "seed": seed, "iteration": iteration, "status": "ok", "reason": "",
        "domain": Domain.CROSS, "num_train_images": count + num_synthetic,
        "num_synthetic": num_synthetic,
        "num_ground_truth": 400, "num_detections": 5000, "AP50": level, "AP": level / 3,
        "gaussian_n": count * 4 + num_synthetic, "gaussian_rank": DIMENSION,
        "t2t_auroc": 0.7 + 0.02 * rng.standard_normal(),
        "train_key": f"train-town-n{count}-s{seed}-{synthetic}{iteration}-3f21a9c0de11",
        "evaluate_key": f"evaluate-{target}-n{count}-s{seed}-{synthetic}{iteration}-91b2c3d4e5f6",
    }  # fmt: skip
    helped = 0.02 * GAIN.get(synthetic, 0.0) * iteration
    for label, factor, bonus in (("001", 0.6, 0.3), ("010", 0.55, 1.0), ("050", 0.2, 0.2)):
        value = level * factor + bonus * helped * 20 / count
        row[f"AP_t2t_{label}_shrunk"] = value
        row[f"AP_t2t_{label}"] = value * 0.95
        row[f"AP_t2t_{label}_lift"] = value * 0.5
        row[f"AP_t2t_{label}_equal_n"] = value * 0.9
        row[f"AP_t2t_{label}_matched"] = value * 1.6
        row[f"AP_t2t_{label}_matched_lift"] = value * 0.7
    for per_image, factor in zip(EQUAL_COUNTS, (0.6, 0.5, 0.3), strict=True):
        value = (level + helped * 20 / count) * factor
        for kind, share in zip(AT_COUNT, (1.0, 0.5, 0.5, 1.6, 0.7), strict=True):
            row[ApT2tAtCount(per_image, kind).name] = value * share
    _fill_distances(row, rng, level)
    return row


def _fill_distances(row: dict, rng: np.random.Generator, level: float) -> None:
    """True positives nearer than false ones; nearer where AP is higher; four variants."""
    base = 90 - 110 * level + 3 * rng.standard_normal()
    for variant, scale in zip(VARIANTS, (1.6, 1.0, 0.02, 0.9), strict=True):
        suffix = "" if variant == "raw" else f"_{variant}"
        for kind, factor in (("tp", 1.0), ("fp", 2.2)):
            row[f"t2t_{kind}_mean{suffix}"] = scale * factor * base
            row[f"t2t_{kind}_median{suffix}"] = 0.87 * scale * factor * base
    row |= {RELATIVE_DISTANCE: 1.9 - 1.6 * level, NEG_LOG_P: 60 - 20 * level}


def _leave_gap(row: dict, status: str, reason: str) -> None:
    kept = {"dataset", "real_count", "synthetic", "target", "seed"}
    row |= {name: None for name in row if name not in kept} | {"status": status, "reason": reason}


def _cell(row: Mapping) -> dict:
    keys = ("dataset", "real_count", "synthetic", "target", "seed", "iteration")
    return {key: row[key] for key in keys}


def _computed(rows: Sequence[Mapping]) -> list[Mapping]:
    return [row for row in rows if row["status"] == "ok"]


def _summary(demo: Demo, rows: Sequence[Mapping]) -> list[dict]:
    """The summary, with image intervals and equivalents beside; one above and one below."""
    results = frame_of(rows, schemas.results_schema(THRESHOLDS))
    summary = summarise(results, THRESHOLDS).to_dicts()
    largest = max(demo.counts)
    for row in summary:
        row.update(dict.fromkeys(("image_low", "image_high", "image_sd"), np.nan), num_blocks=30)
        names = [f"{kind}{end}" for kind in ("real_equivalent", "replacement_ratio")
                 for end in ("", "_low", "_high")]  # fmt: skip
        row.update(dict.fromkeys(names, np.nan))
        count, synthetic = row["real_count"], row["synthetic"]
        if row["metric"] != "AP50" or synthetic == OFF or not np.isfinite(row["effect"]):
            continue
        row.update(image_low=row["effect"] - 0.02, image_high=row["effect"] + 0.02, image_sd=0.01)
        if count is None or len(demo.counts) < 3:
            continue
        ratio = 1 + 14 * GAIN[synthetic] / count**0.8
        bounds = [count * ratio**power for power in (1.0, 0.4, 1.7)]
        values = [bound if bound <= largest else np.inf for bound in bounds]
        if synthetic == "random" and row["target"] == demo.targets[0] and count == min(demo.counts):
            values = [0.0, 0.0, 1.2 * count]
        row.update(zip(names, [*values, *(value / count for value in values)], strict=True))
    return summary


def _spreads(rows: Sequence[Mapping]) -> list[dict]:
    result = []
    for row in _computed(rows):
        rng = np.random.default_rng([int(row["real_count"]), int(row["seed"])])
        for kind, variant in ((kind, variant) for kind in KINDS for variant in VARIANTS):
            suffix = "" if variant == "raw" else f"_{variant}"
            factor = {"tp": 1.0, "fp": 2.2, "all": 1.8, "missed": 3.1}[kind]
            median = 0.87 * factor * row[f"t2t_tp_mean{suffix}"]
            for index, band in enumerate(("", *BANDS) if kind != "missed" else ("",)):
                middle = median * (1 - 0.06 * index) * (1 + 0.03 * rng.standard_normal())
                result.append(
                    _cell(row) | {
                        "kind": kind, "band": band, "variant": variant,
                        "num": int({"tp": 260, "fp": 4600, "all": 4860, "missed": 140}[kind]),
                        "mean": 1.15 * middle, "lower_quartile": 0.75 * middle, "median": middle,
                        "upper_quartile": 1.4 * middle,
                    }
                )  # fmt: skip
    return result


def _gaussians(rows: Sequence[Mapping]) -> list[dict]:
    first = {row["evaluate_key"]: row for row in _computed(rows)}.values()
    target = next(iter(first))["target"]
    return [
        {
            **{key: row[key] for key in ("dataset", "real_count", "synthetic", "seed")},
            "iteration": row["iteration"], "train_key": row["train_key"], "n": row["gaussian_n"],
            "num_images": row["num_train_images"], "num_channels": DIMENSION, "num_dropped": 2,
            "rank": DIMENSION, "condition": 3.1e4, "shrinkage": 0.12,
            "raw_unshifted": DIMENSION * (row["gaussian_n"] + 1) / (row["gaussian_n"] - 50),
            "equal_n": 80, "calibration": "validation", "calibration_scale": 51.0,
            "num_calibration": 210, "below_50": 0.44, "below_90": 0.81, "below_99": 0.93,
            "mardia": 1.31, "mardia_z": 6.2,
            "warning": "tails: 93 % of true positives below the 99 % quantile"
            if row["seed"] == 0 else None,
            "gaussian_check": Condition.FAILS if row["seed"] == 0 else Condition.HOLDS,
            "num_scores": 300, "score_error": 0.04, "score_check": Condition.HOLDS,
        }
        for row in first if row["target"] == target
    ]  # fmt: skip


def _false_positives(rows: Sequence[Mapping]) -> list[dict]:
    return [
        _cell(row) | {
            "type": kind, "band": band, "size": size, "nearness": near,
            "num": int(4600 * TYPE_SHARE[kind] * weight * (1.1 if row["synthetic"] == OFF else 1)),
        }
        for row in _computed(rows)
        for kind in FALSE_POSITIVE_TYPES
        for band, size, near, weight in (
            ("low", SIZES[0], NEARNESS[2], 0.5), ("low", SIZES[1], NEARNESS[1], 0.3),
            ("medium", SIZES[1], NEARNESS[1], 0.15), ("high", SIZES[2], NEARNESS[0], 0.05),
        )
    ]  # fmt: skip


def _errors(rows: Sequence[Mapping]) -> list[dict]:
    result = []
    for row in _computed(rows):
        rng = np.random.default_rng([int(row["real_count"]), int(row["seed"]), 7])
        fewer = 1.0 if row["synthetic"] == OFF else 0.8
        for kind, share in {**TYPE_SHARE, "all": 1.0, MISSED: 0.001, UNHIT: 0.03}.items():
            gain = fewer * row["AP50"] * 0.5 * share**0.6 * (1 + 0.1 * rng.standard_normal())
            num = int(4600 * share * fewer * (1 + 0.05 * rng.standard_normal()))
            fixed = gain * (1.5 if kind in ("localisation", "all") else 1.0)
            removed = np.nan if kind in (MISSED, UNHIT) else gain
            result.append(
                _cell(row) | {
                    "type": kind, "num": num, "AP50": row["AP50"],
                    "AP50_without": row["AP50"] + removed, "gain": removed,
                    "AP50_fixed": row["AP50"] + fixed, "gain_fixed": fixed,
                }
            )  # fmt: skip
    return result


def _missed_persons(rows: Sequence[Mapping]) -> list[dict]:
    """Small and far ones are missed more often; fewer with synthetic images."""
    return [
        _cell(row) | {
            "split": split, "part": part, "num_ground_truth": num,
            "num": int((1.0 if row["synthetic"] == OFF else 0.8) * share * num),
            "num_missed": int(0.1 * share * num), "AP50_fixed": row["AP50"] * (1 + share / 3),
            "gain_fixed": row["AP50"] * share / 3,
        }
        for row in _computed(rows)
        for split, parts in (
            ("size", (("small", 120, 0.7), ("medium", 200, 0.25), ("large", 80, 0.05))),
            ("distance", (("near", 150, 0.1), ("middle", 150, 0.3), ("far", 100, 0.75))),
        )
        for part, num, share in parts
    ]  # fmt: skip


def _curves(rows: Sequence[Mapping]) -> list[dict]:
    recalls = np.linspace(0, 1, 21)
    result = []
    for row in _computed(rows):
        for index, threshold in enumerate(THRESHOLDS):
            reach = (0.9, 0.6, 0.3)[index] * (0.5 + row["AP50"])
            for ranking in RANKINGS:
                bent = 0.6 if ranking == "distance" else 0.35
                fall = np.clip(1 - (recalls / reach) ** 2, 0, 1) ** bent
                start = 0.5 + row["AP50"] if ranking == "distance" else 0.9
                result += [
                    _cell(row) | {
                        "score_threshold": threshold, "ranking": ranking,
                        "recall": float(recall), "precision": float(value),
                    }
                    for recall, value in zip(recalls, np.minimum(start, 1) * fall, strict=True)
                ]  # fmt: skip
    return result


def _contrasts(demo: Demo, rows: Sequence[Mapping]) -> list[dict]:
    """E(low, medium, high) per group, over targets, and over targets and counts."""
    value = {
        (row["real_count"], row["target"], row["synthetic"], row["seed"]): [
            row[f"AP_t2t_{label}_shrunk"] for label in ("001", "010", "050")
        ]
        for row in _computed(rows)
    }
    groups = [
        (count, target, [(count, target)]) for count in demo.counts for target in demo.targets
    ]
    groups += [(count, ALL_TARGETS, [(count, t) for t in demo.targets]) for count in demo.counts]
    groups.append((None, ALL_TARGETS, [(c, t) for c in demo.counts for t in demo.targets]))
    result = []
    for scale, factor in zip(SCALES, (1.0, 0.6), strict=True):
        for synthetic in (name for name in demo.synthetics if name != OFF):
            for count, target, members in groups:
                gains = [
                    np.mean([np.subtract(value[c, t, synthetic, seed], value[c, t, OFF, seed])
                             for c, t in members], axis=0)
                    for seed in range(demo.num_seeds)
                    if all({(c, t, synthetic, seed), (c, t, OFF, seed)} <= set(value)
                           for c, t in members)
                ]  # fmt: skip
                group = Group(DATASET, count, synthetic, target)
                result.append(_contrast(group, scale, factor * np.reshape(gains, (-1, 3))))
    return result


def _contrast(group: Group, scale: str, gains: np.ndarray) -> dict:
    row: dict = {**group._asdict(), "scale": scale, "num_seeds": len(gains)}
    for band, column in zip(BANDS, gains.T, strict=True):
        interval = mean_interval(column)
        row |= {band: interval.mean, f"{band}_low": interval.low, f"{band}_high": interval.high}
    claim = mean_interval(gains[:, 1] - np.maximum(gains[:, 0], gains[:, 2]))
    return row | {
        "claim": claim.mean, "claim_low": claim.low, "claim_high": claim.high,
        "claim_image_low": claim.mean - 0.01, "claim_image_high": claim.mean + 0.01,
        "num_blocks": 30, "p": 0.031 if claim.num >= 6 else np.nan,
        "note": "" if claim.num >= 6 else f"cannot reach 0.05 with {claim.num} seeds",
    }  # fmt: skip


def _correlations() -> list[dict]:
    return [
        {
            "dataset": DATASET, "predictor": predictor, "variant": variant, "metric": "AP50",
            "scope": scope, "rho": rho, "low": rho - 0.11, "high": min(1.0, rho + 0.13),
            "num_cells": 214, "num_blocks": 6, "note": "few blocks (6)",
        }
        for predictor in ("tp_mean", "tp_median", "fp_median")
        for variant in VARIANTS
        for scope, rho in zip(SCOPES, (-0.83, -0.61, -0.44), strict=True)
    ]  # fmt: skip


def _published(demo: Demo) -> list[dict]:
    """Numbers of no paper, for two targets of the demo and one that it does not have."""
    return [
        {
            "paper": "made-up 2023", "table": "4", "dataset": DATASET, "target": target,
            "real_count": count, "synthetic": synthetic, "iteration": iteration, "AP50": level,
            "AP": level / 3,
        }
        for target in (*demo.targets[:2], "elsewhere")
        for count in (20, 50)
        for synthetic, iteration, level in (
            (OFF, "0", 0.1 * count / 20), ("on", "5", 0.17 * count / 20), ("on", "best", 0.19),
        )
    ]  # fmt: skip


def _selections(demo: Demo) -> list[PoolSelection]:
    """PTL prefers the near and low ones; one in ten pool images is never detected."""
    result = []
    altitudes, radii = np.meshgrid(np.arange(10, 60, 5.0), np.arange(10, 70, 10.0))
    repeats = 8
    about = {"altitude_m": np.tile(altitudes.ravel(), repeats),
             "radius_m": np.tile(radii.ravel(), repeats)}  # fmt: skip
    grounds, people = ("grass", "sand", "street"), [f"walker{n}" for n in range(14)]
    every = range(len(about["altitude_m"]))
    named = {
        "background": [[grounds[n % 3]] for n in every],
        "character": [[people[n % 14], people[n % 5]] for n in every],
    }
    about["height_px"] = 900 * 1.7 / np.hypot(about["altitude_m"], about["radius_m"])
    for count in demo.counts:
        for synthetic in (name for name in demo.synthetics if name != OFF):
            for seed in range(min(demo.num_seeds, 3)):
                rng = np.random.default_rng([count, seed, len(synthetic)])
                left = np.ones(len(about["altitude_m"]), bool)
                far = about["altitude_m"] + 0.6 * about["radius_m"]
                gap = 60 + 1.5 * far * rng.lognormal(0, 0.3, len(left))
                gap[rng.random(len(left)) < 0.1] = np.inf
                for iteration in range(1, demo.num_iterations + 1):
                    pool = np.flatnonzero(left)
                    scores = rng.gumbel(size=len(pool))
                    weight = np.exp(-gap[pool] / 12) if synthetic == "on" else np.ones(len(pool))
                    if synthetic == "on":
                        scores = scores - gap[pool] / 12
                    chosen = np.zeros(len(pool), bool)
                    chosen[np.argsort(-scores)[:NUM_ADDED]] = True
                    facts = {name: values[pool] for name, values in about.items()}
                    kinds = {name: [of[place] for place in pool] for name, of in named.items()}
                    result.append(
                        PoolSelection(DATASET, count, synthetic, seed, iteration, gap[pool], chosen,
                                  facts, kinds, weight.sum() ** 2 / (weight**2).sum(),
                                  _translation(gap[pool][chosen]) if synthetic == "on" else None)
                    )  # fmt: skip
                    left[pool[chosen]] = False
    return result


def _translation(gap: np.ndarray) -> TranslationGap:
    """One person in ten is lost, and the others move a little away."""
    median = float(np.median(gap[np.isfinite(gap)]))
    return TranslationGap(
        median, 1.1 * median, 0.6 * median, float(np.isfinite(gap).mean()), 0.9, 1.0
    )


def demo_histograms(study: Study) -> list[CellHistogram]:
    """Shrunk distances of every cell that has a number."""
    result = []
    for row in _computed(study.rows.rows(named=True)):
        rng = np.random.default_rng([row["real_count"], len(row["synthetic"]), row["seed"]])
        nearer = 0.06 * GAIN.get(row["synthetic"], 0.0) * row["iteration"]
        counts = np.zeros((3, 2, len(DISTANCE_EDGES) - 1), np.int64)
        for band, kind in np.ndindex(3, 2):
            shift = 1.7 + 0.35 * kind - 0.1 * band - nearer
            values = 10 ** (shift + 0.2 * rng.standard_normal(400 // (band + 1)))
            counts[band, kind] = np.histogram(values, DISTANCE_EDGES)[0]
        bands = tuple(zip(THRESHOLDS, (*THRESHOLDS[1:], 1.0), strict=True))
        group = Group(row["dataset"], row["real_count"], row["synthetic"], row["target"])
        result.append(CellHistogram(group, DistanceHistogram(DISTANCE_EDGES, counts, bands)))
    return result


def demo_study(**changes: object) -> Study:
    """The study of a `Demo(**changes)`; by default 4 counts, 3 targets, 6 seeds, off/on/random."""
    demo = Demo(**changes)
    others = [name for name in demo.synthetics if name != OFF]
    off = [result_row(demo, cell, OFF, 0) for cell in demo.cells()]
    steps = [
        result_row(demo, cell, name, iteration)
        for name in others
        for iteration in range(1, demo.num_iterations + 1)
        for cell in demo.cells()
    ]
    rows = [dict(row) for row in (*off, *steps) if row["iteration"] in (0, demo.num_iterations)]
    if OFF not in demo.synthetics:
        rows = [row for row in rows if row["synthetic"] != OFF]
    rows[0] |= {"reason": "no raw distances: the ML covariance needs more than D + 2 = 50 features"}
    rows[0] |= {"t2t_tp_mean": np.nan, "AP_t2t_001": np.nan}
    if demo.with_gaps and len(rows) > demo.num_seeds:
        _leave_gap(rows[-1], "failed", "ptl 2 failed: CUDA out of memory at CycleGAN step 412")
        _leave_gap(rows[-demo.num_seeds - 1], "missing", "not computed yet")
    results = schemas.results_schema(THRESHOLDS)
    errors = frame_of(_errors(rows), schemas.ERRORS)
    return Study(
        rows=frame_of(rows, results),
        iteration_rows=frame_of([*off, *steps], results),
        summary=frame_of(_summary(demo, rows), schemas.SUMMARY),
        spreads=frame_of(_spreads(rows), schemas.TRAIN2TEST),
        gaussians=frame_of(_gaussians(rows), schemas.GAUSSIANS),
        false_positives=frame_of(_false_positives(rows), schemas.FALSE_POSITIVES),
        errors=errors,
        missed_persons=frame_of(_missed_persons(rows), schemas.MISSED_PERSONS),
        curves=frame_of(_curves(rows), schemas.CURVES),
        contrasts=frame_of(_contrasts(demo, rows), schemas.CONTRASTS),
        correlations=frame_of(_correlations(), schemas.CORRELATIONS),
        claims=claims(frame_of(rows, results), Thresholds(THRESHOLDS, EQUAL_COUNTS), errors),
        published=frame_of(_published(demo), schemas.PUBLISHED),
        selections=_selections(demo),
        score_thresholds=THRESHOLDS,
    )
