"""The sentence that opens each section of the report: pure functions from tables to words."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from ptl_sweep.distance.sample_size_bias import DriftRow
from ptl_sweep.report.aggregates import selection_rows
from ptl_sweep.report.answers import named
from ptl_sweep.report.context import StageCost
from ptl_sweep.report.evidence import (
    Contrast,
    Evidence,
    PooledEffect,
    bounded_text,
    off_first,
    plural,
    pooled_effects,
    read_contrasts,
    read_correlations,
)
from ptl_sweep.study.statistics import Interval, mean_interval
from ptl_sweep.study.study import PoolSelection
from ptl_sweep.vocabulary import ALL_TARGETS, COMPARABLE_DISTANCE, VARIANTS

CHANCE = 0.5  # probability of the smaller domain gap, were selection blind to it
CLAIM_SCOPE = "within real_count"  # of the correlation: the pooled one holds the artefact of n


def medium_confidence(contrasts: pl.DataFrame) -> list[str]:
    """The seed's claim that medium confidence gains most; reads contrasts over all targets."""
    pooled = contrasts.filter(
        pl.col("real_count").is_null(), target=ALL_TARGETS, scale="cumulative"
    )
    sentences = [_claim(row) for row in read_contrasts(pooled)]
    return sentences or ["No evidence on medium confidence: no AP_t2t with and without exists."]


def _claim(row: Contrast) -> str:
    found, name = row.evidence, named(row.group)
    if not np.isfinite(found.value):
        return f"No evidence on medium confidence for {name}: no seed has all cells."
    gains = ", ".join(f"{band} {100 * gain.value:+.1f}" for band, gain in row.gains.items())
    size = (
        f"AP_t2t at medium confidence gains {100 * found.value:+.1f} points over the larger of the "
        f"gains at low and high (gains: {gains})"
    )
    if found.verdict == "unknown":
        return (
            f"No evidence either way that medium confidence gains most from {name}: {size}, "
            f"no interval with {plural(row.num_seeds, 'seed')}."
        )
    opening = {
        "none": f"No evidence that medium confidence gains most from {name}",
        "up": f"Medium confidence gains most from {name}",
        "down": f"Medium confidence does not gain most from {name}",
    }[found.verdict]
    return f"{opening}: {size}, {found.bounds()}."


def prediction(correlations: pl.DataFrame) -> list[str]:
    """Whether train2test predicts AP50; reads the equal_n correlation within a real count."""
    sentences = []
    for row in read_correlations(correlations.filter(scope=CLAIM_SCOPE), COMPARABLE_DISTANCE):
        cells = f"{plural(row.num_cells, 'cell')} of {row.dataset}"
        rho = f"rho = {row.evidence.value:+.2f} within a real count over {cells}"
        sentences.append(f"{_prediction(row.evidence, rho)}.")
    return sentences or [
        "No evidence that train2test predicts AP50: no correlation of equal_n distances exists."
    ]


def _prediction(found: Evidence, rho: str) -> str:
    if found.verdict == "unknown":
        return f"No evidence either way that train2test predicts AP50: {rho}, no interval"
    bounds = found.bounds(2, 1)
    if found.verdict == "none":
        return f"No evidence that train2test predicts AP50: {rho}, {bounds}"
    side = "nearer" if found.verdict == "down" else "farther"
    return f"Detectors whose true positives lie {side} have the higher AP50: {rho}, {bounds}"


def distances(summary: pl.DataFrame) -> list[str]:
    """Whether synthetic moves true positives; equal_n alone is comparable across training sets."""
    found = [
        _distances(pooled) if pooled.whole.effect.num else _distances_by_count(pooled)
        for pooled in pooled_effects(summary, COMPARABLE_DISTANCE.name)
    ]
    sentences = [sentence for sentence in found if sentence]
    return sentences or ["No evidence that true positives move: no paired equal_n distance exists."]


def _distances(pooled: PooledEffect) -> str:
    found, name = pooled.whole.evidence, named(pooled.whole.group)
    change = f"equal_n distance {found.value:+.1f}"
    if found.verdict == "unknown":
        return (
            f"No evidence either way that {name} move true positives: {change}, no "
            f"interval with {plural(pooled.whole.effect.num, 'seed')}."
        )
    if found.verdict == "none":
        opening = f"No evidence that {name} move true positives"
    else:
        side = "nearer to" if found.verdict == "down" else "farther from"
        opening = f"With {name} true positives lie {side} the training set"
    return f"{opening}: {change}, {found.bounds(1, 1)}."


def _distances_by_count(pooled: PooledEffect) -> str:
    """Where some real count has too few features: the others, each on its own."""
    own = [one for one in pooled.by_count if one.effect.known]
    if not own:
        return ""
    num_clear = sum(not one.effect.includes_zero for one in own)
    largest = max(own, key=lambda one: abs(one.effect.mean))
    found = largest.evidence
    return (
        f"{named(largest.group).capitalize()} move true positives by an interval that excludes "
        f"zero at {num_clear} of the {plural(len(own), 'real count')} where off and on have enough "
        f"features; the largest change of the equal_n distance is {found.value:+.1f} at "
        f"{largest.group.real_count} real images, {found.bounds(1, 1)} (not adjusted for their "
        "number)."
    )


def errors(rows: pl.DataFrame) -> list[str]:
    """Which false positives cost most AP50, per source; reads errors.

    Means over the cells of a seed first; seeds that lack a cell are left out.
    """
    sources = sorted(rows["dataset"].unique())
    sentences = [_errors(gains_by_type(rows.filter(dataset=dataset))) for dataset in sources]
    return [one for one in sentences if one] or ["No false positive was examined in this sweep."]


def gains_by_type(rows: pl.DataFrame) -> dict[str, dict[str, Interval]]:
    """AP50 gained without a type, the dearest first, per value of synthetic, off first."""
    keys = ("type", "synthetic")
    seeds = rows.filter(pl.col("type") != "all").group_by(*keys, "seed", maintain_order=True)
    cells = seeds.agg(pl.col("gain").mean(), num=pl.len())
    complete = cells.filter(pl.col("num") == pl.col("num").max().over(*keys))
    found: dict[str, dict[str, Interval]] = {}
    for synthetic in off_first(complete["synthetic"].unique()):
        for (kind,), own in complete.filter(synthetic=synthetic).group_by("type"):
            gain = mean_interval(own["gain"].to_numpy())
            if gain.num:
                found.setdefault(str(kind), {})[synthetic] = gain
    return dict(sorted(found.items(), key=lambda item: (-_mean(item[1]), item[0])))


def _mean(gains: Mapping[str, Interval]) -> float:
    return float(np.mean([gain.mean for gain in gains.values()]))


def _errors(gains: Mapping[str, Mapping[str, Interval]]) -> str:
    if not gains:
        return ""
    (dearest, own), *others = gains.items()
    listed = ", ".join(
        f"{bounded_text(gain.bounded, scale=100)} for {name}" for name, gain in own.items()
    )
    listed += "" if "[" in listed else " (1 seed, no interval)"
    rest = ", ".join(f"{name} {100 * _mean(one):.1f}" for name, one in others)
    return (
        f"{dearest.capitalize()} false positives cost most points of AP50: {listed}"
        f"{f'; the other types, on average: {rest}' if rest else ''}."
    )


def published(beside: pl.DataFrame) -> str:
    """Whether our changes go the published way; reads the rows of published_beside, AP50."""
    rows = beside.filter(metric="AP50")
    ours = rows.filter(pl.col("change") != "")
    if ours.is_empty():
        why = "no published number was loaded" if rows.is_empty() else "different data"
        return f"Nothing published stands beside this sweep: {why}."
    same = (ours["change"] == ours["published_change"]).sum()
    sure = (ours["note"] == "").sum()
    theirs, own = (np.median(ours[name].to_numpy()) for name in ("published_ratio", "ratio"))
    return (
        f"{same} of {plural(len(ours), 'change')} of AP50 that a paper reports too "
        f"{'goes' if same == 1 else 'go'} its way, {sure} of ours with an interval that excludes "
        f"zero; AP50 with synthetic over without has median {theirs:.2f} there and {own:.2f} here "
        f"(no interval: the papers report no seeds)."
    )


def selection(selections: Sequence[PoolSelection]) -> list[str]:
    """Whether near images were taken: probability that a selected one has the smaller domain gap.

    Per (source, synthetic): mean over iterations and real counts within a seed, then over seeds.
    """
    series = ("dataset", "synthetic")
    known = selection_rows(selections).filter(pl.col("nearer").is_finite())
    by_seed = known.group_by(*series, "seed", maintain_order=True).agg(pl.col("nearer").mean())
    found = by_seed.group_by(*series, maintain_order=True).agg("nearer")
    sentences = [
        _selection(f"synthetic={name}", mean_interval(values.to_numpy()))
        for name, values in zip(found["synthetic"], found["nearer"], strict=True)
    ]
    return sentences or ["No selection to judge: no virtual image was selected by its domain gap."]


def _selection(name: str, found: Interval) -> str:
    size = f"probability {found.mean:.2f} that a selected one has the smaller domain gap"
    if not found.known:
        return (
            f"No evidence either way that {name} prefers near images: {size}; 1 seed, no interval."
        )
    over = f"over {plural(found.num, 'seed')}; {CHANCE} is chance"
    bounds = f"95 % interval {found.low:.2f} to {found.high:.2f} {over}"
    if found.low <= CHANCE <= found.high:
        return f"No evidence that {name} prefers near virtual images: {size} ({bounds})."
    side = "near" if found.mean > CHANCE else "far"
    return f"Selection by {name} prefers {side} virtual images: {size} ({bounds})."


def health(rows: pl.DataFrame, gaussians: pl.DataFrame, num_failures: int) -> str:
    """What did not work, counted."""
    num_ok = (rows["status"] == "ok").sum()
    warned = (gaussians["warning"].fill_null("") != "").sum()
    stages = f"{plural(num_failures, 'stage')} failed" if num_failures else "no stage failed"
    return (
        f"{num_ok} of {plural(len(rows), 'cell')} have a result, {stages}, and "
        f"{warned} of {plural(len(gaussians), 'Gaussian')} carry a warning."
    )


def drift(rows: Sequence[DriftRow]) -> list[str]:
    """How far each distance moves between the smallest and the largest n, at most over the blocks.

    Empty without rows.
    """
    if not rows:
        return []
    values = pl.col(VARIANTS)
    blocks = pl.DataFrame(rows).sort("n").group_by("spectrum", "shifted")
    changes = blocks.agg((values.last() / values.first() - 1).abs().fill_nan(None))
    moves = [
        f"{variant} by up to {100 * largest:.0f} %"
        for variant, largest in changes.select(values.max()).row(0, named=True).items()
        if largest is not None
    ]
    if not moves:
        return []
    counts = [row.n for row in rows]
    alone = f"From {min(counts)} to {max(counts)} training features alone"
    return [f"{alone}, mean distances move: {', '.join(moves)}."]


def cost(costs: Sequence[StageCost]) -> str:
    """What sharing equal stages saved, and how long the rest took."""
    naive = sum(one.num_naive for one in costs)
    unique = sum(one.num_unique for one in costs)
    seconds = sum(one.seconds for one in costs)
    alone = sum(one.seconds * one.num_naive / one.num_unique for one in costs if one.num_unique)
    saved = (
        f", {100 * (1 - seconds / alone):.0f} % less than every cell on its own" if alone else ""
    )
    return (
        f"{plural(unique, 'stage')} instead of {naive} after sharing equal ones; their work took "
        f"{duration(seconds)}{saved} (at the mean time of a stage of its kind)."
    )


def duration(seconds: float) -> str:
    """`1 h 05 min`, `3 min 20 s`, `4.2 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
