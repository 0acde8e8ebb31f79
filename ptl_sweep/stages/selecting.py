"""The selection of one PTL iteration as a file: which virtual images, their domain gaps, why."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.ptl.methods.base import SelectedVirtualImages, SelectionInput
from ptl_sweep.stages.base import Summary
from ptl_sweep.stages.context import StageContext
from ptl_sweep.stages.fitting import load_detector
from ptl_sweep.stages.ptl import GAUSSIAN
from ptl_sweep.stages.train import FEATURES

if TYPE_CHECKING:
    from ptl_sweep.stages.ptl import PtlStage


def select_images(
    stage: "PtlStage", ctx: StageContext, pool: Sequence[ImageRecord]
) -> dict[str, Any]:
    """Content of selection.json: what the method draws from the pool that is left."""
    with np.load(ctx.parent(FEATURES)) as stored:
        features = stored["features"]
    given = SelectionInput(
        pool=pool,
        features=features,
        load_detector=lambda: load_detector(stage.detector, ctx),
        inference=stage.inference,
        rng=np.random.default_rng(stage.seed_of("select", stage.iteration)),
        cache=ctx.cache,
    )
    chosen = stage.method.select(given)
    summary = _summary(chosen, len(pool))
    if chosen.gaussian is not None:
        chosen.gaussian.save(ctx.folder / GAUSSIAN)
        summary |= {
            "gap_gaussian_n": chosen.gaussian.n,
            "gap_gaussian_rank": chosen.gaussian.rank,
            "gap_gaussian_condition": chosen.gaussian.condition,
            "gap_gaussian_shrinkage": chosen.gaussian.shrinkage,
            "gap_gaussian_dropped_channels": chosen.gaussian.num_dropped,
        }
    logged = summary | _gap_spread(chosen.gap)
    ctx.log({"ptl/iteration": stage.iteration, **{f"ptl/{k}": v for k, v in logged.items()}})
    return {
        "selected": [pool[i].image_id for i in chosen.selection.indices],
        "pool": [
            {"image_id": record.image_id, "gap": gap if np.isfinite(gap) else None}
            for record, gap in zip(pool, chosen.gap.tolist(), strict=True)
        ],
        "summary": summary,
        "reason": chosen.reason,
    }


def _summary(chosen: SelectedVirtualImages, num_pool: int) -> Summary:
    selection = chosen.selection
    finite = chosen.gap[np.isfinite(chosen.gap)]
    picked = chosen.gap[selection.indices]
    picked = picked[np.isfinite(picked)]
    return {
        "num_pool": num_pool,
        "num_selected": len(selection.indices),
        "num_selected_uniformly": selection.num_selected_uniformly,
        "num_finite_gap": selection.num_finite,
        "effective_sample_size": selection.effective_sample_size,
        "temperature": selection.temperature,
        "gap_median": float(np.median(finite)) if len(finite) else None,
        "gap_selected_median": float(np.median(picked)) if len(picked) else None,
    }


def _gap_spread(gap: Float[ndarray, " p"]) -> dict[str, float | None]:
    """Mean, 10 % and 90 % quantile of the gaps there are; the median is in the summary."""
    finite = gap[np.isfinite(gap)]
    if not len(finite):
        return dict.fromkeys(("gap_mean", "gap_p10", "gap_p90"))
    low, high = np.quantile(finite, (0.1, 0.9))
    return {"gap_mean": float(finite.mean()), "gap_p10": float(low), "gap_p90": float(high)}
