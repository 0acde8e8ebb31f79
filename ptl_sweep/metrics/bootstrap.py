"""AP of resampled test images or scenes (ours; docs/method.md, section 4).

All detectors of one target are resampled with the same weights, so their differences are paired.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt
from numpy import ndarray
from scipy import sparse

from ptl_sweep.detection.table import DetectionTable
from ptl_sweep.metrics.average_precision import RECALL_LEVELS

FEW_BLOCKS = 20  # below it an interval is marked, and no p value is derived from it
CHUNK_ELEMENTS = 2**21  # (true positive, resample) pairs at once: about 100 MB


class Bounds(NamedTuple):
    """A percentile interval; NaN when there is nothing to take percentiles of."""

    low: float
    high: float


class RankedHits(NamedTuple):
    """Detections that count, best ranked first, images together (all of them, hits and misses)."""

    hit: Bool[ndarray, " n"]
    image: Int[ndarray, " n"]

    @classmethod
    def of(
        cls, table: DetectionTable, rows: Int[ndarray, " m"], hits: Bool[ndarray, " m"]
    ) -> "RankedHits":
        """What counts of these rows, in their order."""
        counted = hits | ~table.ignored[rows]
        return cls(hits[counted], table.image[rows][counted])


class Replicates(NamedTuple):
    """Numbers of one cell, one per resample of its test images; NaN without ground truth."""

    AP50: Float[ndarray, " b"]
    AP_t2t: Float[ndarray, "3 b"]  # score >= s, s rising
    AP_t2t_bands: Float[ndarray, "3 b"]  # low, medium, high
    num_blocks: int  # images or scenes that were resampled


def block_weights(
    blocks: Int[ndarray, " i"], num_resamples: int, rng: np.random.Generator
) -> UInt[ndarray, "b i"]:
    """How often each image occurs in each resample: blocks are drawn with replacement, whole.

    `blocks[i]` names the block of image i (its scene, or i itself to resample images). As many
    blocks are drawn as there are.
    """
    names, block = np.unique(blocks, return_inverse=True)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=num_resamples)
    weights: UInt[ndarray, "b i"] = drawn.astype(np.uint16)[:, block]
    return weights


def resampled_ap(
    ranked: RankedHits, truths_per_image: Int[ndarray, " i"], weights: UInt[ndarray, "b i"]
) -> Float[ndarray, " b"]:
    """Average precision (101 recalls) of each resample; NaN in one without ground truth.

    Equal to `average_precision` of the detections with each repeated weights[b, image] times.
    Only precision right behind the last copy of a true positive matters: false positives lower it
    until the next one, earlier copies have no more. So false positives are summed between true
    positives, per image, before they meet the weights.
    """
    num_truths = weights.astype(np.int64) @ truths_per_image.astype(np.int64)
    hit_image = ranked.image[ranked.hit]
    false_positives = _false_positives_before(ranked, weights.shape[1])
    result = np.zeros(len(weights))
    for chunk in _chunks(len(weights), len(hit_image)):
        images_first = np.ascontiguousarray(weights[chunk].T, dtype=np.int32)
        hits = np.cumsum(images_first[hit_image], axis=0, dtype=np.int32)
        ranks = np.cumsum(false_positives @ images_first, axis=0, dtype=np.int32)
        ranks += hits
        result[chunk] = _average_precisions(hits, ranks, num_truths[chunk])
    result[num_truths == 0] = np.nan
    return result


def _false_positives_before(ranked: RankedHits, num_images: int) -> sparse.csr_array:
    """Row j, column i: false positives on image i between true positives j - 1 and j."""
    num_hits = int(np.count_nonzero(ranked.hit))
    interval = np.cumsum(ranked.hit)
    kept = ~ranked.hit & (interval < num_hits)  # those behind the last true positive change nothing
    ones = np.ones(int(np.count_nonzero(kept)), np.int32)
    places = (interval[kept], ranked.image[kept])
    return sparse.coo_array((ones, places), shape=(num_hits, num_images)).tocsr()


def _chunks(num_resamples: int, num_hits: int) -> Iterator[slice]:
    size = max(1, CHUNK_ELEMENTS // max(1, num_hits))
    return (slice(start, start + size) for start in range(0, num_resamples, size))


def _average_precisions(
    hits: Int[ndarray, "t c"], ranks: Int[ndarray, "t c"], num_truths: Int[ndarray, " c"]
) -> Float[ndarray, " c"]:
    """AP per column from cumulative true positives and detections behind each true positive."""
    precision = hits / np.maximum(ranks, 1)
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    beyond = np.append(envelope, np.zeros((1, hits.shape[1])), axis=0)
    at_levels = np.take_along_axis(beyond.T, _rows_at_levels(hits, num_truths), axis=1)
    averages: Float[ndarray, " c"] = np.ascontiguousarray(at_levels).mean(axis=1)
    return averages


def _rows_at_levels(
    hits: Int[ndarray, "t c"], num_truths: Int[ndarray, " c"]
) -> Int[ndarray, "c r"]:
    """First row of each column whose recall reaches each of the levels; t where none does.

    Columns are searched as one rising sequence, each moved beyond the one before it.
    """
    totals, which = np.unique(np.maximum(num_truths, 1), return_inverse=True)
    needed = np.stack(
        [np.searchsorted(np.arange(n + 1) / n, RECALL_LEVELS, side="left") for n in totals]
    )
    num_rows, num_columns = hits.shape
    step = 2 + max(int(totals[-1]), int(hits.max(initial=0)))
    start = step * np.arange(num_columns)[:, None]
    rows = np.searchsorted((hits.T + start).ravel(), needed[which] + start, side="left")
    in_column: Int[ndarray, "c r"] = rows - num_rows * np.arange(num_columns)[:, None]
    return in_column


def percentile_interval(values: Float[ndarray, " b"], confidence: float = 0.95) -> Bounds:
    """Percentile interval of bootstrap values; NaNs are left out, 0 and inf are values.

    Bounds are values themselves, the outer one of two: nothing is interpolated towards inf.
    """
    kept = values[~np.isnan(values)]
    if not len(kept):
        return Bounds(np.nan, np.nan)
    tail = (1 - confidence) / 2
    low = float(np.quantile(kept, tail, method="lower"))
    return Bounds(low, float(np.quantile(kept, 1 - tail, method="higher")))


def few_blocks_note(num_blocks: int) -> str:
    """`few blocks (10)` where a percentile interval is not to be trusted, else empty."""
    return f"few blocks ({num_blocks})" if num_blocks < FEW_BLOCKS else ""
