"""The sentence that opens each section of the report: pure functions from tables to words."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from ptl_sweep.distance.sample_size_bias import DriftRow
from ptl_sweep.report.context import StageCost
from ptl_sweep.report.evidence import (
    UNKNOWN,
    axes_of,
    bounded_text,
    by_group,
    plural,
)
from ptl_sweep.study.claims.claim import MIN_SEEDS, Claim, Verdict
from ptl_sweep.study.claims.selection import CHANCE, SelectionClaim, selection_claims
from ptl_sweep.study.statistics import Interval, mean_interval
from ptl_sweep.study.study import PoolSelection, TranslationGap
from ptl_sweep.vocabulary import ALL_TARGETS, VARIANTS, Group

UNMEASURED = (
    "No distance of persons before and after translation: nothing was translated after a selection "
    "by domain gap, or the stages are older than this number."
)


def levels(summary: pl.DataFrame) -> list[str]:
    """How AP50 grows with real images, per source, mean over targets."""
    means = {group: one.mean for group, one in by_group(summary, "AP50").items()}
    sentences = []
    for dataset in sorted(summary["dataset"].unique()):
        axis = axes_of(summary.filter(dataset=dataset))
        ends = sorted({axis.real_counts[0], axis.real_counts[-1]})
        parts = [_level(means, dataset, ends, synthetic) for synthetic in axis.synthetics]
        if any(parts):
            listed = "; ".join(part for part in parts if part)
            listed += "" if "[" in listed else " (1 seed, no interval)"
            at = " and ".join(map(str, ends))
            sentences.append(
                f"Mean AP50 over the targets, trained on {dataset} with {at} real images: {listed}."
            )
    return sentences or ["No AP50 over all targets exists: see the missing cells below."]


def _level(
    means: Mapping[Group, Interval], dataset: str, counts: Sequence[int], synthetic: str
) -> str:
    """`off 14.3 % [12.1, 16.4] and 23.9 % [22.6, 25.2]`; empty when one does not exist."""
    groups = [Group(dataset, count, synthetic, ALL_TARGETS) for count in counts]
    own = [means.get(group, UNKNOWN) for group in groups]
    if not all(one.num for one in own):
        return ""
    shown = [bounded_text(one.bounded, unit=" %", scale=100) for one in own]
    return f"{synthetic} {' and '.join(shown)}"


def published(beside: pl.DataFrame) -> str:
    """How many of our changes go the published way; reads the rows of published_beside, AP50."""
    rows = beside.filter(metric="AP50")
    ours = rows.filter(pl.col("change") != "")
    if ours.is_empty():
        why = "no published number was loaded" if rows.is_empty() else "different data"
        return f"Nothing published stands beside this sweep: {why}."
    same = (ours["change"] == ours["published_change"]).sum()
    theirs, own = (np.median(ours[name].to_numpy()) for name in ("published_ratio", "ratio"))
    return (
        f"{same} of {plural(len(ours), 'change')} of AP50 that a paper reports too "
        f"{'goes' if same == 1 else 'go'} its way, a count without a test; AP50 with synthetic "
        f"over without has median {theirs:.2f} there and {own:.2f} here (no interval: the papers "
        f"report no seeds)."
    )


def selection(selections: Sequence[PoolSelection]) -> list[str]:
    """Whether near images were taken, and how evenly the weights spread, per value of synthetic."""
    return [_selection(one) for one in selection_claims(selections)] or [
        "No selection to judge: no virtual image was selected by its domain gap."
    ]


def _selection(found: SelectionClaim) -> str:
    name, claim = f"synthetic={found.synthetic}", found.claim
    size = (
        f"probability {CHANCE + claim.value:.2f} that a selected one has the smaller domain gap "
        f"({_around_chance(claim)}); effective sample size {_span(found.effective_sizes)} of "
        f"{_span(found.pool_sizes)} images"
    )
    if claim.verdict is Verdict.OPEN:
        return (
            f"No verdict on whether {name} prefers near virtual images "
            f"({plural(claim.num_seeds, 'seed')}, {MIN_SEEDS} are needed): {size}."
        )
    if claim.verdict is Verdict.NONE:
        return f"No evidence that {name} prefers near virtual images: {size}."
    side = "near" if claim.value > 0 else "far"
    return f"Selection by {name} prefers {side} virtual images: {size}."


def _around_chance(claim: Claim) -> str:
    seeds = plural(claim.num_seeds, "seed")
    if np.isnan(claim.low):
        return f"no interval with {seeds}; {CHANCE} is chance"
    low, high = CHANCE + claim.low, CHANCE + claim.high
    return f"95 % interval {low:.2f} to {high:.2f} over {seeds}; {CHANCE} is chance"


def _span(ends: tuple[float, float]) -> str:
    """`142 to 192`; one number where both round to it."""
    return " to ".join(dict.fromkeys(f"{end:.0f}" for end in ends))


def translation(rows: pl.DataFrame) -> list[str]:
    """What translation did to the domain gap, per source and value of synthetic: no verdict.

    Reads `aggregates.selection_rows`. A seed is the mean over its iterations and real counts.
    """
    measured = rows.filter(pl.col("untranslated").is_finite(), pl.col("translated").is_finite())
    per_seed = measured.group_by("dataset", "synthetic", "seed", maintain_order=True).mean()
    arms = per_seed.group_by("dataset", "synthetic", maintain_order=True)
    return [_translation(str(synthetic), own) for (_, synthetic), own in arms] or [UNMEASURED]


def _translation(synthetic: str, seeds: pl.DataFrame) -> str:
    ratio = mean_interval((seeds["translated"] / seeds["untranslated"]).to_numpy())
    mean = {name: _mean_of(seeds[name]) for name in TranslationGap._fields}
    known = "95 % interval, " if ratio.known else "no interval with "
    return (
        f"No verdict on what translation does with synthetic={synthetic} (images of a small "
        f"distance were selected, so that a change by chance tends to increase it): the selected "
        f"persons have a median d² of {mean['untranslated']:.1f} as drawn and "
        f"{mean['translated']:.1f} translated, ratio {bounded_text(ratio.bounded, '.2f')} "
        f"({known}{plural(ratio.num, 'seed')}); real persons of the training set have "
        f"{mean['real']:.1f}, in-sample. The detector that selected them finds the person in "
        f"{100 * mean['found_untranslated']:.0f} % of these images as drawn, in "
        f"{100 * mean['found_translated']:.0f} % translated, and finds "
        f"{100 * mean['found_real']:.0f} % of the real ones."
    )


def _mean_of(values: pl.Series) -> float:
    """NaN where there is no number."""
    return float(np.nanmean(values.to_numpy())) if values.is_finite().any() else np.nan


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
