"""What every PTL iteration of a sweep saw of its virtual pool, for the figures of the report."""

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache

import numpy as np
from numpy import ndarray

from ptl_sweep.config.schema import ConfigError, PoolConfig
from ptl_sweep.datasets import registry
from ptl_sweep.datasets.validation import DataError
from ptl_sweep.pipeline.plan import Plan
from ptl_sweep.stages.inputs import PoolSpec
from ptl_sweep.stages.ptl import SELECTION, TRANSLATION, PtlStage
from ptl_sweep.store import StoreError
from ptl_sweep.study.study import PoolSelection, TranslationGap

logger = logging.getLogger(__name__)

SHOWN = ("altitude_m", "radius_m", "height_px")  # attributes that figures are drawn over
KINDS = {"background": "", "character": "+"}  # likewise, by name; what stands between several


def read_selections(plan: Plan) -> list[PoolSelection]:
    """One per published PTL stage; without the pool's files the attributes are empty."""
    stages = [stage for stage in plan.ptl_stages() if plan.store.is_published(stage.key)]
    found = (_try_to_read(plan, stage) for stage in stages)
    return [selection for selection in found if selection is not None]


def _try_to_read(plan: Plan, stage: PtlStage) -> PoolSelection | None:
    """A damaged file costs what is said of its own iteration, not the report."""
    try:
        return _selection(plan, stage)
    except (StoreError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s: %s is not shown: %s", stage.key, SELECTION, error)
        return None


def _selection(plan: Plan, stage: PtlStage) -> PoolSelection:
    content = json.loads(plan.store.artifact(stage.key, SELECTION).read_text())
    gaps: dict[str, float | None] = {one["image_id"]: one["gap"] for one in content["pool"]}
    names, chosen = list(gaps), set(content["selected"])
    cell = plan.cells_behind(stage.key)[0].id  # whose names say the axes
    return PoolSelection(
        dataset=cell.dataset,
        real_count=stage.real_count,
        synthetic=cell.synthetic,
        seed=stage.seed,
        iteration=stage.iteration,
        gap=np.array([np.inf if gap is None else gap for gap in gaps.values()], np.float64),
        selected=np.array([name in chosen for name in names], dtype=bool),
        attributes=_attributes(stage.pool, names),
        kinds=_kinds(stage.pool, names),
        effective_sample_size=content["summary"]["effective_sample_size"],
        translation=_translation(plan, stage),
    )


def _translation(plan: Plan, stage: PtlStage) -> TranslationGap | None:
    """None where nothing was translated, and of a stage that is older than this measure."""
    if not plan.store.has_artifact(stage.key, TRANSLATION):
        return None
    summary = json.loads(plan.store.artifact(stage.key, TRANSLATION).read_text())["summary"]
    if not summary:
        return None
    found = TranslationGap(
        untranslated=summary["gap_untranslated_median"],
        translated=summary["gap_translated_median"],
        real=summary["gap_real_median"],
        found_untranslated=summary["found_untranslated"],
        found_translated=summary["found_translated"],
        found_real=summary["found_real"],
    )
    return TranslationGap(*(np.nan if value is None else value for value in found))


def _known(pool: PoolSpec) -> Mapping[str, Mapping[str, float | str]]:
    return _pool_attributes(json.dumps(asdict(pool.config()), sort_keys=True), pool.fingerprint)


def _kinds(pool: PoolSpec, names: list[str]) -> dict[str, list[list[str]]]:
    known = _known(pool)
    return {
        kind: [_split(str(known[name][kind]), between) for name in names]
        for kind, between in KINDS.items()
        if all(kind in known.get(name, {}) for name in names)
    }


def _split(value: str, between: str) -> list[str]:
    return value.split(between) if between else [value]


def _attributes(pool: PoolSpec, names: list[str]) -> dict[str, ndarray]:
    known = _known(pool)
    if not all(name in known for name in names):
        return {}
    return {
        attribute: np.array([known[name][attribute] for name in names], dtype=np.float64)
        for attribute in SHOWN
        if all(attribute in known[name] for name in names)
    }


@lru_cache(maxsize=4)
def _pool_attributes(
    settings: str, fingerprint: str | None
) -> Mapping[str, Mapping[str, float | str]]:
    """Attributes by image; empty when the pool is not here or is another one by now."""
    try:
        pool = registry.read_pool(PoolConfig(**json.loads(settings)))
    except (ConfigError, DataError, OSError) as error:
        logger.info("the virtual pool cannot be read, so no figure of it is drawn: %s", error)
        return {}
    if pool.fingerprint != fingerprint:
        return {}
    return {record.image_id: record.attributes for record in pool.records}
