"""Bootstrap over the test images of one cell: AP50 and AP_t2t of every resample (ours)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt
from numpy import ndarray

from ptl_sweep.config.analysis import AnalysisConfig, ApT2tConfig
from ptl_sweep.detection.matching import IOU_THRESHOLDS
from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.metrics.average_precision import ranking
from ptl_sweep.metrics.bootstrap import RankedHits, Replicates, block_weights, resampled_ap
from ptl_sweep.metrics.rematching import candidate_pairs, match_in_order


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
    lows = [(low, np.inf) for low in thresholds]
    bands = list(zip(thresholds, [*thresholds[1:], np.inf], strict=True))
    ranked = _Ranked(table, distance, settings.ap_t2t)
    return Replicates(
        AP50=resampled_ap(_hits(table, by_score, table.true_positive[by_score]), truths, weights),
        AP_t2t=np.stack([ranked.resampled(low, high, truths, weights) for low, high in lows]),
        AP_t2t_bands=np.stack(
            [ranked.resampled(low, high, truths, weights) for low, high in bands]
        ),
        num_blocks=int(blocks.max()) + 1,
    )


def _hits(table: DetectionTable, rows: Int[ndarray, " n"], hits: Bool[ndarray, " n"]) -> RankedHits:
    """What counts of the rows, in their order."""
    counted = hits | ~table.ignored[rows]
    return RankedHits(hits[counted], table.image[rows][counted])


class _Ranked:
    """Detections by falling nearness, whose AP_t2t is resampled."""

    def __init__(
        self, table: DetectionTable, distance: Float[ndarray, " n_f"], rule: ApT2tConfig
    ) -> None:
        self.table = table
        self.by_distance = rule.matching == "distance"
        # the resampled AP counts all ground truths at 101 recalls; it is that of no other rule
        self.exists = (
            rule.recall == "all" and rule.interpolation == "points" and not np.isnan(distance).any()
        )
        rows = table.featured
        order = ranking(distance, table.score[rows], table.image[rows], table.box_index[rows])
        self.rows = rows[order]
        self.pairs = candidate_pairs(table, IOU_THRESHOLDS[0]) if self.by_distance else None

    def resampled(
        self,
        low: float,
        high: float,
        truths: Int[ndarray, " i"],
        weights: UInt[ndarray, "b i"],
    ) -> Float[ndarray, " b"]:
        """AP_t2t of the scores in [low, high) in every resample; NaN where it does not exist."""
        if not self.exists:
            return np.full(len(weights), np.nan)
        score = self.table.score[self.rows]
        rows = self.rows[(score >= low) & (score < high)]
        hits = self.table.true_positive[rows]
        if self.pairs is not None:
            hits = match_in_order(self.pairs, rows, IOU_THRESHOLDS[0])
        return resampled_ap(_hits(self.table, rows, hits), truths, weights)
