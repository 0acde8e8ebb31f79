"""The sentence that opens each section of the report: pure functions from tables to words."""

from collections.abc import Sequence

import numpy as np

from ptl_sweep.distance.sample_size_bias import DriftRow
from ptl_sweep.report.aggregates import nearer_probability
from ptl_sweep.report.answers import (
    Evidence,
    effect_evidence,
    evidence,
    named,
    plural,
    pooled_effects,
)
from ptl_sweep.report.context import StageCost
from ptl_sweep.study.groups import number, text
from ptl_sweep.study.statistics import Interval, mean_interval
from ptl_sweep.study.study import PoolSelection
from ptl_sweep.study.summary import effect_of
from ptl_sweep.vocabulary import ALL_TARGETS, BANDS, COMPARABLE_DISTANCE, OFF, VARIANTS, Row

CHANCE = 0.5  # probability of the smaller domain gap, were selection blind to it
CLAIM_SCOPE = "within real_count"  # of the correlation: the pooled one holds the artefact of n


def medium_confidence(contrasts: Sequence[Row]) -> list[str]:
    """The seed's claim that medium confidence gains most; reads contrasts over all targets."""
    rows = [
        row
        for row in contrasts
        if row["target"] == ALL_TARGETS
        and row["real_count"] is None
        and row["scale"] == "cumulative"
    ]
    sentences = [_claim(row) for row in rows]
    return sentences or ["No evidence on medium confidence: no AP_t2t with and without exists."]


def _claim(row: Row) -> str:
    found = evidence(
        row,
        "claim",
        ("claim_low", "claim_high"),
        ("claim_image_low", "claim_image_high"),
        "num_seeds",
    )
    if not np.isfinite(found.value):
        return f"No evidence on medium confidence for {named(row)}: no seed has all cells."
    gains = ", ".join(f"{band} {100 * number(row, band):+.1f}" for band in BANDS)
    size = (
        f"AP_t2t at medium confidence gains {100 * found.value:+.1f} points over the larger of the "
        f"gains at low and high (gains: {gains})"
    )
    if found.verdict == "unknown":
        return (
            f"No evidence either way that medium confidence gains most from {named(row)}: {size}, "
            f"no interval with {plural(number(row, 'num_seeds'), 'seed')}."
        )
    opening = {
        "none": f"No evidence that medium confidence gains most from {named(row)}",
        "up": f"Medium confidence gains most from {named(row)}",
        "down": f"Medium confidence does not gain most from {named(row)}",
    }[found.verdict]
    return f"{opening}: {size}, {found.bounds()}."


def prediction(correlations: Sequence[Row]) -> list[str]:
    """Whether train2test predicts AP50; reads the equal_n correlation within a real count."""
    rows = [
        row
        for row in correlations
        if (row["predictor"], row["variant"], row["metric"], row["scope"])
        == (COMPARABLE_DISTANCE.predictor, COMPARABLE_DISTANCE.variant, "AP50", CLAIM_SCOPE)
        and np.isfinite(number(row, "rho"))
    ]
    sentences = []
    for row in rows:
        cells = f"{plural(number(row, 'num_cells'), 'cell')} of {row['dataset']}"
        blocks = plural(number(row, "num_blocks"), "block")
        found = Evidence(
            number(row, "rho"), number(row, "low"), number(row, "high"), f"over {blocks} of a seed"
        )
        rho = f"rho = {found.value:+.2f} within a real count over {cells}"
        sentences.append(f"{_prediction(found, rho)}.")
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


def distances(summary: Sequence[Row]) -> list[str]:
    """Whether synthetic moves true positives; equal_n alone is comparable across training sets."""
    sentences = []
    for row in pooled_effects(summary, COMPARABLE_DISTANCE.name):
        found, num = effect_evidence(row), effect_of(row).num
        if num == 0:
            sentences += _distances_by_count(row, summary)
            continue
        change = f"equal_n distance {found.value:+.1f}"
        if found.verdict == "unknown":
            sentence = (
                f"No evidence either way that {named(row)} move true positives: {change}, no "
                f"interval with {plural(num, 'seed')}"
            )
        elif found.verdict == "none":
            sentence = f"No evidence that {named(row)} move true positives: {change}"
            sentence += f", {found.bounds(1, 1)}"
        else:
            side = "nearer to" if found.verdict == "down" else "farther from"
            sentence = f"With {named(row)} true positives lie {side} the training set: {change}"
            sentence += f", {found.bounds(1, 1)}"
        sentences.append(f"{sentence}.")
    return sentences or ["No evidence that true positives move: no paired equal_n distance exists."]


def _distances_by_count(pooled: Row, summary: Sequence[Row]) -> list[str]:
    """Where some real count has too few features: the others, each on its own."""
    own = [
        row
        for row in summary
        if row["metric"] == COMPARABLE_DISTANCE.name
        and row["target"] == ALL_TARGETS
        and row["real_count"] is not None
        and all(row[name] == pooled[name] for name in ("dataset", "synthetic"))
        and effect_of(row).known
    ]
    if not own:
        return []
    num_clear = sum(not effect_of(row).includes_zero for row in own)
    largest = max(own, key=lambda row: abs(effect_of(row).mean))
    found = effect_evidence(largest)
    sentence = (
        f"{named(pooled).capitalize()} move true positives by an interval that excludes zero at "
        f"{num_clear} of the {plural(len(own), 'real count')} where off and on have enough "
        f"features; the largest change of the equal_n distance is {found.value:+.1f} at "
        f"{largest['real_count']} real images, {found.bounds(1, 1)} (not adjusted for their "
        "number)."
    )
    return [sentence]


def errors(rows: Sequence[Row]) -> list[str]:
    """Which false positives cost most AP50, per source; reads errors.

    Means over the cells of a seed first; seeds that lack a cell are left out.
    """
    sentences = [
        _errors([row for row in rows if row["dataset"] == dataset])
        for dataset in sorted({text(row, "dataset") for row in rows})
    ]
    return [one for one in sentences if one] or ["No false positive was examined in this sweep."]


def _errors(rows: Sequence[Row]) -> str:
    types = sorted({text(row, "type") for row in rows} - {"all"})
    synthetics = sorted({text(row, "synthetic") for row in rows}, key=lambda n: (n != OFF, n))
    gains = {
        name: {
            synthetic: _gain_by_seed([r for r in rows if r["synthetic"] == synthetic], name)
            for synthetic in synthetics
        }
        for name in types
    }
    means = {
        name: np.mean([gain.mean for gain in own.values() if gain.num] or [np.nan])
        for name, own in gains.items()
    }
    order = sorted((name for name in types if np.isfinite(means[name])), key=lambda n: -means[n])
    if not order:
        return ""
    listed = ", ".join(
        f"{_gain(gain)} for {name}" for name, gain in gains[order[0]].items() if gain.num
    )
    listed += "" if "[" in listed else " (1 seed, no interval)"
    rest = ", ".join(f"{name} {100 * means[name]:.1f}" for name in order[1:])
    return (
        f"{order[0].capitalize()} false positives cost most points of AP50: {listed}"
        f"{f'; the other types, on average: {rest}' if rest else ''}."
    )


def _gain(gain: Interval) -> str:
    if not gain.known:
        return f"{100 * gain.mean:.1f}"
    return f"{100 * gain.mean:.1f} [{100 * gain.low:.1f}, {100 * gain.high:.1f}]"


def _gain_by_seed(rows: Sequence[Row], name: str) -> Interval:
    """Gain of AP50 without a type: mean over the cells of a seed, then over complete seeds."""
    by_seed: dict[float, list[float]] = {}
    for row in rows:
        if row["type"] == name:
            by_seed.setdefault(number(row, "seed"), []).append(number(row, "gain"))
    most = max((len(gains) for gains in by_seed.values()), default=0)
    means = [np.mean(gains) for gains in by_seed.values() if len(gains) == most]
    return mean_interval(np.array(means, np.float64))


def published(beside: Sequence[Row]) -> str:
    """Whether our changes go the published way; reads the rows of published_beside, AP50."""
    rows = [row for row in beside if row["metric"] == "AP50"]
    ours = [row for row in rows if row["change"]]
    if not ours:
        why = "different data" if rows else "no published number was loaded"
        return f"Nothing published stands beside this sweep: {why}."
    same = sum(row["change"] == row["published_change"] for row in ours)
    sure = sum(not row["note"] for row in ours)
    theirs, own = (
        np.median([number(row, name) for row in ours]) for name in ("published_ratio", "ratio")
    )
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
    by_seed: dict[tuple[str, str], dict[int, list[float]]] = {}
    for one in selections:
        probability = nearer_probability(one)
        if np.isfinite(probability):
            own = by_seed.setdefault((one.dataset, one.synthetic), {})
            own.setdefault(one.seed, []).append(probability)
    means = {
        key: mean_interval(np.array([np.mean(one) for one in seeds.values()], np.float64))
        for key, seeds in by_seed.items()
    }
    sentences = [_selection(f"synthetic={name}", found) for (_, name), found in means.items()]
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


def health(rows: Sequence[Row], gaussians: Sequence[Row], num_failures: int) -> str:
    """What did not work, counted."""
    gaps = sum(row["status"] != "ok" for row in rows)
    warned = sum(bool(row.get("warning")) for row in gaussians)
    stages = f"{plural(num_failures, 'stage')} failed" if num_failures else "no stage failed"
    return (
        f"{len(rows) - gaps} of {plural(len(rows), 'cell')} have a result, {stages}, and "
        f"{warned} of {plural(len(gaussians), 'Gaussian')} carry a warning."
    )


def drift(rows: Sequence[DriftRow]) -> list[str]:
    """How far each distance moves between the smallest and the largest n, at most over the blocks.

    Empty without rows.
    """
    blocks: dict[tuple[str, bool], list[DriftRow]] = {}
    for row in rows:
        blocks.setdefault((row.spectrum, row.shifted), []).append(row)
    moves = []
    for variant in VARIANTS:
        ends = [
            [getattr(pick(block, key=lambda row: row.n), variant) for pick in (min, max)]
            for block in blocks.values()
        ]
        changes = [abs(last / first - 1) for first, last in ends if np.isfinite(first + last)]
        if changes:
            moves.append(f"{variant} by up to {100 * max(changes):.0f} %")
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
