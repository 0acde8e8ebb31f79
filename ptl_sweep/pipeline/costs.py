"""How long stages take: the median of those that were measured, else of like ones, else a guess."""

import logging
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.pipeline.status import ENDED, States
from ptl_sweep.pipeline.store_listing import StoreListing
from ptl_sweep.stages.base import KINDS, Stage
from ptl_sweep.store import StoreError, canonical_json

MAX_TIMED = 200  # stages of a kind whose times a median is taken of, spread over the plan

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StageTime:
    """Seconds that a stage of this kind takes, and whether that was measured."""

    seconds: float
    is_measured: bool


def measured_seconds(plan: Plan, listing: StoreListing | None = None) -> dict[str, StageTime]:
    """Median time per kind: of the plan's stages, else of like ones in the store, else a guess."""
    listing = listing or StoreListing(plan.store)
    costs: dict[str, StageTime] = {}
    for kind in KINDS:
        stages = [stage for stage in plan.stages.values() if stage.kind == kind]
        published = [stage.key for stage in stages if listing.is_published(stage.key)]
        every = -(-len(published) // MAX_TIMED) or 1
        keys = published[::every] or _like_stages(stages, listing)
        known = (_seconds(key, listing) for key in keys)
        times = [seconds for seconds in known if seconds]
        guess = stages[0].default_seconds if stages else 0.0
        costs[kind] = StageTime(statistics.median(times) if times else guess, bool(times))
    return costs


def stage_seconds(meta: Mapping[str, Any]) -> float:
    """How long a published stage worked; 0 where its meta.json does not say so."""
    seconds = meta.get("seconds")
    return float(seconds) if isinstance(seconds, int | float) else 0.0


def _seconds(key: str, listing: StoreListing) -> float:
    """As `stage_seconds`; 0 and a warning where meta.json is damaged."""
    try:
        return stage_seconds(listing.meta(key))
    except StoreError as error:
        log.warning("%s", error)
        return 0.0


def _like_stages(stages: Sequence[Stage], listing: StoreListing) -> list[str]:
    """Other sweeps' stages of the same data and architecture: the next best estimate."""
    wanted = {_work_of(stage.spec) for stage in stages}
    prefixes = {f"{stage.kind}-{stage.label.split('-')[0]}" for stage in stages}
    candidates = [key for prefix in sorted(prefixes) for key in listing.starting(prefix)]
    return [key for key in candidates[:MAX_TIMED] if _work_in_store(key, listing) in wanted]


def _work_in_store(key: str, listing: StoreListing) -> tuple[str, str] | None:
    """As `_work_of`; None where meta.json cannot be read, or is of another version."""
    try:
        return _work_of(listing.meta(key)["spec"])
    except (StoreError, KeyError):
        return None


def _work_of(spec: Mapping[str, Any]) -> tuple[str, str]:
    """What decides how long a stage takes: its data, as text, and the architecture."""
    return canonical_json(spec["data"]), str(spec["detector"]["architecture"])


def time_left(plan: Plan, states: States, num_workers: int) -> float:
    """Seconds: the work that is left, spread over the workers.

    A failed stage, and what it blocks, is no work until somebody fixes its cause.
    """
    costs = measured_seconds(plan)
    left = dict.fromkeys(KINDS, 0)
    for key, state in states.items():
        if state not in ENDED:
            left[plan.stages[key].kind] += 1
    return sum(left[kind] * costs[kind].seconds for kind in KINDS) / num_workers
