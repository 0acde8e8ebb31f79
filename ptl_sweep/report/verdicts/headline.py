"""The strip of numbers on the first screen; it says what the answer below it says, no more."""

from collections.abc import Sequence
from typing import NamedTuple

from ptl_sweep.report.context import StageCost
from ptl_sweep.report.sentences import duration
from ptl_sweep.report.verdicts.answers import (
    Answer,
    Arm,
    answer_of,
    equivalent,
    levels,
    open_bounds,
    p_text,
    tried_counts,
)
from ptl_sweep.report.verdicts.claim_row import POINTS
from ptl_sweep.study.claims.claim import MIN_SEEDS, Verdict

LEADING = "on"  # the value of `synthetic` that the strip is about where a sweep has several
MAX_WORTHS = 3  # real counts that the strip has room for
NOT_KNOWN = "\N{EN DASH}"


class HeadlineNumber(NamedTuple):
    """One number of the strip."""

    label: str
    value: str
    detail: str  # how sure it is, or what it is a mean over
    verdict: Verdict | None = None


class Headline(NamedTuple):
    """The numbers of one source, and the sentence that says them in words."""

    title: str
    numbers: list[HeadlineNumber]
    answer: Answer


def headlines(arms: Sequence[Arm], costs: Sequence[StageCost]) -> list[Headline]:
    """A strip per source, of PTL where the sweep has it, else of the first value of synthetic."""
    leading: dict[str, Arm] = {}
    for arm in arms:
        group = arm.pooled.group
        if group.dataset not in leading or group.synthetic == LEADING:
            leading[group.dataset] = arm
    return [
        Headline(
            f"synthetic={arm.pooled.group.synthetic}, trained on {dataset}",
            [_levels(arm), _change(arm), _worth(arm), _cost(costs)],
            answer_of(arm),
        )
        for dataset, arm in leading.items()
    ]


def _levels(arm: Arm) -> HeadlineNumber:
    label = "AP50 without \N{RIGHTWARDS ARROW} with"
    found = levels(arm.pooled)
    if arm.effect is None or found is None:
        return HeadlineNumber(label, NOT_KNOWN, "off lacks cells of these seeds")
    value = f"{found[0]:.1f} \N{RIGHTWARDS ARROW} {found[1]:.1f} %"
    return HeadlineNumber(label, value, arm.effect.scope)


def _change(arm: Arm) -> HeadlineNumber:
    label, row = "Change of AP50", arm.effect
    if row is None:
        return HeadlineNumber(label, NOT_KNOWN, "no seed is complete", Verdict.OPEN)
    if row.verdict is Verdict.OPEN:
        detail = f"{open_bounds(row, arm.pooled)}; {MIN_SEEDS} seeds are needed"
    else:
        detail = f"{row.bounds()}, {p_text(row)}"
    return HeadlineNumber(label, f"{POINTS * row.value:+.1f} points", detail, row.verdict)


def _worth(arm: Arm) -> HeadlineNumber:
    """Real images that do as well; nothing where it is not found that there is a change."""
    label = "Worth in real images"
    if arm.effect is None or arm.effect.verdict is not Verdict.FOUND:
        return HeadlineNumber(label, NOT_KNOWN, "not said while no change is found")
    found = [row for row in arm.worth if row.verdict is Verdict.FOUND]
    if not found:
        return HeadlineNumber(label, NOT_KNOWN, "no evidence at any real count")
    first, *rest = (
        f"{row.real_count} as {equivalent(row, tried_counts(row))}" for row in found[:MAX_WORTHS]
    )
    detail = "; ".join(("with synthetic as alone, median over seeds", *rest))
    return HeadlineNumber(label, first, detail, Verdict.FOUND)


def _cost(costs: Sequence[StageCost]) -> HeadlineNumber:
    stages = sum(one.num_unique for one in costs)
    seconds = sum(one.seconds for one in costs)
    return HeadlineNumber(
        "Cost",
        duration(seconds),
        f"of one machine for {stages} stages: GPU hours where a GPU computed them",
    )
