"""Bootstrap over the test images of one cell: AP50 and AP_t2t of every resample (ours)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.config.analysis import AnalysisConfig, ApT2tConfig
from ptl_sweep.detection.matching import IOU_THRESHOLDS
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.metrics.ap_t2t import NearestFirst, nearest_first
from ptl_sweep.metrics.bootstrap import RankedHits, Replicates, block_weights, resampled_ap
from ptl_sweep.metrics.rematching import candidate_pairs


def cell_replicates(
    table: DetectionTable,
    distance: Float[ndarray, " n_f"],
    settings: AnalysisConfig,
    thresholds: Sequence[float],
    seed: int,
) -> Replicates:
    """AP50 and AP_t2t of one detector on resampled images of a target.

    Images of one scene are drawn together. `distance` is aligned with `table.features`; `seed`
    belongs to the target, so that all its detectors see the same resamples. AP_t2t is NaN without
    distances, and where `settings.ap_t2t` asks for another recall or interpolation than AP has.
    """
    blocks = np.unique([image.scene for image in table.images], return_inverse=True)[1]
    weights = block_weights(blocks, settings.num_resamples, np.random.default_rng(seed))
    truths = np.array([image.num_truths for image in table.images])
    by_score = np.lexsort((table.box_index, table.image, -table.score))
    nearest = _nearest(table, distance, settings.ap_t2t)

    def ap_t2t(low: float, below: float | None) -> Float[ndarray, " b"]:
        if nearest is None:
            return np.full(len(weights), np.nan)
        hits = nearest.ranked_hits(settings.ap_t2t, low, below=below)
        return resampled_ap(hits, truths, weights)

    at_scores = RankedHits.of(table, by_score, table.true_positive[by_score])
    bands = zip(thresholds, (*thresholds[1:], None), strict=True)
    return Replicates(
        AP50=resampled_ap(at_scores, truths, weights),
        AP_t2t=np.stack([ap_t2t(low, None) for low in thresholds]),
        AP_t2t_bands=np.stack([ap_t2t(low, below) for low, below in bands]),
        num_blocks=int(blocks.max()) + 1,
    )


def _nearest(
    table: DetectionTable, distance: Float[ndarray, " n_f"], rule: ApT2tConfig
) -> NearestFirst | None:
    """None without distances and for other rules than that of the resampled AP.

    It counts all ground truths at 101 recalls.
    """
    order = nearest_first(table, distance)
    if order is None or (rule.recall, rule.interpolation) != ("all", "points"):
        return None
    pairs = candidate_pairs(table, IOU_THRESHOLDS[0]) if rule.matching == "distance" else None
    return NearestFirst(table, order, pairs)
